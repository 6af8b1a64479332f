"""Bars against a computation of their own, one trade at a time in exact decimals, and against hand-written cases."""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import polars as pl
import pytest

from market.tables import AMENDMENTS, BAR_REVISIONS, TRADES
from spark_jobs.schemas import frame_schema
from spark_jobs.transforms.amend import amend
from spark_jobs.transforms.bars import SUM_SCHEMA, add_sums, finish, sum_trades
from tests.unit.lean_conditions import left_out
from tests.unit.spark_jobs.messages import INGESTED, OPEN, in_units

Trade = dict[str, Any]
Bars = dict[tuple[str, datetime], dict[str, Any]]
EXAMPLES = 150
LARGEST_PRICE = "999999999999.999999"
COUNTS_FOR = ("counts_for_open_close", "counts_for_high_low", "counts_for_volume")
NOTHING = {"open": None, "high": None, "low": None, "close": None}


def trade(symbol: str, price: str, size: int = 100, *, after_micros: int = 0, **others: Any) -> Trade:
    traded_at = OPEN + timedelta(microseconds=after_micros)
    return {
        "source": "test",
        "symbol": symbol,
        "trade_id": "",
        "traded_at": traded_at,
        "bar_at": traded_at.replace(second=0, microsecond=0),
        "session_date": OPEN.date(),
        "segment": "regular",
        "price": Decimal(price),
        "size": size,
        "sequence": 0,
        "exchange": "",
        "conditions": "",
        "counts_for_open_close": True,
        "counts_for_high_low": True,
        "counts_for_volume": True,
        "left_out_for": None,
        "eligibility_version": 1,
        "topic": "t",
        "partition": 0,
        "offset": 0,
        "ingested_at": INGESTED,
        **others,
    }


def frame(trades: Iterable[Trade]) -> pl.DataFrame:
    rows = [{**row, "price": int(row["price"].scaleb(6))} for row in trades]
    return amend(pl.DataFrame(rows, schema=frame_schema(TRADES)), pl.DataFrame(schema=frame_schema(AMENDMENTS)))


def collected(bars: pl.DataFrame) -> Bars:
    assert bars.schema == frame_schema(BAR_REVISIONS)
    found = {(row["symbol"], row["bar_at"]): row for row in in_units(bars, BAR_REVISIONS)}
    assert len(found) == bars.height, "a bar came out twice"
    return found


def in_batches(trades: Iterable[Trade]) -> list[list[Trade]]:
    """Return the trades of each batch, in the order of their stamps."""
    batches: dict[datetime, list[Trade]] = {}
    for row in sorted(trades, key=lambda row: row["ingested_at"]):
        batches.setdefault(row["ingested_at"], []).append(row)
    return list(batches.values())


def one_at_a_time(trades: Iterable[Trade]) -> Bars:
    """Return the bars, computed by the definition: the oracle."""
    minutes: dict[tuple[str, datetime], list[Trade]] = {}
    for row in trades:
        minutes.setdefault((row["symbol"], row["bar_at"]), []).append(row)
    with localcontext(prec=60):
        return {key: bar_of(rows) for key, rows in minutes.items()}


def bar_of(rows: list[Trade]) -> dict[str, Any]:
    ordered = sorted(rows, key=lambda row: (row["traded_at"], row["sequence"], row["price"]))
    prices = [row["price"] for row in ordered if row["counts_for_open_close"]]
    reach = [row["price"] for row in ordered if row["counts_for_high_low"]]
    reasons = [row["left_out_for"] for row in rows]
    counting = [row for row in rows if row["counts_for_volume"]]
    volume = sum(row["size"] for row in counting)
    notional = sum((row["price"] * row["size"] for row in counting), Decimal(0))
    vwap = (notional / volume).quantize(Decimal("0.000001"), ROUND_HALF_UP) if volume else None
    batches = {row["ingested_at"] for row in rows}
    return {
        "open": prices[0] if prices else None,
        "close": prices[-1] if prices else None,
        "high": max(reach, default=None),
        "low": min(reach, default=None),
        "volume": volume,
        "notional": notional,
        "vwap": vwap,
        "trade_count": len(rows),
        "excluded_trade_count": len(rows) - reasons.count(None),
        "left_out": left_out(reasons),
        "revision": len(batches),
        "revised_at": max(batches),
    }


def assert_same(found: Bars, expected: Bars, note: str = "") -> None:
    assert found.keys() == expected.keys(), note
    for key, wanted in expected.items():
        assert {name: found[key][name] for name in wanted} == wanted, (key, note)


def random_trades(symbol: str, chance: random.Random) -> list[Trade]:
    """Return a few trades with many ties; now and then with the greatest prices and sizes."""
    moments = [0, 1, 59_999_999, 60_000_000, 61_000_000]
    prices = [str(Decimal(chance.randint(1, 10**18 - 1)) / 10**6), "99", "100", "101", "0.000001", LARGEST_PRICE]
    return [
        trade(
            symbol,
            chance.choice(prices),
            chance.choice([1, 3, chance.randint(1, 10**12), 10**12]),
            after_micros=chance.choice(moments),
            sequence=chance.choice([0, 1, 2**37 - 1]),
            counts_for_open_close=chance.random() < 0.7,
            counts_for_high_low=chance.random() < 0.7,
            left_out_for=chance.choice([None, None, "sweep", "official_open", "average_price"]),
            counts_for_volume=chance.random() < 0.7,
            ingested_at=INGESTED + timedelta(milliseconds=chance.randint(0, 3)),
        )
        for _ in range(chance.randint(1, 9))
    ]


def every_trade(chance: random.Random) -> list[Trade]:
    """Return the trades of all examples, shuffled."""
    trades = [row for number in range(EXAMPLES) for row in random_trades(f"S{number}", chance)]
    chance.shuffle(trades)
    return trades


@pytest.mark.parametrize("seed", range(3))
def test_the_bars_of_one_batch_equal_those_of_one_trade_at_a_time(seed: int) -> None:
    trades = [{**row, "ingested_at": INGESTED} for row in every_trade(random.Random(seed))]
    assert_same(collected(finish(sum_trades(frame(trades)))), one_at_a_time(trades), f"seed {seed}")


@pytest.mark.parametrize("seed", range(3))
def test_bars_depend_on_the_batches_of_their_trades_and_not_on_how_these_are_added(seed: int) -> None:
    chance = random.Random(seed)
    trades = every_trade(chance)
    expected = one_at_a_time(trades)
    assert {bar["revision"] for bar in expected.values()} == {1, 2, 3, 4}
    sums = [sum_trades(frame(batch)) for batch in in_batches(trades)]
    assert_same(collected(finish(add_sums(pl.concat(sums)))), expected, f"seed {seed}")
    for _ in range(3):
        left = list(sums)
        while len(left) > 1:  # add any two
            chance.shuffle(left)
            left.append(add_sums(pl.concat([left.pop(), left.pop()])))
        assert_same(collected(finish(left[0])), expected, f"seed {seed}")


@pytest.mark.parametrize("seed", range(3))
def test_each_batch_leaves_the_bars_of_the_trades_until_then(seed: int) -> None:
    trades = every_trade(random.Random(seed))
    known, until_then = pl.DataFrame(schema=SUM_SCHEMA), []
    for batch in in_batches(trades):
        until_then += batch
        known = add_sums(pl.concat([known, sum_trades(frame(batch))]))
        assert_same(collected(finish(known)), one_at_a_time(until_then), f"seed {seed}")


def test_no_trades_are_no_bars() -> None:
    nothing = sum_trades(frame([]))
    assert nothing.schema == pl.Schema(SUM_SCHEMA)
    assert collected(finish(add_sums(nothing))) == {}


def test_the_greatest_position_of_a_minute_does_not_overflow() -> None:
    greatest = {"after_micros": 59_999_999, "sequence": 2**37 - 1}
    trades = [trade("A", LARGEST_PRICE, 10**12, **greatest), trade("A", "0.000001", 1), trade("A", "5", **greatest)]
    assert_same(collected(finish(sum_trades(frame(trades)))), one_at_a_time(trades))


def test_hand_written_minutes() -> None:
    late = INGESTED + timedelta(seconds=5)
    cases: dict[str, tuple[list[Trade], dict[str, Any]]] = {
        "TIME": (
            [trade("TIME", "3", after_micros=2), trade("TIME", "1", after_micros=1), trade("TIME", "2")],
            {"open": Decimal(2), "close": Decimal(3), "high": Decimal(3), "low": Decimal(1), "volume": 300},
        ),
        "SEQ": (
            [trade("SEQ", "5", sequence=2), trade("SEQ", "9", sequence=1), trade("SEQ", "1", sequence=2**37 - 1)],
            {"open": Decimal(9), "close": Decimal(1)},
        ),
        "TIE": ([trade("TIE", "7"), trade("TIE", "6")], {"open": Decimal(6), "close": Decimal(7)}),
        "UP": (
            [trade("UP", "0.000001", 1), trade("UP", "0.000002", 1)],  # 0.0000015 exactly: half up
            {"vwap": Decimal("0.000002"), "notional": Decimal("0.000003")},
        ),
        "DOWN": (
            [trade("DOWN", "0.000001", 2), trade("DOWN", "0.000002", 1)],  # 0.00000133…
            {"vwap": Decimal("0.000001")},
        ),
        "BIG": (
            [trade("BIG", LARGEST_PRICE, 10**12)] * 3,
            {
                "volume": 3 * 10**12,
                "notional": Decimal("2999999999999999997000000"),
                "vwap": Decimal(LARGEST_PRICE),
            },
        ),
        "NONE": (
            [trade("NONE", "5", left_out_for="official_close", **dict.fromkeys(COUNTS_FOR, False))],
            {
                **NOTHING,
                "volume": 0,
                "notional": 0,
                "vwap": None,
                "trade_count": 1,
                "excluded_trade_count": 1,
                "left_out": '{"official_close": 1}',
            },
        ),
        "VOLUME": (
            [trade("VOLUME", "5", counts_for_open_close=False), trade("VOLUME", "6", counts_for_volume=False)],
            {"open": Decimal(6), "low": Decimal(5), "volume": 100, "vwap": Decimal(5), "left_out": None},
        ),
        "AUCTION": (  # reported up to 16 minutes after the start of its minute
            [
                trade("AUCTION", "5", after_micros=59_999_999, sequence=2**37 - 1),
                trade("AUCTION", LARGEST_PRICE, after_micros=959_999_999, sequence=2**37 - 1, bar_at=OPEN),
            ],
            {"open": Decimal(5), "close": Decimal(LARGEST_PRICE), "high": Decimal(LARGEST_PRICE)},
        ),
        "LATE": (
            [trade("LATE", "5"), trade("LATE", "6", ingested_at=late), trade("LATE", "7", ingested_at=late)],
            {"revision": 2, "revised_at": late, "trade_count": 3},
        ),
    }
    trades = [row for rows, _ in cases.values() for row in rows]
    bars = collected(finish(add_sums(pl.concat([sum_trades(frame(batch)) for batch in in_batches(trades)]))))
    assert_same(bars, {(symbol, OPEN): expected for symbol, (_, expected) in cases.items()})
