"""Every way to break law 2 is planted in a tiny lake and must be seen."""

import copy
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from market import tables
from tests.unit.verify.tiny_lake import SECOND_BATCH, TinyLake, problems

TRADES = "market.trades.v1"
CENT = Decimal("0.01")


def test_bars_written_out_by_hand_keep_the_law(tiny_lake: TinyLake) -> None:
    _, bars = tiny_lake.prove()
    assert bars.offending == []
    assert bars.holds
    assert bars.counts == {
        "trades": 4,
        "amendments": 0,
        "quotes": 1,
        "quotes_1m": 1,
        "vendor_bars": 2,
        "corporate_actions": 0,
        "latest_quotes": 1,
        "bars": 2,
        "revisions": 3,
        "symbol_sessions": 1,
    }


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "session is missing"),
        ([{"bar_count": 3}], "session differs"),
        ([{"newest_bar_at": None}], "session differs"),
        ([{"revised_at": None}], "session differs"),
        ([{}, {"symbol": "ZZZ"}], "session should not be"),
    ],
)
def test_bars_that_are_counted_wrongly_in_postgres_are_seen(
    tiny_lake: TinyLake, rows: list[dict[str, Any]], problem: str
) -> None:
    (counted,) = tiny_lake.published.bar_sessions().to_dicts()
    tiny_lake.published.session_rows = [{**counted, **changed} for changed in rows]
    _, bars = tiny_lake.prove()
    assert problems(bars) == {f"{problem} in lake.bar_sessions"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("open", Decimal("99.51")),
        ("high", Decimal("100.02")),
        ("low", Decimal("99.49")),
        ("close", None),
        ("volume", 601),
        ("notional", Decimal("74903.000001")),
        ("vwap", Decimal("124.838334")),
        ("trade_count", 4),
        ("excluded_trade_count", 0),
        ("left_out", '{"average_price": 1}'),
        ("segment", "pre"),
    ],
)
def test_a_bar_that_differs_in_gold_is_seen_by_its_column(tiny_lake: TinyLake, column: str, value: object) -> None:
    tiny_lake.row(tables.BAR_REVISIONS, revision=2)[column] = value
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar differs in gold/bar_revisions_1m"}
    assert set(bars.offending[0]["differs"]) == {column}
    assert bars.offending[0]["differs"][column]["found"] == value


@pytest.mark.parametrize(("column", "value"), [("close", Decimal("100.02")), ("volume", 599), ("revision", 1)])
def test_a_bar_that_differs_in_postgres_is_seen(tiny_lake: TinyLake, column: str, value: object) -> None:
    tiny_lake.published.bar_rows[0][column] = value
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar differs in lake.bars_1m"}
    assert set(bars.offending[0]["differs"]) == {column}


def test_a_stale_revision_in_postgres_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.published.bar_rows[0] = copy.deepcopy(tiny_lake.row(tables.BAR_REVISIONS, volume=400))
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar differs in lake.bars_1m"}
    assert bars.offending[0]["differs"]["revision"] == {"expected": 2, "found": 1}


def test_a_revision_that_was_never_made_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.BAR_REVISIONS].remove(tiny_lake.row(tables.BAR_REVISIONS, revision=2))
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar is missing in gold/bar_revisions_1m"}


def test_a_lost_first_revision_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.BAR_REVISIONS].remove(tiny_lake.row(tables.BAR_REVISIONS, volume=400))
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar is missing in gold/bar_revisions_1m"}
    assert bars.offending[0]["revision"] == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("open", Decimal("99.51")),
        ("high", None),
        ("low", Decimal("100.02")),
        ("close", Decimal(1)),
        ("volume", 399),
        ("notional", Decimal("55003.000001")),
        ("vwap", Decimal("137.5")),
        ("trade_count", 3),
        ("excluded_trade_count", 0),
        ("left_out", None),
        ("cancelled_trade_count", 1),
        ("corrected_trade_count", 1),
        ("revised_at", SECOND_BATCH),
    ],
)
def test_a_former_revision_that_differs_is_seen_by_its_column(tiny_lake: TinyLake, column: str, value: object) -> None:
    former = tiny_lake.row(tables.BAR_REVISIONS, volume=400)
    former[column] = value
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar differs in gold/bar_revisions_1m"}
    assert (bars.total_offending, bars.offending[0]["revision"]) == (1, 1)
    assert set(bars.offending[0]["differs"]) == {column}


def test_a_revision_of_a_batch_that_brought_nothing_is_seen(tiny_lake: TinyLake) -> None:
    alone = tiny_lake.row(tables.BAR_REVISIONS, volume=1)
    tiny_lake[tables.BAR_REVISIONS].append({**alone, "revision": 2, "revised_at": SECOND_BATCH})
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar should not be in gold/bar_revisions_1m"}


def test_a_doubled_revision_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.BAR_REVISIONS].append(copy.deepcopy(tiny_lake.row(tables.BAR_REVISIONS, revision=2)))
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar is more than once in gold/bar_revisions_1m"}


def test_a_revision_of_no_session_is_seen(tiny_lake: TinyLake) -> None:
    ghost = {**tiny_lake.row(tables.BAR_REVISIONS, volume=1), "session_date": None}
    tiny_lake[tables.BAR_REVISIONS].append(ghost)
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar should not be in gold/bar_revisions_1m"}


def test_a_session_is_looked_at_by_symbols_where_it_has_many_rows(
    tiny_lake: TinyLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verify.records.MOST_ROWS", 1)
    tiny_lake.row(tables.BAR_REVISIONS, revision=2)["volume"] += 1
    ghost = {**tiny_lake.row(tables.BAR_REVISIONS, volume=1), "symbol": "IBM"}
    tiny_lake[tables.BAR_REVISIONS].append(ghost)
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar differs in gold/bar_revisions_1m", "bar should not be in gold/bar_revisions_1m"}
    assert (bars.total_offending, bars.counts["trades"], bars.counts["bars"]) == (2, 4, 2)


def test_a_missing_bar_is_seen_in_gold_and_in_postgres(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.BAR_REVISIONS].remove(tiny_lake.row(tables.BAR_REVISIONS, volume=1))
    tiny_lake.published.bar_rows.pop()
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar is missing in gold/bar_revisions_1m", "bar is missing in lake.bars_1m"}


def test_a_bar_without_trades_is_seen(tiny_lake: TinyLake) -> None:
    ghost = copy.deepcopy(tiny_lake.published.bar_rows[1])
    tiny_lake.published.bar_rows.append({**ghost, "bar_at": ghost["bar_at"] + timedelta(minutes=5)})
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar should not be in lake.bars_1m"}


def test_a_bar_of_another_session_is_seen(tiny_lake: TinyLake) -> None:
    ghost = copy.deepcopy(tiny_lake.published.bar_rows[1])
    week = timedelta(days=7)
    tiny_lake.published.bar_rows.append(
        {**ghost, "bar_at": ghost["bar_at"] + week, "session_date": ghost["session_date"] + week}
    )
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"bar should not be in lake.bars_1m"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("price", Decimal("99.51")),
        ("size", 201),
        ("sequence", 2),
        ("exchange", "Q"),
        ("conditions", "1"),
        ("counts_for_open_close", False),
        ("counts_for_high_low", False),
        ("left_out_for", "sweep"),
        ("counts_for_volume", False),
        ("eligibility_version", 9),
        ("segment", "post"),
    ],
)
def test_a_trade_that_differs_from_its_message_is_seen(tiny_lake: TinyLake, column: str, value: object) -> None:
    tiny_lake.row(tables.TRADES, trade_id="d")[column] = value
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"trade differs in silver/trades"}
    assert set(bars.offending[0]["differs"]) == {column}


def test_a_trade_lost_with_its_bars_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake[tables.TRADES].remove(tiny_lake.row(tables.TRADES, trade_id="c"))
    tiny_lake[tables.BAR_REVISIONS].remove(tiny_lake.row(tables.BAR_REVISIONS, volume=1))
    tiny_lake.published.bar_rows.pop()
    _, bars = tiny_lake.prove()
    assert "trade is missing in silver/trades" in problems(bars)


def test_a_quote_that_differs_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.row(tables.QUOTES)["bid"] += CENT
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"quote differs in silver/quotes"}


def test_a_vendor_bar_that_differs_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.row(tables.VENDOR_BARS, offset=1)["close"] += CENT
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"vendor bar differs in silver/vendor_bars"}


def test_an_old_version_of_a_vendor_bar_in_postgres_is_seen(tiny_lake: TinyLake) -> None:
    tiny_lake.published.vendor_rows = [{**tiny_lake.row(tables.VENDOR_BARS, offset=0), "revision": 1}]
    _, bars = tiny_lake.prove()
    assert problems(bars) == {"vendor bar differs in lake.vendor_bars"}


def test_the_same_id_in_another_session_is_another_trade(tiny_lake: TinyLake) -> None:
    original: dict[str, Any] = tiny_lake.row(tables.TRADES, trade_id="d")
    day = timedelta(days=1)
    value = tiny_lake.row(tables.MESSAGES, topic=TRADES, offset=8)["value"]
    later = value.replace(b"1381152601000000", b"1381239001000000")
    assert later != value
    entry = tiny_lake.message(TRADES, 11, later, original["ingested_at"])
    moved = {name: original[name] + day for name in ("traded_at", "bar_at", "session_date")}
    tiny_lake.published.offsets[TRADES, 0] = 12
    tiny_lake[tables.TRADES].append({**original, **moved, **entry})
    ledger, bars = tiny_lake.prove()
    assert ledger.holds
    assert problems(bars) == {"bar is missing in gold/bar_revisions_1m", "bar is missing in lake.bars_1m"}
