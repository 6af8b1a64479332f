"""Locks between processes of one home."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from market.errors import ServiceError

_POLL_SECONDS: Final = 0.1


@contextmanager
def exclusive(path: Path, *, timeout_seconds: float, purpose: str) -> Iterator[None]:
    """Hold the lock file ``path``; the lock ends with the block or with the process, however that ends.

    Parameters
    ----------
    path
        The lock file; it and its folder are made when absent.
    timeout_seconds
        How long to wait while another process holds it.
    purpose
        What is being done, for the message.

    Raises
    ------
    ServiceError
        If it is still held after that time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_seconds
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    msg = f"Another process has been at it for {timeout_seconds:g} s: {purpose} ({path}). Try again later."
                    raise ServiceError(msg) from None
            time.sleep(_POLL_SECONDS)
        yield
