"""Watches over prices in this process, with a clock of the tests' own, and what they are given to see."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal

from alerts.at_once.process import PriceWatch, Trades
from ingest.publisher import Publisher
from ingest.tail import Tail
from market.records import Trade
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


def trade(
    price: float, minute: float, number: int = 0, *, symbol: str = "IBM", opens: datetime = LAST.open_at
) -> Trade:
    at = opens + timedelta(minutes=minute)
    micros = round(at.timestamp() * 10**6)
    return Trade("lean", symbol, micros, Decimal(str(price)), 100, f"{micros}-{number}", sequence=number)


def publish(kafka: str, *trades: Trade) -> None:
    with Publisher(kafka) as publisher:
        publisher.publish_all(trades)
