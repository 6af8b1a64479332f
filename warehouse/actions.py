"""Corporate actions as PostgreSQL has them: all versions of each of a source, what marts make of them, who was asked."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import psycopg

from market.errors import ServiceError
from market.settings import Settings
from warehouse.connection import connect
from warehouse.dbt import dbt_variables

_APPLICATION: Final = "tapehouse actions"
_REMEMBER: Final = """
insert into app.collected_actions as known (source, symbol, is_unknown, asked_at) values (%s, %s, %s, %s)
on conflict (source, symbol) do update set is_unknown = excluded.is_unknown, asked_at = excluded.asked_at
where known.asked_at <= excluded.asked_at
"""
_LISTED: Final = """
select source, count(*)
from lake.vendor_bars
where interval = '1d' and symbol = %s and session_date < %s and source = any(%s)
group by source
order by count(*) desc, source
limit 1
"""


@dataclass(frozen=True, slots=True)
class StoredAction:
    """A version of an action of a source; the fields are columns of ``lake.corporate_actions``."""

    symbol: str
    action: str
    effective_date: date
    known_at: datetime
    is_withdrawn: bool
    new_shares: Decimal | None
    old_shares: Decimal | None
    cash: Decimal | None
    new_symbol: str | None


@dataclass(frozen=True, slots=True)
class JudgedAction:
    """An action as ``marts.corporate_actions`` has it."""

    symbol: str
    action: str
    effective_date: date
    status: str
    evidence: str | None
    source: str
    known_at: datetime
    new_shares: Decimal | None
    old_shares: Decimal | None
    cash: Decimal | None
    new_symbol: str | None
    price_before: Decimal | None
    price_after: Decimal | None


def stored_versions(settings: Settings, source: str) -> list[StoredAction]:
    """Return all versions of each action of a source, by action, the one that counts last.

    That is the one that became known last, whenever it came in; of those of one moment, and of what a person said, the one that
    came in last, as marts have it.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    query = (
        "select symbol, action, session_date, known_at, is_withdrawn, new_shares, old_shares, cash, new_symbol "
        "from lake.corporate_actions where source = %s order by symbol, action, session_date, "
        "case when source <> 'user' then known_at end, ingested_at, partition, \"offset\""
    )
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return [StoredAction(*row) for row in connection.execute(query, (source,))]


def judged_actions(settings: Settings, symbols: Collection[str], status: str | None = None) -> list[JudgedAction]:
    """Return the actions of some symbols, or of all if none is given, oldest first; with ``status`` those that have it.

    Raises
    ------
    ServiceError
        If the database cannot be reached, or the marts were not built yet.
    """
    query = (
        "select symbol, action, effective_date, status, evidence, source, known_at, new_shares, old_shares, cash, new_symbol, "
        "price_before, price_after from marts.corporate_actions "
        "where (symbol = any(%(symbols)s) or new_symbol = any(%(symbols)s) or %(every)s) "
        "and (%(status)s::text is null or status = %(status)s) order by effective_date, symbol, action"
    )
    values = {"symbols": list(symbols), "every": not symbols, "status": status}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        try:
            return [JudgedAction(*row) for row in connection.execute(query, values)]
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            msg = "The marts were not built yet: ./run marts builds them."
            raise ServiceError(msg) from error


def listed_before(settings: Settings, symbol: str, day: date) -> tuple[str, int] | None:
    """Return a source that lists a company's past under its newest symbol, and how many days of a symbol it has before a day.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    sources = dbt_variables()["newest_symbol_sources"]
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return connection.execute(_LISTED, (symbol, day, list(sources))).fetchone()


def asked_symbols(settings: Settings, source: str) -> Mapping[str, datetime]:
    """Return when a source was asked last for all actions of a symbol, by symbol, as far as the lake has what it answered.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    query = "select symbol, asked_at from app.collected_actions where source = %s"
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return dict(connection.execute(query, (source,)).fetchall())


def remember_asked(
    settings: Settings, source: str, symbols: Collection[str], unknown: Collection[str], asked_at: datetime
) -> None:
    """Note that the lake has all that a source answered of some symbols; of some it said that it does not know them.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    rows = [(source, symbol, symbol in unknown, asked_at) for symbol in sorted(symbols)]
    with connect(settings, application_name=_APPLICATION) as connection, connection.cursor() as cursor:
        cursor.executemany(_REMEMBER, rows)
