"""The hours of all sessions as columns, to place many moments among them at once.

What belongs here: the calendar for numpy. What does not: the calendar itself (:mod:`market.sessions`).
"""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.sessions import all_sessions

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
EASTERN_STANDARD: Final = 5 * 3600 * SECOND
"""No session crosses midnight of New York's standard time: a moment less this is of the session's day."""

_EPOCH: Final = date(1970, 1, 1)
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hours:
    """Sessions in order: the numbers of their days since 1970, and when they open and close in UTC epoch microseconds."""

    days: Integers
    opens: Integers
    closes: Integers


@cache
def hours() -> Hours:
    """Return those of every session of the calendar."""
    columns = (
        (number_of_day(session.session_date), micros(session.open_at), micros(session.close_at))
        for session in all_sessions()
    )
    return Hours(*(np.array(column, np.int64) for column in zip(*columns, strict=True)))


def number_of_day(day: date) -> int:
    """Return the days since 1970."""
    return (day - _EPOCH).days


def micros(moment: datetime) -> int:
    """Return UTC epoch microseconds of a moment in whole seconds."""
    return round(moment.timestamp()) * SECOND
