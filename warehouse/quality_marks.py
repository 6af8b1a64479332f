"""Up to which change the values of each table were looked at."""

from datetime import datetime
from typing import Final

from market.settings import Settings
from warehouse.connection import connect

_APPLICATION: Final = "tapehouse quality"


def read_mark(settings: Settings, table: str) -> datetime | None:
    """Return up to which change a table was looked at without finding anything; ``None`` if it never was.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If it cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        row = connection.execute(
            "select checked_until_at from app.quality_marks where table_name = %s", [table]
        ).fetchone()
    return None if row is None else row[0]


def move_mark(settings: Settings, table: str, until: datetime) -> None:
    """Say that a table was looked at up to a change; a mark does not go back. Raises as :func:`read_mark`."""
    with connect(settings, application_name=_APPLICATION) as connection:
        connection.execute(
            "insert into app.quality_marks as known (table_name, checked_until_at) values (%s, %s) "
            "on conflict (table_name) do update "
            "set checked_until_at = greatest(known.checked_until_at, excluded.checked_until_at)",
            [table, until],
        )
