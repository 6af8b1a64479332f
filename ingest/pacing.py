"""Time as it passes: when a record is due, and waiting for it without missing a stop.

What belongs here: the clock and the pace of a replay. What does not: what is published.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from threading import Event
from typing import Final, Protocol

from market.records import Record

PAUSE_SECONDS: Final = 15 * 60
"""A pause in the market longer than this is skipped by a paced replay: nobody waits for a night to pass."""


class Clock(Protocol):
    """What tells the time and waits; tests bring their own."""

    def now(self) -> datetime:
        """Return the wall-clock time, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait ``seconds``, or until it is time to stop."""
        ...


class SystemClock(Clock):
    """The real time; its waits end at once when ``stop_event`` is set."""

    def __init__(self, stop_event: Event) -> None:
        self._stop_event = stop_event

    def now(self) -> datetime:
        """Return the wall-clock time, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait ``seconds``, or until the stop event is set."""
        self._stop_event.wait(seconds)


def paced(records: Iterable[Record], speed: float, clock: Clock, stop_event: Event) -> Iterator[list[Record]]:
    """Yield the records in batches, each as soon as it is due at ``speed`` times the pace of the market.

    The first record is due at once. After a pause of the market longer than :data:`PAUSE_SECONDS` the next record is
    due at once too.
    """
    batch: list[Record] = []
    origin, first, last = clock.monotonic(), None, 0
    for record in records:
        if first is None or record.ts - last > PAUSE_SECONDS * 1_000_000:
            origin, first = clock.monotonic(), record.ts
        last = record.ts
        due = origin + (record.ts - first) / 1_000_000 / speed
        if batch and due > clock.monotonic():
            yield batch
            batch = []
        while (left := due - clock.monotonic()) > 0:
            clock.wait(left)
            if stop_event.is_set():
                return
        batch.append(record)
    yield batch
