"""What a live source is: one protocol, whatever the vendor.

What belongs here: what a connection hands over, what a source declares, and how it is asked for what was missed. What does not:
when to connect and what is covered (:mod:`ingest.live.keeper`), or anything of one vendor (``ingest/feeds/<name>/live.py``).
The errors are those of history: busy, or refused.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ingest.history.source import Limit
from market.records import Record

Wishes = asyncio.Queue[tuple[str, ...]]
"""Which symbols a connection is to bring: one wish at least, and later ones while it goes on."""


class Capability(StrEnum):
    """The kinds of record that a live source may have."""

    TRADES = "trades"
    QUOTES = "quotes"
    BARS = "bars"
    AMENDMENTS = "amendments"
    HALTS = "halts"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came at once.

    Attributes
    ----------
    records
        The records, in the order in which they came.
    passed_over
        How many messages can be no record, by the reason; nothing that the source promises is lost by that.
    unreadable
        Symbols of which something came that should have been a trade or an amendment and cannot be read: missing from then on.
    subscribed
        The symbols that are subscribed now, if it says so.
    too_many
        How many symbols are more than the source allows, if it refused them: what was subscribed before still is.
    refusal
        What the source said of these, and what to do.
    is_old
        Whether it says nothing but what was known: no sign that the connection brings what happens now.
    """

    records: Sequence[Record] = ()
    passed_over: dict[str, int] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    subscribed: frozenset[str] | None = None
    too_many: int = 0
    refusal: str = ""
    is_old: bool = False


@dataclass(frozen=True, slots=True)
class Hole:
    """What was missed: all of some symbols from ``since``, included, until ``until``, excluded; UTC epoch microseconds.

    Of the time from ``amended_since`` on, if it is given, nothing was missed but cancels and corrections that were made since.
    """

    symbols: tuple[str, ...]
    since: int
    until: int
    amended_since: int | None = None


@dataclass(frozen=True, slots=True)
class HoleSize:
    """How many symbols and hours a source is asked for at once: what fails is asked for again as a whole.

    With ``joins_minutes`` what is missing within the same so many minutes is one hole, with what lies between, and what lulls and
    outages left is asked for after these minutes, instead of every minute: for sources that cannot be asked for many symbols at
    once. What was asked for before its history had settled is asked for again together with that.
    """

    symbols: int
    hours: int
    joins_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Filled:
    """How a hole was filled: what is not ``unfilled`` is there.

    Attributes
    ----------
    unfilled
        Symbols of which some of it cannot be had.
    reason
        Why.
    reaches
        By symbol until when the answer shows that the history has come, UTC epoch microseconds: what lies before needs no time to
        settle. A source that cannot tell says nothing.
    """

    unfilled: frozenset[str] = frozenset()
    reason: str = ""
    reaches: Mapping[str, int] = field(default_factory=dict)


class LiveSource(Protocol):
    """A source of what happens now. It has no state but its connections."""

    @property
    def name(self) -> str:
        """The name of the feed: the ``source`` of its records."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it has."""
        ...

    @property
    def has_every_trade(self) -> bool:
        """Whether it hands over every trade that its data feed has; without that nothing is ever covered."""
        ...

    @property
    def hole_size(self) -> HoleSize:
        """How much of what was missed it is asked for at once."""
        ...

    @property
    def history_lag_seconds(self) -> int:
        """How long after a moment its history may be asked for it."""
        ...

    @property
    def history_settles_seconds(self) -> int:
        """How long after a moment its history is believed to have everything of it: what it said before is asked for again.

        But for what lies before the moment that an answer :attr:`reaches <Filled.reaches>`.
        """
        ...

    @property
    def limit(self) -> Limit | None:
        """How often it may be asked for what was missed; ``None`` if that does not matter."""
        ...

    def check(self) -> None:
        """Look whether it can be asked at all, without asking.

        Raises
        ------
        SourceError
            If a key is missing; the message says which, and where to get it.
        """
        ...

    async def stream(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        """Connect once, authenticate, subscribe to each wish, and hand over what comes, until cancelled.

        A wish is for all symbols that are to be subscribed, in order of their worth. What is subscribed and still wished for goes
        on without a break.

        Raises
        ------
        SourceBusyError
            If the connection cannot be made or ends, or what comes cannot be read: another may do better.
        SourceError
            If the source refuses every connection.
        """
        ...

    def fill(self, hole: Hole, pace: Callable[[], None], deliver: Callable[[Sequence[Record]], None]) -> Filled:
        """Ask the source's history for what was missed, and hand it over; equal records as live, as far as there are.

        ``pace`` is to be called before each request.

        Raises
        ------
        SourceBusyError
            If it may answer another time.
        SourceError
            If it refuses.
        """
        ...
