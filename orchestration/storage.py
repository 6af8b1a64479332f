"""Dagster's storage in PostgreSQL, with connections that are kept.

dagster-postgres opens a connection for each statement, except in the webserver. A run of the marts writes hundreds of events, and
half of its time went into logging in. Here one small pool serves the three stores of a process.
"""

from typing import Any, Final, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config

POOL_SIZE: Final = 1
"""Connections that a process keeps; more are opened while its threads need them at once."""
MAX_OVERFLOW: Final = 20
RECYCLE_SECONDS: Final = 3600


class PooledPostgresStorage(DagsterPostgresStorage):
    """The storage of dagster-postgres over a pool. A connection is tried before it is used: PostgreSQL may have restarted."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        engine = create_pg_engine(
            postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=POOL_SIZE,
            max_overflow=MAX_OVERFLOW,
            pool_recycle=RECYCLE_SECONDS,
            pool_pre_ping=True,
        )
        for store in (self._run_storage, self._event_log_storage, self._schedule_storage):
            store._engine = engine  # noqa: SLF001 - the one place where the pool can be set, as optimize_for_webserver does

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: dict[str, Any]) -> Self:
        """Return the storage that ``dagster.yaml`` describes."""
        return cls(pg_url_from_config(config_value), inst_data)
