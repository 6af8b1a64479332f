"""What Spark's tasks do with the messages of a batch: write them to bronze as they are, and decode them.

A task reads a range of offsets and hands back the file it wrote and what its messages are. So a message is read once, where
Spark runs the task, and crosses no process but as columns.
"""

import gc
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import SparkSession

from market import tables
from spark_jobs.io.checkpoint import Plan
from spark_jobs.io.delta import FileWriter, NewFile
from spark_jobs.io.kafka import OffsetRange, ranges_between, read_range
from spark_jobs.schemas import lake_schema
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.decode import Decoded, concat, decode
from spark_jobs.transforms.kinds import KINDS, RecordKind

_MOST_MESSAGES_PER_TASK: Final = 125_000
_MESSAGES_PER_PORTION: Final = 250_000
_BY_TOPIC: Final = {kind.topic.name: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A portion of the messages of a batch.

    Attributes
    ----------
    files
        The files of bronze that hold them, written and not yet committed.
    decoded
        What they are.
    """

    files: tuple[NewFile, ...]
    decoded: Decoded


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes in the messages of batches by tasks of Spark.

    Attributes
    ----------
    spark
        Runs the tasks.
    bootstrap_servers
        The broker, as the tasks reach it.
    calendar
        The sessions.
    bronze_uri
        Where the table of messages lives.
    """

    spark: SparkSession
    bootstrap_servers: str
    calendar: Broadcast[Calendar]
    bronze_uri: str

    def __call__(self, kind: RecordKind, plan: Plan, ingested_at: datetime) -> Iterator[TakenIn]:
        """Write the messages of a batch to files of bronze and decode them; yield them in the order of the ledger.

        A large batch comes in portions, so that the driver works on one while the tasks read the next.
        """
        portions = in_portions(ranges_between(plan.starts, plan.ends, most_messages=_MOST_MESSAGES_PER_TASK))
        task = _task(self, kind.topic.name, ingested_at)

        def run(ranges: list[OffsetRange]) -> list[_Part | None]:
            return self.spark.sparkContext.parallelize(ranges, len(ranges)).map(task).collect()

        if not portions:
            return
        # Enough for all cores, and one more: what is begun last is done last.
        at_once = self.spark.sparkContext.defaultParallelism // len(portions[0]) + 1
        pool = ThreadPoolExecutor(max_workers=min(at_once, len(portions)), thread_name_prefix="tasks")
        try:
            for parts in pool.map(run, portions):
                if taken := together(parts):
                    yield taken
        finally:
            pool.shutdown(cancel_futures=True)


_Part = tuple[NewFile, tuple[bytes, ...]]
"""The file that a task wrote; its valid rows, the rejected ones and those of the kinds beside, as Arrow writes them: that costs
less than pickling."""


def in_portions(ranges: Sequence[OffsetRange]) -> list[list[OffsetRange]]:
    """Return the ranges in groups of some messages each, in their order."""
    groups: list[list[OffsetRange]] = []
    messages = _MESSAGES_PER_PORTION
    for wanted in ranges:
        if messages >= _MESSAGES_PER_PORTION:
            groups.append([])
            messages = 0
        groups[-1].append(wanted)
        messages += wanted.end - wanted.start
    return groups


def together(parts: Sequence[_Part | None]) -> TakenIn | None:
    """Return what some tasks handed back, in their order; ``None`` if they found no message."""
    found = [part for part in parts if part is not None]
    return TakenIn(tuple(part[0] for part in found), concat([_unpacked(part) for part in found])) if found else None


def _task(intake: Intake, topic: str, ingested_at: datetime) -> Callable[[OffsetRange], _Part | None]:
    servers, calendar, bronze_uri = intake.bootstrap_servers, intake.calendar, intake.bronze_uri

    def run(wanted: OffsetRange) -> _Part | None:
        messages = read_range(servers, topic, wanted)
        gc.disable()  # hundreds of thousands of messages, and no cycle among them: the collector took a sixth of the time
        try:
            return take_in(messages, _BY_TOPIC[topic], calendar.value, ingested_at, bronze_uri)
        finally:
            gc.enable()

    return run


def take_in(
    messages: Iterable[pa.RecordBatch], kind: RecordKind, calendar: Calendar, ingested_at: datetime, bronze_uri: str
) -> _Part | None:
    """Write some messages to a file of bronze and decode them; ``None`` if there are none."""
    writer: FileWriter | None = None
    parts: list[Decoded] = []
    for batch in messages:
        writer = writer or FileWriter(bronze_uri, tables.MESSAGES)
        writer.write(_as_bronze(batch, kind.topic.name, ingested_at))
        parts.append(decode(kind, batch, calendar, ingested_at))
    if writer is None:
        return None
    decoded = concat(parts)
    frames = (decoded.valid, decoded.rejected, *decoded.beside)
    return writer.close(), tuple(_to_bytes(frame) for frame in frames)


def _unpacked(part: _Part) -> Decoded:
    valid, rejected, *beside = (pl.read_ipc_stream(frame) for frame in part[1])
    return Decoded(valid, tuple(beside), rejected)


def _as_bronze(batch: pa.RecordBatch, topic: str, ingested_at: datetime) -> pa.Table:
    schema = lake_schema(tables.MESSAGES)
    constants = {"topic": topic, "ingested_at": ingested_at}
    columns = {
        field.name: pa.repeat(pa.scalar(constants[field.name], field.type), batch.num_rows)
        if field.name in constants
        else batch.column(field.name).cast(field.type)
        for field in schema
    }
    return pa.table(columns, schema=schema)


def _to_bytes(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_ipc_stream(sink, compression="lz4")
    return sink.getvalue()
