from datetime import date

import pytest

from cli.replay import parse_day, parse_speed
from market.errors import UsageError


def test_the_speed_is_a_factor_or_max() -> None:
    assert parse_speed("max") is None
    assert parse_speed("2.5") == 2.5


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "inf", "nan"])
def test_a_speed_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--speed 10"):
        parse_speed(text)


def test_a_day_is_a_date() -> None:
    assert parse_day("2013-10-07", "--start") == date(2013, 10, 7)
    assert parse_day(None, "--start") is None
    with pytest.raises(UsageError, match="--end 'yesterday' is not a date"):
        parse_day("yesterday", "--end")
