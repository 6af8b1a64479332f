"""What PostgreSQL has of the lake, as whoever recomputes it needs it: read in one snapshot, put right in one transaction.

Prices and notionals are read in millionths; what feeds cover as a row a span.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pyarrow as pa
from psycopg import Connection

from market.settings import Settings
from market.tables import (
    PG_BAR_SESSIONS,
    PG_BARS,
    PG_CORPORATE_ACTIONS,
    PG_FEED_COVERAGE,
    PG_LATEST_QUOTES,
    PG_QUOTES_1M,
    PG_TRADING_HALTS,
    PG_VENDOR_BAR_SESSIONS,
    PG_VENDOR_BARS,
    Column,
    DataType,
    Table,
)
from warehouse import staging
from warehouse.connection import connect
from warehouse.ddl import quote_name, quote_names, quote_table

_APPLICATION: Final = "tapehouse recompute"
_MILLIONTHS: Final = {DataType.PRICE: ("bigint", 10**12), DataType.NOTIONAL: ("numeric(38, 0)", 10**30)}
"""How prices and notionals are read, and what none of them reaches."""
_FIRST, _LAST = "0001-01-02", "9999-12-30"
"""Later and earlier moments, infinite ones too, are read as these: no row that is right has them."""
SPAN_COLUMNS: Final = (
    *(column for column in PG_FEED_COVERAGE.columns if column.type is not DataType.SPANS),
    Column("since_at", DataType.TIMESTAMP, "Start of the span."),
    Column("until_at", DataType.TIMESTAMP, "End of the span, excluded."),
)
"""The columns of coverage, a row a span."""
SESSION_COLUMNS: Final = tuple(column for column in PG_BAR_SESSIONS.columns if column.name != "change_number")
"""The columns of sessions with bars that say something of these; the number is another one after each repair."""
VENDOR_SESSION_COLUMNS: Final = tuple(
    column for column in PG_VENDOR_BAR_SESSIONS.columns if column.name != "change_number"
)
"""The same of sessions with vendors' bars."""
_COLUMNS: Final = {
    PG_FEED_COVERAGE: SPAN_COLUMNS,
    PG_BAR_SESSIONS: SESSION_COLUMNS,
    PG_VENDOR_BAR_SESSIONS: VENDOR_SESSION_COLUMNS,
}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """Rows of a table to be put in the place of wrong ones.

    Attributes
    ----------
    table
        The table.
    wrong
        The keys of rows that are wrong or should not be there.
    right
        The rows that ought to be there in the place of some of these, or are missing: :func:`repaired_columns`, prices as
        decimals.
    """

    table: Table
    wrong: pa.Table
    right: pa.Table


def repaired_columns(table: Table) -> tuple[Column, ...]:
    """Return the columns that a repair has to give: the table's, but for coverage and for sessions with bars."""
    return _COLUMNS.get(table, table.columns)


class LakeSnapshot:
    """The stream's progress and what it published, as of one moment; made by :func:`open_snapshot`."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def next_offsets(self, topic: str) -> Mapping[int, int]:
        """Return per partition of a topic the first offset that is not in PostgreSQL."""
        question = "select partition, next_offset from lake.stream_offsets where topic = %s"
        return dict(self._connection.execute(question, (topic,)).fetchall())

    def newest_batch(self, query_id: str) -> int | None:
        """Return the number of the newest batch of a query that is in PostgreSQL."""
        question = "select max(batch_id) from lake.stream_batches where query_id = %s"
        (newest,) = self._connection.execute(question, (query_id,)).fetchone() or (None,)
        return newest

    def sessions(self, start: date, end: date) -> set[date]:
        """Return the sessions between two dates, both included, that have bars or coverage, or are said to have bars."""
        question = " union ".join(
            f"select distinct session_date from lake.{name} where session_date between %(start)s and %(end)s"  # noqa: S608
            for name in ("bars_1m", "bar_sessions", "feed_coverage")
        ).encode()
        return {row[0] for row in self._connection.execute(question, {"start": start, "end": end})}

    def symbols(self, session_date: date) -> set[str]:
        """Return the symbols that have bars of a session, or are said to have some."""
        question = (
            "select distinct symbol from lake.bars_1m where session_date = %(day)s "
            "union select symbol from lake.bar_sessions where session_date = %(day)s"
        )
        return {row[0] for row in self._connection.execute(question, {"day": session_date})}

    def sessions_with_bars(self, session_date: date, symbols: Collection[str]) -> list[Row]:
        """Return what is said of the bars of some symbols of a session, in :data:`SESSION_COLUMNS`; nothing of those without."""
        question = (
            f"select {', '.join(map(_read_as, SESSION_COLUMNS))} from lake.bar_sessions "  # noqa: S608
            "where session_date = %s and symbol = any(%s) and (bar_count <> 0 or newest_bar_at is not null)"
        )
        return self._connection.execute(question.encode(), (session_date, list(symbols))).fetchall()

    def bars(self, session_date: date, symbols: Collection[str]) -> list[Row]:
        """Return the bars of some symbols of a session, in the declared columns."""
        return self._read(PG_BARS, "session_date = %s and symbol = any(%s)", session_date, list(symbols))

    def vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> list[Row]:
        """Return the vendor bars of some symbols, or of all if none is given, between two sessions, both included."""
        where = "session_date between %s and %s and (symbol = any(%s) or %s)"
        return self._read(PG_VENDOR_BARS, where, start, end, list(symbols), not symbols)

    def corporate_actions(self, start: date, end: date, symbols: Collection[str]) -> list[Row]:
        """Return the corporate actions of some symbols, or of all if none is given, between two sessions, both included."""
        where = "session_date between %s and %s and (symbol = any(%s) or %s)"
        return self._read(PG_CORPORATE_ACTIONS, where, start, end, list(symbols), not symbols)

    def sessions_with_vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> list[Row]:
        """Return what is said of such sessions with vendor bars, in :data:`VENDOR_SESSION_COLUMNS`; nothing of those without."""
        question = (
            f"select {', '.join(map(_read_as, VENDOR_SESSION_COLUMNS))} from lake.vendor_bar_sessions "  # noqa: S608
            "where session_date between %s and %s and (symbol = any(%s) or %s) and bar_count <> 0"
        )
        return self._connection.execute(question.encode(), (start, end, list(symbols), not symbols)).fetchall()

    def coverage(self, session_date: date, symbols: Collection[str]) -> list[Row]:
        """Return what feeds cover of a session, of some symbols or of all: ``source, symbol, session_date``, start and end."""
        question = (
            f"select source, symbol, session_date, {_finite('lower(span)')}, {_finite('upper(span)')} "  # noqa: S608
            "from lake.feed_coverage left join lateral unnest(covered) as span on true "
            "where session_date = %s and (symbol = any(%s) or %s)"
        )
        return self._connection.execute(question.encode(), (session_date, list(symbols), not symbols)).fetchall()

    def halts(self, symbols: Collection[str]) -> list[Row]:
        """Return the halts and resumes of some symbols, or of all if none is given, in the declared columns."""
        return self._read(PG_TRADING_HALTS, "symbol = any(%s) or %s", list(symbols), not symbols)

    def latest_quotes(self, symbols: Collection[str]) -> list[Row]:
        """Return the last known bids and asks of some symbols, or of all if none is given, in the declared columns."""
        return self._read(PG_LATEST_QUOTES, "symbol = any(%s) or %s", list(symbols), not symbols)

    def quoted_sessions(self, start: date, end: date) -> set[date]:
        """Return the sessions between two dates, both included, that have minutes with quotes."""
        question = "select distinct session_date from lake.quotes_1m where session_date between %s and %s"
        return {row[0] for row in self._connection.execute(question, (start, end))}

    def quoted_symbols(self, session_date: date) -> set[str]:
        """Return the symbols that have minutes with quotes of a session."""
        question = "select distinct symbol from lake.quotes_1m where session_date = %s"
        return {row[0] for row in self._connection.execute(question, (session_date,))}

    def minute_quotes(self, session_date: date, symbols: Collection[str]) -> list[Row]:
        """Return the last bids and asks of the minutes of some symbols of a session, in the declared columns."""
        return self._read(PG_QUOTES_1M, "session_date = %s and symbol = any(%s)", session_date, list(symbols))

    def _read(self, table: Table, where: str, *values: object) -> list[Row]:
        columns = ", ".join(map(_read_as, table.columns))
        question = f"select {columns} from {quote_table(table)} where {where}"  # noqa: S608 - declared names
        return self._connection.execute(question, values).fetchall()


@contextmanager
def open_snapshot(settings: Settings) -> Iterator[LakeSnapshot]:
    """Open a snapshot for the time of the context.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select 1")  # the first query takes the snapshot: the lake must not be read before it
        yield LakeSnapshot(connection)


def repair_rows(settings: Settings, repairs: Sequence[Repair]) -> None:
    """Put rows of some tables in the place of wrong ones, in one transaction.

    Whoever builds the marts is told afterwards: triggers note which bars changed, and a number says that something did.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, application_name=_APPLICATION) as connection:
        with connection.transaction():
            for repair in repairs:
                _replace(connection, repair)
        # After the commit: who sees the number sees the rows.
        connection.execute("select nextval('lake.repair_number')")


def _read_as(column: Column) -> str:
    """Return a column as it is read: what no row that is right can hold, as NaN, becomes another such value."""
    name = quote_name(column.name)
    if column.type in _MILLIONTHS:
        number, limit = _MILLIONTHS[column.type]
        is_one = f"{name} between -{limit} and {limit}"
        return f"case when {is_one} then ({name} * 1000000)::{number} when {name} is not null then -{limit} end"
    return _finite(name) if column.type in {DataType.TIMESTAMP, DataType.DATE} else name


def _finite(moment: str) -> str:
    return f"case when {moment} is not null then least(greatest({moment}, '{_FIRST}'), '{_LAST}') end"


def _replace(connection: Connection[Any], repair: Repair) -> None:
    table = repair.table
    names, key = quote_names(table.column_names), quote_names(table.key)
    staging.copy_in(connection, f"wrong_{table.name}", _key_columns(table), repair.wrong)
    staging.copy_in(connection, f"right_{table.name}", repaired_columns(table), repair.right)
    connection.execute(
        f"delete from {quote_table(table)} where ({key}) in "  # noqa: S608 - declared names
        f"(select {key} from wrong_{table.name} union select {key} from right_{table.name})"
    )
    for column in _key_columns(table):
        if column.type is DataType.TIMESTAMP:  # its key was read as another one
            name = quote_name(column.name)
            connection.execute(f"delete from {quote_table(table)} where not {name} between '{_FIRST}' and '{_LAST}'")  # noqa: S608
    connection.execute(f"insert into {quote_table(table)} ({names}) {_right_values(table)}")


def _right_values(table: Table) -> str:
    given, key = quote_names(tuple(column.name for column in repaired_columns(table))), quote_names(table.key)
    if table is PG_FEED_COVERAGE:
        return f"select {key}, range_agg(tstzrange(since_at, until_at)) from right_{table.name} group by {key}"  # noqa: S608
    if table in {PG_BAR_SESSIONS, PG_VENDOR_BAR_SESSIONS}:
        return f"select {given}, nextval('lake.bar_change_number') from right_{table.name}"  # noqa: S608
    return f"select {given} from right_{table.name}"  # noqa: S608 - declared names


def _key_columns(table: Table) -> tuple[Column, ...]:
    return tuple(column for column in table.columns if column.name in table.key)
