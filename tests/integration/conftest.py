"""The real engines for integration tests: started once per session on a home of their own, stopped at its end."""

import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from dbt_common.behavior_flags import BehaviorFlagRendered
from pydantic import SecretStr

from infra.local.home import Home
from infra.local.kafka import kafka_service
from infra.local.postgres import postgres_service
from infra.local.service import Service
from infra.local.supervisor import Supervisor
from market.settings import Settings, load_settings
from tests.integration.action_rows import Lake, disagreements
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.mart_rows import emptied_lake
from warehouse.schema import migrate

Engine = Callable[[Home, Settings], tuple[Service, str]]


@contextmanager
def running_engine(engine: Engine, folder: Path) -> Iterator[str]:
    """Run an engine on a home of its own, and yield its address."""
    home = Home(folder)
    with ExitStack() as stack:
        stack.enter_context(home.lock("pytest"))
        supervisor = Supervisor(home, warnings.warn)
        stack.callback(supervisor.stop)
        service, address = engine(home, load_settings())
        supervisor.start([service])
        yield address


@pytest.fixture(scope="session", autouse=True)
def _dbt_does_not_read_the_stack() -> Iterator[None]:
    """Leave out what dbt says of where its flags come from.

    An adapter reads the whole stack for each of its flags, and dbt keeps the flags of every run: of the hundredth in a process
    that was most of the time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))
        yield


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap servers of a real broker."""
    with running_engine(kafka_service, tmp_path_factory.mktemp("kafka_home")) as servers:
        yield servers


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL server."""
    with running_engine(postgres_service, tmp_path_factory.mktemp("postgres_home")) as url:
        yield url


@pytest.fixture(scope="module")
def database_url(postgres: str) -> Iterator[str]:
    """The URL of an empty database of this module's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def settings_with_database(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an empty home with an empty database of this module's own, and no broker."""
    return load_settings().model_copy(
        update={
            "home": tmp_path_factory.mktemp("home"),
            "database_url": SecretStr(database_url),
            "kafka_bootstrap_servers": None,
            "lake_uri": None,
            "spark_master": None,
        }
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    """Settings of an empty home with a database of this module's own that has its tables, and no broker."""
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection that commits each statement, to what the marts are made from, emptied."""
    with emptied_lake(settings) as connection:
        yield connection


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    """What runs dbt; every model was run once, on an empty lake."""
    with dbt_runs(settings) as run:
        run("run")
        yield run


@pytest.fixture
def lake(connection: psycopg.Connection[Any], settings: Settings) -> Iterator[Lake]:
    """At the end, what verify works out by itself has to be what the mart has."""
    yield Lake(connection)
    assert disagreements(settings) == []
