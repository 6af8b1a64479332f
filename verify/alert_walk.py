"""The alerts of a version of a rule over the bars of a series: worked out bar by bar, from the first to the last.

What belongs here: which bars a version looks at, and what it does there. What does not: the values of the bars
(:mod:`verify.alert_values`).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np

from verify.alert_quotes import Minute, Span, quotes_of
from verify.alert_snapshot import DAILY, Version
from verify.alert_values import Flags, Values, gone_back, holds, state

_MINUTES: Final = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}
_LONGEST_COOLDOWN: Final = timedelta(days=36_525)
_BEFORE_THE_END: Final = frozenset({"once_per_bar", "at_once"})
_SEGMENTS: Final = {"pre": 0, "regular": 1, "post": 2}

Bounds = dict[date, tuple[datetime, datetime, datetime]]


@dataclass(frozen=True, slots=True)
class Quotes:
    """The quotes of a symbol by minute, and by feed the newest minute of any symbol."""

    minutes: list[Minute]
    until: dict[str, datetime]


@dataclass(frozen=True)
class Bars:
    """The bars of a series, each value in order.

    Attributes
    ----------
    mart, interval
        Where they are from.
    symbols, starts, ends, segments
        Of each bar.
    is_closed
        Whether no trade is to come for it.
    is_quoted
        Whether no quote is to come for it.
    revised
        When it changed last.
    values
        Its values.
    """

    mart: str
    interval: str
    symbols: list[str]
    starts: list[datetime]
    ends: list[datetime]
    segments: list[str]
    is_closed: Flags
    is_quoted: Flags
    revised: list[datetime]
    values: Values

    @classmethod
    def of(
        cls,
        mart: str,
        interval: str,
        rows: list[tuple[Any, ...]],
        *,
        names: list[str],
        bounds: Bounds,
        tapes: dict[str, datetime],
        stable_from: dict[str, int | None],
        quotes: "Quotes | None" = None,
    ) -> "Bars":
        """Return the bars of rows of :meth:`verify.alert_snapshot.AlertSnapshot.judged_rows`, and of their quotes."""
        ends = [_end(mart, interval, row, bounds) for row in rows]
        never = datetime.min.replace(tzinfo=UTC)
        closed = [
            row[4] if mart == DAILY else row[4] or row[5] or tapes.get(row[6], never) >= end
            for row, end in zip(rows, ends, strict=True)
        ]
        columns = {
            name: np.array([row[place] for row in rows], dtype=float) for place, name in enumerate(names, start=9)
        }
        quoted = [True] * len(rows)
        if quotes is not None:
            spans = [Span(None if row[5] else row[6], row[1], end) for row, end in zip(rows, ends, strict=True)]
            columns |= quotes_of(spans, quotes.minutes)
            quoted = [
                row[4] or row[5] or quotes.until.get(row[6], never) >= end for row, end in zip(rows, ends, strict=True)
            ]
        numbers = np.array([row[8] for row in rows], dtype=float)
        return cls(
            mart=mart,
            interval=interval,
            symbols=[row[0] for row in rows],
            starts=[row[1] for row in rows],
            ends=ends,
            segments=[row[3] for row in rows],
            is_closed=np.array(closed, dtype=bool),
            is_quoted=np.array(quoted, dtype=bool),
            revised=[row[7] for row in rows],
            values=Values(columns, numbers, stable_from),
        )


def _end(mart: str, interval: str, row: tuple[Any, ...], bounds: Bounds) -> datetime:
    ends = bounds[row[2]]
    if mart == DAILY:
        return ends[_SEGMENTS["regular"]]
    start: datetime = row[1]
    return min(start + timedelta(minutes=_MINUTES[interval]), ends[_SEGMENTS[row[3]]])


Walks = dict[tuple[str, bool], "_Walk"]
"""By symbol, and whether it is of the time before the rule."""


def alerts_of(
    version: Version, bars: Bars, since: dict[str, datetime], told: Collection[int] = (), walks: Walks | None = None
) -> Iterator[tuple[str, datetime]]:
    """Yield the symbol and bar of each alert that a version ought to have of these bars.

    Parameters
    ----------
    version
        The version.
    bars
        The bars of a series.
    since
        By symbol after which moment bars have to end to be of the present; symbols that are not in it are not meant.
    told
        Places of the bars that an alert of the rule stands for.
    walks
        What the versions before left, and this one goes on from.
    """
    fires = _fires(version, bars)
    if version.trigger == "once_per_bar":
        for ahead in told:  # until its end nobody knows better
            fires[ahead] |= not has_ended(version, bars, ahead)
    backs = np.zeros(len(fires), dtype=bool)
    if version.hysteresis > 0:
        for clause in version.clauses:
            backs |= gone_back(clause, bars.values, version.hysteresis, is_percent=version.is_hysteresis_percent)
    walks = {} if walks is None else walks
    for place in np.flatnonzero(fires | backs):
        symbol = bars.symbols[place]
        if symbol not in since or not _is_looked_at(version, bars, int(place)):
            continue
        is_past = _is_past(version, bars, int(place), since[symbol])
        if is_past is None:
            continue
        walk = walks.setdefault((symbol, is_past), _Walk(version))
        walk.go_on_with(version)
        if walk.step(bars.starts[place], bars.ends[place], fires=bool(fires[place]), is_back=bool(backs[place])):
            yield symbol, bars.starts[place]


def is_known(version: Version, bars: Bars, place: int) -> bool:
    """Return whether a version can judge a bar: of a series that was cut off the first values are not known."""
    for clause in version.clauses:
        names = (one.field for one in (clause.left, clause.right, clause.upper) if one.field is not None)
        if all(bars.values.is_past_start(name, place) for name in names):
            continue  # what is not there was taken away
        truths = [holds(clause, bars.values)]
        if not version.has_event:
            truths.append(state(clause, bars.values, 1))
        if place == 0 or not all(bool(truth.yes[place] | truth.no[place]) for truth in truths):
            return False
    return True


def fires_still(version: Version, bars: Bars, place: int) -> bool:
    """Return whether a bar by itself has what a version asks, or may yet come to have it."""
    is_ahead = version.trigger == "once_per_bar" and not has_ended(version, bars, place)
    return is_ahead or bool(_fires(version, bars)[place])


def has_ended(version: Version, bars: Bars, place: int) -> bool:
    """Return whether nothing more is to come for a bar of what a version looks at."""
    return bool(bars.is_closed[place] and (bars.is_quoted[place] or not version.has_quotes))


def _fires(version: Version, bars: Bars) -> Flags:
    truths = [holds(clause, bars.values) for clause in version.clauses]
    found = np.ones(len(bars.starts), dtype=bool)
    for truth in truths:
        found &= truth.yes
    if version.is_edge and not version.has_event:
        was_false = np.zeros(len(found), dtype=bool)
        for clause in version.clauses:
            was_false |= state(clause, bars.values, 1).no
        found &= was_false
    return found


def _is_looked_at(version: Version, bars: Bars, place: int) -> bool:
    if not has_ended(version, bars, place) and version.trigger not in _BEFORE_THE_END:
        return False
    return bars.mart == DAILY or bars.segments[place] in version.segments


def _is_past(version: Version, bars: Bars, place: int, since: datetime) -> bool | None:
    """Return whether a bar is of the time before the rule; ``None`` if it is not this version's."""
    end, revised, until = bars.ends[place], bars.revised[place], version.until_at
    if end > since and (until is None or end <= until):
        return False
    of_before = version.is_newest and end <= version.created_at and revised >= version.created_at
    return True if of_before and (until is None or revised <= until) else None


class _Walk:
    """What a rule remembers of a symbol from one bar to the next."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._fired: tuple[datetime, datetime] | None = None
        self._is_armed = True

    def go_on_with(self, version: Version) -> None:
        """Let another version go on: what was told counts, and whether a value has gone back meanwhile is taken to be so."""
        self._is_armed |= version is not self._version
        self._version = version

    def step(self, start: datetime, end: datetime, *, fires: bool, is_back: bool) -> bool:
        """Take a bar in, and return whether there is an alert."""
        version = self._version
        cooldown = min(timedelta(seconds=min(version.cooldown_seconds, 10**10)), _LONGEST_COOLDOWN)
        silent_until = None if self._fired is None else self._fired[1] + cooldown
        may = (
            fires
            and (self._is_armed or not version.hysteresis > 0)
            and not (version.trigger == "once" and self._fired is not None)
            and (silent_until is None or end >= silent_until)
        )
        if may:
            self._fired, self._is_armed = (start, end), False
        elif is_back and not self._is_armed:
            self._is_armed = True
        return may
