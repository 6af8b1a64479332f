"""Whether nothing happens, or a connection that brings nothing is mute: the history knows."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from ingest.history.source import QuotaUsedUpError, SourceError
from ingest.live.connection import Filling
from ingest.live.reach import Reach
from ingest.live.source import Filled, Hole
from market.records import Bar, Record, Trade

SYMBOLS_AT_ONCE: Final = 10


class Verdict(StrEnum):
    """What a silence is."""

    QUIET = "quiet"
    MUTE = "mute"
    UNKNOWN = "unknown"


class Silence:
    """Asks the history what happened while a connection was silent, of some symbols after the others.

    Parameters
    ----------
    reach
        The world.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._asked: tuple[Hole, Filling] | None = None
        self._has_found = False
        self._turn = 0

    @property
    def is_asked(self) -> bool:
        """Whether an answer is awaited."""
        return self._asked is not None

    def ask(self, symbols: Sequence[str], since: int, until: int) -> None:
        """Ask what happened from a moment until another, UTC epoch microseconds, of the symbols whose turn it is."""
        start = self._turn * SYMBOLS_AT_ONCE % len(symbols)
        self._turn = self._turn + 1 if start + SYMBOLS_AT_ONCE < len(symbols) else 0
        hole = Hole(tuple(symbols[start : start + SYMBOLS_AT_ONCE]), since, until)
        self._asked, self._has_found = (hole, self._reach.fill(hole)), False

    def take(self) -> list[Record]:
        """Return what the history has brought since the last time."""
        if self._asked is None:
            return []
        hole, filling = self._asked
        records = filling.take()
        self._has_found |= any(isinstance(record, Trade | Bar) and record.ts >= hole.since for record in records)
        return records

    def conclude(self) -> Verdict | None:
        """Return what the silence is, once the history has answered.

        One whose history is refused counts as mute: the next connection says whether the keys are; one that stands does not.
        """
        if self._asked is None or (outcome := self._asked[1].outcome) is None:
            return None
        self._asked = None
        is_refused = isinstance(outcome, SourceError) and not isinstance(outcome, QuotaUsedUpError)
        if self._has_found or is_refused:
            return Verdict.MUTE
        return Verdict.QUIET if isinstance(outcome, Filled) else Verdict.UNKNOWN

    def stop(self) -> None:
        """Give up what is asked."""
        if self._asked is not None:
            self._asked[1].close()
            self._asked = None
