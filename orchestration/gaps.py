"""Which missing sessions to ask for now: pure decisions over the watchlist, what is missing, and the runs there were.

A gap that was asked for and is there still is asked for again, later each time: what a vendor does not have or tells wrongly it
will not have a minute later either. A source that did not answer may do so a few minutes later.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from ingest.history.plan import Missing
from market.sessions import Session, sessions_between
from orchestration.partitions import adjoining
from warehouse.watchlist import Watched

PATIENCE: Final = (
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(days=1),
    timedelta(days=3),
    timedelta(days=7),
)
"""How long after the end of the first, second, … run that left a gap it is asked for again; the last holds for all others."""
PATIENCE_WITHOUT_ANSWER: Final = (timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=15), *PATIENCE)
"""The same after a run that the source did not answer. The run itself does not wait: it would keep others from that source."""
LOOK_BACK: Final = timedelta(days=30)
"""How old the runs are that count."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run for some sessions of some groups.

    Attributes
    ----------
    run_id
        The run.
    groups, first, last
        What it is for; of an asset without partitions no group, and all days.
    started_at
        When it was asked for.
    ended_at
        When it ended; ``None`` if it is under way, or waits.
    has_more
        Whether it ended only because its time was up: what it left may be asked for at once.
    unanswered
        Whether the source did not answer all of it.
    refused
        Whether the source refused to be asked, as with a wrong key.
    failed
        Whether it ended as a failure, whichever. One that somebody ended by hand did not.
    asked_at
        When somebody asked for it by hand, also if this is a repetition of that run; ``None`` if nobody did.
    is_forgotten
        Whether what is missing is asked for as if there had been no such run.
    """

    run_id: str
    groups: frozenset[str]
    first: date
    last: date
    started_at: datetime
    ended_at: datetime | None
    has_more: bool = False
    unanswered: bool = False
    refused: bool = False
    failed: bool = False
    asked_at: datetime | None = None
    is_forgotten: bool = False

    def is_of(self, group: str, day: date) -> bool:
        """Return whether a partition is one of this run's."""
        return group in self.groups and self.first <= day <= self.last

    def is_of_any(self, other: "Attempt") -> bool:
        """Return whether it is for any partition of another run."""
        is_of_group = self.groups == other.groups or bool(self.groups & other.groups)
        return is_of_group and self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Gap:
    """Adjoining missing sessions of a group, and the newest run that left one of them, or since when there was none.

    ``asked_at`` says when somebody asked for them by hand, if nobody else wants them: of the symbols of that moment.
    """

    group: str
    first: date
    last: date
    after: str
    asked_at: datetime | None = None

    def run_key(self, name: str) -> str:
        """Return what tells the run that fills it from every other: the same gap after the same runs is asked for once."""
        return f"{name} {self.group} {self.first} {self.last} after {self.after}"


def gaps_to_fill(
    watched: Iterable[Watched],
    missing: Missing,
    sessions: Sequence[Session],
    attempts: Sequence[Attempt],
    now: datetime,
) -> list[Gap]:
    """Return the gaps to ask for now, the newest first.

    Parameters
    ----------
    watched
        The watchlist. A run from before a symbol came to its group does not count for it.
    missing
        By symbol the ranges of missing sessions, as numbers of ``sessions``.
    sessions
        The sessions that are wanted, adjoining, in order.
    attempts
        The runs of the last :data:`LOOK_BACK` and those under way.
    now
        The present moment.
    """
    lacking: dict[tuple[datetime, str], set[int]] = {}
    for one in watched:
        numbers = lacking.setdefault((one.since, one.group), set())
        for start, end in missing.get(one.symbol, ()):
            numbers.update(range(start, end))
    due: dict[str, set[date]] = {}
    for (since, group), numbers in lacking.items():
        known = [run for run in attempts if group in run.groups and (run.ended_at is None or run.started_at >= since)]
        days = due.setdefault(group, set())
        days |= {
            day
            for day in (sessions[number].session_date for number in numbers)
            if day not in days and _is_due(day, known, now)
        }
    gaps = [
        Gap(group, first, last, newest_of(_overlapping(group, first, last, attempts), now))
        for group, days in due.items()
        for first, last in adjoining(sorted(days))
    ]
    return sorted(gaps, key=lambda gap: (gap.last, gap.first, gap.group), reverse=True)


def left_before(attempts: Iterable[Attempt], first: date) -> Mapping[tuple[str, datetime], list[date]]:
    """Return the sessions before a day that runs by hand left, by group and the newest moment at which somebody asked for them.

    A run that failed left all of its sessions, whatever ended it. Those of a later run that did not fail are done, also if
    somebody ended it by hand. What of them the lake has, a run does not ask for.
    """
    left: dict[tuple[str, date], datetime] = {}
    for run in sorted(attempts, key=lambda run: run.started_at):
        if run.ended_at is None or run.first >= first:
            continue
        last = min(run.last, first - timedelta(days=1))
        for group, session in itertools.product(run.groups, sessions_between(run.first, last)):
            place = group, session.session_date
            if not run.failed:
                left.pop(place, None)
            elif run.asked_at is not None:
                left[place] = max(left.get(place, run.asked_at), run.asked_at)
    found: dict[tuple[str, datetime], list[date]] = {}
    for (group, day), asked_at in sorted(left.items()):
        found.setdefault((group, asked_at), []).append(day)
    return found


def changed_groups(watched: Iterable[Watched], partitions: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the groups of the watchlist that are no partitions yet, and the partitions that are no groups any more."""
    groups, known = {one.group for one in watched}, set(partitions)
    return sorted(groups - known), sorted(known - groups)


def symbols_by_group(watched: Iterable[Watched]) -> Mapping[str, tuple[str, ...]]:
    """Return the symbols of each group, in order."""
    groups: dict[str, list[str]] = {}
    for one in watched:
        groups.setdefault(one.group, []).append(one.symbol)
    return {group: tuple(sorted(symbols)) for group, symbols in sorted(groups.items())}


def _is_due(day: date, runs: Sequence[Attempt], now: datetime) -> bool:
    """Return whether a missing session is to be asked for, given the runs that concern its group."""
    return is_due([run for run in runs if run.first <= day <= run.last], now)


def is_due(found: Sequence[Attempt], now: datetime) -> bool:
    """Return whether something that is missing is to be asked for now, given the runs that were for it."""
    moment = due_at(found)
    return moment is not None and moment <= now


def due_at(found: Sequence[Attempt]) -> datetime | None:
    """Return from when on something that is missing is asked for again, given its runs; ``None`` while one is under way."""
    counting = [run for run in found if not run.is_forgotten]
    ends = [run.ended_at for run in counting if run.ended_at is not None]
    if len(ends) < len(counting):
        return None
    newest_first = sorted(counting, key=lambda run: run.started_at, reverse=True)
    in_vain = list(itertools.takewhile(lambda run: not run.has_more, newest_first))
    if not in_vain:
        return datetime.min.replace(tzinfo=UTC)
    patience = PATIENCE_WITHOUT_ANSWER if in_vain[0].unanswered else PATIENCE
    return max(ends) + patience[min(len(in_vain), len(patience)) - 1]


def without_refusals(attempts: Iterable[Attempt], before: datetime) -> list[Attempt]:
    """Return the runs, of which those that a source refused before a moment are forgotten: it may have another key since."""
    return [
        replace(run, is_forgotten=True) if run.refused and run.ended_at is not None and run.ended_at < before else run
        for run in attempts
    ]


def refused_until(attempts: Sequence[Attempt]) -> datetime | None:
    """Return when what the newest run was for is asked for again, if its source refused it; ``None`` if none did."""
    newest = max(attempts, key=lambda run: run.started_at, default=None)
    if newest is None or not newest.refused or newest.is_forgotten:
        return None
    return due_at([run for run in attempts if run.is_of_any(newest)])


def newest_of(attempts: Iterable[Attempt], now: datetime) -> str:
    """Return the newest run, or since when there was none: Dagster remembers a run for longer than it counts here."""
    newest = max(attempts, key=lambda run: (run.started_at, run.run_id), default=None)
    return newest.run_id if newest is not None else f"none since {(now - LOOK_BACK).date()}"


def _overlapping(group: str, first: date, last: date, attempts: Iterable[Attempt]) -> list[Attempt]:
    return [run for run in attempts if group in run.groups and run.first <= last and first <= run.last]
