"""What is looked at: the tables of PostgreSQL and of the lake, their keys, and which of their rows changed.

What belongs here: reading. What does not: what the rows are held against.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from market.columns import DataType, Table
from market.domains import spoken_of
from market.errors import ServiceError
from market.tables import LAKE_TABLES, PG_BARS, PG_CORPORATE_ACTIONS, PG_VENDOR_BARS, POSTGRES_TABLES
from warehouse.ddl import quote_name

ROWS_A_PART: Final = 500_000
"""How many rows of the lake are in memory at once."""

_MOMENTS: Final = ("revised_at", "ingested_at")
"""Columns that say when a row changed, the first that there is."""

_SESSION: Final = ("symbol", "session_date")

_KEYS: Final = (
    "symbol",
    "other_symbol",
    "interval",
    "session_date",
    "bar_at",
    "gap_at",
    "kind",
    "ranking",
    "rank",
    "is_simulated",
    "origin",
    "other_origin",
    "source",
    "action",
    "effective_date",
    "alert_id",
    "version_id",
    "indicator",
    "is_daily",
)
"""The columns of marts by which a row is found again, those that a mart has."""

_CHANGED_SESSIONS: Final = """
    select symbol, session_date from lake.bar_sessions where revised_at >= '{since}'
    union all
    select symbol, session_date from lake.vendor_bars where ingested_at >= '{since}'
"""


_QUEUED: Final = """
    union all
    select distinct {columns} from (
        select
            symbol,
            session_date as first_date,
            coalesce(last_session_date, session_date) as last_date,
            min(coalesce(from_at, '-infinity')) as from_at
        from staging.pending_sessions
        where mart in ({marts}) and symbol <> '*'
        group by 1, 2, 3
    ) as queued
    cross join lateral ({rows}) as checked
    -- Added to, it is no column of an index: what is queued is found by those of the sessions. Where hardly any row is as old
    -- as that, the index of the moments looks like the better one, and is read through for each session.
    where checked.{moment} + interval '0' < '{since}'
    union all
    select {columns} from {table} as checked
    where checked.{moment} < '{since}'
        and exists (select from staging.pending_sessions where mart in ({marts}) and symbol = '*')
"""
"""What the marts will be built from, however long ago it came: triggers queue what anybody changes."""


@dataclass(frozen=True, slots=True)
class Queue:
    """By which entries of ``staging.pending_sessions`` a table's changes are found.

    Attributes
    ----------
    marts
        The marts that they are queued for.
    rows
        The query of the rows that an entry ``queued`` means, by the indexes that there are.
    """

    marts: tuple[str, ...]
    rows: str


_QUEUED_BARS: Final = """
    select * from lake.bars_1m as stored
    where stored.symbol = queued.symbol
        and stored.session_date between queued.first_date and queued.last_date
        and stored.bar_at >= queued.from_at
"""
_QUEUED_VENDOR_BARS: Final = """
    select * from lake.vendor_bars as stored
    where stored.symbol = queued.symbol
        and stored.interval = '1d'
        and stored.session_date between queued.first_date and queued.last_date
    union all
    select stored.*
    from lake.vendor_bar_sessions as sessions
    inner join lake.vendor_bars as stored
        on stored.source = sessions.source
        and stored.symbol = sessions.symbol
        and stored.interval = sessions.interval
        and stored.bar_at >= sessions.session_date
        and stored.bar_at < sessions.session_date + 2
    where sessions.symbol = queued.symbol
        and sessions.session_date between queued.first_date and queued.last_date
"""
_QUEUED_ACTIONS: Final = """
    select * from lake.corporate_actions as stored
    where stored.symbol = queued.symbol
        and stored.session_date between queued.first_date and queued.last_date
"""
_QUEUES: Final[Mapping[str, Queue]] = {
    PG_BARS.qualified_name: Queue(("intraday_ohlcv",), _QUEUED_BARS),
    PG_VENDOR_BARS.qualified_name: Queue(("intraday_ohlcv", "int_daily_bars"), _QUEUED_VENDOR_BARS),
    PG_CORPORATE_ACTIONS.qualified_name: Queue(("historical_ohlcv",), _QUEUED_ACTIONS),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """One table that is looked at.

    Attributes
    ----------
    name
        Qualified name.
    columns
        What its suite speaks of: what each column means, by name.
    key
        The columns by which a row is found again.
    moment
        The column that says when a row changed, if one does.
    is_mart
        Whether dbt builds it: then what a change brings about is newer rows of the symbol too.
    """

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    moment: str | None
    is_mart: bool = False

    def query(self, since: datetime | None) -> str:
        """Return the query of the rows that changed since a moment, or of all."""
        shown = dict.fromkeys((*self.key, *self.columns, *((self.moment,) if self.moment else ())))
        schema, _, table = self.name.partition(".")
        columns = ", ".join(f"checked.{quote_name(name)}" for name in shown)
        rows = f"select {columns} from {quote_name(schema)}.{quote_name(table)} as checked"  # noqa: S608 - declared names
        if since is None or self.moment is None:
            return rows
        if not self.is_mart:
            recent = f"{rows} where checked.{quote_name(self.moment)} >= '{since.isoformat()}'"
            return f"{recent}{self._queued(columns, since)}"
        sessions = _CHANGED_SESSIONS.format(since=since.isoformat())
        return (
            f"{rows} inner join ("  # noqa: S608 - declared names
            f"select symbol, min(session_date) as since_date from ({sessions}) as changed group by symbol"
            ") as changed on checked.symbol = changed.symbol and checked.session_date >= changed.since_date"
        )

    def _queued(self, columns: str, since: datetime) -> str:
        """Return the rows besides, of what is queued for the marts; nothing for a table that no mart is built from."""
        queue = _QUEUES.get(self.name)
        if queue is None:
            return ""
        schema, _, table = self.name.partition(".")
        return _QUEUED.format(
            columns=columns,
            table=f"{quote_name(schema)}.{quote_name(table)}",
            rows=queue.rows,
            moment=quote_name(self.moment or ""),
            since=since.isoformat(),
            marts=", ".join(f"'{mart}'" for mart in queue.marts),
        )


def checked_tables(tables: Sequence[Table]) -> list[Checked]:
    """Return those of the declared tables of which a suite says something."""
    found = []
    for table in tables:
        names = spoken_of(table.qualified_name, table.column_names)
        meanings = {column.name: column.description for column in table.columns if column.name in names}
        moment = next((name for name in _MOMENTS if name in table.column_names), None)
        if meanings:
            found.append(Checked(table.qualified_name, meanings, table.key, moment))
    return found


POSTGRES: Final = checked_tables(POSTGRES_TABLES)
LAKE: Final = checked_tables(LAKE_TABLES)


def checked_marts(connection: Any) -> list[Checked]:  # noqa: ANN401 - psycopg is the warehouse's
    """Return the marts as the database has them, with the comments of their columns."""
    columns: dict[str, dict[str, str]] = {}
    for mart, column, says in connection.execute(_MARTS).fetchall():
        columns.setdefault(mart, {})[column] = says or ""
    found = []
    for mart, meanings in columns.items():
        name = f"marts.{mart}"
        names = spoken_of(name, meanings)
        has_moment = "revised_at" in meanings and all(key in meanings for key in _SESSION)
        key = tuple(column for column in _KEYS if column in meanings)
        if names and key:
            chosen = {column: meanings[column] for column in names}
            found.append(Checked(name, chosen, key, "revised_at" if has_moment else None, is_mart=True))
    return found


_MARTS: Final = """
select pg_class.relname::text, pg_attribute.attname::text, col_description(pg_class.oid, pg_attribute.attnum)
from pg_class
inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
where pg_namespace.nspname = 'marts'
    and pg_class.relkind in ('r', 'v', 'm')
    and pg_attribute.attnum > 0
    and not pg_attribute.attisdropped
order by pg_class.relname, pg_attribute.attnum
"""


def read_parts(uri: str, checked: Checked, since: datetime | None) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table of the lake that changed since a moment, or all, in parts.

    Raises
    ------
    ServiceError
        If the table is there but cannot be read.
    """
    table = next(table for table in LAKE_TABLES if table.qualified_name == checked.name)
    path = f"{uri}/{table.path}"
    try:
        if not DeltaTable.is_deltatable(path):
            return
        dataset = DeltaTable(path).to_pyarrow_dataset()
        wanted = dict.fromkeys((*checked.key, *checked.columns, *((checked.moment,) if checked.moment else ())))
        chosen = [name for name in wanted if name in dataset.schema.names]  # a table may be older than a column
        recent = pc.field(checked.moment) >= pa.scalar(since) if since is not None and checked.moment else None
        waiting: list[pa.RecordBatch] = []
        for batch in dataset.to_batches(columns=chosen, filter=recent):
            waiting.append(batch)
            if sum(part.num_rows for part in waiting) >= ROWS_A_PART:
                yield _frame(table, waiting)
                waiting = []
        if sum(part.num_rows for part in waiting):
            yield _frame(table, waiting)
    except (DeltaError, OSError, pa.ArrowException) as error:
        msg = f"The lake's table {path} cannot be read: {error}"
        raise ServiceError(msg) from error


def _frame(table: Table, batches: Sequence[pa.RecordBatch]) -> pd.DataFrame:
    """Return the rows with prices as doubles: they are held against bounds, and decimals are objects to pandas."""
    types = {column.name: column.type for column in table.columns}
    rows = pa.Table.from_batches(batches)
    for position, name in enumerate(rows.column_names):
        if types[name] in {DataType.PRICE, DataType.NOTIONAL}:
            rows = rows.set_column(position, name, pc.cast(rows.column(name), pa.float64()))
    frame: pd.DataFrame = rows.to_pandas()
    return frame
