"""What is stored, read by plain means: the topics by a consumer, the lake's files by DuckDB, PostgreSQL by SQL.

Of the project only the names of topics, tables and columns are used, as a user would; none of its readers.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from deltalake import DeltaTable

from tests.faults.expected import Place, Row

TOPICS: Final = ("market.trades.v1", "market.quotes.v1", "market.bars.v1")
_READ_SECONDS: Final = 60.0
_NOT_YET: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})


def topic_ranges(servers: str) -> dict[tuple[str, int], tuple[int, int]]:
    """Return per topic and partition the first offset that the broker has and the one after the last."""
    consumer = _consumer(servers)
    try:
        metadata = consumer.list_topics(timeout=30).topics
        return {
            (topic, number): _bounds(consumer, TopicPartition(topic, number))
            for topic in TOPICS
            for number in metadata[topic].partitions
        }
    finally:
        consumer.close()


def _bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Ask until a broker that has just been started leads the partition."""
    deadline = time.monotonic() + _READ_SECONDS
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=30)
        except KafkaException as error:
            if error.args[0].code() not in _NOT_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return low, high


def topic_messages(servers: str) -> dict[Place, tuple[bytes | None, bytes | None]]:
    """Return key and value of every message that the broker has."""
    ranges = {place: bounds for place, bounds in topic_ranges(servers).items() if bounds[0] < bounds[1]}
    consumer, found, open_ends = _consumer(servers), {}, len(ranges)
    deadline = time.monotonic() + _READ_SECONDS
    try:
        consumer.assign([TopicPartition(topic, number, start) for (topic, number), (start, _) in ranges.items()])
        while open_ends:
            assert time.monotonic() < deadline, "the broker does not give what it has"
            for message in consumer.consume(1_000, timeout=0.1):
                if message.error() is not None:
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    open_ends -= 1
                else:
                    place = (message.topic(), message.partition(), message.offset())
                    found[place] = (message.key(), message.value())
    finally:
        consumer.close()
    return found


def _consumer(servers: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "fault-oracle",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )


def lake_rows(lake: str, table: str, columns: Sequence[str]) -> list[Row]:
    """Return rows of a lake table: moments as epoch microseconds, prices as millionths, dates as texts."""
    uri = f"{lake}/{table}"
    files = DeltaTable(uri).file_uris()
    if not files:
        return []
    with duckdb.connect() as connection:
        types = dict(
            connection.execute(
                "select column_name, column_type from (describe from read_parquet(?))", [files]
            ).fetchall()
        )
        wanted = ", ".join(_plain(column, types[column]) for column in columns)
        return connection.execute(f"select {wanted} from read_parquet(?)", [files]).fetchall()


def _plain(column: str, column_type: str) -> str:
    if column_type.startswith("TIMESTAMP"):
        return f'epoch_us("{column}")'
    if column_type.startswith("DECIMAL"):
        return f'cast("{column}" * 1000000 as hugeint)'
    return f'cast("{column}" as varchar)' if column_type == "DATE" else f'"{column}"'


def postgres_rows(url: str, table: str, columns: Sequence[str], where: str = "true") -> list[Row]:
    """Return rows of a table of PostgreSQL, in the same plain types."""
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        schema, name = table.split(".")
        question = (
            "select column_name, data_type from information_schema.columns where table_schema = %s and table_name = %s"
        )
        types: dict[str, str] = dict(connection.execute(question, (schema, name)).fetchall())
        wanted = ", ".join(_plain_in_postgres(column, types[column]) for column in columns)
        return connection.execute(f"select {wanted} from {table} where {where}").fetchall()


def _plain_in_postgres(column: str, column_type: str) -> str:
    if column_type.startswith("timestamp"):
        return f'(extract(epoch from "{column}") * 1000000)::bigint'
    if column_type == "numeric":
        return f'("{column}" * 1000000)::numeric(38)::text'
    return f'"{column}"::text' if column_type == "date" else f'"{column}"'


def whole(value: Any) -> Any:
    """Return a number that came as text as a whole number."""
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


def is_lake(lake: str) -> bool:
    return (Path(lake) / "bronze" / "messages" / "_delta_log").is_dir()
