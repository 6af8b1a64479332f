"""The marts before and after a full refresh: whether what was built step by step is what comes of building it anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier, Literal

from market.settings import Settings
from warehouse.connection import connect

SHOWN: Final = 10
"""How many differing rows of a mart are shown."""

_SCHEMA: Final = "before_full_refresh"
_CHANGES: Final = SQL(
    """
    select source, symbol, session_date, change_number from lake.bar_sessions
    union all
    select source || ' ' || interval, symbol, session_date, change_number from lake.vendor_bar_sessions
    union all
    select source || ' 1d', symbol, session_date, revision from lake.vendor_bars where interval = '1d'
    union all
    select source, '*', '-infinity'::date, hashtextextended(actions::text, 0) from lake.corporate_actions as actions
    """
)
_TABLES: Final = r"""
select
    pg_namespace.nspname::text,
    pg_class.relname::text,
    array_agg(pg_attribute.attname::text order by pg_attribute.attnum)
from pg_class
inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
where pg_class.relkind = 'r'
    and (pg_namespace.nspname = 'marts' or pg_namespace.nspname = 'staging' and pg_class.relname like 'int\_%%')
    and pg_attribute.attnum > 0
    and not pg_attribute.attisdropped
    and pg_attribute.attname not in ('built_from', 'known_through_at')
group by pg_namespace.nspname, pg_class.relname
order by pg_class.relname
"""
"""The tables that dbt builds: the marts, and those that views of them stand on. No two of them share a name."""
_COPIED: Final = """
select pg_class.relname::text, array_agg(pg_attribute.attname::text)
from pg_class
inner join pg_attribute on pg_class.oid = pg_attribute.attrelid
where pg_class.relnamespace = %s::regnamespace and pg_class.relkind = 'r' and pg_attribute.attnum > 0
group by pg_class.relname
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a full refresh changed in a mart.

    Attributes
    ----------
    mart
        Its name, or that of a table that views of marts stand on.
    rows
        How many rows it has now.
    gone, new
        How many rows it does not have any more, and how many it has now and had not. Both are 0 where both builds agree.
    examples
        Some of them, each with ``is_new``.
    """

    mart: str
    rows: int
    gone: int
    new: int
    examples: tuple[dict[str, Any], ...]


@contextmanager
def kept_copies(settings: Settings) -> Iterator[None]:
    """Keep a copy of every table that dbt builds while the block runs, and of what they were made from.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If it cannot be reached.
    """
    with _connected(settings) as connection:
        connection.execute(SQL("drop schema if exists {} cascade").format(_NAME))
        connection.execute(SQL("create schema {}").format(_NAME))
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read")
            connection.execute(SQL("create table {}.changes as {}").format(_NAME, _CHANGES))
            for schema, table, columns in connection.execute(_TABLES, []).fetchall():
                connection.execute(
                    SQL("create table {}.{} as select {} from {}.{}").format(
                        _NAME, Identifier(f"mart_{table}"), _names(columns), Identifier(schema), Identifier(table)
                    )
                )
    try:
        yield
    finally:
        with _connected(settings) as connection:
            connection.execute(SQL("drop schema if exists {} cascade").format(_NAME))


def differences(settings: Settings) -> list[Difference]:
    """Return for each mart that a copy was kept of what is different now; raises as :func:`kept_copies`.

    A symbol's sessions from the first one on whose bars changed meanwhile are left out: there the marts have to differ. After a
    corporate action that became known meanwhile everything is: it moves whole series, under other symbols too.
    """
    with _connected(settings) as connection:
        connection.execute(
            SQL(
                "create temporary table changed_meanwhile as select symbol, min(session_date) as since_date from ("
                "(table {before} except all ({now})) union all (({now}) except all table {before})"
                ") as changes group by symbol"
            ).format(before=SQL("{}.changes").format(_NAME), now=_CHANGES)
        )
        copies = dict(connection.execute(_COPIED, [_SCHEMA]).fetchall())
        return [
            _difference(connection, schema, table, [name for name in columns if name in copies[f"mart_{table}"]])
            for schema, table, columns in connection.execute(_TABLES, []).fetchall()
            if f"mart_{table}" in copies
        ]


_NAME: Final = Identifier(_SCHEMA)


def _difference(connection: Connection[Any], schema: str, mart: str, columns: list[str]) -> Difference:
    sides = {"before": (_SCHEMA, f"mart_{mart}"), "now": (schema, mart)}
    rows = {
        side: SQL("(select {} from {}.{} as stored where {})").format(
            _names(columns), Identifier(where), Identifier(table), _unchanged(columns)
        )
        for side, (where, table) in sides.items()
    }
    query = SQL(
        "select true as is_new, differing.* from ({now} except all {before}) as differing "
        "union all select false, differing.* from ({before} except all {now}) as differing"
    ).format(**rows)
    found = connection.execute(
        SQL(
            "select count(*) filter (where is_new), count(*) filter (where not is_new), "
            "(array_agg(to_jsonb(differing)))[1:{}] from ({}) as differing"
        ).format(Literal(SHOWN), query)
    ).fetchone()
    counted = SQL("select count(*) from {}.{}").format(Identifier(schema), Identifier(mart))
    total = connection.execute(counted).fetchone()
    assert found is not None
    assert total is not None
    new, gone, examples = found
    return Difference(mart, total[0], gone, new, tuple(examples or ()))


def _unchanged(columns: list[str]) -> Composed | SQL:
    """Return the condition that nothing changed meanwhile of what a row follows from."""
    if "session_date" not in columns:
        return SQL("not exists (select from changed_meanwhile)")
    symbols = SQL(", ").join([Identifier("stored", name) for name in ("symbol", "other_symbol") if name in columns])
    same = SQL("changed.symbol in ('*', {}) and ").format(symbols) if "symbol" in columns else SQL("")
    return SQL(
        "not exists (select from changed_meanwhile as changed where {}changed.since_date <= stored.session_date)"
    ).format(same)


def _names(columns: list[str]) -> Composed:
    return SQL(", ").join([Identifier(name) for name in columns])


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection[Any]]:
    with connect(settings, application_name="tapehouse full refresh") as connection:
        connection.autocommit = True
        yield connection
