"""What is said when PostgreSQL cannot be reached."""

import socket

import psycopg
import pytest
from pydantic import SecretStr

from market.errors import RefusedStatementError, RefusedValuesError, ServiceError, SettingsError
from market.settings import Settings, load_settings
from warehouse.connection import connect, lost_connections

SECRET = "correct-horse"


def settings_for(url: str) -> Settings:
    return load_settings().model_copy(update={"database_url": SecretStr(url)})


def test_an_unreachable_server_is_named_without_the_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ServiceError) as caught:
            connect(settings_for(f"postgresql://tape:{SECRET}@127.0.0.1:{port}/market"))
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "./run" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_url_that_cannot_be_read_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError) as caught:
        connect(settings_for(f"postgresql://tape:{SECRET}@[bad/market"))
    assert "DATABASE_URL cannot be read" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (psycopg.errors.UntranslatableCharacter, RefusedValuesError),
        (psycopg.errors.NumericValueOutOfRange, RefusedValuesError),
        (psycopg.errors.ForeignKeyViolation, RefusedValuesError),
        (psycopg.errors.AdminShutdown, ServiceError),
        (psycopg.errors.DeadlockDetected, ServiceError),
        (psycopg.errors.SerializationFailure, ServiceError),
        (psycopg.InterfaceError, ServiceError),
        (psycopg.errors.UndefinedTable, RefusedStatementError),
        (psycopg.errors.SyntaxError, RefusedStatementError),
        (psycopg.errors.InsufficientPrivilege, RefusedStatementError),
    ],
)
def test_what_is_refused_is_told_from_what_another_connection_may_do(
    error: type[psycopg.Error], means: type[ServiceError]
) -> None:
    with pytest.raises(ServiceError, match="the reason") as caught, lost_connections():
        raise error("the reason\nand more")  # noqa: EM101 - as the driver does
    assert type(caught.value) is means
