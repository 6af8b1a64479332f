"""Messages as the tests of the stream write them: plain JSON, and rows as Kafka hands them to the stream."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as f

from spark_jobs.transforms.kinds import RecordKind

OPEN: Final = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
INGESTED: Final = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_MOMENTS: Final = ("traded_at", "quoted_at", "bar_at")
"""Left out, as Python's calendar ends before Spark's; ``ts`` and ``bar_ts`` say the same."""

_MESSAGE: Final = (
    "topic string, partition int, offset long, ingested_at timestamp, kafka_at timestamp, key binary, value binary"
)

Fields = Mapping[str, Any]


def micros(moment: datetime) -> int:
    """Return the moment in epoch microseconds."""
    return (moment - EPOCH) // timedelta(microseconds=1)


TRADE: Final[Fields] = {
    "kind": "trade",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "price": 100.5,
    "size": 100,
    "trade_id": "2013-10-07:1",
    "sequence": 1,
    "exchange": "P",
    "conditions": "1",
}
QUOTE: Final[Fields] = {
    "kind": "quote",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "quote_id": "q1",
    "bid": 99.5,
    "bid_size": 300,
    "ask": 100.5,
    "ask_size": 5,
    "sequence": 1,
    "exchange": "P",
    "conditions": "1",
}
BAR: Final[Fields] = {
    "kind": "bar",
    "source": "sample",
    "symbol": "SPY",
    "interval": "1d",
    "ts": micros(OPEN),
    "open": 10,
    "high": 12,
    "low": 9.5,
    "close": 11,
    "volume": 1000,
}


def changed(fields: Fields, **changes: object) -> bytes:
    """Return the JSON of the fields with changes; a field changed to ``...`` is left out."""
    return json.dumps({name: value for name, value in {**fields, **changes}.items() if value is not ...}).encode()


def with_token(fields: Fields, name: str, token: bytes) -> bytes:
    """Return the JSON of the fields with one value written as ``token``, whatever that is."""
    members = [f'"{key}":'.encode() + json.dumps(value).encode() for key, value in fields.items() if key != name]
    return b"{" + b",".join([*members, f'"{name}":'.encode() + token]) + b"}"


def as_messages(
    spark: SparkSession,
    kind: RecordKind,
    values: Iterable[bytes | None],
    ingested_at: datetime = INGESTED,
    first_offset: int = 0,
) -> DataFrame:
    """Return the values as messages of one partition."""
    rows = [
        (kind.topic.name, 0, offset, ingested_at, ingested_at, b"SPY", None if value is None else bytearray(value))
        for offset, value in enumerate(values, first_offset)
    ]
    return spark.createDataFrame(rows, _MESSAGE)


def decode(kind: RecordKind, messages: DataFrame, sessions: DataFrame) -> DataFrame:
    """Return what the stream makes of the messages: one row each, plain or not."""
    read = kind.decode_plain(messages, sessions)
    odd = kind.decode(read.where(~f.col("is_plain")).select(*messages.columns), sessions)
    return read.where("is_plain").select(*odd.columns).unionByName(odd)


def decoded(
    spark: SparkSession, kind: RecordKind, sessions: DataFrame, values: Iterable[bytes | None]
) -> dict[int, Row]:
    """Return what the stream makes of the values, by their number, with moments as ``ts`` and ``bar_ts``."""
    rows = decode(kind, as_messages(spark, kind, values), sessions).drop(*_MOMENTS).collect()
    found = {row["offset"]: row for row in rows}
    assert len(found) == len(rows), "a message came out twice"
    return found
