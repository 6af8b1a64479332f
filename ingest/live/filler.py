"""Fills the holes of a session from its source's history: which one is next, when again, and what an answer is worth.

What belongs here: the order of holes and their failures. What does not: what is missing (:mod:`ingest.live.coverage`), and how a
source is asked (``ingest/feeds/<name>/live.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from ingest.live.backoff import pause_seconds
from ingest.live.connection import Filling
from ingest.live.coverage import MINUTE, Coverage, micros
from ingest.live.reach import Reach
from ingest.live.source import Filled, Hole, LiveSource
from ingest.pacing import Clock
from market.records import Record

LOOK_SECONDS: Final = 1.0
SETTLES_IN_STEPS_OF: Final = 5 * MINUTE

_Place = tuple[tuple[str, ...], int]
"""A hole by its symbols and its beginning: its end moves on while a connection is away."""


@dataclass(frozen=True, slots=True)
class _Tries:
    """How often a hole was asked for in vain, and when it is its turn again."""

    failures: int = 0
    next_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _UnderWay:
    hole: Hole
    filling: Filling
    asked_at: int


class Filler:
    """Asks for one hole after the other.

    Those that were never asked for come first, the newest before the others; then those that failed, in the order in which their
    pauses end. So one that fails for ever keeps nobody waiting. Failures of different holes in a row open the circuit of all.

    What a source answers about the last minutes is published, and asked for again when it has settled: only then it counts,
    unless the answer itself shows that the history has come further.

    Parameters
    ----------
    source
        The source; says how much may be asked for at once, and when its history has settled.
    reach
        The world.
    clock
        Time.
    coverage
        What is missing; is told what was filled.
    """

    def __init__(self, source: LiveSource, reach: Reach, clock: Clock, coverage: Coverage) -> None:
        self._source = source
        self._reach = reach
        self._clock = clock
        self._coverage = coverage
        self._log = structlog.get_logger(__name__).bind(source=source.name)
        self._under_way: _UnderWay | None = None
        self._tries: dict[_Place, _Tries] = {}
        self._failing: set[_Place] = set()
        self._next_at = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a hole is being filled."""
        return self._under_way is not None

    def begin(self, until: Mapping[str, int], now: datetime) -> None:
        """Ask for the hole whose turn it is, if it is time for one; the history may be asked until these moments, by symbol."""
        moment = self._clock.monotonic()
        if self._under_way is not None or moment < self._next_at:
            return
        self._next_at = moment + LOOK_SECONDS
        settled = micros(now) - self._settles
        holes = self._coverage.holes(
            until, self._source.hole_size, settled - settled % SETTLES_IN_STEPS_OF, micros(now)
        )
        due = [hole for hole in holes if self._tried(hole).next_at <= moment]
        if due:
            hole = min(due, key=lambda hole: self._tried(hole).next_at)
            self._log.info("live_hole_asked_for", **_shown(hole), holes=len(holes))
            filling = self._reach.fill(self._coverage.looking_back(hole))
            self._under_way = _UnderWay(hole, filling, micros(now))

    def take(self) -> list[Record]:
        """Return what the history has brought since the last time."""
        return self._under_way.filling.take() if self._under_way is not None else []

    def conclude(self) -> None:
        """See what became of the hole, after everything that was taken was handed over."""
        if self._under_way is None or (outcome := self._under_way.filling.outcome) is None:
            return
        one, self._under_way = self._under_way, None
        place, moment = _place(one.hole), self._clock.monotonic()
        if isinstance(outcome, Filled):
            self._failing.clear()
            self._tries.pop(place, None)
            self._next_at = moment
            self._filled(one, outcome)
            return
        failures = self._tried(one.hole).failures + 1
        self._failing.add(place)
        seconds = pause_seconds(failures, outcome)
        self._tries[place] = _Tries(failures, moment + seconds)
        self._next_at = moment + pause_seconds(len(self._failing), outcome)
        self._log.warning("live_hole_not_filled", **_shown(one.hole), cause=str(outcome), again_in_s=round(seconds, 1))

    def stop(self) -> None:
        """Give up what is under way."""
        if self._under_way is not None:
            self._under_way.filling.close()
            self._under_way = None

    @property
    def _settles(self) -> int:
        return self._source.history_settles_seconds * 1_000_000

    def _tried(self, hole: Hole) -> _Tries:
        return self._tries.get(_place(hole), _Tries())

    def _filled(self, one: _UnderWay, outcome: Filled) -> None:
        hole, settled, is_settled = one.hole, one.asked_at - self._settles, True
        for symbol in hole.symbols:
            is_unfilled = symbol in outcome.unfilled
            certain = max(settled, outcome.reaches.get(symbol, hole.until if is_unfilled else settled))
            found = (hole.since, min(hole.until, certain))
            if is_unfilled:
                self._coverage.give_up(symbol, found)
                self._log.warning("live_hole_stays", symbol=symbol, **_shown(hole), cause=outcome.reason)
            else:
                self._coverage.deliver(symbol, found)
            if certain < hole.until:
                self._coverage.show(symbol, (max(hole.since, certain), hole.until), self._again_at(one))
                is_settled = False
        self._log.info("live_hole_filled", **_shown(hole), is_settled=is_settled)

    def _again_at(self, one: _UnderWay) -> int:
        """Return when a source whose holes are joined is asked again for what an answer did not reach, if it lacks nothing else.

        After the next step, then when it has settled: twice at the most. Each time when other holes of a step can be asked for,
        so that these and it are one.
        """
        step = self._source.hole_size.joins_minutes * MINUTE
        if not step:
            return 0
        is_first = one.asked_at < one.hole.until + step
        due = one.hole.until + (step if is_first else self._settles)
        return due + -due % step + self._source.history_lag_seconds * 1_000_000


def _place(hole: Hole) -> _Place:
    return hole.symbols, hole.since


def _shown(hole: Hole) -> dict[str, str]:
    return {"symbols": ",".join(hole.symbols), "since": str(hole.since), "until": str(hole.until)}
