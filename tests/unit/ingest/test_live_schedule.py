from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingest.live.schedule import begin, following
from market.sessions import Session, find_session, latest_session

FRIDAY = date(2026, 11, 20)
MONDAY = date(2026, 11, 23)


def session_of(day: date) -> Session:
    session = find_session(day)
    assert session is not None
    return session


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment of November 2026 in UTC: New York is five hours behind, so the exchange opens at 14:30."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_a_session_that_is_over_starts_with_half_an_hour_and_goes_on_at_its_speed() -> None:
    pace = begin(session_of(FRIDAY), at(21, 8), speed=10)
    assert pace.due(at(21, 8)) == at(20, 15, 0)
    assert pace.due(at(21, 8, 6)) == at(20, 16, 0)
    assert pace.due(at(22, 8)) == session_of(FRIDAY).post_close_at


def test_a_session_that_is_on_goes_along_with_the_wall_clock_to_its_end() -> None:
    pace = begin(session_of(FRIDAY), at(20, 14, 31), speed=100)
    assert pace.due(at(20, 14, 31)) == at(20, 14, 31)
    assert pace.due(at(20, 18)) == at(20, 18)
    assert pace.due(at(21, 3)) == session_of(FRIDAY).post_close_at


def test_a_session_to_come_is_not_shown_before_it_begins() -> None:
    pace = begin(session_of(MONDAY), at(21, 12), speed=1)
    assert pace.due(at(22, 12)) < session_of(MONDAY).pre_open_at
    assert pace.due(at(23, 9, 5)) == at(23, 9, 5)


def test_the_rest_is_shown_at_once_when_a_newer_session_opens() -> None:
    pace = begin(session_of(FRIDAY), at(23, 14, 0), speed=1)
    assert pace.due(at(23, 14, 29)) == at(20, 15, 29)
    assert pace.due(at(23, 14, 30)) == session_of(FRIDAY).post_close_at


def test_a_restart_goes_on_from_what_was_shown() -> None:
    pace = begin(session_of(FRIDAY), at(21, 8), 1, shown_through=at(20, 19))
    assert pace.due(at(21, 9)) == at(20, 20)


def test_a_restart_within_the_first_half_hour_still_shows_all_of_it() -> None:
    pace = begin(session_of(FRIDAY), at(21, 8), 1, shown_through=at(20, 10))
    assert pace.due(at(21, 8)) == at(20, 15)


def test_the_next_session_is_the_newest_that_opened_or_the_one_to_come() -> None:
    friday = session_of(FRIDAY)
    assert following(friday, at(21, 8)).session_date == MONDAY
    assert following(session_of(date(2026, 11, 17)), at(21, 8)).session_date == FRIDAY


@given(
    started_at=st.datetimes(datetime(2026, 11, 2), datetime(2026, 11, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    steps=st.lists(st.integers(0, 86_400), max_size=10),
    speed=st.floats(0.1, 10_000),
)
def test_simulated_time_never_passes_the_wall_clock_nor_goes_back(
    started_at: datetime, steps: list[int], speed: float
) -> None:
    pace = begin(latest_session(started_at), started_at, speed)
    now, last = started_at, pace.session.pre_open_at
    for seconds in [0, *steps]:
        now += timedelta(seconds=seconds)
        due = pace.due(now)
        assert last <= due <= min(now, pace.session.post_close_at)
        last = due
