"""The publisher against a bare ``produce()`` loop, and the replay of real ticks, on a broker of their own.

The peer is what anybody would write first: a loop over messages that are ready as bytes, with the same settings of the
producer, and without an account of what became of each. Both are timed from the first message to the last
acknowledgement, in turns, on the same broker. The broker is a new one, so that no figure ends up in anybody's lake.
"""

import time
from collections.abc import Iterator
from datetime import date
from statistics import median
from typing import Final

import structlog
from confluent_kafka import Producer

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, spread
from ingest.feeds import FeedRequest, Kind, get_feed
from ingest.publisher import Publisher, producer_settings
from ingest.replay import replay
from ingest.topics import ensure_topics
from market.errors import PublishError
from market.records import Record, Trade, encode
from market.settings import CHECKOUT, Settings
from market.topics import TRADES

REPEATS: Final = 7
RECORDS: Final = 250_000
POLL_EVERY: Final = 1000
SIMULATED_DAY: Final = date(2026, 1, 5)
PUBLISHER_GOAL: Final = 0.5
REPLAY_GOAL: Final = 100_000
PEER: Final = "bare produce() loop of ready bytes"
LEAN_FOLDER: Final = CHECKOUT.parent / "shared" / "data" / "lean"

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures; a figure whose data are absent is skipped, and that is logged."""
    with scratch_engines(settings, database=False) as engines:
        servers = engines.require_kafka()
        ensure_topics(servers)
        records = _simulated_trades(settings)
        ready = [(encode(record), record.symbol) for record in records]
        ours: list[float] = []
        bare: list[float] = []
        for turn in range(REPEATS + 1):
            rates = _bare_rate(servers, ready), _publisher_rate(servers, records)
            if turn:  # the first turn warms up the broker
                bare.append(rates[0])
                ours.append(rates[1])
        ratio = median(own / peer for own, peer in zip(ours, bare, strict=True))
        yield Figure(
            figure="publisher, encoding included",
            value=median(ours),
            unit="messages/s",
            peer=PEER,
            peer_value=median(bare),
            ratio=ratio,
            goal=f"ratio >= {PUBLISHER_GOAL}",
            holds=ratio >= PUBLISHER_GOAL,
            spread=spread(ours),
        )
        if LEAN_FOLDER.is_dir():
            yield _replay_figure(servers, median(bare))
        else:
            _log.warning("figure_skipped", figure="LEAN replay", reason=f"{LEAN_FOLDER} does not exist")


def _replay_figure(servers: str, bare: float) -> Figure:
    request = FeedRequest(
        symbols=("SPY", "IBM"),
        start=date(2013, 10, 7),
        end=date(2013, 10, 7),
        path=LEAN_FOLDER,
        kinds=frozenset({Kind.TRADES}),
    )
    rates = []
    for _ in range(3):
        started_at = time.perf_counter()
        summary = replay(servers, get_feed("lean"), request)
        summary.require_complete()
        rates.append(summary.acknowledged / (time.perf_counter() - started_at))
    value = median(rates)
    return Figure(
        figure="LEAN replay from zip files to the last acknowledgement",
        value=value,
        unit="trades/s",
        peer=PEER,
        peer_value=bare,
        ratio=value / bare,
        goal=f"value >= {REPLAY_GOAL}",
        holds=value >= REPLAY_GOAL,
        spread=spread(rates),
    )


def _simulated_trades(settings: Settings) -> list[Record]:
    day = SIMULATED_DAY
    request = FeedRequest(
        symbols=settings.symbol_list,
        start=day,
        end=day,
        kinds=frozenset({Kind.TRADES}),
        seed=settings.seed,
        trades_per_day=max(1, RECORDS // len(settings.symbol_list)),
    )
    return [record for record in get_feed("simulated").read(request) if isinstance(record, Trade)]


def _publisher_rate(servers: str, records: list[Record]) -> float:
    with Publisher(servers) as publisher:
        started_at = time.perf_counter()
        publisher.publish_all(records)
        publisher.flush(60)
        return len(records) / (time.perf_counter() - started_at)


def _bare_rate(servers: str, ready: list[tuple[bytes, str]]) -> float:
    producer = Producer(producer_settings(servers))
    producer.list_topics(timeout=15)
    started_at = time.perf_counter()
    for count, (value, key) in enumerate(ready):
        while True:
            try:
                producer.produce(TRADES.name, value, key)
                break
            except BufferError:
                producer.poll(0.05)
        if count % POLL_EVERY == 0:
            producer.poll(0)
    if producer.flush(60):
        msg = "The bare loop's messages were not acknowledged within 60 s; the machine is too busy to measure."
        raise PublishError(msg)
    return len(ready) / (time.perf_counter() - started_at)
