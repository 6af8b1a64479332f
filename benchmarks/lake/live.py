"""The stream while the market is open: how fresh bars are at a steady rate, a burst, and the return after a kill."""

import itertools
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

import numpy as np
import polars as pl
import structlog
from numpy.typing import NDArray

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone
from benchmarks.lake.running import DEADLINE_SECONDS, MEMORY_GOAL_GIB, Watch, stream, wait_until
from benchmarks.lake.tape import live_tape
from ingest.publisher import Publisher
from ingest.topics import end_offsets, ensure_topics
from market.errors import ServiceError
from market.records import Record
from market.sessions import find_session
from market.settings import Settings
from market.tables import MESSAGES
from market.topics import TRADES
from warehouse.progress import wait_for_offsets
from warehouse.schema import migrate

DAY: Final = date(2024, 2, 6)
RATE: Final = 5_000
WARM_SECONDS: Final = 20
LIVE_SECONDS: Final = 60
MEDIAN_GOAL_MS: Final = 1_500
LATE_GOAL_MS: Final = 3_000
BURST_RATE: Final = 50_000
BURST_SECONDS: Final = 20
CATCH_UP_GOAL_SECONDS: Final = 20
RETURN_GOAL_SECONDS: Final = 30
_AFTERWARDS_SECONDS: Final = 10
_PARTS_A_SECOND: Final = 50
_POLL_SECONDS: Final = 0.01

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield freshness, catching up, memory and the time of recovery."""
    session = find_session(DAY)
    if session is None:
        msg = f"{DAY} is no session."
        raise ServiceError(msg)
    _log.info("live", step="making the tape")
    steady, burst = RATE * (WARM_SECONDS + LIVE_SECONDS), BURST_RATE * BURST_SECONDS
    first, afterwards = RATE // _PARTS_A_SECOND, RATE * _AFTERWARDS_SECONDS
    parts = ((first + steady, RATE), (burst, BURST_RATE), (afterwards, RATE))
    tape = iter(live_tape(settings, session, parts, "live"))
    with scratch_engines(settings) as engines:
        migrate(engines)
        ensure_topics(engines.require_kafka())
        with stream(engines) as watch:
            yield from _fresh(engines, watch, tape, first, steady)
            yield _burst(engines, watch, tape, burst)
            yield alone("memory of the stream meanwhile", watch.most_gib, "GiB", MEMORY_GOAL_GIB)
            watch.process.send_signal(signal.SIGKILL)
            watch.process.wait()
            killed = time.time()
        _log.info("live", step="again after a kill")
        with stream(engines) as again:
            publish(engines, tape, RATE, most=RATE)
            wait_until(lambda: bool(again.seen_at), "a batch after the restart")
            back = min(again.seen_at.values())
        yield alone("from SIGKILL to the next batch in PostgreSQL", back - killed, "s", RETURN_GOAL_SECONDS)


def _fresh(engines: Settings, watch: Watch, tape: Iterator[Record], first: int, steady: int) -> Iterator[Figure]:
    publish(engines, tape, RATE, most=first)
    wait_until(lambda: bool(watch.seen_at), "the first batch")
    _log.info("live", step=f"{RATE} trades/s")
    started = time.time()
    publish(engines, tape, RATE, most=steady)
    wait_for_all(engines)
    milliseconds = _freshness(engines, watch, started + WARM_SECONDS)
    for name, quantile, most in (("median", 0.5, MEDIAN_GOAL_MS), ("99th percentile", 0.99, LATE_GOAL_MS)):
        value, quarters = _quantile(milliseconds, quantile), np.array_split(milliseconds, 4)
        repeats = [_quantile(part, quantile) for part in quarters]
        yield alone(f"trade to its bar in PostgreSQL at {RATE} trades/s; {name}", value, "ms", most, repeats)


def _burst(engines: Settings, watch: Watch, tape: Iterator[Record], count: int) -> Figure:
    """Publish at the burst's rate; return how long after its last record the last bar shows."""
    _log.info("live", step=f"a burst of {BURST_RATE} trades/s")
    taken = publish(engines, tape, BURST_RATE, most=count)
    ended = time.time()
    wait_for_all(engines)
    name = f"a burst of {count / taken:.0f} trades/s for {taken:.0f} s: from its end until all of it is in PostgreSQL"
    return alone(name, max(watch.seen_at.values()) - ended, "s", CATCH_UP_GOAL_SECONDS)


def _quantile(milliseconds: Sequence[float] | NDArray[np.float64], quantile: float) -> float:
    return float(np.quantile(milliseconds, quantile))


def publish(engines: Settings, tape: Iterator[Record], rate: int, *, most: int | None = None) -> float:
    """Publish the records, or ``most`` of them, so many a second; return the seconds until the last is acknowledged."""
    started, records = time.monotonic(), itertools.islice(tape, most)
    with Publisher(engines.require_kafka()) as publisher:
        due = started
        while part := list(itertools.islice(records, rate // _PARTS_A_SECOND)):
            publisher.publish_all(part)
            due += 1 / _PARTS_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
    return time.monotonic() - started


def wait_for_all(engines: Settings) -> None:
    """Wait until every trade of the topic shows in PostgreSQL."""
    ends = {place: end for place, end in end_offsets(engines.require_kafka()).items() if place[0] == TRADES.name}
    wait_for_offsets(engines, ends, timeout_seconds=DEADLINE_SECONDS)
    time.sleep(10 * _POLL_SECONDS)  # until the watch has seen it too


def _freshness(engines: Settings, watch: Watch, since: float) -> NDArray[np.float64]:
    """Return per message that came later, in order, the milliseconds from Kafka's timestamp to its batch in PostgreSQL."""
    seen = pl.DataFrame(
        {"ingested_at": list(watch.seen_at), "seen_at": list(watch.seen_at.values())},
        schema={"ingested_at": pl.Datetime("us", "UTC"), "seen_at": pl.Float64},
    )
    messages = pl.scan_delta(f"{engines.lake}/{MESSAGES.path}").select("ingested_at", "kafka_at")
    arrived = (pl.col("kafka_at").dt.epoch("ms") / 1000).alias("arrived_at")
    rows = messages.join(seen.lazy(), on="ingested_at").with_columns(arrived).filter(pl.col("arrived_at") >= since)
    waited = rows.sort("arrived_at").select((pl.col("seen_at") - pl.col("arrived_at")) * 1000).collect()
    return waited.to_series().to_numpy()
