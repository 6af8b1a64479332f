"""The bars that the proof computes, against bars computed one trade at a time with decimals."""

import random
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from market.tables import BAR_REVISIONS, TRADES
from tests.unit.verify.tiny_lake import FIRST_BATCH, OPEN, SESSION
from verify.bars import build_bars
from verify.lake import schema_of

Row = dict[str, Any]

_MILLIONTH = Decimal("0.000001")


def bars_one_by_one(trades: list[Row]) -> dict[Any, Row]:
    """Return the bars by their start: plain loops over exact decimals."""
    bars: dict[Any, Row] = {}
    for minute in {trade["bar_at"] for trade in trades}:
        members = [trade for trade in trades if trade["bar_at"] == minute]
        ordered = sorted(members, key=lambda trade: (trade["traded_at"], trade["sequence"], trade["price"]))
        priced = [Decimal(trade["price"]) / 10**6 for trade in ordered if trade["counts_for_price"]]
        counted = [trade for trade in members if trade["counts_for_volume"]]
        volume = sum(trade["size"] for trade in counted)
        notional = sum((Decimal(trade["price"]) / 10**6 * trade["size"] for trade in counted), Decimal(0))
        bars[minute] = {
            "open": priced[0] if priced else None,
            "high": max(priced, default=None),
            "low": min(priced, default=None),
            "close": priced[-1] if priced else None,
            "volume": volume,
            "notional": notional,
            "vwap": (notional / volume).quantize(_MILLIONTH, ROUND_HALF_UP) if volume else None,
            "trade_count": len(members),
            "excluded_trade_count": len(members) - len(priced),
            "revision": len({trade["ingested_at"] for trade in members}),
            "revised_at": max(trade["ingested_at"] for trade in members),
        }
    return bars


def frame(trades: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(trades, schema=schema_of(TRADES), orient="row")


def trade(number: int, offset_micros: int, price: int, size: int, **others: object) -> Row:
    at = OPEN + timedelta(microseconds=offset_micros)
    return {
        "source": "lean",
        "symbol": "SPY",
        "trade_id": f"{number:04}",
        "traded_at": at,
        "bar_at": at.replace(second=0, microsecond=0),
        "session_date": SESSION,
        "segment": "regular",
        "price": price,
        "size": size,
        "sequence": 0,
        "exchange": "",
        "conditions": "",
        "counts_for_price": True,
        "counts_for_volume": True,
        "eligibility_version": 1,
        "topic": "market.trades.v1",
        "partition": 0,
        "offset": number,
        "ingested_at": FIRST_BATCH,
        **others,
    }


def _numbered(rows: list[Row]) -> list[Row]:
    return [trade(number, **row) for number, row in enumerate(rows)]


some_trades = st.lists(
    st.fixed_dictionaries(
        {
            "offset_micros": st.sampled_from([0, 1, 59_999_999, 60_000_000, 61_000_000, 150_000_000]),
            "price": st.integers(1, 10**18 - 1) | st.integers(99_000_000, 101_000_000),
            "size": st.integers(1, 10**12) | st.integers(1, 500),
            "sequence": st.integers(0, 3),
            "counts_for_price": st.booleans(),
            "counts_for_volume": st.booleans(),
            "ingested_at": st.integers(0, 2).map(lambda batch: FIRST_BATCH + timedelta(seconds=batch)),
        }
    ),
    min_size=1,
    max_size=12,
).map(_numbered)


@given(some_trades)
def test_bars_equal_those_computed_one_trade_at_a_time(trades: list[Row]) -> None:
    expected = bars_one_by_one(trades)
    for bar in build_bars(frame(trades)).iter_rows(named=True):
        wanted = expected.pop(bar["bar_at"])
        for name in ("open", "high", "low", "close", "vwap", "notional"):
            assert bar[name] == (None if wanted[name] is None else int(wanted[name] * 10**6)), name
        for name in ("volume", "trade_count", "excluded_trade_count", "revision", "revised_at"):
            assert bar[name] == wanted[name], name
    assert expected == {}


@given(some_trades, st.randoms(use_true_random=False))
def test_the_order_in_which_trades_come_changes_no_bar(trades: list[Row], shuffler: random.Random) -> None:
    shuffled = trades.copy()
    shuffler.shuffle(shuffled)
    key = list(BAR_REVISIONS.key[:3])
    assert build_bars(frame(trades)).sort(key).equals(build_bars(frame(shuffled)).sort(key))


def test_vwap_is_rounded_half_up() -> None:
    # (1 + 2) millionths / 2 shares = 1.5 millionths.
    bar = build_bars(frame([trade(1, 0, 1, 1), trade(2, 1, 2, 1)]))
    assert bar["vwap"].to_list() == [2]


def test_no_trades_give_no_bars() -> None:
    assert build_bars(frame([])).columns == list(BAR_REVISIONS.column_names)
