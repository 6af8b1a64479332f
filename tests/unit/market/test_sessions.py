"""The trading calendar, against dates known from the exchange's notices."""

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import UsageError
from market.sessions import (
    Segment,
    Session,
    all_sessions,
    find_session,
    latest_session,
    open_micros,
    session_at,
    sessions_between,
)


def session_of(year: int, month: int, day: int) -> Session:
    session = find_session(date(year, month, day))
    assert session is not None
    return session


@pytest.mark.parametrize(
    "day",
    [
        date(2013, 7, 3),
        date(2013, 11, 29),
        date(2013, 12, 24),
        date(2014, 7, 3),
        date(2015, 11, 27),
        date(2018, 7, 3),
        date(2024, 11, 29),
    ],
    ids=str,
)
def test_a_half_day_closes_at_one_and_ends_at_five(day: date) -> None:
    session = find_session(day)
    assert session is not None
    assert session.is_half_day
    assert session.close_at - session.open_at == timedelta(hours=3, minutes=30)
    assert session.post_close_at - session.close_at == timedelta(hours=4)
    assert len(session.expected_bars(60)) == 210


@pytest.mark.parametrize(
    "day",
    [
        *(date(2013, 1, 1), date(2013, 1, 21), date(2013, 2, 18), date(2013, 3, 29), date(2013, 5, 27)),
        *(date(2013, 7, 4), date(2013, 9, 2), date(2013, 11, 28), date(2013, 12, 25)),
        *(date(2012, 10, 29), date(2012, 10, 30)),  # hurricane Sandy
        *(date(2001, 9, 11), date(2001, 9, 14)),
        date(2018, 12, 5),  # mourning of President George H. W. Bush
        date(2022, 6, 20),  # Juneteenth
        *(date(2013, 10, 5), date(2013, 10, 6)),  # a weekend
    ],
    ids=str,
)
def test_the_exchange_was_closed(day: date) -> None:
    assert find_session(day) is None
    assert session_at(datetime(day.year, day.month, day.day, 15, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("day", "open_at"),
    [
        (date(2013, 3, 8), datetime(2013, 3, 8, 14, 30, tzinfo=UTC)),
        (date(2013, 3, 11), datetime(2013, 3, 11, 13, 30, tzinfo=UTC)),
        (date(2013, 11, 1), datetime(2013, 11, 1, 13, 30, tzinfo=UTC)),
        (date(2013, 11, 4), datetime(2013, 11, 4, 14, 30, tzinfo=UTC)),
        (date(2012, 10, 31), datetime(2012, 10, 31, 13, 30, tzinfo=UTC)),
    ],
    ids=str,
)
def test_opens_follow_the_clocks_of_new_york(day: date, open_at: datetime) -> None:
    session = find_session(day)
    assert session is not None
    assert session.open_at == open_at
    assert session.pre_open_at == open_at - timedelta(hours=5, minutes=30)
    assert session.close_at == open_at + timedelta(hours=6, minutes=30)
    assert session.post_close_at == open_at + timedelta(hours=10, minutes=30)


@pytest.mark.parametrize(
    ("day", "micros"),
    [
        (date(2024, 1, 2), 1_704_205_800_000_000),  # 14:30Z
        (date(2024, 7, 3), 1_720_013_400_000_000),  # 13:30Z, a half-day
        (date(2024, 7, 4), 1_720_099_800_000_000),  # 13:30Z, a holiday: where the open would be
    ],
)
def test_a_daily_bar_stands_at_the_open(day: date, micros: int) -> None:
    assert open_micros(day) == micros


def test_a_year_has_its_sessions() -> None:
    days = list(sessions_between(date(2013, 1, 1), date(2013, 12, 31)))
    assert len(days) == 252
    assert [session.session_date for session in days if session.is_half_day] == [
        date(2013, 7, 3),
        date(2013, 11, 29),
        date(2013, 12, 24),
    ]


def test_segments_include_their_start_and_exclude_their_end() -> None:
    session = session_of(2013, 10, 7)
    tick = timedelta(microseconds=1)
    for moment, segment in (
        (session.pre_open_at - tick, None),
        (session.pre_open_at, Segment.PRE),
        (session.open_at - tick, Segment.PRE),
        (session.open_at, Segment.REGULAR),
        (session.close_at - tick, Segment.REGULAR),
        (session.close_at, Segment.POST),
        (session.post_close_at - tick, Segment.POST),
        (session.post_close_at, None),
    ):
        assert session.segment(moment) is segment
        assert session_at(moment) == (session if segment else None)


def test_the_evening_in_new_york_belongs_to_its_own_date_and_not_to_the_next() -> None:
    # 19:30 in New York on a winter day is 00:30 UTC of the next.
    session = session_at(datetime(2013, 12, 11, 0, 30, tzinfo=UTC))
    assert session is not None
    assert session.session_date == date(2013, 12, 10)


def test_hourly_bars_end_with_a_half_one() -> None:
    session = session_of(2013, 10, 7)
    hours = session.expected_bars(3600)
    assert len(hours) == 7
    assert hours[-1] == session.close_at - timedelta(minutes=30)


def test_the_newest_session_is_the_one_that_has_opened() -> None:
    friday, monday = session_of(2013, 10, 4), session_of(2013, 10, 7)
    assert latest_session(monday.open_at) == monday
    assert latest_session(monday.open_at - timedelta(microseconds=1)) == friday
    assert latest_session(datetime(2013, 10, 6, 12, tzinfo=UTC)) == friday


def test_before_the_calendar_there_is_no_newest_session() -> None:
    with pytest.raises(UsageError, match="1980-01-01"):
        latest_session(datetime(1980, 1, 1, tzinfo=UTC))


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(UsageError, match=r"2013-10-07.*2013-10-08"):
        list(sessions_between(date(2013, 10, 8), date(2013, 10, 7)))


def test_the_calendar_is_in_order_and_reaches_beyond_today() -> None:
    sessions = all_sessions()
    for earlier, later in itertools.pairwise(sessions):
        assert earlier.post_close_at < later.pre_open_at
    assert sessions[-1].open_at > datetime.now(UTC) + timedelta(days=300)


@given(st.datetimes(datetime(1995, 1, 1), datetime(2025, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC)))  # noqa: DTZ001 - made aware here
def test_a_moment_lies_in_at_most_one_session_and_that_one_is_found(moment: datetime) -> None:
    near = [find_session(moment.date() + timedelta(days=days)) for days in (-1, 0, 1)]
    containing = [session for session in near if session is not None and session.segment(moment) is not None]
    assert session_at(moment) == (containing[0] if containing else None)
    assert len(containing) <= 1
