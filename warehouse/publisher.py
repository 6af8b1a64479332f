"""Publishing batches while the database comes and goes."""

import itertools
import threading
from typing import Final

import psycopg
import structlog

from market.errors import ServiceError
from market.settings import Settings
from warehouse.batch import BatchOutput, publish_batch
from warehouse.connection import connect

_log = structlog.get_logger(__name__)

_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 10.0


def publish_when_reachable(settings: Settings, batch: BatchOutput, stop: threading.Event) -> bool:
    """Publish the batch over a connection of its own; wait for the database if it is away.

    However often it is tried, the batch is published once: its number decides.

    Parameters
    ----------
    stop
        When set, waiting ends.

    Returns
    -------
    bool
        Whether the batch was new.

    Raises
    ------
    ServiceError
        If ``stop`` was set while the database was away: nothing of the batch is in it.
    """
    for attempt in itertools.count():
        try:
            with connect(settings) as connection:
                return publish_batch(connection, batch)
        except (ServiceError, psycopg.OperationalError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            _log.warning("database_away", batch_id=batch.batch_id, attempt=attempt + 1, error=reason)
            if stop.wait(min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)):
                raise ServiceError(f"Batch {batch.batch_id} was not published: {reason}") from error  # noqa: EM102
    raise AssertionError  # itertools.count never ends
