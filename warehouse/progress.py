"""How far the stream is, as PostgreSQL knows it: offsets, batches, newest bar, rows."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.sql import SQL, Identifier

from market.errors import ServiceError
from market.settings import Settings
from warehouse.connection import connect

_POLL_SECONDS: Final = 0.2
_COMMIT_MARGIN: Final = timedelta(minutes=1)
_COUNT_SECONDS: Final = 1.0
"""How long the rows of a mart are counted at most: some ten million."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The newest micro-batch; the fields are the columns of ``lake.stream_batches``."""

    query_id: str
    batch_id: int
    ingested_at: datetime
    published_at: datetime
    duration_ms: int
    messages: int
    newest_event_at: datetime | None


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows a table has, counted or, if that would take too long, as PostgreSQL last estimated them."""

    rows: int
    is_exact: bool = True

    def __format__(self, spec: str) -> str:
        return f"{'' if self.is_exact else 'about '}{self.rows:{spec}}"


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """What PostgreSQL knows of the stream.

    Attributes
    ----------
    next_offsets
        Per topic and partition the first offset that is not yet in PostgreSQL.
    last_batch
        The newest batch, or ``None`` before the first.
    newest_bar_at
        Start of the newest 1-minute bar of any source and symbol, or ``None``.
    newest_bar_revised_at
        Ingest time of the last change of that minute's bars, or ``None``.
    bars, vendor_bars, quoted_symbols
        Rows of ``lake.bars_1m``, ``lake.vendor_bars`` and ``lake.latest_quotes``.
    marts
        Rows of each table of the schema ``marts``; a view has none.
    missing_bars
        Bars of ``marts.bar_gaps`` by reason; empty before it is built.
    """

    next_offsets: Mapping[tuple[str, int], int]
    last_batch: Batch | None
    newest_bar_at: datetime | None
    newest_bar_revised_at: datetime | None
    bars: int
    vendor_bars: int
    quoted_symbols: int
    marts: Mapping[str, RowCount]
    missing_bars: Mapping[str, int] = field(default_factory=dict)


def next_offsets(settings: Settings) -> dict[tuple[str, int], int]:
    """Return per topic and partition the first offset that is not yet in PostgreSQL.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse progress") as connection:
        return _next_offsets(connection)


def newest_ingested_at(settings: Settings, query_id: str, *, before_batch: int) -> datetime | None:
    """Return the greatest ``ingested_at`` of a query's batches before one, or ``None`` if there is none.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    question = "select max(ingested_at) from lake.stream_batches where query_id = %s and batch_id < %s"
    with connect(settings, read_only=True, application_name="tapehouse progress") as connection:
        row = connection.execute(question, (query_id, before_batch)).fetchone()
    return row[0] if row else None


def wait_for_offsets(
    settings: Settings,
    ends: Mapping[tuple[str, int], int],
    *,
    timeout_seconds: float,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Wait until everything below ``ends`` is in the lake and in PostgreSQL.

    Parameters
    ----------
    settings
        Says where the database is.
    ends
        Per topic and partition the offset after the last message to wait for.
    timeout_seconds
        How long to wait at most.
    on_progress
        Called with the number of messages that are still missing, after each look.

    Raises
    ------
    ServiceError
        If the time is up, with the number of missing messages, or the database cannot be reached.
    """
    deadline = time.monotonic() + timeout_seconds
    with connect(settings, read_only=True, application_name="tapehouse wait") as connection:
        while True:
            remaining = _remaining(connection, ends)
            if on_progress is not None:
                on_progress(remaining)
            if remaining == 0:
                return
            if time.monotonic() >= deadline:
                msg = (
                    f"After {timeout_seconds:g} s {remaining:,} messages are still not in PostgreSQL. "
                    "See ./run status and the stream's log."
                )
                raise ServiceError(msg)
            time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def last_batch(settings: Settings) -> Batch | None:
    """Return the newest batch, or ``None`` before the first.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse progress") as connection:
        return _last_batch(connection)


def stream_status(settings: Settings) -> StreamStatus:
    """Return everything that PostgreSQL knows of the stream, as of one moment.

    Raises
    ------
    ServiceError
        If the database cannot be reached or was never set up.
    """
    with connect(settings, read_only=True, application_name="tapehouse status") as connection:
        try:
            return _stream_status(connection)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            msg = "The database was not set up yet. Start the platform with ./run up."
            raise ServiceError(msg) from error


def bars_changed_since(settings: Settings, moment: datetime) -> bool:
    """Return whether what the marts are made from may have changed in PostgreSQL since ``moment``.

    A batch bears the time at which its transaction began, and shows a little later: batches of the minute before
    ``moment`` count too. So the answer may be yes once too often, but not no when something changed.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse progress") as connection:
        row = connection.execute(
            "select exists (select from lake.stream_batches "
            "where published_at >= %s and bars + statuses + vendor_bars + corporate_actions + quotes > 0)",
            [moment - _COMMIT_MARGIN],
        ).fetchone()
    return row is not None and bool(row[0])


def _next_offsets(connection: Connection[Any]) -> dict[tuple[str, int], int]:
    rows = connection.execute("select topic, partition, next_offset from lake.stream_offsets order by topic, partition")
    return {(topic, partition): offset for topic, partition, offset in rows}


def _remaining(connection: Connection[Any], ends: Mapping[tuple[str, int], int]) -> int:
    try:
        offsets = _next_offsets(connection)
        connection.rollback()
    except psycopg.OperationalError as error:
        msg = "The connection to PostgreSQL was lost while waiting for the stream. See ./run status."
        raise ServiceError(msg) from error
    return sum(max(0, end - offsets.get(partition, 0)) for partition, end in ends.items())


def _last_batch(connection: Connection[Any]) -> Batch | None:
    row = connection.execute(
        "select query_id, batch_id, ingested_at, published_at, duration_ms, messages, newest_event_at "
        "from lake.stream_batches order by published_at desc, batch_id desc limit 1"
    ).fetchone()
    return None if row is None else Batch(*row)


def _stream_status(connection: Connection[Any]) -> StreamStatus:
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    bars, newest_bar_at = _one(
        connection, "select coalesce(sum(bar_count), 0)::bigint, max(newest_bar_at) from lake.bar_sessions"
    )
    (revised_at,) = _one(
        connection,
        "select max(b.revised_at) from lake.bar_sessions as s join lake.bars_1m as b "
        "on b.source = s.source and b.symbol = s.symbol and b.bar_at = s.newest_bar_at "
        "where s.newest_bar_at = (select max(newest_bar_at) from lake.bar_sessions)",
    )
    vendor_bars, quoted = _one(
        connection, "select (select count(*) from lake.vendor_bars), (select count(*) from lake.latest_quotes)"
    )
    estimates = connection.execute(
        "select c.relname, greatest(c.reltuples, 0)::bigint from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname = 'marts' and c.relkind = 'r' order by c.relname"
    ).fetchall()
    (has_gaps,) = _one(connection, "select to_regclass('marts.bar_gaps') is not null")
    missing = "select reason, sum(missing_bars)::bigint from marts.bar_gaps group by reason order by reason"
    missing_bars = dict(connection.execute(missing).fetchall()) if has_gaps else {}
    return StreamStatus(
        next_offsets=_next_offsets(connection),
        last_batch=_last_batch(connection),
        newest_bar_at=newest_bar_at,
        newest_bar_revised_at=revised_at,
        bars=bars,
        vendor_bars=vendor_bars,
        quoted_symbols=quoted,
        missing_bars=missing_bars,
        marts={name: _count(connection, name, estimate) for name, estimate in estimates},
    )


def _count(connection: Connection[Any], mart: str, estimate: int) -> RowCount:
    """Count the rows of a mart; what the transaction asks after that has the same time limit."""
    try:
        with connection.transaction():
            connection.execute("select set_config('statement_timeout', %s, true)", [f"{_COUNT_SECONDS:g}s"])
            ((rows,),) = connection.execute(SQL("select count(*) from marts.{}").format(Identifier(mart))).fetchall()
    except psycopg.errors.QueryCanceled:
        return RowCount(estimate, is_exact=False)
    return RowCount(rows)


def _one(connection: Connection[Any], query: str) -> tuple[Any, ...]:
    (row,) = connection.execute(query).fetchall()
    return tuple(row)
