"""A backfill: what is missing is asked for, checked, published, and remembered once the lake has it.

1. Each answer's bars are checked; those that are believed are handed to the publisher.
2. Every few seconds the publisher is flushed: what the broker has acknowledged has an end in the topic.
3. When the lake has passed that end, the sessions are remembered as collected.

Whatever is killed in between, nothing is remembered that the lake does not have: the next backfill asks for it again, and the
lake recognises what it has.
"""

import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Final, Protocol

from ingest.history.check import believe
from ingest.history.fetch import Fetched, fetch_all
from ingest.history.plan import Plan
from ingest.history.source import (
    WRONG_TIME,
    Ask,
    HistorySource,
    Problem,
    QuotaUsedUpError,
    Read,
    UnreadableAnswerError,
    Withheld,
)
from ingest.history.summary import Summary, SymbolResult
from market.errors import ServiceError
from market.records import Bar
from market.sessions import EXCHANGE_ZONE, Session
from warehouse.collected_history import Collected
from warehouse.history import KnownCloses

SETTLE_SECONDS: Final = 2.0
"""How often what was published is settled and remembered."""
LAKE_SECONDS: Final = 600.0
"""How long the lake may take for what is left at the end without any progress."""
_POLL_SECONDS: Final = 0.1
_MICROS: Final = 1_000_000
_MOST_PROBLEMS: Final = 20
"""So many problems of a symbol are kept; all of them are counted."""

Offsets = Mapping[tuple[str, int], int]


class Door(Protocol):
    """Where bars go, how far they have come, and what is there already."""

    def known_closes(self, ask: Ask) -> Mapping[str, KnownCloses]:
        """Return by symbol the closes near the sessions of an ask."""

    def first_sessions(self, symbols: Collection[str]) -> Mapping[str, date]:
        """Return by symbol the first session of which the lake has a bar of the source and length."""

    def publish(self, bars: Sequence[Bar]) -> None:
        """Hand bars to the broker."""

    def settle(self) -> Offsets:
        """Wait until the broker has acknowledged everything, and return the ends of the topic."""

    def arrived(self) -> Offsets:
        """Return how far the lake and PostgreSQL are."""

    def remember(self, collected: Collection[Collected]) -> Collection[str]:
        """Note what the lake has now, and return the symbols that the source did not know before and knows now."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backfill is: asks that were answered of all, bars published, bars that the lake still has to take in."""

    answered: int
    asks: int
    bars: int
    waiting: int


class CountingPace(Protocol):
    """Waits until a request is allowed, and counts it."""

    requests: int

    def __call__(self) -> None:
        """Wait."""


def run_backfill(
    source: HistorySource,
    plan: Plan,
    door: Door,
    pace: CountingPace,
    *,
    stop: threading.Event,
    accepts_jumps: bool = False,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Summary:
    """Carry out a plan.

    When ``stop`` is set, nothing more is asked for; what was answered is published and remembered. With ``accepts_jumps`` prices
    are believed that are far from those that the lake has.

    Raises
    ------
    SourceError
        If the source refuses every request. What was answered before is published and remembered.
    PublishError
        If the broker did not take the bars.
    ServiceError
        If the lake does not take them in.
    """
    started = time.monotonic()
    results = {
        symbol: SymbolResult(
            asked=plan.missing.get(symbol, 0),
            too_old=plan.too_old.get(symbol, 0),
            withheld=plan.withheld.get(symbol, 0),
            is_unknown=symbol in plan.unknown and symbol not in plan.missing,
        )
        for symbol in plan.symbols
    }
    under_way = _UnderWay(door, results, plan.unknown, accepts_jumps=accepts_jumps)
    answered = 0
    quota: QuotaUsedUpError | None = None
    fetched = fetch_all(source, plan.asks, pace, stop)
    try:
        for one in fetched:
            answered += one.answer is not None
            quota = quota or one.quota
            under_way.take(one)
            under_way.settle_now_and_then()
            on_progress(Progress(answered, len(plan.asks), under_way.bars, under_way.waiting))
    finally:
        fetched.close()  # type: ignore[attr-defined]
        under_way.finish(lambda: on_progress(Progress(answered, len(plan.asks), under_way.bars, under_way.waiting)))
    return Summary(results, pace.requests, time.monotonic() - started, stopped=stop.is_set(), quota=quota)


class _UnderWay:
    """What was published and is not remembered yet."""

    def __init__(
        self, door: Door, results: Mapping[str, SymbolResult], unknown: frozenset[str], *, accepts_jumps: bool
    ) -> None:
        self._door = door
        self._unknown_before = unknown
        self._accepts_jumps = accepts_jumps
        self._results = results
        self._seen: set[int] = set()
        self._first: dict[str, date] = {}
        self._in_lake: Mapping[str, date] | None = None
        self._new: list[Collected] = []
        self._settled: deque[tuple[Offsets, list[Collected]]] = deque()
        self._settled_at = time.monotonic()
        self._bars_waiting: deque[int] = deque()
        self._new_bars = 0
        self.bars = 0

    @property
    def waiting(self) -> int:
        """How many bars are published and not known to be in the lake."""
        return self._new_bars + sum(self._bars_waiting)

    def take(self, fetched: Fetched) -> None:
        """Publish the bars of an answer, and note what it completes."""
        ask, answer = fetched.ask, fetched.answer
        if answer is None:
            if fetched.is_unreadable:
                self._note([Problem(symbol, UnreadableAnswerError.code, fetched.reason) for symbol in ask.symbols])
            else:
                for symbol in ask.symbols:
                    self._results[symbol].reason = fetched.reason
            return
        near = ask if answer.read is None else ask.around(answer.bars)
        known = self._door.known_closes(near) if answer.bars else {}
        believed = believe(near, answer.bars, known, accepts_jumps=self._accepts_jumps)
        problems = [problem for problem in (*answer.problems, *believed.problems) if problem.symbol in ask.symbols]
        bars = [bar for bar in believed.bars if (bar.symbol, bar.ts) not in answer.there]
        self._door.publish(bars)
        self.bars += len(bars)
        self._new_bars += len(bars)
        for bar in bars:
            self._results[bar.symbol].bars += 1
        self._note(problems)
        if answer.read is not None:
            self._note_read(answer.read, answer.unknown, {problem.symbol for problem in problems})
            return
        withheld = self._note_withheld(answer.withheld)
        without_bars = self._without_bars(ask, believed.bars)
        with_bars = {bar.symbol for bar in believed.bars}
        for symbol in ask.symbols:
            if symbol in answer.unknown:
                self._results[symbol].is_unknown = True
                self._new.append(self._unknown(symbol, ask))
                continue
            clean = _without_problems(ask.sessions, [problem for problem in problems if problem.symbol == symbol])
            self._note_collected(
                symbol, clean, without_bars[symbol], withheld.get(symbol, ()), has_bars=symbol in with_bars
            )

    def _note_collected(
        self,
        symbol: str,
        clean: Sequence[tuple[Session, ...]],
        without_bars: Sequence[Session],
        withheld: tuple[Session, ...],
        *,
        has_bars: bool,
    ) -> None:
        """Note runs of sessions of which everything that the source has is published; or at least what it said of others."""
        for sessions in clean:
            not_given = tuple(session for session in sessions if session in withheld)
            empty = tuple(session for session in sessions if session in without_bars and session not in not_given)
            self._results[symbol].without_bars += [session.session_date for session in empty]
            self._new.append(Collected(symbol, sessions, without_bars=empty, withheld=not_given, has_bars=has_bars))
        if not clean and (withheld or (has_bars and symbol in self._unknown_before)):
            self._new.append(Collected(symbol, withheld, withheld=withheld, has_bars=has_bars))

    def _note_withheld(self, withheld: Sequence[Withheld]) -> dict[str, tuple[Session, ...]]:
        """Note what the source has for other plans only, and return it by symbol."""
        for one in withheld:
            self._results[one.symbol].withheld += len(one.sessions)
        self._note([one.problem for one in withheld])
        return {one.symbol: one.sessions for one in withheld}

    def _note_read(self, found: Mapping[str, Read], unknown: Collection[str], bad: Collection[str]) -> None:
        """Note what was read of files."""
        for symbol, read in found.items():
            result = self._results[symbol]
            result.is_read = True
            result.asked += len(read.sessions)
            result.read += read.bars
            result.there += read.there
            result.passed_over.update(read.passed_over)
            result.without_bars += read.without_bars
            if symbol not in bad and read.sessions:
                self._new.append(Collected(symbol, read.sessions))
        for symbol in unknown:
            self._results[symbol].is_unknown = self._results[symbol].is_read = True

    def settle_now_and_then(self) -> None:
        """Settle what was published, if it is time for that, and remember what has arrived."""
        if self._new and time.monotonic() - self._settled_at >= SETTLE_SECONDS:
            self._settle()
        self._remember_arrived()

    def finish(self, tell: Callable[[], None]) -> None:
        """Wait until everything is in the lake, and remember it."""
        self._leave_out_before_listing()
        self._settle()
        deadline, before = time.monotonic() + LAKE_SECONDS, self.waiting
        while self._settled:
            self._remember_arrived()
            if self.waiting < before:
                deadline, before = time.monotonic() + LAKE_SECONDS, self.waiting
            tell()
            if self._settled and time.monotonic() > deadline:
                msg = (
                    f"The lake has not taken in {self.waiting:,} bars for {LAKE_SECONDS:g} s. They are in Kafka; see "
                    "./run status. Run the same command again afterwards."
                )
                raise ServiceError(msg)
            if self._settled:
                time.sleep(_POLL_SECONDS)

    def _unknown(self, symbol: str, ask: Ask) -> Collected:
        """Return what is remembered of an ask for a symbol that the source said not to know.

        All of it is asked for once more. Before the first bar of the lake an unknown symbol is one that was not listed yet, as
        far as that answer can be believed: else every new bar would have these sessions asked for again, for ever.
        """
        begin = self._known_first().get(symbol, ask.first)
        unknown = tuple(session for session in ask.sessions if session.session_date >= begin)
        return Collected(symbol, ask.sessions, ask.sessions, unknown, is_unknown=True)

    def _known_first(self) -> Mapping[str, date]:
        """Return by symbol the first session of which the lake had a bar of the source when it was asked."""
        if self._in_lake is None:
            self._in_lake = self._door.first_sessions(self._results)
        return self._in_lake

    def _without_bars(self, ask: Ask, bars: Sequence[Bar]) -> dict[str, tuple[Session, ...]]:
        """Return by symbol the sessions without a bar.

        Those before the first bar that the source is known to have do not count: the share was not listed. Only an answer with a
        bar says so; of one without any all sessions count.
        """
        opens = [round(session.open_at.timestamp()) * _MICROS for session in ask.sessions]
        had: dict[str, set[int]] = {symbol: set() for symbol in ask.symbols}
        for bar in bars:
            had[bar.symbol].add(bisect_right(opens, bar.ts) - 1)
        found = {}
        for symbol, numbers in had.items():
            begin = ask.first
            if numbers:
                first = ask.sessions[min(numbers)].session_date
                self._first[symbol] = min(first, self._first.get(symbol, first))
                begin = min(first, self._known_first().get(symbol, first))
            found[symbol] = tuple(
                session
                for number, session in enumerate(ask.sessions)
                if number not in numbers and session.session_date >= begin
            )
        return found

    def _leave_out_before_listing(self) -> None:
        """Sort the sessions without a bar, and drop those that turned out to lie before the first bar."""
        for symbol, result in self._results.items():
            first = self._first.get(symbol)
            begin = date.min if first is None else min(first, self._known_first().get(symbol, first))
            result.without_bars = sorted(day for day in result.without_bars if day >= begin)

    def _note(self, problems: Sequence[Problem]) -> None:
        """Keep and count problems, each once: pages overlap, and what cannot be placed is of every ask."""
        for problem in problems:
            if hash(problem) in self._seen:
                continue
            self._seen.add(hash(problem))
            result = self._results[problem.symbol]
            result.problem_counts[problem.code] += 1
            if len(result.problems) < _MOST_PROBLEMS:
                result.problems.append(problem)

    def _settle(self) -> None:
        self._settled_at = time.monotonic()
        if self._new:
            self._settled.append((self._door.settle(), self._new))
            self._bars_waiting.append(self._new_bars)
            self._new, self._new_bars = [], 0

    def _remember_arrived(self) -> None:
        if not self._settled:
            return
        reached = self._door.arrived()
        while self._settled and _has_passed(reached, self._settled[0][0]):
            _, collected = self._settled.popleft()
            self._bars_waiting.popleft()
            for symbol in self._door.remember(collected):
                self._results[symbol].was_unknown = True
            for one in collected:
                self._results[one.symbol].collected += len(one.sessions) - len(one.withheld)


def _without_problems(sessions: Sequence[Session], problems: Sequence[Problem]) -> list[tuple[Session, ...]]:
    """Return the runs of sessions that no problem is about.

    One that is about no bar or month is about all, and so is a bar at a wrong time: nobody knows of which day it is.
    """
    if any((problem.ts is None and not problem.months) or problem.code == WRONG_TIME for problem in problems):
        return []
    days = {
        datetime.fromtimestamp(problem.ts / _MICROS, EXCHANGE_ZONE).date()
        for problem in problems
        if problem.ts is not None
    }
    months = {month for problem in problems for month in problem.months}
    in_doubt = groupby(sessions, lambda one: one.session_date in days or f"{one.session_date:%Y-%m}" in months)
    return [tuple(run) for is_in_doubt, run in in_doubt if not is_in_doubt]


def _has_passed(reached: Offsets, ends: Offsets) -> bool:
    return all(reached.get(place, 0) >= end for place, end in ends.items())
