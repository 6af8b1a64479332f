"""The whole way of the stream: Kafka to bronze, trades, bars and PostgreSQL, exactly once, on engines of its own.

The rate is that of the warm stream: from the first batch that was published after ``WARM_TRADES`` trades to the last.
The peer reads the same messages from the same broker and decodes them, and does nothing else: the least that any
consumer has to do.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from statistics import median
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, spread
from ingest.feeds import FeedRequest, Kind, get_feed
from ingest.replay import replay
from ingest.topics import end_offsets, ensure_topics
from market.errors import ServiceError
from market.records import decode
from market.settings import CHECKOUT, Settings
from market.topics import TRADES
from warehouse.connection import connect
from warehouse.schema import migrate

SYMBOLS: Final = tuple(f"S{letter}{other}" for letter in "ABCDEFGHIJ" for other in "VWXYZ")
TRADES_PER_SYMBOL: Final = 160_000
WARM_TRADES: Final = 2_000_000
SESSION: Final = date(2024, 2, 5)
GOAL: Final = 60_000
PEER: Final = "confluent-kafka consumer that decodes each message with msgspec and keeps nothing"
_FETCH: Final = 10_000


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the rate of the warm stream."""
    with scratch_engines(settings) as engines:
        migrate(engines)
        ensure_topics(engines.require_kafka())
        request = FeedRequest(
            symbols=SYMBOLS,
            start=SESSION,
            end=SESSION,
            kinds=frozenset({Kind.TRADES}),
            seed=settings.seed,
            trades_per_day=TRADES_PER_SYMBOL,
        )
        replay(engines.require_kafka(), get_feed("simulated"), request).require_complete()
        peer = consumer_rate(engines.require_kafka())
        run_stream(engines)
        rates = list(warm_rates(engines))
    value = median(rates)
    yield Figure(
        figure="Kafka to bronze, trades, bars and PostgreSQL, exactly once, warm",
        value=value,
        unit="trades/s",
        peer=PEER,
        peer_value=peer,
        ratio=value / peer,
        goal=f"value >= {GOAL}",
        holds=value >= GOAL,
        spread=spread(rates),
    )


def run_stream(settings: Settings) -> None:
    """Run the stream to the end of the topics."""
    command = [sys.executable, "-m", "spark_jobs.jobs.stream", "--to-the-end"]
    log = settings.home / "stream.log"
    with log.open("w") as output:
        finished = subprocess.run(
            command, env=settings.child_environment(), cwd=CHECKOUT, stdout=output, stderr=output, check=False
        )
    if finished.returncode:
        raise ServiceError(f"The stream ended with {finished.returncode}: {log.read_text()[-2000:]}")  # noqa: EM102


def warm_rates(settings: Settings) -> Iterator[float]:
    """Yield the rate of each whole batch after the stream is warm, from one publication to the next."""
    question = "select trades, published_at from lake.stream_batches where trades > 0 order by published_at"
    with connect(settings, read_only=True) as connection:
        batches: list[Any] = connection.execute(question).fetchall()
    seen = 0
    for (before, since), (trades, until) in itertools.pairwise(batches[:-1]):
        seen += before
        if seen >= WARM_TRADES:
            yield trades / (until - since).total_seconds()


def consumer_rate(servers: str) -> float:
    """Return how many trades a second the peer reads."""
    expected = sum(end for (topic, _), end in end_offsets(servers).items() if topic == TRADES.name)
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "bench",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([TRADES.name])
    messages = consumer.consume(1, timeout=30)
    seen, started = 0, time.perf_counter()
    try:
        while messages:
            for message in messages:
                decode(message.value())
            seen += len(messages)
            messages = consumer.consume(min(_FETCH, expected - seen), timeout=10) if seen < expected else []
    except msgspec.MsgspecError as error:
        raise ServiceError(f"The peer could not decode a message: {error}") from error  # noqa: EM102
    finally:
        consumer.close()
    return seen / (time.perf_counter() - started)
