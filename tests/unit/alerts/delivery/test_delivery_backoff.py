"""Delays: later each time, never all at once, about a day in all."""

from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.backoff import MOST_ATTEMPTS, pause_seconds, retry_seconds


def test_delays_double_up_to_an_hour() -> None:
    assert [retry_seconds(attempts, 0) for attempts in (1, 2, 3, 4, 12, 13, 36)] == [1, 2, 4, 8, 2048, 3600, 3600]


@given(st.integers(1, 100), st.floats(0, 1))
def test_chance_takes_away_half_at_most(attempts: int, chance: float) -> None:
    assert retry_seconds(attempts, 0) / 2 <= retry_seconds(attempts, chance) <= retry_seconds(attempts, 0)


def test_a_channel_is_left_alone_for_a_minute_at_most() -> None:
    assert [pause_seconds(failures, 0) for failures in (1, 6, 7, 50)] == [1, 32, 60, 60]


def test_the_last_attempt_is_about_a_day_after_the_first() -> None:
    hours = sum(retry_seconds(attempts, 0.5) for attempts in range(1, MOST_ATTEMPTS)) / 3600
    assert 17 < hours < 25
