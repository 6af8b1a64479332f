"""Connections to PostgreSQL: the one place that opens them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from market.errors import RefusedStatementError, RefusedValuesError, ServiceError, SettingsError
from market.settings import Settings

CONNECT_TIMEOUT_SECONDS = 10


def connect(
    settings: Settings, *, read_only: bool = False, application_name: str = "tapehouse"
) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a new connection: time zone UTC, transactions started by the first statement.

    Parameters
    ----------
    settings
        Says where the database is.
    read_only
        Whether every transaction of the connection refuses to write.
    application_name
        How the connection shows in ``pg_stat_activity``.

    Raises
    ------
    SettingsError
        If no database is set, or its URL cannot be read.
    ServiceError
        If the database cannot be reached or refuses the login. The text never holds the password.
    """
    url = settings.require_database()
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        msg = "DATABASE_URL cannot be read. Write it as postgresql://user:password@host:port/database."
        raise SettingsError(msg) from None  # the driver quotes what it cannot read, which may be the password
    options = f"{parameters.get('options') or ''} -c timezone=UTC".strip()
    if read_only:
        options += " -c default_transaction_read_only=on"
    parameters |= {"options": options, "application_name": application_name}
    parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_SECONDS)
    try:
        connection = psycopg.connect(make_conninfo("", **parameters))
    except psycopg.OperationalError as error:
        raise ServiceError(_explain(parameters, error)) from None
    connection.read_only = read_only or None
    return connection


def login_refusal(settings: Settings, user: str, password: str) -> str | None:
    """Return in the server's words why a user cannot log in with a password; ``None`` if they can.

    Raises
    ------
    SettingsError
        If no database is set.
    """
    parameters = conninfo_to_dict(settings.require_database()) | {"user": user, "password": password}
    parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_SECONDS)
    try:
        psycopg.connect(make_conninfo("", **parameters)).close()
    except psycopg.OperationalError as error:
        return _reason(parameters, error)
    return None


@contextmanager
def lost_connections() -> Iterator[None]:
    """Turn the driver's errors of a connection that is in use into those of a service: for those who go on with a new one.

    Raises
    ------
    RefusedValuesError
        If the server refused the values of a statement: they will not do over another connection either.
    RefusedStatementError
        If it refused the statement itself, whatever its values.
    ServiceError
        If the connection was lost, or the server refused a statement for another reason.
    """
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        msg = f"PostgreSQL refused values: {_first_line(error)}."
        raise RefusedValuesError(msg) from error
    except psycopg.ProgrammingError as error:
        msg = f"PostgreSQL refused a statement: {_first_line(error)}. If ./run up does not mend it, it is a defect of Tapehouse."
        raise RefusedStatementError(msg) from error
    except psycopg.Error as error:
        msg = f"PostgreSQL gave up in the middle: {_first_line(error)}. See ./run status."
        raise ServiceError(msg) from error


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _reason(parameters: dict[str, Any], error: psycopg.OperationalError) -> str:
    password = str(parameters.get("password") or "")
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no reason given"
    return reason.replace(password, "********") if password else reason


def _explain(parameters: dict[str, Any], error: psycopg.OperationalError) -> str:
    where = f"{parameters.get('host', 'localhost')}:{parameters.get('port', 5432)}"
    return (
        f"PostgreSQL at {where} (database {parameters.get('dbname', '')!s}, user {parameters.get('user', '')!s}) cannot be used: "
        f"{_reason(parameters, error)}. See ./run status, and start the platform with ./run up or check DATABASE_URL."
    )
