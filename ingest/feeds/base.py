"""What a feed is: the one protocol behind which every source of records stands.

What belongs here: the request, the protocol and what all feeds check alike. What does not: anything of one source.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from market.errors import FeedError, UsageError
from market.instruments import parse_symbols
from market.records import Record
from market.sessions import Session, sessions_between


class Kind(StrEnum):
    """The kinds of tick that a feed can be asked for."""

    TRADES = "trades"
    QUOTES = "quotes"


BOTH_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """What a feed is asked for; each feed says what it needs of it.

    Attributes
    ----------
    symbols
        Upper-case tickers; empty means all that the feed has, where it has a list.
    start, end
        First and last session date, both included.
    path
        Where a feed that reads files finds them.
    kinds
        Trades, quotes or both.
    seed, trades_per_day
        Seed and trades per symbol and session of a simulated market.

    Raises
    ------
    UsageError
        If a symbol is not a ticker, or ``end`` lies before ``start``.
    """

    symbols: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    path: Path | None = None
    kinds: frozenset[Kind] = field(default=BOTH_KINDS)
    seed: int = 1
    trades_per_day: int = 20_000

    def __post_init__(self) -> None:
        if self.symbols and parse_symbols(self.symbols) != self.symbols:
            msg = f"The symbols {', '.join(self.symbols)} are not upper case, or one is repeated."
            raise UsageError(msg)
        if self.start is not None and self.end is not None and self.end < self.start:
            msg = f"The end {self.end} lies before the start {self.start}. Swap them."
            raise UsageError(msg)


class Feed(Protocol):
    """A source of records.

    A feed has no state: the same request gives equal records every time, and each record keeps its identity, so
    publishing a range twice adds nothing.
    """

    @property
    def name(self) -> str:
        """The feed's name: the ``source`` of its records."""
        ...

    def check(self, request: FeedRequest) -> int:
        """Look at everything that the request needs, and return how many records it will give.

        Raises
        ------
        FeedError
            If something is missing or cannot be read: nothing is half published then.
        UsageError
            If the request itself is incomplete.
        """
        ...

    def read(self, request: FeedRequest) -> Iterator[Record]:
        """Return the records in order of event time, after the same check.

        The order among equal times is by symbol, then by sequence. All errors that :meth:`check` raises are raised
        by this call, before the first record is asked for.
        """
        ...


def requested_symbols(feed_name: str, request: FeedRequest) -> tuple[str, ...]:
    """Return the request's symbols.

    Raises
    ------
    UsageError
        If it names none.
    """
    if not request.symbols:
        msg = f"The feed {feed_name} needs symbols, for example: --symbols spy,ibm"
        raise UsageError(msg)
    return request.symbols


def requested_sessions(feed_name: str, request: FeedRequest) -> tuple[Session, ...]:
    """Return the sessions of the request's range; weekends and holidays are no sessions.

    Raises
    ------
    UsageError
        If the range is not given or its end lies before its start.
    FeedError
        If the range holds no session.
    """
    if request.start is None or request.end is None:
        msg = f"The feed {feed_name} needs a first and a last day, for example: --start 2013-10-07 --end 2013-10-08"
        raise UsageError(msg)
    sessions = tuple(sessions_between(request.start, request.end))
    if not sessions:
        msg = f"The exchange had no session from {request.start} to {request.end}. Choose days with trading."
        raise FeedError(msg)
    return sessions
