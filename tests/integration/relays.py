"""Relays in this process, and waiting for what they do."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from alerts.delivery.channels.channel import Channel, ChannelSettings, Publish
from alerts.delivery.channels.opening import open_channel
from alerts.delivery.relay import Outside, Relay
from market.settings import Settings

DEADLINE_SECONDS = 20


class Clock:
    """The wall clock, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@contextmanager
def relaying(
    settings: Settings,
    clock: Callable[[], datetime] | None = None,
    number: int = 1,
    publish: Publish | None = None,
    open_channel: Callable[[ChannelSettings, Publish | None], Channel] = open_channel,
) -> Iterator[None]:
    stop = threading.Event()
    relays = [Relay(settings, Outside(clock or Clock(), lambda: 1.0, open_channel), publish) for _ in range(number)]
    threads = [threading.Thread(target=relay.run, args=(stop,)) for relay in relays]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def wait_until(is_so: Callable[[], bool], what: str = "it") -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE_SECONDS} s"
        time.sleep(0.02)
