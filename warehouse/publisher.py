"""Publishing batches while the database comes and goes."""

import functools
import itertools
import threading
from collections.abc import Callable
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


def publish_when_reachable(
    settings: Settings, batch: BatchOutput, stop: threading.Event, before_commit: Callable[[], None]
) -> bool:
    """Publish the batch over a connection of its own; wait for the database if it is away.

    However often it is tried, the batch is published once: its number decides.

    Parameters
    ----------
    stop
        When set, waiting ends.
    before_commit
        See :func:`warehouse.batch.publish_batch`; what it raises ends the attempts.

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
                return publish_batch(connection, batch, functools.partial(_uncaught, before_commit))
        except _BeforeCommitError as error:
            raise error.cause from error
        except (ServiceError, psycopg.OperationalError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            _log.warning("database_away", batch_id=batch.batch_id, attempt=attempt + 1, error=reason)
            if stop.wait(min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)):
                raise ServiceError(f"Batch {batch.batch_id} was not published: {reason}") from error  # noqa: EM102
    raise AssertionError  # itertools.count never ends


class _BeforeCommitError(Exception):
    """Carries what was raised before the commit past what is caught for the database."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _uncaught(before_commit: Callable[[], None]) -> None:
    try:
        before_commit()
    except Exception as error:
        raise _BeforeCommitError(error) from error
