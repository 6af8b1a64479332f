"""The bars that the proof computes, against bars computed one trade at a time with decimals."""

import random
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from market.tables import AMENDMENTS, BAR_REVISIONS, TRADES
from tests.unit.lean_conditions import judgement, left_out
from tests.unit.verify.tiny_lake import FIRST_BATCH, OPEN, SESSION
from verify.bars import build_bars, counted
from verify.lake import schema_of

Row = dict[str, Any]

_MILLIONTH = Decimal("0.000001")
COUNTS = ("trade_count", "excluded_trade_count", "cancelled_trade_count", "corrected_trade_count")


def as_it_counts(trade: Row, amendments: list[Row]) -> Row:
    """Return a trade as the newest of its amendments says, with the batches that touched it."""
    own = [row for row in amendments if row["trade_id"] == trade["trade_id"]]
    stamps = {trade["ingested_at"], *(max(row["ingested_at"], trade["ingested_at"]) for row in own)}
    newest = max(own, key=lambda row: (row["amended_at"], row["kind"] == "cancel", row["price"] or 0), default=None)
    if newest is None:
        return {**trade, "said": None, "stamps": stamps}
    if newest["kind"] == "cancel":
        return {**trade, "said": "cancel", "stamps": stamps}
    return {
        **trade,
        **{name: newest[name] for name in ("price", "size")},
        **judgement(newest["conditions"]),
        "said": "correction",
        "stamps": stamps,
    }


def bars_one_by_one(trades: list[Row], amendments: list[Row]) -> dict[Any, Row]:
    """Return the bars by their start: plain loops over exact decimals."""
    bars: dict[Any, Row] = {}
    for minute in {trade["bar_at"] for trade in trades}:
        every = [as_it_counts(trade, amendments) for trade in trades if trade["bar_at"] == minute]
        members = [trade for trade in every if trade["said"] != "cancel"]
        stamps = set().union(*(trade["stamps"] for trade in every))
        ordered = sorted(members, key=lambda trade: (trade["traded_at"], trade["sequence"], trade["price"]))
        priced = [Decimal(trade["price"]) / 10**6 for trade in ordered if trade["counts_for_open_close"]]
        reached = [Decimal(trade["price"]) / 10**6 for trade in ordered if trade["counts_for_high_low"]]
        reasons = [trade["left_out_for"] for trade in members]
        counted = [trade for trade in members if trade["counts_for_volume"]]
        volume = sum(trade["size"] for trade in counted)
        notional = sum((Decimal(trade["price"]) / 10**6 * trade["size"] for trade in counted), Decimal(0))
        bars[minute] = {
            "open": priced[0] if priced else None,
            "high": max(reached, default=None),
            "low": min(reached, default=None),
            "close": priced[-1] if priced else None,
            "volume": volume,
            "notional": notional,
            "vwap": (notional / volume).quantize(_MILLIONTH, ROUND_HALF_UP) if volume else None,
            "trade_count": len(members),
            "excluded_trade_count": len(members) - reasons.count(None),
            "left_out": left_out(reasons),
            "cancelled_trade_count": len(every) - len(members),
            "corrected_trade_count": sum(trade["said"] == "correction" for trade in members),
            "revision": len(stamps),
            "revised_at": max(stamps),
        }
    return bars


def frame(trades: list[Row], amendments: list[Row] | None = None) -> pl.DataFrame:
    known = pl.DataFrame(amendments or [], schema=schema_of(AMENDMENTS), orient="row")
    return counted(pl.DataFrame(trades, schema=schema_of(TRADES), orient="row"), known)


def amendment(number: int, **others: object) -> Row:
    return {
        "source": "lean",
        "symbol": "SPY",
        "exchange": "",
        "topic": "market.trades.v1",
        "partition": 1,
        "offset": number,
        **others,
    }


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
        **judgement(""),
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
            "counts_for_open_close": st.booleans(),
            "counts_for_high_low": st.booleans(),
            "left_out_for": st.sampled_from([None, "sweep", "average_price", "official_close"]),
            "counts_for_volume": st.booleans(),
            "ingested_at": st.integers(0, 2).map(lambda batch: FIRST_BATCH + timedelta(seconds=batch)),
        }
    ),
    min_size=1,
    max_size=12,
).map(_numbered)


some_amendments = st.lists(
    st.fixed_dictionaries(
        {
            "trade_id": st.integers(0, 14).map(lambda number: f"{number:04}"),
            "kind": st.sampled_from(["cancel", "correction"]),
            "amended_at": st.integers(0, 2).map(lambda seconds: OPEN + timedelta(seconds=seconds)),
            "price": st.integers(1, 10**18 - 1) | st.integers(99_000_000, 101_000_000),
            "size": st.integers(1, 500),
            "conditions": st.sampled_from(["", "1", "20", "1000000"]),
            "ingested_at": st.integers(0, 3).map(lambda batch: FIRST_BATCH + timedelta(seconds=batch)),
        }
    ),
    max_size=10,
    unique_by=lambda row: (row["trade_id"], row["amended_at"], row["kind"]),
).map(
    lambda rows: [
        amendment(
            number, **({**row, "price": None, "size": None, "conditions": ""} if row["kind"] == "cancel" else row)
        )
        for number, row in enumerate(rows)
    ]
)


@given(some_trades, some_amendments)
def test_bars_equal_those_computed_one_trade_at_a_time(trades: list[Row], amendments: list[Row]) -> None:
    with localcontext(prec=60):
        expected = bars_one_by_one(trades, amendments)
        for bar in build_bars(frame(trades, amendments)).iter_rows(named=True):
            wanted = expected.pop(bar["bar_at"])
            for name in ("open", "high", "low", "close", "vwap", "notional"):
                assert bar[name] == (None if wanted[name] is None else int(wanted[name] * 10**6)), name
            for name in ("volume", *COUNTS, "left_out", "revision", "revised_at"):
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
