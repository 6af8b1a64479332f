"""What PostgreSQL holds of the lake, read in one snapshot.

What belongs here: queries of the schemas ``lake`` and ``marts`` that the proofs need. What does not: what the rows ought
to be.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, Final, Protocol

import polars as pl

from market.settings import Settings
from market.tables import (
    PG_BAR_SESSIONS,
    PG_BARS,
    PG_CORPORATE_ACTIONS,
    PG_FEED_COVERAGE,
    PG_LATEST_QUOTES,
    PG_STREAM_BATCHES,
    PG_STREAM_OFFSETS,
    PG_TRADING_HALTS,
    PG_VENDOR_BARS,
    Column,
    DataType,
    Table,
)
from verify.comparison import NO_NOTIONAL, NO_PRICE
from verify.lake import schema_of
from verify.shapes import (
    ADJUSTED_SCHEMA,
    BAR_SESSION_SCHEMA,
    BELIEVED,
    BELIEVED_SCHEMA,
    BIG,
    COVERAGE_SCHEMA,
    DAY_SCHEMA,
    GAP_SCHEMA,
    GAP_STATE,
    GAPS,
    HISTORICAL,
    INTRADAY,
    MART_PRICES,
    MART_SCHEMA,
    PRICE_SCHEMA,
    REALTIME,
)
from warehouse.connection import connect

Place = tuple[str, int]
_PRICE_LIMIT: Final = 10**12
_NOTIONAL_LIMIT: Final = 10**30
_FIRST, _LAST = "0001-01-02", "9999-12-30"
"""Moments beyond these, infinite ones too, are compared as these: they are equal to none that can be."""
_ROWS_A_CHUNK: Final = 20_000


class Published(Protocol):
    """What the proofs ask of PostgreSQL."""

    def next_offsets(self) -> Mapping[Place, int]:
        """Return the stream's progress by topic and partition, as of the snapshot."""

    def next_offsets_now(self) -> Mapping[Place, int]:
        """Return the stream's progress as it is now."""

    def batches_now(self) -> set[datetime]:
        """Return the ``ingested_at`` of the batches that are in PostgreSQL now, of the last weeks."""

    def sessions_with_bars(self) -> set[date | None]:
        """Return the sessions that have 1-minute bars; ``None`` for bars of no date that can be."""

    def bar_sessions(self) -> pl.DataFrame:
        """Return what ``lake.bar_sessions`` says of sessions with bars (:data:`BAR_SESSION_SCHEMA`)."""

    def bars(self, session_date: date | None) -> pl.DataFrame:
        """Return the 1-minute bars of a session in the types of :func:`verify.lake.schema_of`."""

    def vendor_bars(self) -> pl.DataFrame:
        """Return the vendor bars in the types of :func:`verify.lake.schema_of`."""

    def corporate_actions(self) -> pl.DataFrame:
        """Return the corporate actions in the types of :func:`verify.lake.schema_of`."""

    def latest_quotes(self) -> pl.DataFrame:
        """Return the last known bids and asks in the types of :func:`verify.lake.schema_of`."""

    def mart_sessions(self) -> set[date | None]:
        """Return the sessions that the mart of intraday bars has."""

    def mart_bars(self, session_date: date | None) -> pl.DataFrame | None:
        """Return the mart's intraday bars of a session (:data:`MART_SCHEMA`), or ``None`` if there is no mart."""

    def intraday_known_through(self) -> datetime | None:
        """Return the newest ``revised_at`` of the mart of intraday bars; ``None`` without a row."""

    def days(self) -> pl.DataFrame | None:
        """Return the mart's days (:data:`DAY_SCHEMA`), or ``None`` if there is no mart."""

    def days_known_through(self) -> tuple[datetime | None, datetime | None]:
        """Return the newest ``revised_at`` of the days made of minutes, and of those of vendors; ``None`` without a row."""

    def adjusted_days(self) -> pl.DataFrame | None:
        """Return the mart's days (:data:`ADJUSTED_SCHEMA`), or ``None`` if there is no mart, or none that adjusts."""

    def believed_actions(self) -> pl.DataFrame:
        """Return which source of each action the marts believe (:data:`BELIEVED_SCHEMA`)."""

    def prices(self) -> pl.DataFrame | None:
        """Return the mart's newest prices (:data:`PRICE_SCHEMA`), or ``None`` if there is no mart."""

    def coverage(self) -> pl.DataFrame:
        """Return the spans of ``lake.feed_coverage`` (:data:`COVERAGE_SCHEMA`)."""

    def halts(self) -> pl.DataFrame:
        """Return ``lake.trading_halts``."""

    def gaps(self) -> pl.DataFrame | None:
        """Return the mart's gaps (:data:`GAP_SCHEMA`), or ``None`` if there is no mart."""

    def gaps_known_through(self) -> datetime | None:
        """Return the ``ingested_at`` up to which batches were seen by the newest build of the gaps; ``None`` without one."""


class PostgresSnapshot:
    """PostgreSQL as of one moment: every query sees the same transactions. Made by :func:`open_snapshot`."""

    def __init__(self, settings: Settings, connection: Any) -> None:  # noqa: ANN401 - psycopg is known to warehouse only
        self._settings = settings
        self._connection = connection

    def next_offsets(self) -> Mapping[Place, int]:
        """Return the stream's progress by topic and partition, as of the snapshot."""
        return _next_offsets(self._connection)

    def next_offsets_now(self) -> Mapping[Place, int]:
        """Return the stream's progress as it is now."""
        with connect(self._settings, read_only=True) as connection:
            return _next_offsets(connection)

    def batches_now(self) -> set[datetime]:
        """Return the ``ingested_at`` of the batches that are in PostgreSQL now, of the last weeks."""
        name = PG_STREAM_BATCHES.qualified_name
        with connect(self._settings, read_only=True) as connection:
            if not _exists(connection, name):
                return set()
            moment = _finite("ingested_at")
            return {row[0] for row in connection.execute(f"select {moment} from {name}".encode())}  # noqa: S608

    def sessions_with_bars(self) -> set[date | None]:
        """Return the sessions that have 1-minute bars; ``None`` for bars of no date that can be."""
        if not _exists(self._connection, PG_BARS.qualified_name):
            return set()
        query = f"select distinct {_SESSION} from {PG_BARS.qualified_name}"  # noqa: S608 - a declared name
        return {row[0] for row in self._connection.execute(query)}

    def bar_sessions(self) -> pl.DataFrame:
        """Return what ``lake.bar_sessions`` says of sessions with bars."""
        if not _exists(self._connection, PG_BAR_SESSIONS.qualified_name):
            return pl.DataFrame(schema=BAR_SESSION_SCHEMA)
        columns = _columns(column for column in PG_BAR_SESSIONS.columns if column.name in BAR_SESSION_SCHEMA)
        query = f"select {columns} from {PG_BAR_SESSIONS.qualified_name}"  # noqa: S608 - declared names
        # A session that has lost its bars is kept, so that the marts learn of it.
        return self._rows(f"{query} where bar_count <> 0 or newest_bar_at is not null", (), BAR_SESSION_SCHEMA)

    def bars(self, session_date: date | None) -> pl.DataFrame:
        """Return the 1-minute bars of a session."""
        if session_date is None:
            return self._read(PG_BARS, f" where {_SESSION} is null")
        return self._read(PG_BARS, " where session_date = %s", session_date)

    def vendor_bars(self) -> pl.DataFrame:
        """Return the vendor bars."""
        return self._read(PG_VENDOR_BARS, "")

    def corporate_actions(self) -> pl.DataFrame:
        """Return every version of the corporate actions."""
        return self._read(PG_CORPORATE_ACTIONS, "")

    def latest_quotes(self) -> pl.DataFrame:
        """Return the last known bids and asks."""
        return self._read(PG_LATEST_QUOTES, "")

    def mart_sessions(self) -> set[date | None]:
        """Return the sessions that the mart of intraday bars has."""
        if not _exists(self._connection, INTRADAY):
            return set()
        return {row[0] for row in self._connection.execute(f"select distinct {_SESSION} from {INTRADAY}")}  # noqa: S608

    def mart_bars(self, session_date: date | None) -> pl.DataFrame | None:
        """Return the mart's intraday bars of a session, or ``None`` if there is no mart."""
        if session_date is None:
            return self._mart(INTRADAY, MART_SCHEMA, f" where {_SESSION} is null")
        return self._mart(INTRADAY, MART_SCHEMA, " where session_date = %s", session_date)

    def intraday_known_through(self) -> datetime | None:
        """Return the newest ``revised_at`` of the mart of intraday bars; ``None`` without a row."""
        return self._newest_revision(INTRADAY)

    def days(self) -> pl.DataFrame | None:
        """Return the mart's days, or ``None`` if there is no mart."""
        return self._mart(HISTORICAL, DAY_SCHEMA)

    def days_known_through(self) -> tuple[datetime | None, datetime | None]:
        """Return the newest ``revised_at`` of the days made of minutes, and of those of vendors; ``None`` without a row."""
        made_of_minutes, of_vendors = (" where not is_vendor_bar", " where is_vendor_bar")
        return self._newest_revision(HISTORICAL, made_of_minutes), self._newest_revision(HISTORICAL, of_vendors)

    def adjusted_days(self) -> pl.DataFrame | None:
        """Return the mart's days, or ``None`` if there is no mart, or none that adjusts."""
        question = "select from pg_attribute where attrelid = to_regclass(%s) and attname = 'total_return_close'"
        if self._connection.execute(question, (HISTORICAL,)).fetchone() is None:
            return None
        units = {"split_factor": 18, "total_return_factor": 18, "split_adjusted_volume": 0}
        big = {name for name, own in ADJUSTED_SCHEMA.items() if own == BIG}
        columns = ", ".join(
            f"trunc({name} * 1e{units.get(name, 6)})::text" if name in big else _as_compared(name, _type_in_mart(name))
            for name in ADJUSTED_SCHEMA
        )
        texts = {name: pl.String() if name in big else own for name, own in ADJUSTED_SCHEMA.items()}
        found = self._rows(f"select {columns} from {HISTORICAL}", (), texts)  # noqa: S608 - fixed names
        return found.with_columns(pl.col(*big).cast(BIG, strict=False))

    def believed_actions(self) -> pl.DataFrame:
        """Return which source of each action the marts believe."""
        if not _exists(self._connection, BELIEVED):
            return pl.DataFrame(schema=BELIEVED_SCHEMA)
        query = f"select symbol, action, effective_date, source from {BELIEVED}"  # noqa: S608 - a fixed name
        return self._rows(query, (), BELIEVED_SCHEMA)

    def prices(self) -> pl.DataFrame | None:
        """Return the mart's newest prices, or ``None`` if there is no mart."""
        return self._mart(REALTIME, PRICE_SCHEMA)

    def coverage(self) -> pl.DataFrame:
        """Return the spans of ``lake.feed_coverage``."""
        if not _exists(self._connection, PG_FEED_COVERAGE.qualified_name):
            return pl.DataFrame(schema=COVERAGE_SCHEMA)
        spans = f"{PG_FEED_COVERAGE.qualified_name}, unnest(covered) as span"
        moments = f"{_finite('session_date')}, {_finite('lower(span)')}, {_finite('upper(span)')}"
        query = f"select source, symbol, {moments} from {spans}"  # noqa: S608 - a declared name
        return pl.DataFrame(self._connection.execute(query).fetchall(), schema=COVERAGE_SCHEMA, orient="row")

    def halts(self) -> pl.DataFrame:
        """Return the halts and resumes."""
        return self._read(PG_TRADING_HALTS, "")

    def gaps(self) -> pl.DataFrame | None:
        """Return the mart's gaps, or ``None`` if there is no mart."""
        if not _exists(self._connection, GAPS):
            return None
        named = {name: "origin" if name == "source" else name for name in GAP_SCHEMA}
        columns = ", ".join(_finite(own) if name.endswith(("_at", "_date")) else own for name, own in named.items())
        rows = self._connection.execute(f"select {columns} from {GAPS}").fetchall()  # noqa: S608 - fixed names
        return pl.DataFrame(rows, schema=GAP_SCHEMA, orient="row")

    def gaps_known_through(self) -> datetime | None:
        """Return the ``ingested_at`` up to which batches were seen by the newest build of the gaps; ``None`` without one."""
        if not _exists(self._connection, GAP_STATE):
            return None
        query = f"select max({_finite('known_through_at')}) from {GAP_STATE}"  # noqa: S608 - a fixed name
        found: datetime | None = self._connection.execute(query).fetchone()[0]
        return found

    def _read(self, table: Table, condition: str, *parameters: object) -> pl.DataFrame:
        if not _exists(self._connection, table.qualified_name):
            return pl.DataFrame(schema=schema_of(table))
        columns = _columns(table.columns)
        query = f"select {columns} from {table.qualified_name}{condition}"  # noqa: S608 - declared names
        return self._rows(query, parameters, schema_of(table))

    def _mart(
        self, mart: str, schema: Mapping[str, pl.DataType], condition: str = "", *parameters: object
    ) -> pl.DataFrame | None:
        if not _exists(self._connection, mart):
            return None
        columns = ", ".join(_as_compared(name, _type_in_mart(name)) for name in schema)
        return self._rows(f"select {columns} from {mart}{condition}", parameters, schema)  # noqa: S608 - fixed names

    def _newest_revision(self, mart: str, condition: str = "") -> datetime | None:
        if not _exists(self._connection, mart):
            return None
        query = f"select max({_finite('revised_at')}) from {mart}{condition}"  # noqa: S608 - fixed names
        found: datetime | None = self._connection.execute(query).fetchone()[0]
        return found

    def _rows(self, query: str, parameters: Sequence[object], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return the rows of a query; they come some at a time: as Python objects they take ten times the room."""
        chunks = [pl.DataFrame(schema=schema)]
        with self._connection.cursor(name="rows") as cursor:
            cursor.execute(query, parameters)
            while rows := cursor.fetchmany(_ROWS_A_CHUNK):
                chunks.append(pl.DataFrame(rows, schema=schema, orient="row"))
        return pl.concat(chunks)


@contextmanager
def open_snapshot(settings: Settings) -> Iterator[PostgresSnapshot]:
    """Open a snapshot of PostgreSQL for the time of the context.

    Raises
    ------
    SettingsError
        If no database is set or running.
    ServiceError
        If it cannot be reached.
    """
    with connect(settings, read_only=True, application_name="tapehouse verify") as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select 1")  # the first query takes the snapshot: the lake must not be opened before it
        yield PostgresSnapshot(settings, connection)


def _next_offsets(connection: Any) -> Mapping[Place, int]:  # noqa: ANN401 - psycopg is known to warehouse only
    if not _exists(connection, PG_STREAM_OFFSETS.qualified_name):
        return {}
    query = f"select topic, partition, next_offset from {PG_STREAM_OFFSETS.qualified_name}"  # noqa: S608 - a declared name
    return {(topic, partition): next_offset for topic, partition, next_offset in connection.execute(query)}


def _exists(connection: Any, name: str) -> bool:  # noqa: ANN401 - psycopg is known to warehouse only
    return bool(connection.execute("select to_regclass(%s) is not null", (name,)).fetchone()[0])


def _columns(columns: Iterable[Column]) -> str:
    return ", ".join(_as_compared(column.name, column.type) for column in columns)


def _type_in_mart(name: str) -> DataType:
    if name in MART_PRICES:
        return DataType.PRICE
    return DataType.TIMESTAMP if name.endswith(("_at", "_date")) else DataType.TEXT


def _as_compared(name: str, data_type: DataType) -> str:
    """Return a column as it is compared: what no price or moment can be becomes a value that is equal to none."""
    match data_type:
        case DataType.PRICE:
            return _millionths(name, _PRICE_LIMIT, "bigint", NO_PRICE)
        case DataType.NOTIONAL:
            return _millionths(name, _NOTIONAL_LIMIT, "numeric(38, 0)", NO_NOTIONAL)
        case DataType.TIMESTAMP | DataType.DATE:
            return _finite(f'"{name}"')
        case _:
            return f'"{name}"'


def _millionths(name: str, limit: int, number: str, none: int) -> str:
    is_one = f'"{name}" between -{limit} and {limit}'
    return f'case when {is_one} then ("{name}" * 1000000)::{number} when "{name}" is not null then {none} end'


def _finite(moment: str) -> str:
    return f"case when {moment} is not null then least(greatest({moment}, '{_FIRST}'), '{_LAST}') end"


_SESSION: Final = f"case when session_date between '{_FIRST}' and '{_LAST}' then session_date end"
