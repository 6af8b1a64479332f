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
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, Protocol

from ingest.history.check import believe
from ingest.history.fetch import Fetched, fetch_all
from ingest.history.plan import Plan
from ingest.history.source import Ask, HistorySource, Problem, QuotaUsedUpError, Read
from market.errors import ServiceError
from market.records import Bar
from market.sessions import Session
from warehouse.history import Collected, KnownCloses

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

    def remember(self, collected: Collection[Collected]) -> None:
        """Note what the lake has now."""


@dataclass(slots=True)
class SymbolResult:
    """What became of a symbol.

    Attributes
    ----------
    asked
        How many sessions were missing and the source was asked for.
    collected
        Of how many of these everything that the source has is in the lake.
    bars
        How many bars were published.
    too_old
        How many missing sessions lie before what the source has.
    is_unknown
        Whether the source does not know it.
    without_bars
        Sessions that were answered without any bar, in order, but for those before the first bar that the source has: the share
        was not listed then, as far as that is known.
    problems
        The first problems; ``problem_counts`` has all of them by code.
    reason
        Why the source did not answer, if it did not.
    is_read, read, there, passed_over
        Of files: whether the symbol was read, how many bars, how many of these the lake had with the same values, and how many
        rows were passed over for what reason. ``asked`` are then the sessions with a bar, ``without_bars`` those between.
    """

    asked: int = 0
    collected: int = 0
    bars: int = 0
    too_old: int = 0
    is_unknown: bool = False
    without_bars: list[date] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    problem_counts: Counter[str] = field(default_factory=Counter)
    reason: str = ""
    is_read: bool = False
    read: int = 0
    there: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def is_done(self) -> bool:
        """Whether everything that was asked for is collected, and nothing was wrong with it."""
        return self.collected == self.asked and not self.problem_counts and not self.is_unknown

    def remarks(self, most_problems: int) -> list[str]:
        """Return what is to be said of it in sentences, with as many problems at most."""
        found = ["the source does not know it"] if self.is_unknown else []
        found += [self.reason] if self.reason else []
        found += [
            f"{'once' if number == 1 else f'{number:,} times'} {code}" for code, number in self.problem_counts.items()
        ]
        found += [problem.detail for problem in self.problems[:most_problems]]
        if days := self.without_bars:
            found.append((no_row_text if self.is_read else no_bar_text)(len(days), days[0], days[-1]))
        found += [
            f"{'1 row' if number == 1 else f'{number:,} rows'} passed over: {reason}"
            for reason, number in self.passed_over.items()
        ]
        found += [f"{self.too_old:,} sessions are too old for the source"] if self.too_old else []
        return found


def no_bar_text(sessions: int, first: date, last: date) -> str:
    """Return that a source had no bar of so many sessions, and what to do."""
    return f"no bar of {_span(sessions, first, last)}; --again asks once more"


def no_row_text(sessions: int, first: date, last: date) -> str:
    """Return that a file has no bar of so many sessions between others."""
    return f"no bar of {_span(sessions, first, last)} between others"


def _span(sessions: int, first: date, last: date) -> str:
    return f"1 session ({first})" if sessions == 1 else f"{sessions:,} sessions ({first} … {last})"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backfill is: asks that were answered of all, bars published, bars that the lake still has to take in."""

    answered: int
    asks: int
    bars: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backfill did; ``symbols`` has a result for each symbol that was asked for.

    ``quota`` is why the source was not asked for all of it, if its quota was used up.
    """

    symbols: Mapping[str, SymbolResult]
    requests: int
    seconds: float
    stopped: bool
    quota: QuotaUsedUpError | None = None

    @property
    def bars(self) -> int:
        """How many bars were published."""
        return sum(result.bars for result in self.symbols.values())

    @property
    def is_done(self) -> bool:
        """Whether every symbol has what was asked for."""
        return not self.stopped and all(result.is_done for result in self.symbols.values())

    def with_refused(self, problems: Collection[Problem]) -> "Summary":
        """Return it with what could not even be asked for, such as what is no symbol."""
        others: dict[str, SymbolResult] = {}
        for problem in problems:
            result = others.setdefault(problem.symbol, SymbolResult())
            result.problems.append(problem)
            result.problem_counts[problem.code] += 1
        return replace(self, symbols={**self.symbols, **others})


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
        symbol: SymbolResult(asked=plan.missing.get(symbol, 0), too_old=plan.too_old.get(symbol, 0))
        for symbol in plan.symbols
    }
    under_way = _UnderWay(door, results, accepts_jumps=accepts_jumps)
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

    def __init__(self, door: Door, results: Mapping[str, SymbolResult], *, accepts_jumps: bool) -> None:
        self._door = door
        self._accepts_jumps = accepts_jumps
        self._results = results
        self._seen: set[int] = set()
        self._first: dict[str, date] | None = None
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
        bad = {problem.symbol for problem in problems}
        if answer.read is not None:
            self._note_read(answer.read, answer.unknown, bad)
            return
        without_bars = self._without_bars(ask, believed.bars)
        for symbol in ask.symbols:
            is_unknown = symbol in answer.unknown
            if is_unknown or symbol not in bad:
                empty = () if is_unknown else without_bars[symbol]
                self._results[symbol].without_bars += [session.session_date for session in empty]
                self._new.append(Collected(symbol, ask.sessions, is_unknown=is_unknown, without_bars=empty))
        for symbol in answer.unknown & set(ask.symbols):
            self._results[symbol].is_unknown = True

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
            self._results[symbol].is_unknown = True

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

    def _without_bars(self, ask: Ask, bars: Sequence[Bar]) -> dict[str, tuple[Session, ...]]:
        """Return by symbol the sessions without a bar, from the first bar on that the source is known to have."""
        if self._first is None:
            self._first = dict(self._door.first_sessions(self._results))
        opens = [round(session.open_at.timestamp()) * _MICROS for session in ask.sessions]
        had: dict[str, set[int]] = {symbol: set() for symbol in ask.symbols}
        for bar in bars:
            had[bar.symbol].add(bisect_right(opens, bar.ts) - 1)
        found = {}
        for symbol, numbers in had.items():
            if numbers:
                first = ask.sessions[min(numbers)].session_date
                self._first[symbol] = min(first, self._first.get(symbol, first))
            begin = self._first.get(symbol, ask.first)
            found[symbol] = tuple(
                session
                for number, session in enumerate(ask.sessions)
                if number not in numbers and session.session_date >= begin
            )
        return found

    def _leave_out_before_listing(self) -> None:
        """Sort the sessions without a bar, and drop those that turned out to lie before the first bar."""
        for symbol, result in self._results.items():
            begin = (self._first or {}).get(symbol, date.min)
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
            self._door.remember(collected)
            for one in collected:
                self._results[one.symbol].collected += len(one.sessions)


def _has_passed(reached: Offsets, ends: Offsets) -> bool:
    return all(reached.get(place, 0) >= end for place, end in ends.items())
