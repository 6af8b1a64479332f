"""What PostgreSQL holds of the lake, read in one snapshot.

What belongs here: queries of the schemas ``lake`` and ``marts`` that the proofs need. What does not: what the rows ought
to be.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, Final

import polars as pl

from market.settings import Settings
from market.tables import (
    PG_BAR_SESSIONS,
    PG_BARS,
    PG_CORPORATE_ACTIONS,
    PG_FEED_COVERAGE,
    PG_LATEST_QUOTES,
    PG_QUOTES_1M,
    PG_STREAM_BATCHES,
    PG_STREAM_OFFSETS,
    PG_TIERS,
    PG_TRADING_HALTS,
    PG_VENDOR_BAR_SESSIONS,
    PG_VENDOR_BARS,
    Column,
    DataType,
    Table,
)
from verify.adjusted_schemas import AdjustedSnapshot
from verify.alert_snapshot import AlertSnapshot
from verify.comparison import NO_NOTIONAL, NO_PRICE
from verify.indicator_marts import IndicatorSnapshot
from verify.lake import schema_of
from verify.mart_schemas import (
    BAR_SESSION_SCHEMA,
    BPS_LIMIT,
    COVERAGE_SCHEMA,
    DECIMALS,
    GAP_SCHEMA,
    GAP_STATE,
    GAPS,
    HISTORICAL,
    INTRADAY,
    MART_SCHEMA,
    PRICE_SCHEMA,
    REALTIME,
    RECONCILIATION,
    RECONCILIATION_SCHEMA,
    VENDOR_BAR_SESSION_SCHEMA,
)
from verify.questions import Place, Through
from warehouse.connection import connect

_PRICE_LIMIT: Final = 10**12
_NOTIONAL_LIMIT: Final = 10**30
_FIRST, _LAST = "0001-01-02", "9999-12-30"
"""Moments beyond these, infinite ones too, are compared as these: they are equal to none that can be."""
_ROWS_A_CHUNK: Final = 20_000


class PostgresSnapshot(AdjustedSnapshot, AlertSnapshot, IndicatorSnapshot):
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
        # A session that has lost its bars is kept, so that the marts learn of it.
        has_bars = " where bar_count <> 0 or newest_bar_at is not null"
        return self._said(PG_BAR_SESSIONS, BAR_SESSION_SCHEMA, has_bars)

    def vendor_bar_sessions(self) -> pl.DataFrame:
        """Return what ``lake.vendor_bar_sessions`` says of sessions with bars."""
        return self._said(PG_VENDOR_BAR_SESSIONS, VENDOR_BAR_SESSION_SCHEMA, " where bar_count <> 0")

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

    def quoted_sessions(self) -> set[date | None]:
        """Return the sessions that have minutes with quotes; ``None`` for minutes of no date that can be."""
        name = PG_QUOTES_1M.qualified_name
        if not _exists(self._connection, name):
            return set()
        return {row[0] for row in self._connection.execute(f"select distinct {_SESSION} from {name}")}  # noqa: S608

    def minute_quotes(self, session_date: date | None) -> pl.DataFrame:
        """Return the last bids and asks of the minutes of a session."""
        if session_date is None:
            return self._read(PG_QUOTES_1M, f" where {_SESSION} is null")
        return self._read(PG_QUOTES_1M, " where session_date = %s", session_date)

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

    def keep_from(self, tier: str) -> datetime | None:
        """Return since when sessions and changes of them are kept by a tier of the marts; ``None`` if all are."""
        name = PG_TIERS.qualified_name
        if not _exists(self._connection, name):
            return None
        query = f"select max({_finite('kept_since_at')}) from {name} where tier = %s"  # noqa: S608 - a declared name
        found: datetime | None = self._connection.execute(query, (tier,)).fetchone()[0]
        return found

    def intraday_known_through(self) -> Through:
        """Return the newest ``revised_at`` of the mart's own intraday bars, and of vendors' ones; ``None`` without a row."""
        return self._newest_revisions(INTRADAY)

    def reconciliation_sessions(self) -> set[date | None]:
        """Return the sessions of which the reconciliation has bars shorter than a day."""
        if not _exists(self._connection, RECONCILIATION):
            return set()
        query = f"select distinct {_SESSION} from {RECONCILIATION} where interval <> '1d'"  # noqa: S608 - fixed names
        return {row[0] for row in self._connection.execute(query)}

    def reconciliation(self, session_date: date | None) -> pl.DataFrame | None:
        """Return the compared bars of a session shorter than a day, or ``None`` if there is no mart."""
        if session_date is None:
            return self._mart(RECONCILIATION, RECONCILIATION_SCHEMA, f" where interval <> '1d' and {_SESSION} is null")
        of_session = " where interval <> '1d' and session_date = %s"
        return self._mart(RECONCILIATION, RECONCILIATION_SCHEMA, of_session, session_date)

    def reconciled_days(self) -> pl.DataFrame | None:
        """Return the compared days, or ``None`` if there is no mart."""
        return self._mart(RECONCILIATION, RECONCILIATION_SCHEMA, " where interval = '1d'")

    def reconciliation_known_through(self) -> Through:
        """Return the newest time of change of the compared own bars, and of vendors' ones; ``None`` without one."""
        if not _exists(self._connection, RECONCILIATION):
            return None, None
        newest = ", ".join(
            f"greatest(max({_finite('revised_at')}) filter (where {no} is_vendor_bar), "
            f"max({_finite('other_revised_at')}) filter (where {no} is_other_vendor_bar))"
            for no in ("not", "")
        )
        found: Through = self._connection.execute(f"select {newest} from {RECONCILIATION}").fetchone()  # noqa: S608
        return found

    def days(self) -> pl.DataFrame | None:
        """Return the mart's days, or ``None`` if there is no mart."""
        return self._mart(HISTORICAL, MART_SCHEMA)

    def days_known_through(self) -> Through:
        """Return the newest ``revised_at`` of the days made of minutes, and of those of vendors; ``None`` without a row."""
        return self._newest_revisions(HISTORICAL)

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
        return self._said(table, schema_of(table), condition, *parameters)

    def _said(
        self, table: Table, schema: Mapping[str, pl.DataType], condition: str, *parameters: object
    ) -> pl.DataFrame:
        if not _exists(self._connection, table.qualified_name):
            return pl.DataFrame(schema=schema)
        columns = _columns(column for column in table.columns if column.name in schema)
        query = f"select {columns} from {table.qualified_name}{condition}"  # noqa: S608 - declared names
        return self._rows(query, parameters, schema)

    def _mart(
        self, mart: str, schema: Mapping[str, pl.DataType], condition: str = "", *parameters: object
    ) -> pl.DataFrame | None:
        if not _exists(self._connection, mart):
            return None
        columns = ", ".join(map(_in_mart, schema))
        return self._rows(f"select {columns} from {mart}{condition}", parameters, schema)  # noqa: S608 - fixed names

    def _newest_revisions(self, mart: str) -> Through:
        if not _exists(self._connection, mart):
            return None, None
        newest = ", ".join(
            f"max({_finite('revised_at')}) filter (where {which})" for which in ("not is_vendor_bar", "is_vendor_bar")
        )
        found: Through = self._connection.execute(f"select {newest} from {mart}").fetchone()  # noqa: S608 - fixed names
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


def _in_mart(name: str) -> str:
    if name in DECIMALS:
        return _as_compared(name, DataType.PRICE)
    if name.endswith("_bps"):
        hundredths = f"({name} * 100)"
        is_one = f"{hundredths} between -{BPS_LIMIT} and {BPS_LIMIT}"
        return f"case when {is_one} then {hundredths}::bigint when {name} is not null then {NO_PRICE} end"
    return _as_compared(name, DataType.TIMESTAMP if name.endswith(("_at", "_date")) else DataType.TEXT)


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
