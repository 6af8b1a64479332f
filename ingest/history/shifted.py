"""Bars whose times are off by a whole number of half hours, or that bear the time of their end: another zone's clock, mostly.

Such bars begin where bars begin, and most of them lie in regular hours still: what is seen is that the session begins or ends
without a bar, while as many lie beside it, and none beyond.

What belongs here: which of one symbol's bars are shifted. What does not: what else may be wrong with a bar
(:mod:`ingest.history.check`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from ingest.history.hours import DAY, SECOND, Hours, Integers, hours
from ingest.history.source import WRONG_TIME, Problem
from market.records import DAILY, INTERVALS, Bar
from market.sessions import EXCHANGE_ZONE

FILLED: Final = 0.5
"""So much of a session has to have bars: a share that trades less says nothing of the clock."""
FILLED_ELSEWHERE: Final = 0.75
FEWEST_ELSEWHERE: Final = 6
"""And so much, with so many bars at least, if regular hours have none at all: a day of pre or post bars alone is not shifted."""
FILLED_TO_ITS_END: Final = 0.9
"""So much to tell bars that bear the time of their end: one bar lacks at the beginning then, and one is too many."""
STRAY: Final = 0.02
"""So many bars of a shifted session may lie where the shift does not explain them."""
EDGE: Final = 0.05
"""Within this part of the session from its beginning, and before its end, there has to be a bar once the shift is undone."""
DENSITY: Final = 0.5
"""The bars beside regular hours are so dense at least, against those of the whole session: pre and post bars are not."""
VOLUME: Final = 0.1
"""And the volume in the middle of them is so much at least of that within regular hours: that of pre and post bars is not."""
ENOUGH: Final = 4
"""So many bars have to lack, of a session or of all of a symbol together."""
MOST: Final = 0.8
"""If so many of the sessions that can be judged are shifted, nothing of the symbol is believed."""

_HALF_HOUR: Final = 1800 * SECOND
_SHIFTS: Final = tuple(number * _HALF_HOUR for number in range(-12, 37) if number)
"""From Hawaii, six hours behind New York, to New Zealand, eighteen ahead."""


@dataclass(frozen=True, slots=True)
class Shifted:
    """The times of the bars that are not believed, and why."""

    times: frozenset[int] = frozenset()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Vote:
    """A session whose bars fit its hours when they are moved back by ``shift``; ``start`` and ``stop`` are the bars' numbers."""

    session: int
    shift: int
    bars: int
    lacking: int
    start: int
    stop: int

    @property
    def order(self) -> tuple[int, bool, int]:
        """What is likelier comes first: that more bars fit, then whole hours, then fewer."""
        return -self.bars, self.shift % (2 * _HALF_HOUR) != 0, abs(self.shift)


def shifted(bars: Sequence[Bar], interval: str) -> Shifted:
    """Return which of one symbol's bars, in any order, are shifted.

    Whole sessions are judged, each by itself: one is shifted if half of its bars at least are there, lie in its hours once they
    are moved by a number of half hours, and do not as they are, by four bars at least; what lies outside of its hours is then
    about as dense and as voluminous as what lies within. If most sessions of the answer are shifted, none of it is believed.
    """
    if interval == DAILY or not bars:
        return Shifted()
    step = INTERVALS[interval] * SECOND
    volumes = {bar.ts: bar.volume for bar in bars if (bar.ts - _HALF_HOUR) % step == 0}
    times = np.array(sorted(volumes), np.int64)
    volume = np.array([volumes[ts] for ts in times.tolist()], np.float64)
    calendar = _near(times)
    regular = _count(times, calendar.opens, calendar.closes)
    if regular.sum() == len(times):
        return Shifted()
    best: dict[int, _Vote] = {}
    for shift in sorted({*_SHIFTS, step}):
        for vote in _votes(times, volume, calendar, step, shift):
            if vote.session not in best or vote.order < best[vote.session].order:
                best[vote.session] = vote
    is_filled = regular >= FILLED * _slots(calendar, step)
    judged = len(best | dict.fromkeys(calendar.opens[is_filled].tolist()))
    votes = list(best.values())
    if len(votes) >= MOST * judged and sum(vote.lacking for vote in votes) >= ENOUGH:
        return Shifted(frozenset(bar.ts for bar in bars), _problems(bars[0].symbol, votes, times, step))
    votes = [vote for vote in votes if vote.lacking >= ENOUGH]
    wrong = frozenset(ts for vote in votes for ts in times[vote.start : vote.stop].tolist())
    return Shifted(wrong, _problems(bars[0].symbol, votes, times, step))


def _near(times: Integers) -> Hours:
    """Return the hours of the sessions within a day of some times."""
    every = hours()
    if not len(times):
        return Hours(every.days[:0], every.opens[:0], every.closes[:0])
    first, last = np.searchsorted(every.opens, [times[0] - DAY, times[-1] + DAY])
    return Hours(every.days[first:last], every.opens[first:last], every.closes[first:last])


def _count(times: Integers, start: Integers, end: Integers) -> Integers:
    return np.searchsorted(times, end) - np.searchsorted(times, np.minimum(start, end))


def _slots(calendar: Hours, step: int) -> Integers:
    return -(-(calendar.closes - calendar.opens) // step)


def _votes(times: Integers, volume: np.ndarray, calendar: Hours, step: int, shift: int) -> Iterator[_Vote]:
    """Yield the sessions whose bars a shift explains."""
    opens, closes, slots = calendar.opens, calendar.closes, _slots(calendar, step)
    start, end = opens + shift, closes + shift
    middle, edge = (start + end) // 2, np.maximum(1, (EDGE * slots).astype(np.int64)) * step
    found = _count(times, start, end)
    around = _count(times, middle - DAY // 2, middle + DAY // 2)
    within = _count(times, np.maximum(opens, start), np.minimum(closes, end))
    if shift > 0:
        left, right = opens, np.minimum(start, closes)
    else:
        left, right = np.maximum(end, opens), closes
    lacking = -(-(right - left) // step)
    elsewhere = np.maximum(FILLED_ELSEWHERE * slots, FEWEST_ELSEWHERE)
    needed = (FILLED if shift % _HALF_HOUR == 0 else FILLED_TO_ITS_END) * slots
    fits = (
        (found >= np.where(_count(times, opens, closes) > 0, needed, elsewhere))
        & (around - found <= STRAY * found)
        & (_count(times, left, right) <= STRAY * lacking)
        & (_count(times, start, start + edge) > 0)
        & (_count(times, end - edge, end) > 0)
        & (found - within >= DENSITY * lacking * found / slots)
    )
    for number in np.flatnonzero(fits).tolist():
        first, stop = np.searchsorted(times, [start[number], end[number]]).tolist()
        own = times[first:stop]
        is_inside = (opens[number] <= own) & (own < closes[number])
        if _is_traded(volume[first:stop][~is_inside], volume[first:stop][is_inside]):
            session = int(opens[number])
            yield _Vote(session, shift, int(found[number]), int(lacking[number]), first, stop)


def _is_traded(outside: np.ndarray, inside: np.ndarray) -> bool:
    """Return whether bars outside of regular hours have about as much volume as those inside, if there are any."""
    return len(inside) == 0 or bool(np.median(outside) >= VOLUME * np.median(inside))


def _problems(symbol: str, votes: Sequence[_Vote], times: Integers, step: int) -> tuple[Problem, ...]:
    found = []
    for shift in sorted({vote.shift for vote in votes}):
        own = [vote for vote in votes if vote.shift == shift]
        first = min(own, key=lambda vote: vote.session)
        begin, end = (_in_new_york(int(ts)) for ts in (times[first.start], times[first.stop - 1]))
        many = f"{len(own):,} sessions are" if len(own) > 1 else "1 session is"
        span = f"on {begin:%Y-%m-%d} the bars lie from {begin:%H:%M} to {end:%H:%M} New York"
        found.append(Problem(symbol, WRONG_TIME, f"{many} shifted: {span}, {_likely(shift, step, begin)}"))
    return tuple(found)


def _likely(shift: int, step: int, moment: datetime) -> str:
    if shift == step and shift % _HALF_HOUR:
        return f"{shift // SECOND // 60} minutes late: as if they bore the time of their end"
    offset = (moment.utcoffset() or timedelta()) + timedelta(microseconds=shift)
    sign, minutes = ("-" if offset < timedelta() else "+"), abs(offset) // timedelta(minutes=1)
    hour = f"{abs(shift) / SECOND / 3600:g} hour{'s' if abs(shift) != 2 * _HALF_HOUR else ''}"
    much = f"{hour} {'late' if shift > 0 else 'early'}"
    return f"{much}: as if written by a clock of UTC{sign}{minutes // 60:02}:{minutes % 60:02}"


def _in_new_york(ts: int) -> datetime:
    return datetime.fromtimestamp(ts / SECOND, UTC).astimezone(EXCHANGE_ZONE)
