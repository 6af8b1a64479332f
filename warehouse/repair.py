"""The 1-minute bars of PostgreSQL as whoever recomputes them needs them: read in one snapshot, put right in one transaction."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

import pyarrow as pa
from psycopg import Connection

from market.settings import Settings
from market.tables import PG_BARS, DataType
from warehouse import staging
from warehouse.connection import connect
from warehouse.ddl import quote_names

_APPLICATION: Final = "tapehouse recompute"
_KEY: Final = tuple(column for column in PG_BARS.columns if column.name in PG_BARS.key)
_MILLIONTHS: Final = {DataType.PRICE: "bigint", DataType.NOTIONAL: "numeric(38, 0)"}


class BarSnapshot:
    """The bars and the stream's progress as of one moment; made by :func:`open_bars`."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def next_offsets(self, topic: str) -> Mapping[int, int]:
        """Return per partition of a topic the first offset that is not in PostgreSQL."""
        question = "select partition, next_offset from lake.stream_offsets where topic = %s"
        return dict(self._connection.execute(question, (topic,)).fetchall())

    def sessions(self, start: date, end: date) -> set[date]:
        """Return the sessions between two dates, both included, that have bars."""
        question = "select distinct session_date from lake.bars_1m where session_date between %s and %s"
        return {row[0] for row in self._connection.execute(question, (start, end))}

    def symbols(self, session_date: date) -> set[str]:
        """Return the symbols that have bars of a session."""
        question = "select distinct symbol from lake.bars_1m where session_date = %s"
        return {row[0] for row in self._connection.execute(question, (session_date,))}

    def bars(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:
        """Return the bars of some symbols of a session, in the declared columns; prices and notionals in millionths."""
        columns = ", ".join(
            f'("{column.name}" * 1000000)::{_MILLIONTHS[column.type]}'
            if column.type in _MILLIONTHS
            else f'"{column.name}"'
            for column in PG_BARS.columns
        )
        question = f"select {columns} from lake.bars_1m where session_date = %s and symbol = any(%s)"  # noqa: S608 - declared
        return self._connection.execute(question, (session_date, list(symbols))).fetchall()


@contextmanager
def open_bars(settings: Settings) -> Iterator[BarSnapshot]:
    """Open a snapshot for the time of the context.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select 1")  # the first query takes the snapshot: the lake must not be read before it
        yield BarSnapshot(connection)


def repair_bars(settings: Settings, wrong: pa.Table, right: pa.Table) -> None:
    """Put bars in the place of wrong ones, in one transaction; triggers tell the marts.

    Parameters
    ----------
    wrong
        The keys of bars that are wrong or should not be there.
    right
        The bars that ought to be there in the place of some of these, or are missing: the columns of
        :data:`market.tables.PG_BARS`, prices as decimals.

    Raises
    ------
    ServiceError
        If PostgreSQL cannot be reached.
    """
    names, key = quote_names(PG_BARS.column_names), quote_names(PG_BARS.key)
    with connect(settings, application_name=_APPLICATION) as connection, connection.transaction():
        staging.copy_in(connection, "wrong_bars", _KEY, wrong)
        staging.copy_in(connection, "right_bars", PG_BARS.columns, right)
        connection.execute(
            f"delete from lake.bars_1m where ({key}) in "  # noqa: S608 - declared names
            f"(select {key} from wrong_bars union select {key} from right_bars)"
        )
        connection.execute(f"insert into lake.bars_1m ({names}) select {names} from right_bars")  # noqa: S608 - declared
