"""Every way in which a row of a mart can be wrong is planted beside a tiny lake and must be seen; what is behind is no break."""

import copy
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from market import tables
from tests.unit.verify.fake_published import Row
from tests.unit.verify.tiny_lake import FIRST_BATCH, OPEN, SECOND_BATCH, TinyLake, problems

INTRADAY, HISTORICAL, REALTIME = "marts.intraday_ohlcv", "marts.historical_ohlcv", "marts.realtime_prices"
CENT, MINUTE = Decimal("0.01"), timedelta(minutes=1)
WRONG_VALUES = [
    ("open", Decimal("99.51")),
    ("high", None),
    ("low", Decimal("99.49")),
    ("close", Decimal("99.999998")),
    ("volume", 600),
    ("vwap", Decimal("124.797004")),
    ("trade_count", 5),
    ("segment", "pre"),
    ("is_final", True),
    ("revision", 2),
    ("origin", "simulated"),
    ("revised_at", FIRST_BATCH),
]


def mart_row(lake: TinyLake, interval: str, **wanted: object) -> Row:
    """Return the first row of an interval in the mart of intraday bars."""
    rows = lake.published.mart_rows or []
    return next(
        row for row in rows if row["interval"] == interval and all(row[name] == wanted[name] for name in wanted)
    )


def only(rows: list[Row] | None) -> Row:
    (row,) = rows or []
    return row


def test_marts_written_out_by_hand_keep_the_law(lake_with_marts: TinyLake) -> None:
    _, bars = lake_with_marts.prove()
    assert bars.offending == []
    assert (bars.counts["mart_bars"], bars.counts["mart_days"]) == (5, 1)
    assert (bars.counts["mart_bars_behind"], bars.counts["mart_days_behind"]) == (0, 0)
    assert bars.note == ""


@pytest.mark.parametrize(
    ("interval", "column", "value"),
    [("5m", *WRONG_VALUES[0]), ("1h", *WRONG_VALUES[4]), *(("15m", *wrong) for wrong in WRONG_VALUES)],
)
def test_a_longer_bar_that_differs_is_seen_by_its_row_and_column(
    lake_with_marts: TinyLake, interval: str, column: str, value: object
) -> None:
    mart_row(lake_with_marts, interval)[column] = value
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"bar differs in {INTRADAY}"}
    (offence,) = bars.offending
    assert (offence["symbol"], offence["interval"], offence["bar_at"]) == ("SPY", interval, OPEN)
    assert set(offence["differs"]) == {column}
    assert offence["differs"][column]["found"] == value


def test_a_minute_that_differs_in_the_mart_is_seen(lake_with_marts: TinyLake) -> None:
    mart_row(lake_with_marts, "1m")["high"] += CENT
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"bar differs in {INTRADAY}"}
    assert bars.offending[0]["interval"] == "1m"


@pytest.mark.parametrize(("interval", "bar_at"), [("1m", OPEN), ("1m", OPEN + MINUTE), ("15m", OPEN)])
def test_a_row_that_was_deleted_from_the_mart_is_seen(lake_with_marts: TinyLake, interval: str, bar_at: object) -> None:
    rows = lake_with_marts.published.mart_rows or []
    rows.remove(mart_row(lake_with_marts, interval, bar_at=bar_at))
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"bar is missing in {INTRADAY}"}
    assert (bars.offending[0]["interval"], bars.offending[0]["bar_at"]) == (interval, bar_at)


@pytest.mark.parametrize(
    "change",
    [
        {"bar_at": OPEN + 5 * MINUTE},
        {"interval": "2m"},
        {"symbol": "IBM"},
        {"bar_at": OPEN + timedelta(days=2), "session_date": date(2013, 10, 9)},
        {"session_date": date(2013, 10, 6)},
    ],
    ids=", ".join,
)
def test_a_row_that_nothing_stands_behind_is_seen(lake_with_marts: TinyLake, change: Row) -> None:
    ghost = {**mart_row(lake_with_marts, "5m"), **change}
    if set(change) == {"session_date"}:  # a Sunday
        ghost["symbol"] = "IBM"
    assert lake_with_marts.published.mart_rows is not None
    lake_with_marts.published.mart_rows.append(ghost)
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"bar should not be in {INTRADAY}"}
    assert bars.total_offending == 1


def test_a_doubled_row_is_seen(lake_with_marts: TinyLake) -> None:
    assert lake_with_marts.published.mart_rows is not None
    lake_with_marts.published.mart_rows.append(copy.deepcopy(mart_row(lake_with_marts, "1h")))
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"bar is more than once in {INTRADAY}"}


def as_of_the_first_batch(lake: TinyLake) -> None:
    """Put the marts back to what a run of the models after the first batch made."""
    first = lake.row(tables.BAR_REVISIONS, volume=400)
    # 55003 + 99.999999 = 55102.999999; by 401 shares 137.413965…
    both = {
        **dict.fromkeys(("open", "high", "low"), Decimal("100.01")),
        "low": Decimal("99.999999"),
        "close": Decimal("99.999999"),
        "volume": 401,
        "vwap": Decimal("137.413965"),
        "trade_count": 3,
        "revision": 2,
        "revised_at": FIRST_BATCH,
    }
    late = mart_row(lake, "1m", bar_at=OPEN)
    late.update({name: first[name] for name in late if name in first})
    for interval in ("5m", "15m", "1h"):
        mart_row(lake, interval).update(both)
    day = only(lake.published.day_rows)
    day.update({"close": Decimal(10), "revision": 1, "revised_at": FIRST_BATCH})


def test_marts_of_an_earlier_batch_are_behind_and_no_break(lake_with_marts: TinyLake) -> None:
    as_of_the_first_batch(lake_with_marts)
    _, bars = lake_with_marts.prove()
    assert bars.offending == []
    assert (bars.counts["mart_bars_behind"], bars.counts["mart_days_behind"]) == (1, 1)
    assert f"{INTRADAY} is behind by 1 bars" in bars.note
    assert f"{HISTORICAL} is behind by 1 days" in bars.note


@pytest.mark.parametrize("interval", ["1m", "15m"])
def test_a_wrong_row_of_a_mart_that_is_behind_is_seen_too(lake_with_marts: TinyLake, interval: str) -> None:
    as_of_the_first_batch(lake_with_marts)
    mart_row(lake_with_marts, interval)["volume"] += 1
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"bar differs in {INTRADAY}"}
    assert bars.total_offending == 1


def test_a_mart_that_mixes_two_builds_is_seen(lake_with_marts: TinyLake) -> None:
    newest = copy.deepcopy(mart_row(lake_with_marts, "1h"))
    as_of_the_first_batch(lake_with_marts)
    mart_row(lake_with_marts, "1h").update(newest)
    _, bars = lake_with_marts.prove()
    assert {row["interval"] for row in bars.offending if "interval" in row} == {"1m", "5m", "15m"}


def test_empty_marts_are_behind_by_everything(lake_with_marts: TinyLake) -> None:
    lake_with_marts.published.mart_rows, lake_with_marts.published.day_rows = [], []
    _, bars = lake_with_marts.prove()
    assert bars.offending == []
    assert (bars.counts["mart_bars_behind"], bars.counts["mart_days_behind"]) == (2, 1)


def forge_another_symbol(lake: TinyLake) -> None:
    """Say of the rows of the mart that they are IBM's: SPY has none, and nothing stands behind those that are there."""
    lake.published.mart_rows = [{**row, "symbol": "IBM"} for row in lake.published.mart_rows or []]


def test_a_session_that_is_kept_no_longer_may_be_there_still(lake_with_marts: TinyLake) -> None:
    lake_with_marts.published.kept_from["intraday"] = SECOND_BATCH + MINUTE
    _, bars = lake_with_marts.prove()
    assert (bars.offending, bars.counts["mart_sessions_expired"]) == ([], 1)


def test_a_session_that_is_kept_no_longer_may_be_gone(lake_with_marts: TinyLake) -> None:
    lake_with_marts.published.kept_from["intraday"] = SECOND_BATCH + MINUTE
    forge_another_symbol(lake_with_marts)
    _, bars = lake_with_marts.prove()
    assert {row["symbol"] for row in bars.offending if "symbol" in row} == {"IBM"}


def test_a_session_that_is_kept_no_longer_has_to_be_right_while_it_is_there(lake_with_marts: TinyLake) -> None:
    lake_with_marts.published.kept_from["intraday"] = SECOND_BATCH + MINUTE
    mart_row(lake_with_marts, "1h")["volume"] = 7
    _, bars = lake_with_marts.prove()
    assert [row["interval"] for row in bars.offending if "interval" in row] == ["1h"]


@pytest.mark.parametrize("kept_from", [SECOND_BATCH, OPEN.replace(hour=0)])
def test_an_old_session_that_was_changed_of_late_and_a_young_one_are_kept(
    lake_with_marts: TinyLake, kept_from: datetime
) -> None:
    lake_with_marts.published.kept_from["intraday"] = kept_from
    forge_another_symbol(lake_with_marts)
    _, bars = lake_with_marts.prove()
    assert {row["symbol"] for row in bars.offending if "symbol" in row} == {"IBM", "SPY"}
    assert bars.counts["mart_sessions_expired"] == 0


@pytest.mark.parametrize(("kept_from", "behind"), [(SECOND_BATCH + MINUTE, 0), (SECOND_BATCH, 2), (OPEN, 2)])
def test_an_empty_mart_is_not_behind_by_sessions_that_are_kept_no_longer(
    lake_with_marts: TinyLake, kept_from: datetime, behind: int
) -> None:
    lake_with_marts.published.mart_rows = []
    lake_with_marts.published.kept_from["intraday"] = kept_from
    _, bars = lake_with_marts.prove()
    assert bars.offending == []
    assert bars.counts["mart_bars_behind"] == behind
    assert (f"{INTRADAY} is behind by" in bars.note) == bool(behind)


def test_an_empty_mart_is_behind_by_vendors_bars_of_kept_sessions_alone(lake_with_marts: TinyLake) -> None:
    lake_with_marts.published.mart_rows = []
    vendor = copy.deepcopy(lake_with_marts[tables.VENDOR_BARS][0])
    counts = []
    for kept_from in (vendor["ingested_at"], vendor["ingested_at"] + MINUTE):
        lake_with_marts[tables.VENDOR_BARS].append({**vendor, "symbol": "IBM", "interval": "5m", "bar_at": OPEN})
        lake_with_marts.published.kept_from["intraday"] = kept_from
        counts.append(lake_with_marts.prove()[1].counts["mart_bars_behind"])
        lake_with_marts[tables.VENDOR_BARS].pop()
    assert counts[0] - counts[1] >= 1


def pass_the_close(lake: TinyLake) -> None:
    """Add a trade of another symbol of the feed after the close, in the second batch."""
    bar: Row = dict(copy.deepcopy(lake.row(tables.BAR_REVISIONS, volume=1)))
    # The tape is read from the bars of the lake; that this one has no trade is another break of the law.
    close = OPEN + timedelta(hours=6, minutes=30)
    lake[tables.BAR_REVISIONS].append({**bar, "symbol": "IBM", "bar_at": close, "revised_at": SECOND_BATCH})


def test_bars_are_final_once_the_mart_has_seen_the_tape_pass_the_close(lake_with_marts: TinyLake) -> None:
    pass_the_close(lake_with_marts)
    _, bars = lake_with_marts.prove()
    differing = [row["differs"] for row in bars.offending if row["problem"] == f"bar differs in {INTRADAY}"]
    assert differing == [{"is_final": {"expected": True, "found": False}}] * 5


@pytest.mark.parametrize("is_final", [True, False])
def test_bars_may_be_final_while_the_mart_may_have_seen_it(lake_with_marts: TinyLake, is_final: object) -> None:
    pass_the_close(lake_with_marts)
    as_of_the_first_batch(lake_with_marts)
    for row in lake_with_marts.published.mart_rows or []:
        row["is_final"] = is_final
    _, bars = lake_with_marts.prove()
    assert f"bar differs in {INTRADAY}" not in problems(bars)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("low", None),
        ("close", Decimal(10)),
        ("vwap", Decimal(10)),
        ("bar_at", OPEN + MINUTE),
        ("is_final", False),
        ("revision", 1),
        ("origin", "lean"),
    ],
)
def test_a_vendors_day_that_differs_is_seen_by_its_column(
    lake_with_marts: TinyLake, column: str, value: object
) -> None:
    only(lake_with_marts.published.day_rows)[column] = value
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"day differs in {HISTORICAL}"}
    assert set(bars.offending[0]["differs"]) == {column}


def without_vendor(lake: TinyLake) -> Row:
    """Take the vendor's bar away, so that the day is made of the minutes; return the day."""
    lake[tables.VENDOR_BARS].clear()
    lake[tables.MESSAGES][:] = [row for row in lake[tables.MESSAGES] if row["topic"] != "market.bars.v1"]
    lake.published.vendor_rows.clear()
    del lake.published.offsets["market.bars.v1", 0]
    day = only(lake.published.day_rows)
    day.update(copy.deepcopy(mart_row(lake, "1h")))
    day.update({"interval": "1d", "is_vendor_bar": False})
    return day


def test_a_day_made_of_minutes_keeps_the_law(lake_with_marts: TinyLake) -> None:
    without_vendor(lake_with_marts)
    _, bars = lake_with_marts.prove()
    assert bars.offending == []


@pytest.mark.parametrize(("column", "value"), [*WRONG_VALUES[3:6], *WRONG_VALUES[-4:], ("is_vendor_bar", True)])
def test_a_day_made_of_minutes_that_differs_is_seen(lake_with_marts: TinyLake, column: str, value: object) -> None:
    without_vendor(lake_with_marts)[column] = value
    _, bars = lake_with_marts.prove()
    assert not bars.holds
    assert all(HISTORICAL in problem for problem in problems(bars))


def test_a_day_that_is_missing_or_unexpected_is_seen(lake_with_marts: TinyLake) -> None:
    rows = lake_with_marts.published.day_rows or []
    rows[0]["session_date"] -= timedelta(days=6)
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"day is missing in {HISTORICAL}", f"day should not be in {HISTORICAL}"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("price", Decimal(100)),
        ("price_at", OPEN),
        ("session_date", date(2013, 10, 4)),
        ("segment", "post"),
        ("previous_close", Decimal(99)),
        ("change", Decimal(1)),
        *WRONG_VALUES[4:7],
    ],
)
def test_a_price_that_differs_is_seen(lake_with_marts: TinyLake, column: str, value: object) -> None:
    only(lake_with_marts.published.price_rows)[column] = value
    _, bars = lake_with_marts.prove()
    assert problems(bars) == {f"price differs in {REALTIME}"}
    assert set(bars.offending[0]["differs"]) == {column}


@pytest.mark.parametrize("change", [list.clear, lambda rows: rows.append({**rows[0], "symbol": "IBM"})])
def test_a_price_that_is_missing_or_unexpected_is_seen(
    lake_with_marts: TinyLake, change: Callable[[list[Row]], None]
) -> None:
    change(lake_with_marts.published.price_rows or [])
    _, bars = lake_with_marts.prove()
    assert not bars.holds
    assert all(REALTIME in problem for problem in problems(bars))
