"""Watches over prices in this process, with a clock of the tests' own, and what they are given to see."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Self

from alerts.at_once.process import PriceWatch, Trades
from ingest.publisher import Publisher
from ingest.tail import Tail
from market.records import Record, Trade
from market.settings import Settings
from market.topics import TRADES
from tests.integration.alert_rows import LAST
from tests.integration.relays import DEADLINE_SECONDS

DURING = LAST.open_at + timedelta(hours=3)
"""The wall clock of a watch: the last session has begun."""


@contextmanager
def watching(settings: Settings, kafka: str, clock: datetime = DURING, number: int = 1) -> Iterator[None]:
    """Watch until the end; what is published inside is seen."""
    stop = threading.Event()
    with ExitStack() as stack:
        for _ in range(number):
            begun = threading.Event()

            def open_trades(offsets: Mapping[int, int], begun: threading.Event = begun) -> Trades:
                tail = Tail(kafka, TRADES, offsets).open()
                begun.set()
                return tail

            watch = PriceWatch(settings, open_trades, lambda: clock)
            thread = threading.Thread(target=watch.run, args=(stop,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
            assert begun.wait(DEADLINE_SECONDS)
        yield


class Said:
    """Trades of a test's own in the place of a topic."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._said: SimpleQueue[list[Record]] = SimpleQueue()

    def open(self, _offsets: Mapping[int, int]) -> Self:
        """Begin, with what is said from now on."""
        self.begun.set()
        return self

    def say(self, *records: Record) -> None:
        """Let these come, together."""
        self._said.put(list(records))

    def read(self, timeout_seconds: float) -> list[Record]:
        """Return what came together."""
        try:
            return self._said.get(timeout=timeout_seconds)
        except Empty:
            return []

    def close(self) -> None:
        """There is nothing to disconnect from."""


@contextmanager
def hearing(settings: Settings) -> Iterator[Said]:
    """Watch what is said, until the end."""
    stop, said = threading.Event(), Said()
    thread = threading.Thread(target=PriceWatch(settings, said.open, lambda: DURING).run, args=(stop,))
    thread.start()
    try:
        assert said.begun.wait(DEADLINE_SECONDS)
        yield said
    finally:
        stop.set()
        thread.join()


def trade(
    price: float, minute: float, number: int = 0, *, symbol: str = "IBM", opens: datetime = LAST.open_at
) -> Trade:
    at = opens + timedelta(minutes=minute)
    micros = round(at.timestamp() * 10**6)
    return Trade("lean", symbol, micros, Decimal(str(price)), 100, f"{micros}-{number}", sequence=number)


def publish(kafka: str, *trades: Trade) -> None:
    with Publisher(kafka) as publisher:
        publisher.publish_all(trades)
