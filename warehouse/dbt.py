"""What dbt needs to know to run against the database: environment variables, nothing is run here."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from market.errors import SettingsError
from market.settings import CHECKOUT, Settings
from warehouse.dbt_choices import read_choices

DBT_PROJECT: Final[Path] = CHECKOUT / "dbt_project"
"""The folder of the dbt project; its ``profiles.yml`` reads the variables of :func:`dbt_environment`."""

_DEFAULTS: Final = {"host": "localhost", "port": "5432", "sslmode": "prefer"}


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that dbt needs on top of its parent's: connection, folders, no telemetry.

    The password's variable has dbt's prefix for secrets, so that dbt masks it in its logs.

    Raises
    ------
    SettingsError
        If no database is set, or its URL lacks the user or the database.
    """
    try:
        parameters = {
            name: str(value) for name, value in conninfo_to_dict(settings.require_database()).items() if value
        }
    except psycopg.ProgrammingError as error:
        msg = "DATABASE_URL cannot be read. Write it as postgresql://user:password@host:port/database."
        raise SettingsError(msg) from error
    missing = [name for name in ("user", "dbname") if name not in parameters]
    if missing:
        msg = f"DATABASE_URL names no {missing[0]}. Write it as postgresql://user:password@host:port/database."
        raise SettingsError(msg)
    parameters = _DEFAULTS | parameters
    folder = settings.home / "dbt"
    return {
        "DBT_TAPEHOUSE_HOST": parameters["host"],
        "DBT_TAPEHOUSE_PORT": parameters["port"],
        "DBT_TAPEHOUSE_USER": parameters["user"],
        "DBT_ENV_SECRET_TAPEHOUSE_PASSWORD": parameters.get("password", ""),
        "DBT_TAPEHOUSE_DATABASE": parameters["dbname"],
        "DBT_TAPEHOUSE_SSLMODE": parameters["sslmode"],
        "DBT_PROJECT_DIR": str(DBT_PROJECT),
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


@cache
def dbt_variables() -> Mapping[str, Any]:
    """Return the variables that the dbt project computes with: which source is preferred, when two bars agree.

    Raises
    ------
    SettingsError
        If one of them cannot be built.
    """
    return read_choices(DBT_PROJECT)
