"""What a source of history is: one protocol, whatever the vendor, with what it offers and its limits declared.

What belongs here: requests, answers and the errors that a source may raise. What does not: what is missing
(:mod:`ingest.history.plan`), when a request is made (:mod:`ingest.history.fetch`), or anything of one vendor
(``ingest/feeds/<name>/history.py``).
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

from market.errors import FeedError
from market.records import Bar
from market.sessions import Session


class SourceError(FeedError):
    """A source refuses all requests: a key is missing or wrong, a plan does not allow it. Trying again is no use."""


class UnansweredError(Exception):
    """An ask was not answered, or not to its end.

    Attributes
    ----------
    part
        The first sessions of an ask for one symbol, and what was answered of them: only the rest has to be asked for again.
    is_further
        Whether more of the ask was answered than before, which the source has: it goes on there when it is asked again.
    """

    part: "tuple[Ask, Answer] | None" = None
    is_further: bool = False


class StoppedError(UnansweredError):
    """Somebody asked to stop."""


class QuotaUsedUpError(UnansweredError, SourceError):
    """The requests that a source allows in a long time, such as a day, are used up.

    Attributes
    ----------
    again_at
        When it may be asked again, at the latest; ``None`` if that is not known.
    """

    def __init__(self, message: str, again_at: datetime | None = None) -> None:
        super().__init__(message)
        self.again_at = again_at


class SourceBusyError(UnansweredError, FeedError):
    """A source did not answer, or asks to come back later: the same request may succeed then.

    Attributes
    ----------
    after_seconds
        How long the source asks to wait; ``None`` if it does not say.
    """

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class UnreadableAnswerError(SourceBusyError):
    """A source answered, and its answer cannot be read. Asked again it may be; if it never is, only this ask is lost."""

    code = "unreadable"
    """Of the problem that it is then."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source has of one bar length.

    Attributes
    ----------
    interval
        The bar length: ``1d``, or one of :data:`market.records.INTERVALS`.
    days_back
        How many calendar days back from today it begins; ``None`` if the source says nothing of that.
    sessions_per_ask, symbols_per_ask
        How much may be asked for at once.
    bars_per_request
        How many bars one request brings at most: an ask for more takes several. ``None`` if it brings all.
    other_requests
        How many requests an ask takes beside those for its bars, such as one for splits.
    months_per_ask
        Of a source that answers whole calendar months of one symbol, how many may be asked for at once: asks are cut at the
        borders of so many, counted from January, and each month is one request. ``None`` if months do not matter.
    """

    interval: str
    days_back: int | None = None
    sessions_per_ask: int = 10_000
    symbols_per_ask: int = 1
    bars_per_request: int | None = None
    other_requests: int = 0
    months_per_ask: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many requests a source allows in so many seconds."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """What a source is asked for at once: the bars of some symbols in adjoining sessions.

    Attributes
    ----------
    symbols
        The tickers, one at least, as many as the source takes at once.
    interval
        The bar length.
    sessions
        Adjoining sessions, in order, one at least.
    """

    symbols: tuple[str, ...]
    interval: str
    sessions: tuple[Session, ...]

    @property
    def first(self) -> date:
        """The first session."""
        return self.sessions[0].session_date

    @property
    def last(self) -> date:
        """The last session."""
        return self.sessions[-1].session_date

    @property
    def months(self) -> tuple[str, ...]:
        """The calendar months of the sessions, as ``2013-10``, in order."""
        return tuple(dict.fromkeys(f"{session.session_date:%Y-%m}" for session in self.sessions))

    def around(self, bars: Sequence[Bar]) -> "Ask":
        """Return the part of it from the session before the first of some bars to the one after the last."""
        if not bars:
            return self
        opens = [round(session.open_at.timestamp()) * 1_000_000 for session in self.sessions]
        first = bisect_right(opens, min(bar.ts for bar in bars)) - 2
        last = bisect_right(opens, max(bar.ts for bar in bars))
        return Ask(self.symbols, self.interval, self.sessions[max(0, first) : last + 1])

    def __str__(self) -> str:
        days = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{','.join(self.symbols)} {self.interval} {days}"


WRONG_TIME: Final = "wrong_time"
"""The code of a bar that begins where none does: of which session it is nobody knows."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something of a symbol is not to be had, or is not believed.

    Attributes
    ----------
    symbol
        The ticker.
    code
        A short code, as in ``docs/history.md``.
    detail
        What was wrong, with the value.
    ts
        When the bar begins that it is about, UTC epoch microseconds; ``None`` if it is about more than one bar.
    months
        The months of all the bars that it may be about, such as ``2024-05``, where it is about more than one; none if they may be
        any.
    """

    symbol: str
    code: str
    detail: str
    ts: int | None = field(default=None, compare=False)
    months: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Withheld:
    """Sessions of a symbol that a source has for other plans than the key's only: asked again soon, it says the same.

    Attributes
    ----------
    symbol, sessions
        Whose, and which.
    detail
        What the source said.
    """

    symbol: str
    sessions: tuple[Session, ...]
    detail: str

    @property
    def problem(self) -> Problem:
        """What is said of it when it is found out."""
        return Problem(self.symbol, "premium_only", self.detail)


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a symbol by a source of files.

    Attributes
    ----------
    bars
        How many bars of regular hours.
    there
        How many of these the lake has with the same values.
    sessions
        The sessions of which there is a bar, in order.
    without_bars
        The sessions between these without one.
    passed_over
        How many rows are not taken, by reason.
    """

    bars: int
    there: int
    sessions: tuple[Session, ...]
    without_bars: tuple[date, ...]
    passed_over: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source answered to an :class:`Ask`.

    Attributes
    ----------
    bars
        The bars, unadjusted, in any order; what lies outside what was asked for is passed over by whoever asked.
    problems
        What the source refused, or what of its answer cannot be a bar. A symbol with a problem of its own counts as not
        answered: it is asked for again another time, unless it is one of ``unknown``.
    unknown
        The symbols that the source does not know.
    withheld
        What it has for other plans only.
    read
        Of a source of files: by symbol what was read. ``None`` of others.
    there
        The symbols and times of those bars that the lake has with the same values: they are not published again.
    """

    bars: Sequence[Bar]
    problems: Sequence[Problem] = ()
    unknown: frozenset[str] = frozenset()
    withheld: Sequence[Withheld] = ()
    read: Mapping[str, Read] | None = None
    there: frozenset[tuple[str, int]] = frozenset()


class HistorySource(Protocol):
    """A source of bars of the past. It has no state but its connections; one object is used by several threads."""

    @property
    def name(self) -> str:
        """The name of the feed: the ``source`` of its bars."""
        ...

    @property
    def offers(self) -> Mapping[str, Offer]:
        """What it has, by bar length."""
        ...

    @property
    def limit(self) -> Limit | None:
        """How often it may be asked; ``None`` if that does not matter."""
        ...

    @property
    def at_once(self) -> int:
        """How many requests may be under way at once."""
        ...

    def check(self) -> None:
        """Look whether it can be asked at all, without asking.

        Raises
        ------
        SourceError
            If a key or a file is missing; the message says which, and where to get it.
        """
        ...

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Ask.

        Parameters
        ----------
        ask
            What for.
        pace
            To be called before each request: it waits until the limit allows one, and counts it.

        Raises
        ------
        SourceBusyError
            If it may answer another time.
        SourceError
            If it refuses every request.
        """
        ...
