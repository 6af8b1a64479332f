"""Columns that the tables of all records have: where a message lay, whose it is."""

from typing import Final

from market.columns import Column, DataType

LEDGER: Final = (
    Column("topic", DataType.TEXT, "Kafka topic of the message."),
    Column("partition", DataType.INTEGER, "Kafka partition of the message."),
    Column("offset", DataType.BIGINT, "Kafka offset of the message."),
    Column("ingested_at", DataType.TIMESTAMP, "When the batch that took the message in began; one value per batch."),
)
INSTRUMENT: Final = (
    Column("source", DataType.TEXT, "Feed that the record came from."),
    Column("symbol", DataType.TEXT, "Ticker, upper case."),
)
IN_SESSION: Final = (
    Column("session_date", DataType.DATE, "Session of the exchange calendar."),
    Column("segment", DataType.TEXT, "Part of the session: pre, regular or post."),
)
