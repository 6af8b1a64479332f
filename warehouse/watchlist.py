"""The watchlist: the symbols that history is collected of, in groups, in one place."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from market.errors import UsageError
from market.settings import Settings
from warehouse.connection import connect

DEFAULT_GROUP: Final = "default"
"""The group of the symbols that were added without one."""

_APPLICATION: Final = "tapehouse watchlist"
_GROUP: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_WATCH: Final = """
with wanted as (
    select symbol, %(group)s::text as symbol_group from unnest(%(symbols)s::text[]) as symbol
), before as (
    select symbol, symbol_group from app.watchlist where symbol = any(%(symbols)s)
)
insert into app.watchlist as known (symbol, symbol_group, added_at)
select symbol, coalesce(symbol_group, %(default)s), %(now)s from wanted
on conflict (symbol) do update set symbol_group = excluded.symbol_group, added_at = excluded.added_at
where %(group)s::text is not null and known.symbol_group <> excluded.symbol_group
returning symbol, symbol in (select symbol from before)
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A symbol of the watchlist, its group, and since when it is in that group."""

    symbol: str
    group: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Changes:
    """Which symbols came onto the watchlist, and which of those on it changed their group."""

    added: tuple[str, ...]
    moved: tuple[str, ...]


def parse_group(text: str) -> str:
    """Return the name of a group.

    Raises
    ------
    UsageError
        If it cannot be one: it is a part of the names of partitions.
    """
    name = text.strip().lower()
    if _GROUP.fullmatch(name) is None:
        msg = f"A group cannot be called {text!r}. Use up to 40 letters, digits, - and _, for example: --group semiconductors"
        raise UsageError(msg)
    return name


def watchlist(settings: Settings) -> list[Watched]:
    """Return the watchlist, by groups and symbols in order.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    query = "select symbol, symbol_group, added_at from app.watchlist order by symbol_group, symbol"
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return [Watched(*row) for row in connection.execute(query)]


def watched(settings: Settings) -> list[str]:
    """Return the symbols of the watchlist, in order.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    return sorted(one.symbol for one in watchlist(settings))


def watch(settings: Settings, symbols: Collection[str], group: str | None = None) -> Changes:
    """Add symbols to the watchlist; those that are on it already move to the group, if one is given.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {"symbols": list(symbols), "group": group, "default": DEFAULT_GROUP, "now": datetime.now(UTC)}
    with connect(settings, application_name=_APPLICATION) as connection:
        rows = sorted(connection.execute(_WATCH, values).fetchall())
    return Changes(
        added=tuple(symbol for symbol, was_there in rows if not was_there),
        moved=tuple(symbol for symbol, was_there in rows if was_there),
    )


def unwatch(settings: Settings, symbols: Collection[str]) -> list[str]:
    """Take symbols off the watchlist, and return those that were on it. What was collected of them stays.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    query = "delete from app.watchlist where symbol = any(%s) returning symbol"
    with connect(settings, application_name=_APPLICATION) as connection:
        return sorted(row[0] for row in connection.execute(query, (list(symbols),)))
