"""The watchlist: the symbols that history is collected of, in one place."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from market.settings import Settings
from warehouse.connection import connect

_APPLICATION: Final = "tapehouse watchlist"


def watched(settings: Settings) -> list[str]:
    """Return the symbols of the watchlist, in order.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return [row[0] for row in connection.execute("select symbol from app.watchlist order by symbol")]


def watch(settings: Settings, symbols: Collection[str]) -> list[str]:
    """Add symbols to the watchlist, and return those that were not on it.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    query = (
        "insert into app.watchlist (symbol, added_at) select symbol, %s from unnest(%s::text[]) as symbol "
        "on conflict do nothing returning symbol"
    )
    with connect(settings, application_name=_APPLICATION) as connection:
        return sorted(row[0] for row in connection.execute(query, (datetime.now(UTC), list(symbols))))


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
