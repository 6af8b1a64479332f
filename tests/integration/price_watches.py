"""Watches over prices in this process, with a clock of the tests' own, and what they are given to see."""

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

import psycopg

from alerts.at_once.process import PriceWatch, Trades
from alerts.rules.rule import Rule, Trigger
from ingest.publisher import Publisher
from ingest.tail import Tail
from ingest.topics import end_offsets, ensure_topics
from market.records import Received, Record, Trade
from market.settings import Settings
from market.topics import TRADES
from tests.integration.alert_rows import LAST, forget_rules
from tests.integration.dbt_runs import Dbt
from tests.integration.relays import DEADLINE_SECONDS

DURING = LAST.open_at + timedelta(hours=3)
"""The wall clock of a watch: the last session has begun."""


PENDING: Final = "select count(*) from app.pending_evaluations"
WRONG: Final = "an alert stands where its rule does not fire"


def bared(connection: psycopg.Connection[Any], dbt: Dbt, kafka: str) -> psycopg.Connection[Any]:
    """Leave no rule; the marts are there and empty, and so is the topic from its end on."""
    ensure_topics(kafka)
    forget_rules(connection, dbt)
    connection.execute("truncate lake.stream_offsets, staging.built_tapes, staging.built_offsets")
    return connection


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
        self._said: SimpleQueue[list[Received]] = SimpleQueue()
        self._offsets = itertools.count()

    def open(self, _offsets: Mapping[int, int]) -> Self:
        """Begin, with what is said from now on."""
        self.begun.set()
        return self

    def say(self, *records: Record) -> None:
        """Let these come, together."""
        self._said.put([Received(record, 0, next(self._offsets)) for record in records])

    def read(self, timeout_seconds: float) -> list[Received]:
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


def publish(kafka: str, *records: Record) -> None:
    with Publisher(kafka) as publisher:
        publisher.publish_all(records)


def land(connection: psycopg.Connection[Any], kafka: str) -> None:
    """Say as the stream does that it has published whatever is in the topic of trades."""
    for (topic, partition), end in end_offsets(kafka, topics=(TRADES,)).items():
        connection.execute(
            "insert into lake.stream_offsets values (%s, %s, %s) "
            "on conflict (topic, partition) do update set next_offset = excluded.next_offset",
            [topic, partition, end],
        )


def at_once(name: str = "r", text: str = "price crosses above 100", symbols: str = "IBM", **others: Any) -> Rule:
    return Rule(name, text, symbols, trigger=Trigger.AT_ONCE, **others)


def count(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def alerts(connection: psycopg.Connection[Any]) -> int:
    return count(connection, "select count(*) from app.alerts where kind = 'alert'")


def minutes_recorded(connection: psycopg.Connection[Any], name: str) -> list[int]:
    found = connection.execute("select bar_at from app.alerts where rule_name = %s order by 1", [name]).fetchall()
    return [int((at - LAST.open_at).total_seconds() // 60) for (at,) in found]
