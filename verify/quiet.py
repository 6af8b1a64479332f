"""A moment at which nobody changes trades and bars: between the stream's batches of trades, and not within a repair.

What belongs here: waiting for it. What does not: what is opened then, which is :mod:`verify.laws`.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.002


@contextmanager
def quiet_moment(home: Path, *, patience_seconds: float = 60.0) -> Iterator[bool]:
    """Hold off the stream's batches of trades, and repairs, for the time of the context.

    A repair replaces rows table by table: who opens them one after the other would see some before it and some after. The lock
    is shared and the file is only read, so that nothing is written and proofs do not wait for each other.

    Parameters
    ----------
    home
        The home of the stream; where none ever ran there is nothing to wait for.
    patience_seconds
        How long to wait for the batch or the repair that is under way.

    Yields
    ------
    bool
        Whether nobody changes anything; false where the wait was in vain.
    """
    try:
        handle = os.open(home / "run" / "trades.lock", os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        deadline = time.monotonic() + patience_seconds
        while not (is_held := _try(handle)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        yield is_held
    finally:
        os.close(handle)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
