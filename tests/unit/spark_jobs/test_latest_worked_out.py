"""The last known bids and asks as the deep path works them out, against a loop over the messages; and what it leaves alone."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import tables
from spark_jobs.jobs.latest_quotes import CANDIDATE_COLUMNS, LatestQuotes
from spark_jobs.jobs.spool import News
from spark_jobs.schemas import frame_schema
from spark_jobs.transforms.kinds import QUOTES
from tests.unit.spark_jobs.deep_platform import DeepPlatform, Row
from tests.unit.spark_jobs.messages import INGESTED, OPEN, micros
from tests.unit.spark_jobs.tapes import quote
from tests.unit.spark_jobs.test_damage_and_proof import broken_laws
from tests.unit.spark_jobs.test_recompute import DAY, MONDAY, TUESDAY
from tests.unit.spark_jobs.test_short_repairs import Watched

NAMES = tables.PG_LATEST_QUOTES.column_names
SCHEMA = {
    name: dtype
    for name, dtype in {**frame_schema(tables.QUOTES), "key_hash": pl.UInt64(), "payload_hash": pl.UInt64()}.items()
    if name in CANDIDATE_COLUMNS
}
LATEST = "lake.latest_quotes"
PRICES = st.none() | st.integers(1, 2)


@dataclass(frozen=True)
class Message:
    """A quote: ``number`` names it within its day and symbol."""

    day: int
    second: int
    symbol: str
    number: int
    sequence: int
    bid: int | None
    bid_size: int | None
    ask: int | None
    ask_size: int | None

    @property
    def key(self) -> tuple[int, str, int]:
        return self.day, self.symbol, self.number

    def row(self, offset: int) -> Row:
        identity = ("AB".index(self.symbol) * 10 + self.day) * 100 + self.number
        values = {name: getattr(self, name) for name in ("symbol", "sequence", "bid", "bid_size", "ask", "ask_size")}
        hashes = {"key_hash": identity, "payload_hash": abs(hash(self))}
        at = OPEN + timedelta(days=self.day, seconds=self.second)
        place = {"partition": 0, "offset": offset, "ingested_at": INGESTED}
        return {"source": "lean", "quoted_at": at, **values, **hashes, **place}


MESSAGES = st.lists(
    st.builds(
        Message,
        day=st.integers(0, 1),
        second=st.integers(0, 2),
        symbol=st.sampled_from("AB"),
        number=st.integers(0, 2),
        sequence=st.integers(0, 1),
        bid=PRICES,
        bid_size=PRICES,
        ask=PRICES,
        ask_size=PRICES,
    ).filter(lambda message: message.bid is not None or message.ask is not None),
    max_size=25,
)


@dataclass
class FakeSpool:
    """Messages by session."""

    rows: list[tuple[date, Row]] = field(default_factory=list)

    def every_session(self) -> set[date]:
        return {day for day, _ in self.rows}

    def candidates(self, session_date: date) -> pl.LazyFrame:
        return pl.LazyFrame([row for day, row in self.rows if day == session_date], schema=SCHEMA, orient="row")


def newest(rows: list[Row]) -> dict[str, Row]:
    """Return the last known sides by symbol."""
    found: dict[str, Row] = {}
    for row in rows:
        known = found.setdefault(row["symbol"], {**dict.fromkeys(NAMES), "source": "lean", "symbol": row["symbol"]})
        known["quoted_at"] = max(row["quoted_at"], known["quoted_at"] or row["quoted_at"])
        for side in ("bid", "ask"):
            names = (f"{side}_at", f"{side}_sequence", side, f"{side}_size")
            new = (row["quoted_at"], row["sequence"], row[side], row[f"{side}_size"])
            old = tuple(known[name] for name in names)
            if row[side] is not None and (old[0] is None or rank(new) > rank(old)):
                known.update(zip(names, new, strict=True))
    return found


def rank(side: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*side[:3], -1 if side[3] is None else side[3])


@settings(deadline=None, max_examples=60)
@given(
    messages=MESSAGES, cut=st.integers(0, 25), expired=st.sets(st.integers(0, 2), max_size=1), most=st.integers(1, 9)
)
def test_the_newest_sides_are_those_of_the_first_messages_of_all(
    messages: list[Message], cut: int, expired: set[int], most: int
) -> None:
    spool = FakeSpool()
    numbers = pl.col("key_hash") % 100

    def kept(found: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        gone = numbers.is_in(list(expired))
        return found.filter(~gone), found.filter(gone)

    latest = LatestQuotes(spool, kept, most)  # type: ignore[arg-type]
    rows = [message.row(offset) for offset, message in enumerate(messages)]
    days = [MONDAY + timedelta(days=message.day) for message in messages]
    for part in (slice(0, cut), slice(cut, None)):
        spool.rows += zip(days[part], rows[part], strict=True)
        inside = {(day, "A") for day in days[part] if day == MONDAY}
        latest.note(News(records=frozenset(inside), later=frozenset(days[part]) - {MONDAY}))
        sure, unknown = latest.work_out()
        taken = messages[: len(spool.rows)]
        firsts = {message.key: position for position, message in reversed(list(enumerate(taken)))}
        records = [rows[position] for key, position in firsts.items() if key[2] not in expired]
        gone = [row for row, message in zip(rows, taken, strict=False) if message.number in expired]
        certain, possible = newest(records), newest([*records, *gone])
        told = {symbol for symbol, row in certain.items() if possible[symbol] == row}
        assert {row["symbol"]: row for row in sure.to_dicts()} == {symbol: certain[symbol] for symbol in told}
        assert set(unknown["symbol"]) == set(possible) - told


def one_sided(number: int, side: str, day: int, **others: Any) -> bytes:
    """Return a quote of MSFT that names one side."""
    other = "ask" if side == "bid" else "bid"
    return quote(number, day, symbol="MSFT", **{other: ..., f"{other}_size": ...}, **others)


BATCHES: list[list[bytes | None]] = [
    [quote(0), quote(7, symbol="IBM"), one_sided(3, "bid", 0), quote(1), quote(4, 0)],
    # The newest message is a conflict.
    [quote(0, 1), one_sided(2, "ask", 1), quote(0, 1, ts=micros(OPEN) + DAY + 9_000_000), quote(2)],
]
CAME: list[bytes | None] = [quote(3, 1, bid=77), quote(0, 1, bid=78), one_sided(5, "bid", 1)]
SPY, IBM, MSFT = (("lean", symbol) for symbol in ("SPY", "IBM", "MSFT"))


@pytest.fixture
def deep(tmp_path: Path) -> Watched:
    """Quotes of SPY on both days; of IBM on Monday only; of MSFT a bid on Monday and an ask on Tuesday."""
    return filled(tmp_path)


def filled(root: Path) -> Watched:
    root.mkdir(exist_ok=True)
    deep, first = Watched(root), 0
    for batch_id, values in enumerate(BATCHES):
        deep.platform.run(QUOTES, batch_id, values, first)
        first += len(values)
    deep.publish()
    assert set(deep.postgres.latest) == {SPY, IBM, MSFT}
    assert deep.postgres.latest[SPY]["quoted_at"] == OPEN + timedelta(days=1)
    return deep


def test_a_range_finds_the_newest_in_later_sessions(deep: DeepPlatform) -> None:
    before = deep.everything()
    latest = deep.postgres.latest
    del latest[MSFT]
    latest[SPY] = {**latest[SPY], "ask_size": None}
    latest["lean", "ZZZ"] = {**latest[IBM], "symbol": "ZZZ"}
    assert broken_laws(deep) != []
    reports = deep.recompute(MONDAY, dry_run=True)
    assert {name: found.total for report in reports for name, found in report.differences.items()} == {LATEST: 3}
    assert deep.everything() != before
    deep.recompute(MONDAY)
    assert deep.everything() == before
    assert broken_laws(deep) == []


def test_what_was_named_before_the_range_is_taken_as_stored(deep: DeepPlatform) -> None:
    before = deep.everything()
    latest = deep.postgres.latest
    altered = {**latest[IBM], "bid": Decimal(5)}
    latest[IBM] = altered
    latest[MSFT] = {**latest[MSFT], "ask": Decimal(5)}
    deep.recompute(TUESDAY)
    assert latest[IBM] == altered
    assert deep.everything()[LATEST] == [altered if row["symbol"] == "IBM" else row for row in before[LATEST]]
    # A time of the range that no quote bears: it goes, and what was there before comes back with its session.
    latest[IBM] = {**altered, "bid_at": OPEN + timedelta(days=1)}
    deep.recompute(TUESDAY)
    assert (latest[IBM]["bid"], latest[IBM]["bid_at"], latest[IBM]["ask_at"]) == (None, None, altered["ask_at"])
    deep.recompute(MONDAY)
    assert deep.everything() == before


def test_asked_for_a_symbol_the_last_quotes_of_others_are_left_alone(deep: DeepPlatform) -> None:
    before = deep.everything()
    latest = deep.postgres.latest
    for key in (SPY, IBM):
        latest[key] = {**latest[key], "bid": Decimal(5)}
    spoilt = latest[SPY]
    deep.recompute(MONDAY, symbols=("IBM",))
    assert deep.everything()[LATEST] == [spoilt if row["symbol"] == "SPY" else row for row in before[LATEST]]


@pytest.mark.parametrize("start", [MONDAY, TUESDAY], ids=str)
def test_quotes_that_come_while_a_repair_waits_count(tmp_path: Path, start: date) -> None:
    quiet, deep = filled(tmp_path / "quiet"), filled(tmp_path / "damaged")
    number, first = len(BATCHES), sum(map(len, BATCHES))

    def run_once(platform: DeepPlatform) -> None:
        if len(platform.platform.postgres.batches) == number:
            platform.platform.run(QUOTES, number, CAME, first)
            platform.publish()

    deep.postgres.latest[SPY] = {**deep.postgres.latest[SPY], "bid": Decimal(5), "bid_at": OPEN + timedelta(days=9)}
    deep.before_it = lambda: run_once(deep)
    assert sum(report.differing for report in deep.recompute(start)) == 1
    run_once(quiet)
    assert deep.everything() == quiet.everything()
    assert quiet.postgres.latest[SPY]["bid"] == 77


def test_nothing_is_said_where_the_newest_may_be_of_a_quote_that_is_kept_no_longer(deep: DeepPlatform) -> None:
    deep.now = INGESTED + timedelta(seconds=1, days=90)  # what the first batch brought may be gone
    latest = deep.postgres.latest
    right = latest[SPY]
    for key in (SPY, IBM):
        latest[key] = {**latest[key], "bid": Decimal(5)}
    spoilt = latest[IBM]
    assert broken_laws(deep) != []
    deep.recompute(MONDAY)
    assert (latest[SPY], latest[IBM]) == (right, spoilt)
    assert broken_laws(deep) == []
