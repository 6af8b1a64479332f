"""One micro-batch of the stream into PostgreSQL: everything it changed, its offsets and its number, in one transaction."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus

from market.tables import (
    CORPORATE_ACTIONS,
    FEED_STATUS,
    PG_BARS,
    PG_LATEST_QUOTES,
    PG_QUOTES_1M,
    PG_VENDOR_BARS,
    VENDOR_BARS,
    Table,
)
from warehouse import staging
from warehouse.ddl import quote_name, quote_names

_log = structlog.get_logger(__name__)


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """What one micro-batch changed.

    Attributes
    ----------
    query_id, batch_id
        Identity of the checkpoint and number of the batch in it: the same pair again is the same batch.
    ingested_at
        When the batch began (UTC).
    started_monotonic
        ``time.monotonic()`` at that moment.
    messages, trades, amendments, statuses, quotes, vendor_bars, corporate_actions, quarantined, duplicates, bars
        Counts as in ``lake.stream_batches``.
    newest_event_at
        Newest trade or quote time in the batch, or ``None``.
    bar_rows
        The changed 1-minute bars, with the columns of :data:`market.tables.PG_BARS`, in the order of their key; prices as
        decimals.
    vendor_bar_rows
        The vendor bars taken in, with the columns of :data:`market.tables.VENDOR_BARS`.
    action_rows
        The corporate actions taken in, with the columns of :data:`market.tables.CORPORATE_ACTIONS`.
    quote_rows
        The quotes taken in; of the columns of :data:`market.tables.QUOTES` those in
        :data:`warehouse.staging.PLACED_QUOTE_COLUMNS`.
    status_rows
        The heartbeats, halts and resumes taken in, with the columns of :data:`market.tables.FEED_STATUS`.
    next_offsets
        Per topic and partition the offset that the next batch starts from.
    """

    query_id: str
    batch_id: int
    ingested_at: datetime
    started_monotonic: float
    messages: int = 0
    trades: int = 0
    amendments: int = 0
    statuses: int = 0
    quotes: int = 0
    vendor_bars: int = 0
    corporate_actions: int = 0
    quarantined: int = 0
    duplicates: int = 0
    bars: int = 0
    newest_event_at: datetime | None = None
    bar_rows: pa.Table | None = None
    vendor_bar_rows: pa.Table | None = None
    action_rows: pa.Table | None = None
    quote_rows: pa.Table | None = None
    status_rows: pa.Table | None = None
    next_offsets: Mapping[tuple[str, int], int] = field(default_factory=dict)


def publish_batch(
    connection: Connection[Any], batch: BatchOutput, before_commit: Callable[[], None] = _nothing
) -> bool:
    """Write the batch in one transaction; do nothing if it is already there.

    1. Enter the batch's number; if it is known, the batch came again after a crash: stop.
    2. Stage the rows by COPY.
    3. Change bars, vendor bars, corporate actions, quotes, coverage and halts, always in this order and by key, so that two
       writers cannot deadlock.
    4. Move the offsets.
    5. Do what has to be done before anybody may see the batch.

    Parameters
    ----------
    connection
        A connection outside any transaction.
    batch
        What to write.
    before_commit
        What has to be done first, by others, while PostgreSQL works; if it raises, nothing of the batch is written.

    Returns
    -------
    bool
        Whether the batch was new.

    Raises
    ------
    ValueError
        If the connection is inside a transaction: the batch would not be committed.
    TypeError
        If rows lack a column or carry a price as a float.
    psycopg.Error
        If the database fails. Nothing of the batch is written then.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        msg = "publish_batch needs a connection without an open transaction. Commit or roll back first."
        raise ValueError(msg)
    with connection.transaction():
        if not _enter(connection, batch):
            _log.info("batch_already_published", query_id=batch.query_id, batch_id=batch.batch_id)
            return False
        connection.execute("set local work_mem = '64MB'")  # a batch's sort stays in memory
        _change_bars(connection, batch.bar_rows)
        _change_vendor_bars(connection, batch.vendor_bar_rows)
        _add_actions(connection, batch.action_rows)
        _change_quotes(connection, batch.quote_rows)
        _add_statuses(connection, batch.status_rows)
        _move_offsets(connection, batch.next_offsets)
        before_commit()
    return True


_BATCH_COUNTS: Final = (
    "messages",
    "trades",
    "amendments",
    "statuses",
    "quotes",
    "vendor_bars",
    "corporate_actions",
    "quarantined",
    "duplicates",
    "bars",
)


def _enter(connection: Connection[Any], batch: BatchOutput) -> bool:
    names = ("query_id", "batch_id", "ingested_at", "duration_ms", *_BATCH_COUNTS, "newest_event_at")
    values = [
        batch.query_id,
        batch.batch_id,
        batch.ingested_at,
        max(0, round((time.monotonic() - batch.started_monotonic) * 1000)),
        *(getattr(batch, name) for name in _BATCH_COUNTS),
        batch.newest_event_at,
    ]
    cursor = connection.execute(
        f"insert into lake.stream_batches ({', '.join(names)}, published_at) "  # noqa: S608 - fixed names
        f"values ({', '.join(['%s'] * len(names))}, now()) on conflict do nothing",
        values,
    )
    return cursor.rowcount == 1


def _change_bars(connection: Connection[Any], rows: pa.Table | None) -> None:
    """Insert the new bars, change the others. A new bar that is there already, from another lake, is changed like the others."""
    if rows is None or rows.num_rows == 0:
        return
    is_new = pc.equal(rows["revision"], 1)
    new, revised = rows.filter(is_new), rows.filter(pc.invert(is_new))
    try:
        with connection.transaction():
            # Straight into the table: half the time of staging and upsert.
            staging.copy_rows(connection, PG_BARS.qualified_name, PG_BARS.columns, new)
    except UniqueViolation:
        revised = rows
    if revised.num_rows:
        _upsert_bars(connection, revised)


def _upsert_bars(connection: Connection[Any], rows: pa.Table) -> None:
    staging.copy_in(connection, "staged_bars", PG_BARS.columns, rows)
    names = quote_names(PG_BARS.column_names)
    connection.execute(
        f"insert into lake.bars_1m as stored ({names}) "  # noqa: S608 - declared names
        f"select distinct on (source, symbol, bar_at) {names} from staged_bars "
        "order by source, symbol, bar_at, revision desc "
        f"on conflict (source, symbol, bar_at) do update set {_assignments(PG_BARS.column_names[3:])} "
        "where excluded.revision > stored.revision"
    )


_VENDOR_KEY: Final = PG_VENDOR_BARS.key
_VENDOR_VALUES: Final = ("session_date", "open", "high", "low", "close", "volume")
_VENDOR_LEDGER: Final = ("topic", "partition", "offset", "ingested_at")
_VENDOR_ORDER: Final = ("ingested_at", "partition", "offset")


def _change_vendor_bars(connection: Connection[Any], rows: pa.Table | None) -> None:
    """Keep the newest ledger entry of each bar; count the versions whose values differ from the one before."""
    if rows is None or rows.num_rows == 0:
        return
    staging.copy_in(connection, "staged_vendor_bars", VENDOR_BARS.columns, rows)
    names = quote_names(VENDOR_BARS.column_names)
    key, values, order = quote_names(_VENDOR_KEY), quote_names(_VENDOR_VALUES), quote_names(_VENDOR_ORDER)
    connection.execute(
        # Versions are numbered over the stored bar and every staged one newer than it, in ledger order, so that the
        # revision does not depend on how the versions fell into batches.
        "with versions as ("  # noqa: S608 - declared names
        f" select {names}, revision as stored_revision from lake.vendor_bars"
        f" where ({key}) in (select {key} from staged_vendor_bars)"
        f" union all select {names}, null from staged_vendor_bars as staged"
        " where not exists ("
        f" select from lake.vendor_bars as stored where {_row('stored', _VENDOR_KEY)} = {_row('staged', _VENDOR_KEY)}"
        f" and {_row('stored', _VENDOR_ORDER)} >= {_row('staged', _VENDOR_ORDER)})"
        "), compared as ("
        f" select *, row ({values}) is distinct from lag(row ({values})) over (partition by {key} order by {order})"
        " as differs from versions"
        "), counted as ("
        " select *, coalesce(max(stored_revision) over bar, 1) + count(*) filter (where differs) over bar - 1 as revision"
        f" from compared window bar as (partition by {key})"
        ") "
        f"insert into lake.vendor_bars as stored ({names}, revision) "
        f"select distinct on ({key}) {names}, revision from counted "
        f"order by {key}, {', '.join(f'{quote_name(name)} desc' for name in _VENDOR_ORDER)} "
        "on conflict (source, symbol, interval, bar_at) do update set "
        f"{_assignments((*_VENDOR_VALUES, *_VENDOR_LEDGER, 'revision'))} "
        f"where {_row('excluded', _VENDOR_ORDER)} > {_row('stored', _VENDOR_ORDER)}"
    )


def _add_actions(connection: Connection[Any], rows: pa.Table | None) -> None:
    """Add the versions of corporate actions: each is kept."""
    if rows is None or rows.num_rows == 0:
        return
    staging.copy_in(connection, "staged_actions", CORPORATE_ACTIONS.columns, rows)
    names = quote_names(CORPORATE_ACTIONS.column_names)
    connection.execute(
        f"insert into lake.corporate_actions ({names}) select {names} from staged_actions "  # noqa: S608 - declared names
        'order by source, symbol, action, session_date, ingested_at, partition, "offset" on conflict do nothing'
    )


def _change_quotes(connection: Connection[Any], rows: pa.Table | None) -> None:
    if rows is None or rows.num_rows == 0:
        return
    _merge_sides(connection, PG_LATEST_QUOTES, staging.latest_quotes(rows))
    _merge_sides(connection, PG_QUOTES_1M, staging.minute_quotes(rows))


def _merge_sides(connection: Connection[Any], table: Table, rows: pa.Table) -> None:
    """Set each side to the newer one of what is stored and of what came: a set of quotes comes to the same in any order."""
    staged = f"staged_{table.name}"
    staging.copy_in(connection, staged, table.columns, rows)
    sides, news = [], []
    for side in ("bid", "ask"):
        values = (side, f"{side}_size", f"{side}_at", f"{side}_sequence")
        # The order of two quotes: time, sequence, then the values themselves, so that ties end alike in any order.
        old, new = (
            f"({alias}.{side}_at, {alias}.{side}_sequence, {alias}.{side}, coalesce({alias}.{side}_size, -1))"
            for alias in ("stored", "excluded")
        )
        newer = f"(excluded.{side}_at is not null and (stored.{side}_at is null or {new} > {old}))"
        sides += [f"{name} = case when {newer} then excluded.{name} else stored.{name} end" for name in values]
        news.append(newer)
    moment = "quoted_at" if "quoted_at" in table.column_names else "revised_at"
    sides.append(f"{moment} = greatest(stored.{moment}, excluded.{moment})")
    if moment == "quoted_at":
        news.append("excluded.quoted_at > stored.quoted_at")
    names, key = quote_names(table.column_names), quote_names(table.key)
    connection.execute(
        f"insert into {table.qualified_name} as stored ({names}) "  # noqa: S608 - declared names
        f"select {names} from {staged} order by {key} "
        f"on conflict ({key}) do update set {', '.join(sides)} where {' or '.join(news)}"
    )


def _add_statuses(connection: Connection[Any], rows: pa.Table | None) -> None:
    """Add heartbeats to what is covered, halts and resumes to those that are known: sets, whatever the order and the repeats."""
    if rows is None or rows.num_rows == 0:
        return
    staging.copy_in(connection, "staged_statuses", FEED_STATUS.columns, rows)
    connection.execute(
        "insert into lake.feed_coverage as stored (source, symbol, session_date, covered) "
        "select source, symbol, session_date, range_agg(tstzrange(since_at, status_at)) "
        "from staged_statuses where kind = 'heartbeat' group by source, symbol, session_date "
        "order by source, symbol, session_date "
        "on conflict (source, symbol, session_date) do update set covered = stored.covered + excluded.covered "
        "where not stored.covered @> excluded.covered"
    )
    connection.execute(
        "insert into lake.trading_halts (source, symbol, changed_at, kind, reason) "
        "select source, symbol, status_at, kind, reason from staged_statuses where kind <> 'heartbeat' "
        "order by source, symbol, status_at, kind, reason on conflict do nothing"
    )


def _move_offsets(connection: Connection[Any], next_offsets: Mapping[tuple[str, int], int]) -> None:
    rows = [(topic, partition, offset) for (topic, partition), offset in sorted(next_offsets.items())]
    if rows:
        topics, partitions, offsets = (list(column) for column in zip(*rows, strict=True))
        connection.execute(
            "insert into lake.stream_offsets as stored (topic, partition, next_offset) "
            "select * from unnest(%s::text[], %s::integer[], %s::bigint[]) "
            "on conflict (topic, partition) do update set next_offset = excluded.next_offset "
            "where excluded.next_offset > stored.next_offset",
            [topics, partitions, offsets],
        )


def _assignments(names: tuple[str, ...]) -> str:
    return ", ".join(f"{quote_name(name)} = excluded.{quote_name(name)}" for name in names)


def _row(alias: str, names: tuple[str, ...]) -> str:
    return f"({', '.join(f'{alias}.{quote_name(name)}' for name in names)})"
