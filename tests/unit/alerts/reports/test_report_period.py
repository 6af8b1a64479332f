"""Which sessions a report is about, and how a wrong day is refused. The calendar's answers are the exchange's own."""

from datetime import UTC, date, datetime

import pytest

from alerts.reports.period import MONTH, SESSION, WEEK, period_of
from market.errors import UsageError

NOW = datetime(2026, 7, 8, 15, tzinfo=UTC)
"""A Wednesday, while the exchange is open."""


def days(kind: str, day: str) -> list[str]:
    return [one.isoformat() for one in period_of(kind, date.fromisoformat(day), NOW).days]


def test_a_week_has_its_sessions_and_no_holiday() -> None:
    assert days(WEEK, "2013-11-29") == ["2013-11-25", "2013-11-26", "2013-11-27", "2013-11-29"]  # without Thanksgiving
    assert period_of(WEEK, date(2013, 11, 29), NOW).name == "2013-W48"


def test_a_week_over_the_turn_of_the_year_is_one() -> None:
    assert days(WEEK, "2013-01-01") == ["2012-12-31", "2013-01-02", "2013-01-03", "2013-01-04"]
    assert period_of(WEEK, date(2012, 12, 31), NOW).name == "2013-W01"


def test_a_month_has_its_sessions() -> None:
    found = days(MONTH, "2013-02-10")
    assert (len(found), found[0], found[-1]) == (19, "2013-02-01", "2013-02-28")
    assert period_of(MONTH, date(2013, 2, 10), NOW).name == "2013-02"


def test_a_period_that_goes_on_has_what_has_begun() -> None:
    week = period_of(WEEK, date(2026, 7, 10), NOW)
    assert [one.isoformat() for one in week.days] == ["2026-07-06", "2026-07-07", "2026-07-08"]
    assert week.left == 2
    assert not week.is_over(NOW)
    assert period_of(SESSION, date(2026, 7, 7), NOW).is_over(NOW)
    assert not period_of(SESSION, date(2026, 7, 8), NOW).is_over(NOW)


@pytest.mark.parametrize(
    ("kind", "day", "before"),
    [
        (SESSION, "2013-10-07", "2013-10-04"),  # a Monday
        (SESSION, "2013-11-29", "2013-11-27"),  # Thanksgiving is between
        (SESSION, "2001-09-17", "2001-09-10"),  # the longest closing of the calendar
        (WEEK, "2013-10-10", "2013-10-04"),
        (WEEK, "2013-01-03", "2012-12-28"),
        (MONTH, "2013-12-31", "2013-11-29"),
        (MONTH, "1990-01-31", None),
    ],
)
def test_the_session_before_a_period_is_the_calendar_s(kind: str, day: str, before: str | None) -> None:
    found = period_of(kind, date.fromisoformat(day), NOW).before
    assert found == (before and date.fromisoformat(before))


def test_a_half_day_is_a_session() -> None:
    assert period_of(SESSION, date(2013, 11, 29), NOW).last.is_half_day


@pytest.mark.parametrize(
    ("kind", "day", "says"),
    [
        (
            SESSION,
            "2013-10-06",
            "a Sunday, is no session of the exchange: the one before is 2013-10-04, the one after 2013-10-07",
        ),
        (SESSION, "2013-11-28", "the one before is 2013-11-27"),
        (SESSION, "2026-07-09", "has not begun: it begins on 2026-07-09"),
        (WEEK, "2026-07-13", "has not begun: it begins on 2026-07-13"),
        (MONTH, "2026-08-01", "has not begun: it begins on 2026-08-03"),
        (SESSION, "1985-01-02", "The calendar goes from 1990-01-02"),
        (SESSION, "9999-01-04", "is not in it"),
    ],
)
def test_a_day_that_is_none_is_refused_with_what_to_ask_for(kind: str, day: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        period_of(kind, date.fromisoformat(day), NOW)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", [SESSION, WEEK, MONTH])
@pytest.mark.parametrize("day", ["0001-01-01", "1989-12-31", "9999-12-31"])
def test_a_day_outside_the_calendar_is_refused_with_its_bounds(kind: str, day: str) -> None:
    with pytest.raises(
        UsageError, match=rf"The calendar goes from 1990-01-02 to \d{{4}}-\d\d-\d\d: {day} is not in it\."
    ):
        period_of(kind, date.fromisoformat(day), NOW)
