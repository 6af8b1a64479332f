"""Engines of a benchmark's own, so that no figure's data end up in anybody's lake."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from infra.local.home import Home
from infra.local.kafka import kafka_service
from infra.local.postgres import postgres_service
from infra.local.supervisor import Supervisor
from market.settings import Settings

_log = structlog.get_logger(__name__)


@contextmanager
def scratch_engines(settings: Settings, *, broker: bool = True, database: bool = True) -> Iterator[Settings]:
    """Run a new Kafka and a new PostgreSQL in a new home, unless one is not wanted; yield settings that lead to them."""
    with tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder:
        home = Home(Path(folder))
        unset = {"kafka_bootstrap_servers": None, "database_url": None, "lake_uri": None, "home": home.path}
        embedded = settings.model_copy(update=unset)
        with home.lock("bench"):
            supervisor = Supervisor(home, lambda line: _log.info("engine", line=line))
            try:
                services, addresses = [], {}
                if broker:
                    server, addresses["KAFKA_BOOTSTRAP_SERVERS"] = kafka_service(home, embedded)
                    services.append(server)
                if database:
                    server, addresses["DATABASE_URL"] = postgres_service(home, embedded)
                    services.append(server)
                supervisor.start(services)
                yield embedded.with_addresses(addresses)
            finally:
                supervisor.stop()
