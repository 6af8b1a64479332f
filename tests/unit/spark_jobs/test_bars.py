"""Bars against a computation of their own, one trade at a time in exact decimals, and against hand-written cases."""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from market.tables import TRADES
from spark_jobs.schemas import spark_schema
from spark_jobs.transforms.bars import build_bars
from tests.spark.messages import INGESTED, OPEN

pytestmark = pytest.mark.spark

Trade = dict[str, Any]
SEED = 4
EXAMPLES = 120
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
        "counts_for_price": True,
        "counts_for_volume": True,
        "eligibility_version": 1,
        "topic": "t",
        "partition": 0,
        "offset": 0,
        "ingested_at": INGESTED,
        **others,
    }


def frame(spark: SparkSession, trades: Iterable[Trade]) -> DataFrame:
    rows = [tuple(row[name] for name in TRADES.column_names) for row in trades]
    return spark.createDataFrame(rows, spark_schema(TRADES))


def collected(bars: DataFrame) -> dict[tuple[str, datetime], dict[str, Any]]:
    return {(row["symbol"], row["bar_at"]): row.asDict() for row in bars.collect()}


def one_at_a_time(trades: Iterable[Trade]) -> dict[tuple[str, datetime], dict[str, Any]]:
    """Return the bars, computed by the definition: the oracle."""
    minutes: dict[tuple[str, datetime], list[Trade]] = {}
    for row in trades:
        minutes.setdefault((row["symbol"], row["bar_at"]), []).append(row)
    with localcontext(prec=60):
        return {key: bar_of(rows) for key, rows in minutes.items()}


def bar_of(rows: list[Trade]) -> dict[str, Any]:
    ordered = sorted(rows, key=lambda row: (row["traded_at"], row["sequence"], row["price"]))
    prices = [row["price"] for row in ordered if row["counts_for_price"]]
    counting = [row for row in rows if row["counts_for_volume"]]
    volume = sum(row["size"] for row in counting)
    notional = sum((row["price"] * row["size"] for row in counting), Decimal(0))
    vwap = (notional / volume).quantize(Decimal("0.000001"), ROUND_HALF_UP) if volume else None
    batches = {row["ingested_at"] for row in rows}
    values = {"open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1]} if prices else NOTHING
    return {
        **values,
        "volume": volume,
        "notional": notional,
        "vwap": vwap,
        "trade_count": len(rows),
        "excluded_trade_count": len(rows) - len(prices),
        "revision": len(batches),
        "revised_at": max(batches),
    }


def in_utc(bar: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: bar[name].astimezone(INGESTED.tzinfo) if name == "revised_at" else bar[name] for name in names}


def assert_same(found: dict[tuple[str, datetime], dict[str, Any]], expected: dict[tuple[str, datetime], Any]) -> None:
    aware = {(symbol, bar_at.astimezone(INGESTED.tzinfo)): bar for (symbol, bar_at), bar in found.items()}
    assert aware.keys() == expected.keys()
    for key, wanted in expected.items():
        assert in_utc(aware[key], wanted) == wanted, (key, f"seed {SEED}")


def random_trades(symbol: str, chance: random.Random) -> list[Trade]:
    """Return a few trades with many ties; now and then with the greatest prices and sizes."""
    moments = [0, 1, 59_999_999, 60_000_000, 61_000_000]
    return [
        trade(
            symbol,
            str(Decimal(chance.choice([chance.randint(1, 10**18 - 1), chance.randint(99, 101) * 10**6])) / 10**6),
            chance.choice([1, 3, chance.randint(1, 10**12)]),
            after_micros=chance.choice(moments),
            sequence=chance.choice([0, 1, 2**37 - 1]),
            counts_for_price=chance.random() < 0.7,
            counts_for_volume=chance.random() < 0.7,
            ingested_at=INGESTED + timedelta(seconds=chance.randint(0, 2)),
        )
        for _ in range(chance.randint(1, 9))
    ]


def test_bars_equal_those_of_one_trade_at_a_time_in_any_order_and_any_partitioning(spark: SparkSession) -> None:
    chance = random.Random(SEED)
    trades = [row for number in range(EXAMPLES) for row in random_trades(f"S{number}", chance)]
    expected = one_at_a_time(trades)
    assert_same(collected(build_bars(frame(spark, trades).coalesce(1))), expected)
    chance.shuffle(trades)
    assert_same(collected(build_bars(frame(spark, trades).repartition(5))), expected)


def test_hand_written_minutes(spark: SparkSession) -> None:
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
            [trade("BIG", "999999999999.999999", 10**12)] * 3,
            {
                "volume": 3 * 10**12,
                "notional": Decimal("2999999999999999997000000"),
                "vwap": Decimal("999999999999.999999"),
            },
        ),
        "NONE": (
            [trade("NONE", "5", counts_for_price=False, counts_for_volume=False)],
            {**NOTHING, "volume": 0, "notional": 0, "vwap": None, "trade_count": 1, "excluded_trade_count": 1},
        ),
        "VOLUME": (
            [trade("VOLUME", "5", counts_for_price=False), trade("VOLUME", "6", counts_for_volume=False)],
            {"open": Decimal(6), "high": Decimal(6), "volume": 100, "vwap": Decimal(5), "excluded_trade_count": 1},
        ),
        "LATE": (
            [trade("LATE", "5"), trade("LATE", "6", ingested_at=late), trade("LATE", "7", ingested_at=late)],
            {"revision": 2, "revised_at": late, "trade_count": 3},
        ),
    }
    bars = collected(build_bars(frame(spark, [row for trades, _ in cases.values() for row in trades])))
    found = {(symbol, bar_at): bar for (symbol, bar_at), bar in bars.items()}
    assert_same(found, {(symbol, OPEN): expected for symbol, (_, expected) in cases.items()})
