"""Up to which change the values of each table were looked at."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from market.settings import Settings
from warehouse.connection import connect

_APPLICATION: Final = "tapehouse quality"


def read_marks(settings: Settings) -> dict[str, datetime]:
    """Return up to which change each table was looked at without finding anything; not those that never were.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If it cannot be reached.
    """
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return dict(connection.execute("select table_name, checked_until_at from app.quality_marks").fetchall())


def move_marks(settings: Settings, marks: Mapping[str, datetime]) -> None:
    """Say up to which change tables were looked at; a mark does not go back. Raises as :func:`read_marks`."""
    with connect(settings, application_name=_APPLICATION) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into app.quality_marks as known (table_name, checked_until_at) values (%s, %s) "
            "on conflict (table_name) do update "
            "set checked_until_at = greatest(known.checked_until_at, excluded.checked_until_at)",
            sorted(marks.items()),
        )
