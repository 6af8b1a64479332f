"""Partitions by trading session: every session of the exchange, from the calendar's first to today's.

There are some 9,000. They are time windows, which Dagster keeps as ranges: a long list costs it nothing, and a new session
appears by itself on its day.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg

from market.sessions import EXCHANGE_ZONE, all_sessions

_WEEKDAYS: Final = "0 0 * * 1-5"
_SATURDAY: Final = 5


def session_partitions() -> dg.TimeWindowPartitionsDefinition:
    """Return a partition for each session, named by its date; the one of today is there from midnight, exchange time."""
    days = [session.session_date for session in all_sessions()]
    return dg.TimeWindowPartitionsDefinition(
        start=days[0].isoformat(),
        fmt="%Y-%m-%d",
        cron_schedule=_WEEKDAYS,
        timezone=str(EXCHANGE_ZONE),
        end_offset=1,
        exclusions=[datetime(day.year, day.month, day.day) for day in _weekdays_without_session(days)],  # noqa: DTZ001
    )


def adjoining(days: Sequence[date]) -> list[tuple[date, date]]:
    """Return the first and the last day of each row of sessions, in order, between which the exchange had no other session."""
    numbers = {session.session_date: number for number, session in enumerate(all_sessions())}
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and numbers[day] == numbers[ranges[-1][1]] + 1:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def _weekdays_without_session(days: Sequence[date]) -> list[date]:
    known = set(days)
    every = (days[0] + timedelta(days=number) for number in range((days[-1] - days[0]).days + 1))
    return [day for day in every if day.weekday() < _SATURDAY and day not in known]
