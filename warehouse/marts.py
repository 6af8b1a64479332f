"""The marts as others see them than dbt, who builds them: which of their sessions are to be built again."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from market.errors import ServiceError, UsageError
from market.settings import Settings
from warehouse.connection import connect, lost_connections

FIRST_WORD_SECONDS: Final = 5.0
NEXT_WORD_SECONDS: Final = 30.0
_NOTHING: Final = "00000000-0000-0000-0000-000000000000"
"""The digest of a session that was built from nothing that there is."""
_CHOSEN: Final = (
    "(%(start)s::date is null or session_date >= %(start)s) and (%(end)s::date is null or session_date <= %(end)s) "
    "and (%(symbols)s::text[] is null or symbol = any(%(symbols)s))"
)
_BUILT_BY_SESSION: Final = """
select n.nspname, c.relname
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as a on a.attrelid = c.oid
where n.nspname in ('staging', 'marts') and c.relkind = 'r' and a.attname = 'built_from' and not a.attisdropped
order by n.nspname, c.relname
"""


_QUEUED_BY_SESSION: Final = """
select n.nspname, c.relname
from pg_trigger as t
join pg_class as c on c.oid = t.tgrelid
join pg_namespace as n on n.oid = c.relnamespace
where t.tgname = 'note_pending_session'
order by n.nspname, c.relname
"""
"""The marts of indicators: what is to be built again of them is queued."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Which sessions are to be built again.

    Attributes
    ----------
    start, end
        The first and the last session, both included; ``None`` is no bound.
    symbols
        The symbols; none means all.

    Raises
    ------
    UsageError
        If ``end`` lies before ``start``.
    """

    start: date | None = None
    end: date | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.end < self.start:
            msg = f"The end {self.end} lies before the start {self.start}. Swap them."
            raise UsageError(msg)

    def __str__(self) -> str:
        bounds = (("from", self.start), ("to", self.end))
        days = " ".join(f"{word} {day}" for word, day in bounds if day is not None)
        return "".join(f" {part}" for part in (f"of {', '.join(self.symbols)}" if self.symbols else "", days) if part)


def forget_builds(
    settings: Settings, rebuild: Rebuild, on_wait: Callable[[str, float], None] = lambda _mart, _seconds: None
) -> int:
    """Let the next run of the models build sessions again, whatever they were built from, and return how many.

    Until then the marts stay as they are. A build that goes on is waited for, and ``on_wait`` is told of which mart and for how
    many seconds so far, after :data:`FIRST_WORD_SECONDS` and then every :data:`NEXT_WORD_SECONDS`.

    Raises
    ------
    UsageError
        If neither the lake nor a mart knows such a session.
    ServiceError
        If the database cannot be reached or was never set up.
    """
    values = {"start": rebuild.start, "end": rebuild.end, "symbols": list(rebuild.symbols) or None, "nothing": _NOTHING}
    with connect(settings, application_name="tapehouse marts") as connection, lost_connections(), _set_up():
        connection.execute("select set_config('tapehouse.is_building', 'on', true)")
        relations = connection.execute(_BUILT_BY_SESSION).fetchall()
        # A build that goes on removes the rows that it saw: those that change meanwhile would stay.
        for schema, name in relations:
            _lock(connection, f"{schema}.{name}", on_wait)
        known = _known_sessions(connection, relations, values)
        for relation in relations:
            query = SQL("update {} set built_from = %(nothing)s where {}")
            connection.execute(query.format(Identifier(*relation), SQL(_CHOSEN)), values)
        for schema, name in connection.execute(_QUEUED_BY_SESSION).fetchall():
            queue = SQL(
                "insert into staging.pending_sessions (mart, symbol, session_date, is_whole) "
                "select distinct %(mart)s, symbol, session_date, true from {} where {}"
            )
            connection.execute(queue.format(Identifier(schema, name), SQL(_CHOSEN)), {**values, "mart": name})
    if not known:
        msg = f"The marts have no session{rebuild}, nor has the lake. lake.bar_sessions and lake.vendor_bars say which there are."
        raise UsageError(msg)
    return known


def _lock(connection: Connection[Any], mart: str, on_wait: Callable[[str, float], None]) -> None:
    """Wait for the end of a build of a mart, in turn with other builds, and keep the next from beginning."""
    done = threading.Event()

    def say() -> None:
        started, seconds = time.monotonic(), FIRST_WORD_SECONDS
        while not done.wait(seconds):
            seconds = NEXT_WORD_SECONDS
            on_wait(mart, time.monotonic() - started)

    talker = threading.Thread(target=say, name="says-what-is-waited-for", daemon=True)
    talker.start()
    try:
        connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [mart])
    finally:
        done.set()
        talker.join()


@contextmanager
def _set_up() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        msg = "The database was not set up yet. Start the platform with ./run up."
        raise ServiceError(msg) from error


def _known_sessions(connection: Connection[Any], relations: list[tuple[Any, ...]], values: Mapping[str, object]) -> int:
    sources = [("lake", "bar_sessions"), ("lake", "vendor_bars"), *relations]
    query = SQL("select symbol, session_date from {} where {}")
    each = [query.format(Identifier(*source), SQL(_CHOSEN)) for source in sources]
    count = SQL("select count(*) from ({}) as known").format(SQL(" union ").join(each))
    ((known,),) = connection.execute(count, values).fetchall()
    return int(known)
