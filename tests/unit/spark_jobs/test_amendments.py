"""Cancels and corrections reach the bars: before or after their trade, in any order, in any batches, across restarts."""

import random
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from market import tables
from spark_jobs.transforms.kinds import TRADES
from tests.unit.lean_conditions import judgement
from tests.unit.spark_jobs.fake_platform import Platform, Process
from tests.unit.spark_jobs.messages import INGESTED, OPEN, TRADE, changed, micros

Row = dict[str, Any]
SEED = 7
EXAMPLES = 12
SWEEP, OFFICIAL_CLOSE = "20", "1000000"
VALUES = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "vwap",
    "trade_count",
    "cancelled_trade_count",
    "corrected_trade_count",
)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path / "lake")


def trade(number: int, **others: Any) -> bytes:
    at = {"ts": micros(OPEN) + number * 1_000_000, "trade_id": f"t{number}", "sequence": number, "conditions": ""}
    return changed(TRADE, **{**at, "price": 100 + number, **others})


def amendment(kind: str, number: int, **others: Any) -> bytes:
    said = {"kind": kind, "source": "lean", "symbol": "SPY", "ts": micros(OPEN) + 10**9, "ref_id": f"t{number}"}
    return changed(said, **others)


def cancel(number: int, **others: Any) -> bytes:
    return amendment("cancel", number, **others)


def correct(number: int, price: float, size: int = 100, **others: Any) -> bytes:
    return amendment("correction", number, price=price, size=size, **others)


def newest_bars(platform: Platform) -> dict[Any, Row]:
    newest: dict[Any, Row] = {}
    for row in platform.rows(tables.BAR_REVISIONS):
        known = newest.get((row["symbol"], row["bar_at"]))
        if known is None or row["revision"] > known["revision"]:
            newest[row["symbol"], row["bar_at"]] = row
    return newest


def first_bar(platform: Platform) -> tuple[Any, ...]:
    return tuple(newest_bars(platform)["SPY", OPEN][name] for name in VALUES)


def test_a_cancelled_trade_leaves_its_bar(platform: Platform) -> None:
    platform.run(TRADES, 0, [trade(0), trade(1), trade(2)], 0)
    platform.run(TRADES, 1, [cancel(2)], 3)
    assert first_bar(platform) == (100, 101, 100, 101, 200, Decimal("100.5"), 2, 1, 0)
    assert newest_bars(platform)["SPY", OPEN]["revision"] == 2


def test_a_corrected_trade_counts_as_corrected_at_its_own_moment(platform: Platform) -> None:
    platform.run(TRADES, 0, [trade(0), trade(1), trade(2)], 0)
    platform.run(TRADES, 1, [correct(0, 99, 300)], 3)
    assert first_bar(platform) == (99, 102, 99, 102, 500, Decimal("100"), 3, 0, 1)


def test_a_correction_brings_its_own_conditions(platform: Platform) -> None:
    platform.run(TRADES, 0, [trade(0), trade(1), trade(2)], 0)
    platform.run(TRADES, 1, [correct(2, 150, conditions=SWEEP), correct(0, 50, conditions=OFFICIAL_CLOSE)], 3)
    assert first_bar(platform) == (101, 101, 101, 101, 200, Decimal("125.5"), 3, 0, 2)


def test_an_amendment_waits_for_its_trade(platform: Platform) -> None:
    platform.run(TRADES, 0, [cancel(1), correct(2, 90)], 0)
    assert newest_bars(platform) == {}
    platform.run(TRADES, 1, [trade(0), trade(1), trade(2)], 2)
    assert first_bar(platform) == (100, 100, 90, 90, 200, Decimal("95"), 2, 1, 1)
    assert newest_bars(platform)["SPY", OPEN]["revision"] == 1


def test_an_amendment_that_came_first_counts_as_a_change_with_its_trade_also_after_a_restart(
    platform: Platform,
) -> None:
    platform.run(TRADES, 0, [cancel(1)], 0)
    platform.run(TRADES, 1, [trade(0), trade(1)], 1)
    platform.run(TRADES, 2, [trade(2)], 3)
    assert newest_bars(platform)["SPY", OPEN]["revision"] == 2


def test_a_minute_whose_trades_are_all_cancelled_keeps_an_empty_bar(platform: Platform) -> None:
    platform.run(TRADES, 0, [trade(0)], 0)
    platform.run(TRADES, 1, [cancel(0)], 1)
    assert first_bar(platform) == (None, None, None, None, 0, None, 0, 1, 0)


def test_the_newest_amendment_holds_and_at_one_moment_the_cancel(platform: Platform) -> None:
    later, at = micros(OPEN) + 2 * 10**9, micros(OPEN) + 10**9
    platform.run(TRADES, 0, [trade(0), trade(1), trade(2), correct(0, 90, ts=later), cancel(0), cancel(1, ts=at)], 0)
    platform.run(TRADES, 1, [correct(1, 80, ts=at), correct(2, 70), correct(2, 60)], 6)
    assert first_bar(platform) == (90, 90, 70, 70, 200, Decimal("80"), 2, 1, 2)


def test_an_amendment_of_an_earlier_session_finds_its_trade_after_a_restart(platform: Platform) -> None:
    tomorrow = 86_400_000_000
    process = Process(platform, TRADES)
    process.run(0, [trade(0), trade(1)], 0)
    process.run(1, [trade(5, ts=micros(OPEN) + tomorrow)], 2)
    Process(platform, TRADES).run(2, [cancel(0), trade(6, ts=micros(OPEN) + tomorrow + 1)], 3)
    assert first_bar(platform)[:5] == (101, 101, 101, 101, 100)


def test_the_same_amendment_again_is_a_duplicate_and_one_of_another_symbol_changes_nothing(platform: Platform) -> None:
    platform.run(TRADES, 0, [trade(0), cancel(0), cancel(0), cancel(0, symbol="IBM"), cancel(0, source="csv")], 0)
    platform.run(TRADES, 1, [cancel(0), trade(0)], 5)
    assert sorted(row["offset"] for row in platform.rows(tables.DUPLICATES)) == [2, 5, 6]
    assert sorted(row["offset"] for row in platform.rows(tables.AMENDMENTS)) == [1, 3, 4]
    assert newest_bars(platform)["SPY", OPEN]["revision"] == 1
    counts = [
        (batch.amendments, batch.duplicates, batch.bars) for _, batch in sorted(platform.postgres.batches.items())
    ]
    assert counts == [(3, 1, 1), (0, 2, 0)]


def test_amendments_that_break_the_rules_are_quarantined(platform: Platform) -> None:
    bad = {
        cancel(0, ref_id=None): "bad_ref_id",
        cancel(0, price=-1): "bad_price",
        correct(0, -1): "bad_price",
        correct(0, 1, size=0): "bad_size",
        correct(0, 1, conditions="xyz"): "bad_conditions",
        cancel(0, ts=micros(INGESTED) * 2): "from_the_future",
        cancel(0, symbol="spy"): "bad_symbol",
    }
    platform.run(TRADES, 0, [trade(0), *bad], 0)
    reasons = {row["offset"]: row["reason"] for row in platform.rows(tables.QUARANTINE)}
    assert reasons == dict(enumerate(bad.values(), 1))
    assert platform.rows(tables.AMENDMENTS) == []


def as_it_counts(row: Row, amendments: list[Row]) -> Row | None:
    """Return a trade as the newest of its amendments says, or ``None`` if it was cancelled."""
    own = [said for said in amendments if said["ref_id"] == row["trade_id"]]
    newest = max(own, key=lambda said: (said["ts"], said["kind"] == "cancel", said.get("price", 0)), default=None)
    if newest is None:
        return row
    stated = ("price", "size", "conditions")
    return None if newest["kind"] == "cancel" else {**row, **{name: newest[name] for name in stated}}


def bar_of(trades: list[Row], amendments: list[Row]) -> tuple[Any, ...]:
    """Return the values of a bar, one trade at a time: the oracle."""
    counted = [
        (row, as_it_counts(row, amendments)) for row in sorted(trades, key=lambda row: (row["ts"], row["sequence"]))
    ]
    standing = [row for _, row in counted if row is not None]
    prices = [Decimal(row["price"]) for row in standing if judgement(row["conditions"])["counts_for_open_close"]]
    sized = [row for row in standing if judgement(row["conditions"])["counts_for_volume"]]
    volume = sum(row["size"] for row in sized)
    notional = sum((Decimal(row["price"]) * row["size"] for row in sized), Decimal(0))
    vwap = (notional / volume).quantize(Decimal("0.000001"), ROUND_HALF_UP) if volume else None
    corrected = sum(after is not None and after is not row for row, after in counted)
    ends = (prices[0], max(prices), min(prices), prices[-1]) if prices else (None,) * 4
    return (*ends, volume, vwap, len(standing), len(counted) - len(standing), corrected)


def random_tape(chance: random.Random) -> tuple[list[Row], list[Row]]:
    trades = [
        {
            **TRADE,
            "ts": micros(OPEN) + chance.randrange(3) * 60_000_000 + chance.randrange(3),
            "trade_id": f"t{number}",
            "sequence": number,
            "price": chance.randrange(95, 105),
            "size": chance.randrange(1, 500),
            "conditions": chance.choice(["", "", "1", SWEEP, OFFICIAL_CLOSE]),
        }
        for number in range(chance.randrange(3, 14))
    ]
    amendments: dict[Any, Row] = {}
    for _ in range(chance.randrange(10)):
        said = {
            "source": "lean",
            "symbol": "SPY",
            "ref_id": f"t{chance.randrange(16)}",
            "ts": micros(OPEN) + chance.randrange(3),
        }
        if chance.random() < 0.4:
            said |= {"kind": "cancel"}
        else:
            conditions = chance.choice(["", "1", SWEEP, OFFICIAL_CLOSE])
            said |= {"kind": "correction", "price": chance.randrange(90, 110), "size": chance.randrange(1, 500)}
            said |= {"conditions": conditions}
        amendments.setdefault((said["ref_id"], said["ts"], said["kind"], said.get("price")), said)
    unique = {(said["ref_id"], said["ts"], said["kind"]): said for said in amendments.values()}
    return trades, list(unique.values())


@pytest.mark.parametrize("example", range(EXAMPLES))
def test_bars_are_those_of_one_pass_whatever_the_order_the_batches_and_the_restarts(
    tmp_path: Path, example: int
) -> None:
    chance = random.Random(f"{SEED}:{example}")
    trades, amendments = random_tape(chance)
    tape = [*trades, *amendments, *chance.choices([*trades, *amendments], k=3)]
    chance.shuffle(tape)
    platform = Platform(tmp_path / "lake", tasks=chance.choice([1, 2, 3]), tasks_per_portion=chance.choice([1, 3]))
    batch_of: dict[str, int] = {}
    process, first, number = Process(platform, TRADES), 0, 0
    while first < len(tape):
        part = tape[first : first + chance.randrange(1, 6)]
        if chance.random() < 0.4:
            process = Process(platform, TRADES)
        process.run(number, [changed(row) for row in part], first)
        for row in part:
            batch_of.setdefault(str(row), number)
        first, number = first + len(part), number + 1
    expected = {}
    for minute in {row["ts"] - row["ts"] % 60_000_000 for row in trades}:
        own = [row for row in trades if row["ts"] - row["ts"] % 60_000_000 == minute]
        batches = {batch_of[str(row)] for row in own}
        for row in own:
            said = [batch_of[str(other)] for other in amendments if other["ref_id"] == row["trade_id"]]
            batches |= {max(number, batch_of[str(row)]) for number in said}
        expected[OPEN + timedelta(microseconds=minute - micros(OPEN))] = (
            *bar_of(own, amendments),
            len(batches),
            INGESTED + timedelta(seconds=max(batches)),
        )
    names = (*VALUES, "revision", "revised_at")
    found = {bar_at: tuple(bar[name] for name in names) for (_, bar_at), bar in newest_bars(platform).items()}
    assert found == expected, f"seed {SEED}:{example}"
    published: dict[Any, int] = {}
    for _, batch in sorted(platform.postgres.batches.items()):
        for row in batch.bar_rows.to_pylist() if batch.bar_rows is not None else ():
            assert row["revision"] == published.get(row["bar_at"], 0) + 1, f"seed {SEED}:{example}"
            published[row["bar_at"]] = row["revision"]
