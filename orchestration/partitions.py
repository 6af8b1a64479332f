"""Partitions by trading session: every session of the exchange, from the calendar's first to today's.

There are some 9,000. They are time windows, which Dagster keeps as ranges: a long list costs it nothing, and a new session
appears by itself on its day. History is partitioned by the groups of the watchlist besides.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg

from market.sessions import EXCHANGE_ZONE, all_sessions

SESSION: Final = "session"
SYMBOL_GROUP: Final = "symbol_group"
"""The dimensions of history's partitions."""
SYMBOL_GROUPS: Final = dg.DynamicPartitionsDefinition(name="symbol_groups")
"""The groups of the watchlist, as a sensor last saw them."""
RANGE_TAGS: Final = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""The tags of a run that name the first and the last of its partitions."""

_PARTITION_TAG: Final = "dagster/partition"
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


def history_partitions() -> dg.MultiPartitionsDefinition:
    """Return a partition for each session and group of symbols."""
    return dg.MultiPartitionsDefinition({SESSION: session_partitions(), SYMBOL_GROUP: SYMBOL_GROUPS})


def history_key(day: date, group: str) -> dg.MultiPartitionKey:
    """Return the partition of a session and a group."""
    return dg.MultiPartitionKey({SESSION: day.isoformat(), SYMBOL_GROUP: group})


def history_range_tags(first: date, last: date, group: str) -> dict[str, str]:
    """Return the tags of one run for a group's sessions from ``first`` to ``last``."""
    return dict(zip(RANGE_TAGS, (str(history_key(first, group)), str(history_key(last, group))), strict=True))


def range_of(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first and the last partition of a run with such tags; ``None`` if it has no partitions."""
    one = tags.get(_PARTITION_TAG, "")
    first, last = (tags.get(name, one) for name in RANGE_TAGS)
    return (first, last) if first and last else None


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
