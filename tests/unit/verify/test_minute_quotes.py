"""The last bid and ask of each minute, against a loop over the quotes."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.tables import PG_QUOTES_1M, QUOTES
from tests.unit.verify.fake_published import Row
from tests.unit.verify.tiny_lake import FIRST_BATCH, OPEN, SESSION, TinyLake, problems
from verify.lake import schema_of
from verify.minute_quotes import MinuteProof
from verify.results import Findings, LawResult

WHERE = "lake.quotes_1m"


class Answer:
    """PostgreSQL with these minutes."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def minute_quotes(self, session_date: date) -> pl.DataFrame:
        assert session_date == SESSION
        return pl.DataFrame(self.rows, schema=schema_of(PG_QUOTES_1M), orient="row")


def one_by_one(quotes: list[Row]) -> dict[tuple[Any, ...], Row]:
    """Return the minutes as a stream leaves them that takes one quote after the other, as they were taken in."""
    found: dict[tuple[Any, ...], Row] = {}
    for quote in sorted(quotes, key=lambda one: one["ingested_at"]):
        bar_at = quote["quoted_at"].replace(second=0)
        place = {
            "source": "lean",
            "symbol": quote["symbol"],
            "bar_at": bar_at,
            "session_date": SESSION,
            "segment": "regular",
        }
        row = found.setdefault((quote["symbol"], bar_at), {**dict.fromkeys(PG_QUOTES_1M.column_names), **place})
        for side in ("bid", "ask"):
            now = (quote["quoted_at"], quote["sequence"], quote[side], quote[f"{side}_size"])
            old = (row[f"{side}_at"], row[f"{side}_sequence"], row[side], row[f"{side}_size"])
            if quote[side] is not None and (old[0] is None or ordered(now) > ordered(old)):
                row.update(zip((f"{side}_at", f"{side}_sequence", side, f"{side}_size"), now, strict=True))
                row["revised_at"] = quote["ingested_at"]
    return found


def ordered(side: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*side[:3], -1 if side[3] is None else side[3])


def frame(quotes: list[Row]) -> pl.DataFrame:
    place = {"source": "lean", "session_date": SESSION, "segment": "regular"}
    rows = [{**dict.fromkeys(QUOTES.column_names), **place, **quote} for quote in quotes]
    return pl.DataFrame(rows, schema=schema_of(QUOTES), orient="row")


def told(quotes: list[Row], expired: list[Row], stored: list[Row]) -> LawResult:
    findings = Findings()
    proof = MinuteProof(findings, Answer(stored))  # type: ignore[arg-type]
    for symbol in ("IBM", "SPY"):
        parts = (frame([one for one in rows if one["symbol"] == symbol]) for rows in (quotes, expired))
        proof.check(SESSION, pl.col("symbol") == symbol, *parts)
    proof.note_repair()
    return findings.result(2, "")


some_quotes = st.lists(
    st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(["IBM", "SPY"]),
            "quoted_at": st.sampled_from([0, 59, 60, 61]).map(lambda seconds: OPEN + timedelta(seconds=seconds)),
            "sequence": st.integers(0, 1),
            "bid": st.none() | st.integers(1, 3),
            "bid_size": st.none() | st.integers(0, 2),
            "ask": st.none() | st.integers(1, 3),
            "ask_size": st.none() | st.integers(0, 2),
            "ingested_at": st.integers(0, 2).map(lambda seconds: FIRST_BATCH + timedelta(seconds=seconds)),
        }
    ).filter(lambda quote: quote["bid"] is not None or quote["ask"] is not None),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(some_quotes)
def test_the_minutes_are_those_of_a_loop_over_the_quotes(quotes: list[Row]) -> None:
    found = told(quotes, [], list(one_by_one(quotes).values()))
    assert (found.offending, found.note) == ([], "")


@settings(deadline=None, max_examples=60)
@given(some_quotes, some_quotes)
def test_of_minutes_with_quotes_that_are_kept_no_longer_nothing_is_said(kept: list[Row], expired: list[Row]) -> None:
    """Whether the stream counted them or not, there is no break."""
    for stored in (one_by_one([*kept, *expired]), one_by_one(kept)):
        assert told(kept, expired, list(stored.values())).offending == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("bid", Decimal("99.51")),
        ("bid_size", None),
        ("bid_at", OPEN + timedelta(seconds=1)),
        ("bid_sequence", 1),
        ("ask", Decimal(100)),
        ("segment", "pre"),
        ("revised_at", OPEN),
    ],
)
def test_a_minute_that_was_changed_by_hand_is_seen(tiny_lake: TinyLake, column: str, value: object) -> None:
    tiny_lake.published.minute_rows[0][column] = value
    _, bars = tiny_lake.prove()
    assert problems(bars) == {f"quote of a minute differs in {WHERE}"}
    assert set(bars.offending[0]["differs"]) == {column}
    assert f"./run recompute --start {SESSION} --end {SESSION} fills it" in bars.note


def test_minutes_of_nobody_and_minutes_that_are_gone_are_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.published.minute_rows[0]["bar_at"] += timedelta(minutes=1)
    _, bars = tiny_lake.prove()
    assert problems(bars) == {f"quote of a minute is missing in {WHERE}", f"quote of a minute should not be in {WHERE}"}


def test_a_minute_of_another_session_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.published.minute_rows[0]["session_date"] -= timedelta(days=3)
    _, bars = tiny_lake.prove()
    assert problems(bars) == {f"quote of a minute is missing in {WHERE}", f"quote of a minute should not be in {WHERE}"}
