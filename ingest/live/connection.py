"""What a source does beside the publishing: its connection and its requests, each in a thread of its own.

What belongs here: threads and the queues to them. What does not: what becomes of what they bring (:mod:`ingest.live.keeper`).
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from ingest.history.source import SourceBusyError, StoppedError
from ingest.live.source import Delivery, Filled, Hole, LiveSource, Wishes
from market.errors import FeedError
from market.records import Record

WAITING_DELIVERIES: Final = 20_000
"""So many may wait for the broker; then the connection is not read any more."""
WAITING_PAGES: Final = 4
CLOSE_SECONDS: Final = 5.0
_SLICE_SECONDS: Final = 0.1
_T = TypeVar("_T")


class Line(Protocol):
    """A connection that was begun."""

    @property
    def error(self) -> FeedError | None:
        """Why it has ended; ``None`` while it has not, or something that it brought is still to be taken."""
        ...

    def take(self) -> list[Delivery]:
        """Return what has come since the last time."""
        ...

    def subscribe(self, symbols: Sequence[str]) -> None:
        """Wish for other symbols from now on; what it brings says what becomes of that."""
        ...

    def close(self) -> None:
        """End it; closing twice is harmless."""
        ...


class Filling(Protocol):
    """A hole that is being filled."""

    @property
    def outcome(self) -> Filled | FeedError | None:
        """What became of it; ``None`` while it goes on, or something that it brought is still to be taken."""
        ...

    def take(self) -> list[Record]:
        """Return what has come since the last time."""
        ...

    def close(self) -> None:
        """Give it up; closing twice is harmless."""
        ...


class Connection(Line):
    """A source's connection, made and read in a thread."""

    def __init__(self, source: LiveSource, symbols: Sequence[str]) -> None:
        self._source = source
        self._wishes: Wishes = asyncio.Queue()
        self._wishes.put_nowait(tuple(symbols))
        self._waiting: queue.Queue[Delivery] = queue.Queue(WAITING_DELIVERIES)
        self._closing = threading.Event()
        self._ended: FeedError | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"live-{source.name}", daemon=True)
        self._thread.start()

    @property
    def error(self) -> FeedError | None:
        """Why it has ended, once everything that it brought was taken."""
        if self._thread.is_alive() or not self._waiting.empty():
            return None
        return self._ended or SourceBusyError(f"The connection to {self._source.name} ended without a reason.")

    def take(self) -> list[Delivery]:
        """Return what has come since the last time."""
        return _drain(self._waiting)

    def subscribe(self, symbols: Sequence[str]) -> None:
        """Wish for other symbols from now on; too late if it has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wishes.put_nowait, tuple(symbols))

    def close(self) -> None:
        """End it, and wait for that, but not for ever."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._stream())
        except FeedError as error:
            self._ended = error
        except Exception as error:  # noqa: BLE001 - whatever a client library raises ends the connection, not the process
            self._ended = SourceBusyError(
                f"The connection to {self._source.name} failed: {type(error).__name__}: {error}"
            )
        finally:
            self._loop.close()

    async def _stream(self) -> None:
        stream = asyncio.ensure_future(self._source.stream(self._wishes, self._deliver))
        while not stream.done() and not self._closing.is_set():
            await asyncio.wait({stream}, timeout=_SLICE_SECONDS)
        stream.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stream

    def _deliver(self, delivery: Delivery) -> None:
        while not self._closing.is_set():
            try:
                self._waiting.put(delivery, timeout=_SLICE_SECONDS)
            except queue.Full:
                continue
            return


class Request(Filling):
    """A source's history asked for a hole, in a thread."""

    def __init__(self, source: LiveSource, hole: Hole, pace: Callable[[], None]) -> None:
        self._source = source
        self._hole = hole
        self._pace = pace
        self._waiting: queue.Queue[Sequence[Record]] = queue.Queue(WAITING_PAGES)
        self._closing = threading.Event()
        self._became: Filled | FeedError | None = None
        self._thread = threading.Thread(target=self._run, name=f"fill-{source.name}", daemon=True)
        self._thread.start()

    @property
    def outcome(self) -> Filled | FeedError | None:
        """What became of it, once everything that it brought was taken."""
        return None if self._thread.is_alive() or not self._waiting.empty() else self._became

    def take(self) -> list[Record]:
        """Return what has come since the last time."""
        return [record for page in _drain(self._waiting) for record in page]

    def close(self) -> None:
        """Give it up; a request under way ends by itself."""
        self._closing.set()

    def _run(self) -> None:
        try:
            self._became = self._source.fill(self._hole, self._paced, self._deliver)
        except FeedError as error:
            self._became = error
        except StoppedError:
            self._became = SourceBusyError("It was given up.")
        except Exception as error:  # noqa: BLE001 - whatever a client library raises is an answer that failed
            self._became = SourceBusyError(f"Asking {self._source.name} failed: {type(error).__name__}: {error}")

    def _paced(self) -> None:
        if self._closing.is_set():
            raise StoppedError
        self._pace()

    def _deliver(self, page: Sequence[Record]) -> None:
        while not self._closing.is_set():
            try:
                self._waiting.put(page, timeout=_SLICE_SECONDS)
            except queue.Full:
                continue
            return
        raise StoppedError


def _drain(waiting: "queue.Queue[_T]") -> list[_T]:
    found: list[_T] = []
    while True:
        try:
            found.append(waiting.get_nowait())
        except queue.Empty:
            return found
