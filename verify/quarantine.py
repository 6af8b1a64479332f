"""What was rejected: counted, listed, and each message as it came.

What belongs here: reading the quarantine and bronze. What does not: the rules (``docs/wire-format.md``) and how it is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from market.errors import UsageError
from market.tables import MESSAGES, QUARANTINE
from verify.lake import Lake


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands in Kafka; written ``topic/partition/offset``."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many messages of a topic were rejected for one reason, between when and when, and one of them."""

    reason: str
    topic: str
    messages: int
    first_at: datetime
    last_at: datetime
    newest: Place


@dataclass(frozen=True, slots=True)
class Rejected:
    """One rejected message; ``detail`` is JSON, or ``None``."""

    place: Place
    reason: str
    detail: str | None
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class WholeMessage:
    """A rejected message with what stands in bronze: all of it, byte for byte."""

    rejected: Rejected
    kafka_at: datetime
    key: bytes | None
    value: bytes | None


def parse_place(text: str) -> Place:
    """Return the place that a text names.

    Raises
    ------
    UsageError
        If it is not written ``topic/partition/offset``.
    """
    parts = text.split("/")
    if len(parts) != 3 or not parts[0] or not all(part.isascii() and part.isdecimal() for part in parts[1:]):  # noqa: PLR2004
        msg = (
            f"{text[:80]!r} is no place of a message. Write topic/partition/offset, for example market.trades.v1/0/17."
        )
        raise UsageError(msg)
    return Place(parts[0], int(parts[1]), int(parts[2]))


def count_by_reason(lake: Lake) -> list[ReasonCount]:
    """Return what was rejected, by reason and topic, the most frequent first."""
    newest = pl.struct("partition", "offset").sort_by("ingested_at", "partition", "offset").last()
    rows = (
        lake.scan_whole(QUARANTINE)
        .group_by("reason", "topic")
        .agg(
            pl.len().alias("messages"),
            pl.col("ingested_at").min().alias("first_at"),
            pl.col("ingested_at").max().alias("last_at"),
            newest.alias("newest"),
        )
        .sort(["messages", "reason", "topic"], descending=[True, False, False])
    )
    return [
        ReasonCount(
            row["reason"],
            row["topic"],
            row["messages"],
            row["first_at"],
            row["last_at"],
            Place(row["topic"], row["newest"]["partition"], row["newest"]["offset"]),
        )
        for row in lake.read(rows).iter_rows(named=True)
    ]


def newest_rejected(lake: Lake, *, reason: str | None, topic: str | None, limit: int) -> list[Rejected]:
    """Return the messages that were rejected last, of one reason or topic if given, the newest first."""
    rows = lake.scan_whole(QUARANTINE)
    for name, wanted in (("reason", reason), ("topic", topic)):
        if wanted is not None:
            rows = rows.filter(pl.col(name) == wanted)
    newest = rows.sort(["ingested_at", "topic", "partition", "offset"], descending=[True, False, False, True]).head(
        limit
    )
    return [_rejected(row) for row in lake.read(newest).iter_rows(named=True)]


def find_message(lake: Lake, place: Place) -> WholeMessage | None:
    """Return the rejected message at a place, or ``None`` if none was rejected there."""
    there = (
        (pl.col("topic") == place.topic) & (pl.col("partition") == place.partition) & (pl.col("offset") == place.offset)
    )
    rejected = lake.read(lake.scan_whole(QUARANTINE).filter(there))
    message = lake.read(lake.scan_whole(MESSAGES).filter(there))
    if rejected.is_empty() or message.is_empty():
        return None
    raw = message.row(0, named=True)
    return WholeMessage(_rejected(rejected.row(0, named=True)), raw["kafka_at"], raw["key"], raw["value"])


def _rejected(row: Mapping[str, Any]) -> Rejected:
    place = Place(row["topic"], row["partition"], row["offset"])
    return Rejected(place, row["reason"], row["detail"], row["ingested_at"])
