"""The numbers that rules hold the price of a symbol against, in order: which of them a minute has passed is found by bisection.

What belongs here: from the extremes of a minute to the rules that have come true. What does not: trades, and the database.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.rules import at_once

_UP: Final = frozenset({at_once.PASSES_ABOVE, at_once.PASSES})
_DOWN: Final = frozenset({at_once.PASSES_BELOW, at_once.PASSES})


@dataclass(frozen=True, slots=True)
class Watch:
    """A version of a rule, as it is held against the minutes of a symbol; moments are UTC epoch microseconds.

    Attributes
    ----------
    rule_id, version
        Which.
    operator
        One of :mod:`alerts.rules.at_once`.
    low, high
        The ends of its range; of one number both are that.
    segments
        Parts of the session in which it may fire.
    since, until
        Bars have to end after the one, and not after the other.
    """

    rule_id: int
    version: int
    operator: str
    low: float
    high: float
    segments: frozenset[str]
    since: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the price of a minute went.

    Attributes
    ----------
    high, low
        Its extremes so far.
    seen_high, seen_low
        Those at the last look; ``None`` at the first.
    before
        The close of the bar before; ``None`` if it is not known.
    """

    high: float
    low: float
    seen_high: float | None = None
    seen_low: float | None = None
    before: float | None = None


class Levels:
    """What is watched of one symbol, or of all."""

    def __init__(self, watches: Iterable[Watch]) -> None:
        crossed_up, crossed_down, above, below = [], [], [], []
        for watch in watches:
            match watch.operator:
                case at_once.REACHES_ABOVE:
                    above.append((watch.low, watch))
                case at_once.REACHES_BELOW:
                    below.append((watch.low, watch))
                case at_once.REACHES_OUTSIDE:
                    above.append((watch.high, watch))
                    below.append((watch.low, watch))
                case at_once.BREAKS_OUT:
                    crossed_up.append((watch.high, watch))
                    crossed_down.append((watch.low, watch))
                case _:
                    if watch.operator in _UP:
                        crossed_up.append((watch.low, watch))
                    if watch.operator in _DOWN:
                        crossed_down.append((watch.low, watch))
        self._crossed_up, self._crossed_down = _Sorted(crossed_up), _Sorted(crossed_down)
        self._above, self._below = _Sorted(above), _Sorted(below)

    def passed(self, reach: Reach) -> Iterator[tuple[Watch, bool]]:
        """Yield what has come true since the last look, and whether upwards; what is true both ways may come twice."""
        for watch in self._above.from_below(reach.seen_high, reach.high):
            yield watch, True
        for watch in self._below.to_above(reach.low, reach.seen_low):
            yield watch, False
        before = reach.before
        if before is None:
            return
        lowest = before if reach.seen_high is None else max(before, reach.seen_high)
        highest = before if reach.seen_low is None else min(before, reach.seen_low)
        for watch in self._crossed_up.from_below(lowest, reach.high):
            if watch.operator != at_once.BREAKS_OUT or watch.low <= before:
                yield watch, True
        for watch in self._crossed_down.to_above(reach.low, highest):
            if watch.operator != at_once.BREAKS_OUT or watch.high >= before:
                yield watch, False


class _Sorted:
    """Watches by a number of each."""

    def __init__(self, pairs: Sequence[tuple[float, Watch]]) -> None:
        ordered = sorted(pairs, key=lambda pair: pair[0])
        self._numbers = [number for number, _ in ordered]
        self._watches = [watch for _, watch in ordered]

    def from_below(self, lowest: float | None, high: float) -> list[Watch]:
        """Return those from ``lowest``, included, to ``high``, excluded: what a price passes on its way up."""
        first = 0 if lowest is None else bisect_left(self._numbers, lowest)
        return self._watches[first : bisect_left(self._numbers, high)]

    def to_above(self, low: float, highest: float | None) -> list[Watch]:
        """Return those from ``low``, excluded, to ``highest``, included: what a price passes on its way down."""
        last = len(self._numbers) if highest is None else bisect_right(self._numbers, highest)
        return self._watches[bisect_right(self._numbers, low) : last]


class Book:
    """All that is watched: by symbol, and of every symbol."""

    def __init__(self, by_symbol: Mapping[str, Iterable[Watch]], of_all: Iterable[Watch] = ()) -> None:
        self._by_symbol = {symbol: Levels(watches) for symbol, watches in by_symbol.items()}
        everyone = list(of_all)
        self._of_all = Levels(everyone) if everyone else None

    def levels(self, symbol: str) -> list[Levels]:
        """Return what is watched of a symbol."""
        found = self._by_symbol.get(symbol)
        return [levels for levels in (found, self._of_all) if levels is not None]
