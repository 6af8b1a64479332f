"""Reports where sessions are missing: what a change is measured against, and the nearest session where a day is none."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alerts.reports.document import Report, Table, blocks
from alerts.reports.make import make_report
from alerts.reports.period import SESSION, WEEK
from market.errors import UsageError
from market.settings import Settings
from tests.integration.action_rows import Lake
from tests.integration.alert_rows import forget_rules
from tests.integration.analytics_oracle import Day
from tests.integration.analytics_rows import put_days
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import session_of
from tests.unit.alerts.reports.report_pages import Page, paper, squeezed

pytestmark = pytest.mark.integration

HALF_DAY = date(2013, 11, 29)
WEEK_DAYS = [date(2013, 11, day) for day in (25, 26, 27, 29)]
NEXT_DAY = session_of(HALF_DAY).post_close_at + timedelta(hours=12)


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with an empty home, so that no report is there yet."""
    return settings.model_copy(update={"home": tmp_path})


@pytest.fixture
def holes(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    """Days by hand, of which some are missing, and a company that changes its symbol within the week; built."""
    forget_rules(connection, dbt)
    tuesday, eve = date(2013, 11, 26), date(2013, 11, 27)
    closes: dict[str, dict[date, str]] = {
        "FULL": {date(2013, 11, 22): "100", WEEK_DAYS[0]: "101", tuesday: "102", eve: "110", HALF_DAY: "121"},
        "LATE": {date(2013, 8, 1): "200", date(2013, 8, 2): "100", HALF_DAY: "90"},
        "GONE": {date(2013, 10, 1): "50", tuesday: "60", eve: "60", HALF_DAY: "75"},
        "HOLE": {date(2013, 11, 22): "10", WEEK_DAYS[0]: "20", HALF_DAY: "15"},
        "OLDS": {date(2013, 11, 22): "40", WEEK_DAYS[0]: "40", tuesday: "50"},
        "NEWS": {eve: "25", HALF_DAY: "20"},
        "FRST": {HALF_DAY: "7"},
    }
    for symbol, some in closes.items():
        shares = 100 if symbol == "LATE" else 10
        put_days(connection, [Day(symbol, day, Decimal(close), Decimal(close), shares) for day, close in some.items()])
    made_up = {eve: "10", HALF_DAY: "20"}  # of the session before there is what a simulation made up
    for (day, close), source in zip(made_up.items(), ("simulated", "lean"), strict=True):
        put_days(connection, [Day("BOTH", day, Decimal(close), Decimal(close), 10)], source=source)
    lake = Lake(connection)
    lake.change("OLDS", lake.days.index(eve), "NEWS")
    dbt("run")


def tables(report: Report) -> dict[str, Table]:
    return {block.key: block for block in blocks(report.chapters) if isinstance(block, Table)}


def cells(report: Report, table: str) -> list[tuple[str, ...]]:
    return [row.cells for row in tables(report)[table].rows]


def test_a_change_over_missing_sessions_is_not_that_of_the_period(holes: None, home: Settings) -> None:
    """Worked out by hand from the closes above."""
    del holes
    session = make_report(home, NEXT_DAY, SESSION, HALF_DAY)
    changes = {row[0]: row[2] for row in cells(session.report, "most_active_real")}
    assert changes == {
        "FULL": "+10.00 %",
        "GONE": "+25.00 %",
        "NEWS": "\N{MINUS SIGN}20.00 %",
        **dict.fromkeys(("LATE", "HOLE", "FRST", "BOTH"), "\N{EN DASH}"),
    }
    assert [row[0] for row in cells(session.report, "gainers_real")] == ["GONE", "FULL"]
    assert [row[0] for row in cells(session.report, "losers_real")] == ["NEWS"]
    assert cells(session.report, "not_compared_real") == [
        ("HOLE", "15.00", "\N{MINUS SIGN}25.00 %", "2013-11-25"),
        ("LATE", "90.00", "\N{MINUS SIGN}10.00 %", "2013-08-02"),
    ]
    assert session.report.headline[0] == "7 symbols: 2 up, 1 down, median +10.00 %"
    told = "HOLE \N{MINUS SIGN}25.00 % since 2013-11-25, LATE \N{MINUS SIGN}10.00 % since 2013-08-02"
    assert session.report.headline[3] == f"Not counted, for there is no close of the session before, 2013-11-27: {told}"
    _, text = paper(session.paper.read_bytes())
    for shown in (text, squeezed("".join(Page(session.page.read_text()).words))):
        assert squeezed("There is no close of 2013-11-27, the session before.") in shown
        assert (
            squeezed("LATE, days, the last 3: 90.00; no close of the session before, \N{MINUS SIGN}10.00 % since")
            in shown
        )

    week = make_report(home, NEXT_DAY, WEEK, HALF_DAY).report
    assert {row[0]: row[2] for row in cells(week, "most_active_real")} == {
        "FULL": "+21.00 %",
        "HOLE": "+50.00 %",
        "NEWS": "\N{MINUS SIGN}50.00 %",  # through its change of symbol
        **dict.fromkeys(("GONE", "LATE", "FRST", "BOTH"), "\N{EN DASH}"),
    }
    assert cells(week, "not_compared_real") == [
        ("GONE", "75.00", "+50.00 %", "2013-10-01"),
        ("LATE", "90.00", "\N{MINUS SIGN}10.00 %", "2013-08-02"),
    ]
    assert "2013-11-22, the session before" in tables(week)["not_compared_real"].note
    assert [row[:3] for row in cells(week, "sessions_real")] == [
        ("Mon 25 Nov", "2 / 0", "+1.00 %"),
        ("Tue 26 Nov", "2 / 0", "+13.00 %"),
        ("Wed 27 Nov", "1 / 1", "0.00 %"),
        ("Fri 29 Nov", "2 / 1", "+10.00 %"),
    ]


@pytest.mark.parametrize(
    ("kind", "day", "says"),
    [
        (SESSION, date(2030, 1, 2), "is not in it. .* 2013-11-29: --session 2013-11-29$"),
        (SESSION, date(1985, 1, 2), "is not in it. .* 2013-08-01: --session 2013-08-01$"),
        (SESSION, date(2013, 11, 30), "no session of the exchange: .* 2013-11-29: --session 2013-11-29$"),
        (SESSION, date(2013, 7, 28), "the one before is 2013-07-26, .* 2013-08-01: --session 2013-08-01$"),
        (WEEK, date(2013, 12, 10), "has not begun: .* 2013-11-29: --session 2013-11-29$"),
    ],
)
def test_a_day_that_is_none_is_refused_with_the_nearest_that_has_data(
    holes: None, home: Settings, kind: str, day: date, says: str
) -> None:
    del holes
    with pytest.raises(UsageError, match=says) as caught:
        make_report(home, NEXT_DAY, kind, day)
    assert caught.value.exit_code == 2
