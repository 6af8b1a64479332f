"""Kafka: how Spark plans what a batch holds, and how a task reads it.

Spark decides what a batch holds, offset by offset, logs it in the checkpoint before the batch begins, and plans it again
after a crash. The messages themselves are read by the tasks through librdkafka, which hands them over as columns at a
third of the cost of rows in the JVM.
"""

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from pyspark.sql import DataFrame, SparkSession

from market.errors import ServiceError
from market.topics import Topic
from spark_jobs.io.checkpoint import Offsets

_CHUNK_MESSAGES: Final = 25_000
_POLL_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0
_SCHEMA: Final = pa.schema(
    [
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_at", pa.timestamp("us", tz="UTC")),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)


class MessagesLostError(ServiceError):
    """The broker no longer has messages that were not read."""


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Messages of one partition, from the offset ``start`` until before ``end``."""

    partition: int
    start: int
    end: int


def plan_batches(
    spark: SparkSession, bootstrap_servers: str, topic: Topic, *, max_messages_per_batch: int
) -> DataFrame:
    """Return the topic as a stream, to have its batches planned; nothing reads its rows.

    A gap between what was read and what the broker still has fails the query.
    """
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("subscribe", topic.name)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", max_messages_per_batch)
        .load()
    )


def ranges_between(starts: Offsets, ends: Offsets, *, most_messages: int) -> list[OffsetRange]:
    """Return what lies between the offsets, cut into ranges of at most ``most_messages``, in the order of the ledger."""
    ranges = []
    for partition, end in sorted(ends.items()):
        start = starts.get(partition, 0)
        pieces = -(-(end - start) // most_messages)
        cuts = [start + (end - start) * piece // pieces for piece in range(pieces + 1)] if pieces > 0 else []
        ranges += [OffsetRange(partition, *cut) for cut in itertools.pairwise(cuts)]
    return ranges


def read_range(bootstrap_servers: str, topic: str, wanted: OffsetRange) -> Iterator[pa.RecordBatch]:
    """Yield the messages of a range: ``partition, offset, kafka_at, key, value``, in the order of their offsets.

    An offset that the log does not have, as where a transaction ends, is passed over.

    Raises
    ------
    MessagesLostError
        If the broker has dropped messages of the range.
    ServiceError
        If the broker cannot be read for a minute.
    """
    consumer = _consumer(bootstrap_servers)
    consumer.assign([TopicPartition(topic, wanted.partition, wanted.start)])
    try:
        yield from _read(consumer, topic, wanted)
    finally:
        consumer.unassign()


def _read(consumer: Consumer, topic: str, wanted: OffsetRange) -> Iterator[pa.RecordBatch]:
    at, deadline = wanted.start, time.monotonic() + _PATIENCE_SECONDS
    while at < wanted.end:
        found = consumer.consume(min(_CHUNK_MESSAGES, wanted.end - at), timeout=_POLL_SECONDS)
        failed = [message for message in found if message.error()] if any(map(Message.error, found)) else []
        messages = [message for message in found if not message.error()] if failed else found
        for message in failed:
            error = message.error()
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's own name for it
                at = max(at, message.offset() or 0)
            elif error.code() in _LOST:
                raise _lost(topic, wanted)
            elif not error.retriable() and error.code() not in _PASSING:
                raise KafkaException(error)
        if messages:
            at = max(at, messages[-1].offset() + 1)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            if at > wanted.end:
                messages = [message for message in messages if message.offset() < wanted.end]
            yield _as_columns(wanted.partition, messages)
        elif time.monotonic() > deadline:
            msg = (
                f"Kafka gave nothing of {topic}, partition {wanted.partition}, from offset {at} on for "
                f"{_PATIENCE_SECONDS:g} s. See ./run status and the broker's log."
            )
            raise ServiceError(msg)


_LOST: Final = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001
_PASSING: Final = (
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001
)


def _lost(topic: str, wanted: OffsetRange) -> MessagesLostError:
    return MessagesLostError(
        f"Kafka no longer has {topic}, partition {wanted.partition}, from offset {wanted.start} on: its retention has "
        "overtaken the stream, and these messages were never taken in. Restore them from a copy of the topic, or accept the "
        "loss: start with an empty lake and an empty database, and replay what is missing from its source."
    )


def _as_columns(partition: int, messages: Sequence[Message]) -> pa.RecordBatch:
    # Mapped, not looped over: a fifth of a microsecond a message.
    moments = pa.array(list(map(itemgetter(1), map(Message.timestamp, messages))), pa.timestamp("ms", tz="UTC"))
    columns = [
        pa.repeat(pa.scalar(partition, pa.int32()), len(messages)),
        pa.array(list(map(Message.offset, messages)), pa.int64()),
        moments.cast(pa.timestamp("us", tz="UTC")),
        pa.array(list(map(Message.key, messages)), pa.binary()),
        pa.array(list(map(Message.value, messages)), pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)


@functools.cache
def _consumer(bootstrap_servers: str) -> Consumer:
    """Return this process's consumer: a worker of Spark reads one range after the other."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "tapehouse-stream",  # the client asks for one; nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",  # as Spark plans
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": 2,  # the default, a second, would be waited for whenever enough was read ahead
            # Read ahead, but not far beyond the range.
            "fetch.message.max.bytes": 2 << 20,
            "queued.min.messages": 25_000,
            "queued.max.messages.kbytes": 16 << 10,
        }
    )
