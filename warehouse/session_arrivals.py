"""How the messages of sessions came, as it was counted in the lake."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any, Final

import pyarrow as pa
from psycopg import Connection

from market.settings import Settings
from market.tables import PG_SESSION_ARRIVALS
from warehouse import staging
from warehouse.connection import connect
from warehouse.ddl import quote_names, quote_table

Put = Callable[[pa.Table, Collection[date] | None], None]

_APPLICATION: Final = "tapehouse arrivals"


@contextmanager
def counting(settings: Settings) -> Iterator[Put]:
    """Have counts take turns, each from its look at the lake on, and yield what puts one in the place of what is there.

    What is yielded takes rows with the columns of :data:`market.tables.PG_SESSION_ARRIVALS` and the sessions that were counted,
    also those of which nothing is left; ``None`` stands for all. It is seen when the block ends; if that raises, nothing changes.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If it cannot be reached.
    """
    with connect(settings, application_name=_APPLICATION) as connection, connection.transaction():
        table = quote_table(PG_SESSION_ARRIVALS)
        connection.execute(f"lock table {table} in share row exclusive mode")  # readers go on
        yield partial(_put, connection)


def _put(connection: Connection[Any], rows: pa.Table, days: Collection[date] | None) -> None:
    table, names = quote_table(PG_SESSION_ARRIVALS), quote_names(PG_SESSION_ARRIVALS.column_names)
    staging.copy_in(connection, "counted_arrivals", PG_SESSION_ARRIVALS.columns, rows)
    values = [days is None, sorted(days or ())]
    connection.execute(f"delete from {table} where %s or session_date = any(%s::date[])", values)  # noqa: S608 - declared names
    connection.execute(f"insert into {table} ({names}) select {names} from counted_arrivals")  # noqa: S608
