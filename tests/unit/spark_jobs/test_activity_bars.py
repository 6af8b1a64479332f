"""Bars by activity against bars made one trade at a time, and against hand-written ones."""

import random
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.tables import AMENDMENTS, TRADES
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.activity import bars_of_session, sessions_with
from spark_jobs.schemas import frame_schema
from spark_jobs.transforms.activity import COLUMNS, Activity, activity_bars
from spark_jobs.transforms.amend import amend
from spark_jobs.transforms.kinds import TRADES as TRADE_KIND
from tests.unit.spark_jobs.fake_platform import Platform, Process
from tests.unit.spark_jobs.messages import OPEN, TRADE, changed, micros
from tests.unit.spark_jobs.test_bars import Trade, trade

SYMBOLS = ("A", "B")
Row = dict[str, Any]


def frame(trades: list[Trade]) -> pl.DataFrame:
    rows = [{**row, "price": int(row["price"].scaleb(6))} for row in trades]
    return amend(pl.DataFrame(rows, schema=frame_schema(TRADES)), pl.DataFrame(schema=frame_schema(AMENDMENTS)))


def one_at_a_time(trades: list[Trade], by: Activity, size: int) -> list[Row]:
    """Return the bars by the definition: the oracle."""
    bars: list[Row] = []
    for symbol in SYMBOLS:
        own = [row for row in trades if row["symbol"] == symbol]
        own.sort(key=lambda row: (row["traded_at"], row["sequence"], row["price"], row["size"], row["trade_id"]))
        members: dict[int, list[Trade]] = {}
        reached = Decimal(0)
        for row in own:
            members.setdefault(int(reached // size), []).append(row)
            what = {"tick": Decimal(1), "volume": Decimal(row["size"]), "dollar": row["price"] * row["size"]}[by.value]
            reached += what if row["counts_for_volume"] else 0
        for number, (multiple, rows) in enumerate(sorted(members.items())):
            volume = sum(row["size"] for row in rows if row["counts_for_volume"])
            notional = sum((row["price"] * row["size"] for row in rows if row["counts_for_volume"]), Decimal(0))
            ends = [row["price"] for row in rows if row["counts_for_open_close"]]
            reach = [row["price"] for row in rows if row["counts_for_high_low"]]
            bars.append(
                {
                    "symbol": symbol,
                    "bar_number": number,
                    "first_trade_at": rows[0]["traded_at"],
                    "last_trade_at": rows[-1]["traded_at"],
                    "open": ends[0] if ends else None,
                    "close": ends[-1] if ends else None,
                    "high": max(reach, default=None),
                    "low": min(reach, default=None),
                    "volume": volume,
                    "notional": notional,
                    "vwap": (notional / volume).quantize(Decimal("0.000001"), ROUND_HALF_UP) if volume else None,
                    "trade_count": len(rows),
                    "is_full": reached >= (multiple + 1) * size,
                }
            )
    return bars


def as_rows(bars: pl.DataFrame) -> list[Row]:
    prices = ("open", "high", "low", "close", "notional", "vwap")
    scaled = [
        {
            name: Decimal(value).scaleb(-6) if name in prices and value is not None else value
            for name, value in row.items()
        }
        for row in bars.sort("symbol", "bar_number").iter_rows(named=True)
    ]
    return [{name: row[name] for name in row if name not in ("source", "session_date")} for row in scaled]


some_trades = st.lists(
    st.builds(
        lambda symbol, price, size, after, sequence, flags: trade(
            symbol,
            price,
            size,
            after_micros=after,
            sequence=sequence,
            counts_for_open_close=flags[0],
            counts_for_high_low=flags[1],
            counts_for_volume=flags[2],
        ),
        st.sampled_from(SYMBOLS),
        st.sampled_from(["0.000001", "1.5", "99", "100.25", "999999999999.999999"]),
        st.integers(1, 400) | st.just(10**12),
        st.integers(0, 5).map(lambda minutes: minutes * 61_000_000),
        st.integers(0, 2),
        st.tuples(*[st.sampled_from([True, True, True, False])] * 3),
    ),
    max_size=25,
).map(lambda rows: [{**row, "trade_id": str(number)} for number, row in enumerate(rows)])


@given(some_trades, st.sampled_from(Activity), st.integers(1, 500) | st.just(30_000))
def test_bars_are_those_made_one_trade_at_a_time(trades: list[Trade], by: Activity, size: int) -> None:
    with localcontext(prec=60):
        expected = one_at_a_time(trades, by, size)
        assert as_rows(activity_bars(frame(trades), by, size)) == expected


@given(some_trades, st.sampled_from(Activity), st.integers(1, 500), st.randoms(use_true_random=False))
def test_the_order_in_which_trades_come_changes_no_bar(
    trades: list[Trade], by: Activity, size: int, shuffler: random.Random
) -> None:
    shuffled = trades.copy()
    shuffler.shuffle(shuffled)
    assert as_rows(activity_bars(frame(trades), by, size)) == as_rows(activity_bars(frame(shuffled), by, size))


def test_a_large_trade_ends_its_bar_and_what_is_beyond_counts_for_the_next() -> None:
    trades = [trade("A", "10", size, after_micros=number) for number, size in enumerate((60, 190, 40, 5, 10))]
    bars = as_rows(activity_bars(frame(trades), Activity.VOLUME, 100))
    assert [(bar["bar_number"], bar["volume"], bar["trade_count"], bar["is_full"]) for bar in bars] == [
        (0, 250, 2, True),
        (1, 55, 3, True),  # 250, 290 and 295 shares had been traded before its trades; 305 after
    ]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two sessions of SPY, one trade before the open, one that is cancelled and one that is corrected."""
    minute = 60_000_000

    def at(number: int, moment: int, **others: object) -> bytes:
        return changed({**TRADE, "trade_id": f"t{number}", "sequence": number, "ts": moment, "size": 100, **others})

    opened, tomorrow = micros(OPEN), micros(OPEN + timedelta(days=1))
    cancel = {"kind": "cancel", "source": TRADE["source"], "symbol": "SPY", "ts": opened, "ref_id": "t2"}
    correction = {**cancel, "kind": "correction", "ref_id": "t3", "price": 55, "size": 150}
    messages = [
        at(0, opened - minute, price=10),
        *(at(number, opened + number * minute, price=10 + number) for number in range(1, 6)),
        at(6, tomorrow, price=20),
        changed(cancel),
        changed(correction),
    ]
    platform = Platform(tmp_path / "lake")
    Process(platform, TRADE_KIND).run(0, messages, 0)
    return Lake(str(platform.root))


def test_bars_come_from_the_trades_as_they_count(lake: Lake) -> None:
    first, second = sessions_with(lake, "SPY")
    assert second - first == timedelta(days=1)
    names = [column.name for column in COLUMNS]
    found = bars_of_session(lake, "SPY", first, Activity.VOLUME, 250, segment="regular")
    rows = [dict(zip(names, row, strict=True)) for row in found]
    # t1 (100), t3 corrected to 150 at 55, then t4 and t5.
    assert [(row["open"], row["high"], row["close"], row["volume"], row["is_full"]) for row in rows] == [
        (Decimal(11), Decimal(55), Decimal(55), 250, True),
        (Decimal(14), Decimal(15), Decimal(15), 200, False),
    ]
    whole = list(bars_of_session(lake, "SPY", first, Activity.TICK, 1000))
    assert whole[0][names.index("trade_count")] == 5
    assert list(bars_of_session(lake, "SPY", second, Activity.TICK, 1, source="another")) == []
