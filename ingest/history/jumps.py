"""Prices that are far from what they should be near: dollars and cents mixed, above all.

What belongs here: which of one symbol's bars are at a price that the others deny. What does not: what else may be wrong with
a bar (:mod:`ingest.history.check`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from math import prod
from typing import Final

from ingest.history.source import Problem
from market.records import Bar
from warehouse.history import KnownClose, KnownCloses, KnownSplit

OFF_BY: Final = Decimal(50)
"""Two prices are far from each other if one is so many times the other. Hardly a share moves so far from one session to the next;
a vendor that mixes dollars and cents is off by 100."""
ENOUGH: Final = 5
"""So many bars at one level confirm it by themselves: fewer are believed only if what the lake has is near."""
MOST_LEVELS: Final = 32
"""An answer that jumps more often than that says of no bar what its price was."""

_OFF: Final = "off_by_far"
_BETWEEN: Final = 2


def torn(bar: Bar) -> Problem | None:
    """Return what is wrong with a bar whose own prices are far from each other, if anything.

    Its high has to be near the higher of open and close, its low near the lower, and these near each other.
    """
    pairs = (
        ("open", bar.open, "close", bar.close),
        ("high", bar.high, "open and close", max(bar.open, bar.close)),
        ("low", bar.low, "open and close", min(bar.open, bar.close)),
    )
    for name, price, of_others, other in pairs:
        if _is_far(price, other):
            return Problem(bar.symbol, _OFF, f"{name} {price} at {at(bar.ts)}, with {of_others} at {other}", bar.ts)
    return None


def returning(bars: Sequence[Bar], known: KnownCloses) -> dict[int, Problem]:
    """Return by time what is wrong with the bars at prices that were left again, or came back to.

    Where prices jump away and come back, either those between or those around are wrong: the fewer. Those that the lake confirms
    are never the fewer.
    """
    levels = _levels(bars, known.splits)
    if len(levels) > MOST_LEVELS:
        why = f"it jumps {len(levels) - 1} times within the answer"
        return {bar.ts: _problem(bar, why) for bar in bars}
    found: dict[int, Problem] = {}
    while (wrong := _wrong_of_a_return(levels, known)) is not None:
        found |= {bar.ts: _problem(bar, f"prices near {other} come before and after") for bar, other in wrong}
        levels = _levels([bar for level in levels for bar in level if bar.ts not in found], known.splits)
    return found


def unconfirmed(bars: Sequence[Bar], known: KnownCloses) -> dict[int, Problem]:
    """Return by time what is wrong with the bars at a level that nothing confirms.

    Bars that follow each other without a far jump, or with one that a known split explains, are one level. The first level has
    to be near what the lake has before it, the last near what it has after it, and where there is one only, near either. Of
    several, each takes ``ENOUGH`` bars, or what the lake has beside it; if none has either, the longest is believed, if there is
    one.
    """
    levels = _levels(bars, known.splits)
    found: dict[int, Problem] = {}
    while len(levels) > 1 and (wrong := _least_confirmed(levels, known)):
        found |= wrong
        levels = _levels([bar for level in levels for bar in level if bar.ts not in found], known.splits)
    return found | (_unlike(levels[0], known.splits, known.before, known.after) if len(levels) == 1 else {})


def at(ts: int) -> str:
    """Return a moment as it is written in problems."""
    return f"{datetime.fromtimestamp(ts / 1_000_000, UTC):%Y-%m-%d %H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class _Return:
    """Prices that leave the level ``first`` and are back at ``last``; ``first`` and ``last`` are numbers of levels."""

    first: int
    last: int
    between: int
    around: float

    @property
    def order(self) -> tuple[float, float]:
        """What comes first is decided first: the fewest bars, between the most."""
        return min(self.between, self.around), -self.around


def _wrong_of_a_return(levels: Sequence[Sequence[Bar]], known: KnownCloses) -> list[tuple[Bar, Decimal]] | None:
    """Return the bars that are wrong at the clearest of the returns, each with the close that denies it; all if it is a draw."""
    found = min(_returns(levels, known), key=lambda one: one.order, default=None)
    if found is None:
        return None
    wrong: list[tuple[Bar, Decimal]] = []
    if found.between <= found.around:
        close = levels[found.first][-1].close
        wrong += [(bar, close) for level in levels[found.first + 1 : found.last] for bar in level]
    if found.around <= found.between:
        close = levels[found.first + 1][0].close
        wrong += [(bar, close) for level in (levels[found.first], levels[found.last]) for bar in level]
    return wrong


def _returns(levels: Sequence[Sequence[Bar]], known: KnownCloses) -> Iterator[_Return]:
    for first, last in combinations(range(len(levels)), 2):
        if last - first < _BETWEEN or _has_jumped(levels[first][-1], levels[last][0], known.splits):
            continue
        is_known = (first == 0 and _is_near(levels[0][0], known.before, known.splits)) or (
            last == len(levels) - 1 and _is_near(levels[-1][-1], known.after, known.splits)
        )
        between = sum(map(len, levels[first + 1 : last]))
        yield _Return(first, last, between, float("inf") if is_known else len(levels[first]) + len(levels[last]))


def _least_confirmed(levels: Sequence[Sequence[Bar]], known: KnownCloses) -> Mapping[int, Problem]:
    """Return what is wrong with the level, of two at least, that is least confirmed; nothing if all are."""
    if wrong := _unlike(levels[0], known.splits, known.before) | _unlike(levels[-1], known.splits, known.after):
        return wrong
    confirmed = [len(level) >= ENOUGH for level in levels]
    confirmed[0] |= _is_near(levels[0][0], known.before, known.splits)
    confirmed[-1] |= _is_near(levels[-1][-1], known.after, known.splits)
    weak = [level for level, is_sure in zip(levels, confirmed, strict=True) if not is_sure]
    if not weak:
        return {}
    fewest = min(map(len, weak))
    why = f"so few bars are near it, fewer than {ENOUGH}, and it is far from those beside it"
    return {bar.ts: _problem(bar, why) for level in weak if len(level) == fewest for bar in level}


def _unlike(level: Sequence[Bar], splits: Sequence[KnownSplit], *closes: KnownClose | None) -> dict[int, Problem]:
    """Return by time what is wrong with the bars of a level, if it is far from all closes that are known."""
    known = [close for close in closes if close is not None]
    if not known or any(_is_near(bar, close, splits) for close in known for bar in level):
        return {}
    theirs = " and ".join(f"{close.close} at {at(close.ts)} from {close.source}" for close in known)
    return {bar.ts: _problem(bar, f"the lake has {theirs}") for bar in level}


def _levels(bars: Iterable[Bar], splits: Sequence[KnownSplit]) -> list[list[Bar]]:
    levels: list[list[Bar]] = []
    for bar in bars:
        if not levels or _has_jumped(levels[-1][-1], bar, splits):
            levels.append([])
        levels[-1].append(bar)
    return levels


def _problem(bar: Bar, why: str) -> Problem:
    return Problem(bar.symbol, _OFF, f"close {bar.close} at {at(bar.ts)}: {why}", bar.ts)


def _is_near(bar: Bar, close: KnownClose | None, splits: Sequence[KnownSplit]) -> bool:
    if close is None:
        return False
    return not (_has_jumped(close, bar, splits) if close.ts <= bar.ts else _has_jumped(bar, close, splits))


def _has_jumped(earlier: Bar | KnownClose, later: Bar | KnownClose, splits: Sequence[KnownSplit]) -> bool:
    """Return whether closes are far from each other, as they are and also with the splits between that any source tells.

    As they are as well: what is told of a split may be wrong. One source at a time: two may date the same split days apart.
    """
    if not _is_far(later.close, earlier.close):
        return False
    between = [split for split in splits if earlier.ts < split.ts <= later.ts]
    told = ([split.times for split in between if split.source == source] for source in {one.source for one in between})
    return all(_is_far(later.close, earlier.close * prod(times)) for times in told)


def _is_far(price: Decimal, other: Decimal) -> bool:
    return not other / OFF_BY < price < other * OFF_BY
