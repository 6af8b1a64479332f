"""The relay: brings what is due from the outbox to the channels, a thread each, so that none waits for another.

What belongs here: threads, pauses, and the order of steps. What does not: SQL (:mod:`alerts.delivery.outbox`,
:mod:`alerts.delivery.storm`) and talking to receivers (:mod:`alerts.delivery.channels`).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from alerts.delivery import outbox
from alerts.delivery.attempt import Courier
from alerts.delivery.channels.channel import Channel, ChannelSettings, Publish
from alerts.delivery.channels.opening import open_channel
from market.errors import ServiceError
from market.settings import Settings
from warehouse.connection import connect, lost_connections

POLL_SECONDS: Final = 1.0
"""A notification that was missed, and a retry whose time has come, are seen after so long at most."""
STOP_SECONDS: Final = 12.0
"""How long a stop waits for attempts that are under way; what is cut off is tried again after the next start."""
MOST_CHANNELS: Final = 64
"""Threads at once: one a channel; more channels wait their turn."""
APPLICATION: Final = "tapehouse relay"
_IDLE_SECONDS: Final = 60.0

_log: Final = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """Return the time by the wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Outside:
    """What the relay has of the world, for tests to replace: the clock, chance, and how channels are opened."""

    clock: Callable[[], datetime]
    chance: Callable[[], float]
    open_channel: Callable[[ChannelSettings, Publish | None], Channel] = open_channel


class Relay:
    """Delivers until it is told to stop.

    Parameters
    ----------
    settings
        Say where the database is.
    outside
        The clock, chance, and the channels.
    publish
        Publishes to Kafka; without it the channel ``kafka`` cannot be used.
    """

    def __init__(self, settings: Settings, outside: Outside, publish: Publish | None = None) -> None:
        self._settings = settings
        self._outside = outside
        self._publish = publish
        self._workers: dict[str, _Worker] = {}
        self._guard = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Deliver until ``stop`` is set, whatever becomes of the database meanwhile."""
        while not stop.is_set():
            try:
                self._listen(stop)
            except ServiceError as error:
                _log.warning("relay_without_database", cause=str(error))
                stop.wait(POLL_SECONDS)
        with self._guard:
            workers = list(self._workers.values())
        for worker in workers:
            worker.wake.set()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in workers:
            worker.thread.join(max(0.0, deadline - time.monotonic()))

    def _listen(self, stop: threading.Event) -> None:
        with connect(self._settings, application_name=APPLICATION) as connection, lost_connections():
            connection.autocommit = True
            connection.execute(f"listen {outbox.WAKES}")
            _log.info("relay_listens")
            while not stop.is_set():
                for channel in outbox.channels_due(connection, self._outside.clock()):
                    self._wake(channel, stop)
                for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                    pass

    def _wake(self, channel: str, stop: threading.Event) -> None:
        with self._guard:
            worker = self._workers.get(channel)
            if worker is None and len(self._workers) < MOST_CHANNELS:
                worker = _Worker(channel, self._work, stop)
                self._workers[channel] = worker
                worker.thread.start()
            if worker is not None:
                worker.wake.set()

    def _work(self, worker: "_Worker", stop: threading.Event) -> None:
        """Deliver what is due of one channel, again and again; end when nothing was for a while."""
        while not stop.is_set():
            try:
                with connect(self._settings, application_name=APPLICATION) as connection, lost_connections():
                    connection.autocommit = True
                    if self._deliver(connection, worker, stop):
                        return
            except ServiceError as error:
                _log.warning("channel_without_database", channel=worker.channel, cause=str(error))
                stop.wait(POLL_SECONDS)
            except Exception:  # noqa: BLE001 - a defect in one channel must not end the others, nor this one for ever
                _log.exception("channel_failed", channel=worker.channel)
                stop.wait(POLL_SECONDS)

    def _deliver(self, connection: Any, worker: "_Worker", stop: threading.Event) -> bool:  # noqa: ANN401
        """Deliver until nothing came for a while, and return ``True`` then."""
        while not outbox.try_hold(connection, worker.channel):  # another relay has it
            if stop.wait(POLL_SECONDS):
                return True
        courier = Courier(connection, worker.channel, self._outside, self._publish)
        while not stop.is_set():
            worker.wake.clear()
            while not stop.is_set() and (pause := courier.step()) is not None:
                _rest(courier, worker, pause, stop)
            if not worker.wake.wait(_IDLE_SECONDS) and self._retire(worker):
                return True
        return True

    def _retire(self, worker: "_Worker") -> bool:
        with self._guard:
            if worker.wake.is_set():
                return False
            del self._workers[worker.channel]
            return True


def _rest(courier: Courier, worker: "_Worker", seconds: float, stop: threading.Event) -> None:
    """Leave the channel alone for so long, unless it is removed or added anew meanwhile, or there is an end."""
    ends_at = time.monotonic() + seconds
    while not stop.is_set() and (left := ends_at - time.monotonic()) > 0:
        if worker.wake.wait(left):
            worker.wake.clear()
            if courier.is_outdated():
                return


class _Worker:
    """The thread of one channel, and what wakes it."""

    def __init__(self, channel: str, work: "Callable[[_Worker, threading.Event], None]", stop: threading.Event) -> None:
        self.channel = channel
        self.wake = threading.Event()
        self.thread = threading.Thread(target=work, args=(self, stop), name=f"channel {channel}", daemon=True)
