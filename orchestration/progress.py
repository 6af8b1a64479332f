"""How far the stream has come, as Dagster needs it: which batches are new, and which of them changed the marts' sources."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from market.settings import Settings
from market.tables import PG_STREAM_BATCHES
from warehouse.connection import connect

COUNTS: Final = ("messages", "trades", "quotes", "vendor_bars", "quarantined", "duplicates", "bars")
"""The counts of :data:`market.tables.PG_STREAM_BATCHES`."""

_TABLE: Final = PG_STREAM_BATCHES.qualified_name
_NEWEST_FIRST: Final = "order by published_at desc, query_id desc, batch_id desc limit 1"


@dataclass(frozen=True, slots=True, order=True)
class Batch:
    """One micro-batch of the stream. Batches are in the order in which they reached PostgreSQL: there is one writer."""

    published_at: datetime
    query_id: str
    batch_id: int

    @property
    def name(self) -> str:
        """The batch as one text."""
        return f"{self.query_id}/{self.batch_id}"

    def to_cursor(self) -> str:
        """Return the batch as the text that a sensor keeps between its ticks."""
        return json.dumps([self.published_at.isoformat(), self.query_id, self.batch_id])

    @classmethod
    def from_cursor(cls, cursor: str) -> Self:
        """Return the batch of a sensor's text."""
        published_at, query_id, batch_id = json.loads(cursor)
        return cls(datetime.fromisoformat(published_at), query_id, batch_id)


@dataclass(frozen=True, slots=True)
class Advance:
    """What the stream did after a batch.

    Attributes
    ----------
    newest
        The newest batch.
    batches
        Number of batches.
    rows
        Sum of each of :data:`COUNTS`.
    newest_event_at
        Newest trade or quote time in them.
    longest_batch_ms
        Milliseconds that the longest took.
    """

    newest: Batch
    batches: int
    rows: Mapping[str, int]
    newest_event_at: datetime | None
    longest_batch_ms: int


def advance_after(settings: Settings, batch: Batch | None) -> Advance | None:
    """Return what the stream did after ``batch``, or since ever; ``None`` if nothing.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    sums = ", ".join(f"sum({name})::bigint" for name in COUNTS)
    where, values = _after(batch)
    with connect(settings, read_only=True, application_name="tapehouse-dagster") as connection:
        connection.execute("set transaction isolation level repeatable read")
        newest = connection.execute(
            f"select published_at, query_id, batch_id from {_TABLE} where {where} {_NEWEST_FIRST}",  # noqa: S608 - constants only
            values,
        ).fetchone()
        if newest is None:
            return None
        totals = connection.execute(
            f"select count(*), max(newest_event_at), max(duration_ms), {sums} from {_TABLE} where {where}",  # noqa: S608
            values,
        ).fetchone()
    assert totals is not None, "an aggregate without group by has one row"
    count, newest_event_at, longest_ms, *rows = totals
    return Advance(Batch(*newest), count, dict(zip(COUNTS, rows, strict=True)), newest_event_at, longest_ms)


def newest_change(settings: Settings) -> Batch | None:
    """Return the newest batch that changed a table the marts are made from, or ``None`` if there is none.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse-dagster") as connection:
        row = connection.execute(
            f"select published_at, query_id, batch_id from {_TABLE} "  # noqa: S608 - constants only
            f"where bars > 0 or quotes > 0 or vendor_bars > 0 {_NEWEST_FIRST}"
        ).fetchone()
    return None if row is None else Batch(*row)


def _after(batch: Batch | None) -> tuple[str, dict[str, Any]]:
    if batch is None:
        return "true", {}
    return (
        "(published_at, query_id, batch_id) > (%(published_at)s, %(query_id)s, %(batch_id)s)",
        {"published_at": batch.published_at, "query_id": batch.query_id, "batch_id": batch.batch_id},
    )
