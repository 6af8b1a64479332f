"""The revisions of bars that the proof computes, against bars computed one trade at a time with decimals."""

import random
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from market.tables import AMENDMENTS, BAR_REVISIONS, TRADES
from tests.unit.lean_conditions import judgement, left_out
from tests.unit.verify.tiny_lake import FIRST_BATCH, OPEN, SESSION
from verify.lake import schema_of
from verify.revisions import BAR_KEY, counted, every_revision

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


def revisions_one_by_one(trades: list[Row], amendments: list[Row]) -> dict[Any, Row]:
    """Return every revision of the bars by their start and number: plain loops over exact decimals."""
    found: dict[Any, Row] = {}
    for minute in {trade["bar_at"] for trade in trades}:
        own = [trade for trade in trades if trade["bar_at"] == minute]
        stamps = set().union(*(as_it_counts(trade, amendments)["stamps"] for trade in own))
        for number, stamp in enumerate(sorted(stamps), start=1):
            known = [trade for trade in own if trade["ingested_at"] <= stamp]
            said = [row for row in amendments if row["ingested_at"] <= stamp]
            bar = bar_one_by_one([as_it_counts(trade, said) for trade in known])
            found[minute, number] = {**bar, "revision": number, "revised_at": stamp}
    return found


def bar_one_by_one(every: list[Row]) -> Row:
    """Return the bar of trades as they count."""
    members = [trade for trade in every if trade["said"] != "cancel"]
    ordered = sorted(members, key=lambda trade: (trade["traded_at"], trade["sequence"], trade["price"]))
    priced = [Decimal(trade["price"]) / 10**6 for trade in ordered if trade["counts_for_open_close"]]
    reached = [Decimal(trade["price"]) / 10**6 for trade in ordered if trade["counts_for_high_low"]]
    reasons = [trade["left_out_for"] for trade in members]
    in_volume = [trade for trade in members if trade["counts_for_volume"]]
    volume = sum(trade["size"] for trade in in_volume)
    notional = sum((Decimal(trade["price"]) / 10**6 * trade["size"] for trade in in_volume), Decimal(0))
    return {
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
    }


def revisions(trades: list[Row], amendments: list[Row] | None = None) -> pl.DataFrame:
    known = pl.DataFrame(amendments or [], schema=schema_of(AMENDMENTS), orient="row")
    return every_revision(pl.DataFrame(trades, schema=schema_of(TRADES), orient="row"), known)


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


@settings(deadline=None)
@given(some_trades, some_amendments)
def test_revisions_equal_those_computed_one_trade_at_a_time(trades: list[Row], amendments: list[Row]) -> None:
    with localcontext(prec=60):
        expected = revisions_one_by_one(trades, amendments)
        for bar in revisions(trades, amendments).iter_rows(named=True):
            wanted = expected.pop((bar["bar_at"], bar["revision"]))
            for name in ("open", "high", "low", "close", "vwap", "notional"):
                assert bar[name] == (None if wanted[name] is None else int(wanted[name] * 10**6)), name
            for name in ("volume", *COUNTS, "left_out", "revised_at"):
                assert bar[name] == wanted[name], name
        assert expected == {}


@settings(deadline=None, max_examples=40)
@given(some_trades, some_amendments, st.randoms(use_true_random=False))
def test_the_order_in_which_rows_are_read_changes_no_revision(
    trades: list[Row], amendments: list[Row], shuffler: random.Random
) -> None:
    shuffled = [shuffler.sample(rows, len(rows)) for rows in (trades, amendments)]
    key = [*BAR_KEY, "revision"]
    assert revisions(trades, amendments).sort(key).equals(revisions(*shuffled).sort(key))


def test_a_late_trade_and_a_late_cancel_each_make_a_revision() -> None:
    second, third = FIRST_BATCH + timedelta(seconds=1), FIRST_BATCH + timedelta(seconds=2)
    cancel = amendment(9, trade_id="0001", kind="cancel", amended_at=third, conditions="", ingested_at=third)
    late = trade(2, 0, 5, 7, ingested_at=second)
    found = revisions([trade(1, 1, 3, 4), late], [{**cancel, "price": None, "size": None}]).sort("revision")
    told = found.select("revision", "revised_at", "open", "close", "volume", "trade_count", "cancelled_trade_count")
    assert told.rows() == [
        (1, FIRST_BATCH, 3, 3, 4, 1, 0),
        (2, second, 5, 3, 11, 2, 0),
        (3, third, 5, 5, 7, 1, 1),
    ]


def test_of_two_amendments_at_one_moment_the_cancel_holds() -> None:
    said = {"trade_id": "0001", "amended_at": FIRST_BATCH, "conditions": "", "ingested_at": FIRST_BATCH}
    cancel = amendment(8, **said, kind="cancel", price=None, size=None)
    correction = amendment(9, **said, kind="correction", price=9, size=9)
    known = pl.DataFrame([correction, cancel], schema=schema_of(AMENDMENTS), orient="row")
    found = counted(pl.DataFrame([trade(1, 0, 3, 4)], schema=schema_of(TRADES), orient="row"), known)
    assert found.select("said", "price").rows() == [("cancel", 3)]


def test_vwap_is_rounded_half_up() -> None:
    # (1 + 2) millionths / 2 shares = 1.5 millionths.
    bar = revisions([trade(1, 0, 1, 1), trade(2, 1, 2, 1)])
    assert bar["vwap"].to_list() == [2]


def test_no_trades_give_no_revisions() -> None:
    assert revisions([]).equals(pl.DataFrame(schema=schema_of(BAR_REVISIONS)))
