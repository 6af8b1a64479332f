"""Backfills of one source and bar length, one after the other: what one asks for, the next one finds in the lake.

Between the processes of a home; the lock ends with the process that holds it, however that ends.
"""

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ingest.history.source import StoppedError

_POLL_SECONDS: Final = 0.2


@contextmanager
def turn(home: Path, source: str, interval: str, stop: threading.Event, on_wait: Callable[[], None]) -> Iterator[None]:
    """Wait for one's turn to plan and fetch, and keep it.

    Parameters
    ----------
    home, source, interval
        Whose turns: others fetch meanwhile.
    stop
        Ends the wait.
    on_wait
        Is called once if somebody else is at it.

    Raises
    ------
    StoppedError
        If somebody asked to stop before it was one's turn.
    """
    path = home / "run" / "turns" / f"{source}-{interval}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        is_told = False
        while not _is_free(file.fileno()):
            if not is_told:
                is_told = True
                on_wait()
            if stop.wait(_POLL_SECONDS):
                raise StoppedError
        yield


def _is_free(descriptor: int) -> bool:
    """Take the lock if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
