"""Bars of another length than was declared: minutes taken for five minutes, or five minutes for minutes.

Shorter bars begin between the declared ones. Longer ones begin where declared ones do, but so far apart, all of them, as chance
would not have it: a share that trades in few minutes does so at any of them.

What belongs here: which of one symbol's bars are of another length. What does not: what else may be wrong with a bar
(:mod:`ingest.history.check`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil, log
from typing import Final

import numpy as np

from ingest.history.hours import SECOND, Integers, hours
from ingest.history.source import Problem
from market.records import DAILY, INTERVALS, Bar

FEW: Final = 0.3
"""So many of a symbol's or a session's bars may begin between those of the declared length: strays, a vendor's latest price. Of
bars that are shorter half of them do so at least."""
ENOUGH: Final = 4
"""And so many at least have to, to say anything."""
STRAY: Final = 0.02
"""So many bars may lie where those of the length that is seen do not."""
MOST: Final = 0.5
"""If more of the sessions are of another length, nothing of the symbol is believed."""
UNLIKELY: Final = 20 * log(3)
"""That bars are longer is believed if chance would not have it by so much: as twenty bars of 5m in a row that are 15m apart."""

_MINUTE: Final = 60 * SECOND
_APART: Final = tuple(minutes * _MINUTE for minutes in (60, 30, 20, 15, 10, 5, 3, 2, 1))
"""How far apart bars usually are, the longest first; longer ones have too few in a session to be told."""
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Mismeasured:
    """The times of the bars that are not believed, and why; ``is_all`` if these are all of the symbol."""

    times: frozenset[int] = frozenset()
    problems: tuple[Problem, ...] = ()
    is_all: bool = False


def mismeasured(bars: Sequence[Bar], interval: str) -> Mismeasured:
    """Return which of one symbol's bars, in any order, are of another length than the declared one.

    Each session is judged by itself, and those that pass together. If these do not, or most sessions did not, none of the bars is
    believed. Only bars of regular hours say something.
    """
    if interval == DAILY or not bars:
        return Mismeasured()
    step = INTERVALS[interval] * SECOND
    every = np.unique(np.fromiter((bar.ts for bar in bars), np.int64, len(bars)))
    calendar = hours()
    number = np.maximum(np.searchsorted(calendar.opens, every, side="right") - 1, 0)
    since_open = every - calendar.opens[number]
    is_regular = (since_open >= 0) & (every < calendar.closes[number])
    times, number, since_open = every[is_regular], number[is_regular], since_open[is_regular]
    by_length: dict[int, list[int]] = {}
    is_wrong = np.zeros(len(times), np.bool_)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    for first, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(number)], strict=True):
        if (apart := _seen(since_open[first:stop], number[first:stop], step)) is not None:
            by_length.setdefault(apart, []).append(int(calendar.days[number[first]]))
            is_wrong[first:stop] = True
    rest = _seen(since_open[~is_wrong], number[~is_wrong], step)
    if rest is not None or sum(map(len, by_length.values())) > MOST * len(starts):
        apart = rest if rest is not None else max(by_length, key=lambda seen: len(by_length[seen]))
        problem = _problem(bars[0].symbol, f"{len(times):,} bars", apart, interval, int(calendar.days[number[0]]))
        return Mismeasured(frozenset(bar.ts for bar in bars), (problem,), is_all=True)
    problems = tuple(
        _problem(bars[0].symbol, f"bars of {len(days):,} session{'s' * (len(days) > 1)}", apart, interval, days[0])
        for apart, days in sorted(by_length.items())
    )
    return Mismeasured(frozenset(times[is_wrong].tolist()), problems)


def _seen(since_open: Integers, number: Integers, step: int) -> int | None:
    """Return how far apart bars seem to be, if not by the declared length; 0 if less than a minute."""
    moves = np.diff(since_open)
    within = moves[np.diff(number) == 0]
    between = _between(since_open, number, step)
    if between >= ENOUGH and between > FEW * len(number):
        moves = moves[moves != 0]
        return next((apart for apart in _APART if apart < step and _is_by(moves, apart)), 0)
    longer = (apart for apart in _APART if apart > step and apart % step == 0)
    told = (apart for apart in longer if len(within) >= ceil(UNLIKELY / log(apart / step)))
    return next((apart for apart in told if _is_by(within, apart)), None)


def _between(since_open: Integers, number: Integers, step: int) -> int:
    """Return how many bars begin between those that most of their session lie whole steps apart from: it may have opened late."""
    places, counts = np.unique(number * step + since_open % step, return_counts=True)
    if not len(places):
        return 0
    largest = np.maximum.reduceat(counts, np.flatnonzero(np.diff(places // step, prepend=-1)))
    return len(number) - int(largest.sum())


def _is_by(moves: Integers, apart: int) -> bool:
    return int(np.count_nonzero(moves % apart)) <= STRAY * len(moves)


def _problem(symbol: str, many: str, apart: int, interval: str, day: int) -> Problem:
    names = {seconds * SECOND: name for name, seconds in INTERVALS.items()}
    lengths = ", ".join(INTERVALS)
    if (length := names.get(apart)) is not None:
        seen, remedy = f"of {length}", f"if that is their length, --interval {length}"
    else:
        seen = f"of {apart // _MINUTE} minutes" if apart else "of less than a minute"
        remedy = f"the lengths that can be kept are {lengths}"
    since = _EPOCH + timedelta(days=day)
    return Problem(
        symbol, "wrong_length", f"{many} from {since} on lie as those {seen} do, not of {interval}: {remedy}"
    )
