"""Runs the peers that make 1-minute bars of the topic of trades, and reads the bars that they wrote."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.peers.environment import peer_jar, peer_python
from benchmarks.peers.group import GroupWatch
from benchmarks.progress import Progress
from ingest.topics import end_offsets
from market.errors import ServiceError
from market.settings import Settings, inherited_environment
from market.topics import TRADES

GRACE: Final = timedelta(hours=1)
"""How late a trade may be for quixstreams: a window is closed, and its bar written, so much later."""
_CORES: Final = 2
_FOLDER: Final = Path(__file__).parent
_GRACE_SECONDS_TO_STOP: Final = 60.0
_POLL_SECONDS: Final = 0.1
_QUIX_VALUE: Final = pl.Struct({"start": pl.Int64(), "value": pl.List(pl.Float64())})


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What a peer did.

    Attributes
    ----------
    progress
        How many messages it had committed when.
    ends
        Per partition the offset after the last message that its bars hold.
    bars
        The bars that it wrote: ``symbol``, ``minute`` (minutes since the epoch), open, high, low, close, volume and trade_count.
    """

    progress: Progress
    ends: Mapping[int, int]
    bars: pl.DataFrame


def run_quixstreams(engines: Settings, *, seconds: float) -> PeerRun:
    """Run quixstreams on the topic of trades for so long after its first commit, a process a core.

    Raises
    ------
    PeerAbsentError
        If it cannot be installed.
    ServiceError
        If it fails.
    """
    python, servers, group = peer_python("quixstreams"), engines.require_kafka(), "quixstreams"
    options = ["--servers", servers, "--topic", TRADES.name, "--bars-topic", "quixstreams.bars", "--group", group]
    commands = [
        [
            *(str(python), str(_FOLDER / "quixstreams_bars.py"), *options),
            *("--state", str(engines.home / f"quixstreams-{core}"), "--grace-seconds", str(int(GRACE.total_seconds()))),
        ]
        for core in range(_CORES)
    ]
    with GroupWatch(servers, group, TRADES) as watch, _processes(engines, "quixstreams", commands) as processes:
        samples = watch.progress.samples
        _wait(processes, lambda: bool(samples) and time.monotonic() - samples[0][0] > seconds, seconds + 120)
    bars = (
        _read("quixstreams.bars", servers)
        .with_columns(pl.col("value").str.json_decode(_QUIX_VALUE).alias("bar"), pl.col("key").alias("symbol"))
        .with_columns(pl.col("bar").struct.field("start").floordiv(60_000).alias("minute"))
        .with_columns(pl.col("bar").struct.field("value").alias("value"))
    )
    columns = {name: place for place, name in enumerate(("open", "high", "low", "close", "volume", "trade_count"))}
    columns_of = [pl.col("value").list.get(place).alias(name) for name, place in columns.items()]
    return PeerRun(watch.progress, watch.offsets, _typed(bars.select("symbol", "minute", *columns_of)))


def run_pyflink(engines: Settings) -> PeerRun:
    """Run PyFlink SQL over the whole topic of trades, in one JVM with a slot a core.

    Raises
    ------
    PeerAbsentError
        If it cannot be installed.
    ServiceError
        If it fails.
    """
    python, servers, group = peer_python("pyflink"), engines.require_kafka(), "pyflink"
    connector = peer_jar(engines, "flink-sql-connector-kafka")
    topic = "pyflink.bars"
    _create(topic, servers)
    options = ["--servers", servers, "--topic", TRADES.name, "--bars-topic", topic, "--group", group]
    places = ["--state", str(engines.home / "pyflink"), "--connector", str(connector)]
    command = [str(python), str(_FOLDER / "pyflink_bars.py"), *options, *places]
    # At its end the source commits nothing more: what it read until then is what the topic holds, as it failed if it did not.
    ends = {place[1]: end for place, end in end_offsets(servers).items() if place[0] == TRADES.name}
    with GroupWatch(servers, group, TRADES) as watch, _processes(engines, "pyflink", [command]) as processes:
        _wait(processes, lambda: all(process.poll() is not None for process in processes), 600)
    bar = pl.Struct(
        {"symbol": pl.String(), "minute": pl.Int64()}
        | dict.fromkeys(("open", "high", "low", "close", "volume", "trade_count"), pl.Float64())
    )
    written = _read(topic, servers).filter(pl.col("value").is_not_null())
    bars = written.select(pl.col("value").str.json_decode(bar).alias("bar")).unnest("bar")
    newest = bars.unique(("symbol", "minute"), keep="last", maintain_order=True)
    return PeerRun(watch.progress, ends, _typed(newest))


def _typed(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.with_columns(pl.col("volume", "trade_count").cast(pl.Int64))


@contextmanager
def _processes(engines: Settings, name: str, commands: list[list[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run commands until the end of the block, then ask them to stop."""
    environment = inherited_environment()
    for variable in ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV"):
        environment.pop(variable, None)
    if engines.java_home is not None:
        environment["JAVA_HOME"] = str(engines.java_home)
    with (engines.home / f"{name}.log").open("wb") as log:
        processes = [
            subprocess.Popen(command, env=environment, cwd=engines.home, stdout=log, stderr=log, start_new_session=True)
            for command in commands
        ]
        try:
            yield processes
        finally:
            for process in processes:
                if process.poll() is None:
                    process.terminate()
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_SECONDS_TO_STOP)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and the JVM that it may have left behind
                process.wait()
    failed = [process.returncode for process in processes if process.returncode > 0]
    if failed:
        msg = f"{name} ended with {failed[0]}: {(engines.home / f'{name}.log').read_text(errors='replace')[-2000:]}"
        raise ServiceError(msg)


def _wait(processes: list[subprocess.Popen[bytes]], holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, a process has ended, or the time is up."""
    deadline = time.monotonic() + seconds
    while not holds() and all(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _create(topic: str, servers: str) -> None:
    new = NewTopic(topic, num_partitions=TRADES.partitions, replication_factor=1)
    admin = AdminClient({"bootstrap.servers": servers})  # kept: the request ends with it
    try:
        admin.create_topics([new])[topic].result(30)
    except KafkaException as error:
        raise ServiceError(f"The topic {topic} cannot be created: {error}") from error  # noqa: EM102


def _read(topic: str, servers: str) -> pl.DataFrame:
    """Return the committed messages of a topic: ``key`` and ``value`` as texts, in order within a partition."""
    settings = {"bootstrap.servers": servers, "group.id": "bench-reader", "enable.auto.commit": False, "log_level": 2}
    consumer = Consumer(
        {**settings, "auto.offset.reset": "earliest", "enable.partition.eof": True, "isolation.level": "read_committed"}
    )
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    try:
        partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(10_000, timeout=5):
                if message.error() is not None:
                    ended.add(message.partition())
                else:
                    keys.append(message.key())
                    values.append(message.value())
    finally:
        consumer.close()
    columns = {"key": pl.Series(keys, dtype=pl.Binary), "value": pl.Series(values, dtype=pl.Binary)}
    return pl.DataFrame(columns).with_columns(pl.col("key", "value").cast(pl.String))
