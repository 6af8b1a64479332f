"""The locks of a home: one stream at a time, and no batch of a topic while what such batches stored is repaired.

They are locks on files, which end with the process that holds them, however it ends.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from market.errors import HomeBusyError, ServiceError
from market.settings import Settings

_POLL_SECONDS: Final = 0.01


def _run_folder(settings: Settings) -> Path:
    folder = settings.home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def single_writer(settings: Settings) -> Iterator[None]:
    """Hold the lock of the home's stream: one writer per checkpoint.

    Raises
    ------
    HomeBusyError
        If another stream of this home is running.
    """
    with Path.open(_run_folder(settings) / "stream.lock", "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"Another stream already writes the lake of {settings.home}. Stop it with ./run down."
            raise HomeBusyError(msg) from error
        yield


def _nothing() -> None:
    """Do nothing."""


class BatchLock:
    """Held by the stream during each batch of a topic, and by whoever repairs what such batches stored.

    The file of the lock holds the number of repairs that were begun: by it the stream knows that what it remembers of stored
    rows is not what is stored any more.

    Parameters
    ----------
    settings
        The home of the stream.
    kind
        What the topic carries, as ``trade``.
    """

    def __init__(self, settings: Settings, kind: str) -> None:
        self._settings = settings
        self._name = f"{kind}s"

    @contextmanager
    def held(
        self, *, while_waiting: Callable[[], None] = _nothing, timeout_seconds: float = float("inf")
    ) -> Iterator["HeldLock"]:
        """Hold the lock.

        Parameters
        ----------
        while_waiting
            Called again and again while another process holds it; what it raises ends the waiting.
        timeout_seconds
            How long to wait for it.

        Raises
        ------
        ServiceError
            If it cannot be had in time.
        """
        deadline = time.monotonic() + timeout_seconds
        path = _run_folder(self._settings) / f"{self._name}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _try(handle):
                while_waiting()
                if time.monotonic() >= deadline:
                    msg = (
                        f"Another process holds {path}: the stream for a batch of {self._name}, or a repair. "
                        "Try again later; ./run status says what the stream does."
                    )
                    raise ServiceError(msg)
                time.sleep(_POLL_SECONDS)
            yield HeldLock(handle)
        finally:
            os.close(handle)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class HeldLock:
    """The lock while it is held; made by :meth:`BatchLock.held`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @property
    def repairs(self) -> int:
        """How many repairs were begun."""
        written = os.pread(self._handle, 32, 0)
        return int(written) if written else 0

    def begin_repair(self) -> None:
        """Count one more, before its first change: a repair that is killed has changed something too."""
        os.pwrite(self._handle, b"%020d" % (self.repairs + 1), 0)
        os.fsync(self._handle)


class BesideRepairs:
    """Keeps the memory of a writer of a topic true to what is stored, while others repair it.

    Parameters
    ----------
    lock
        The lock of the home.
    forget
        Forgets what the writer remembers of stored rows.
    while_waiting
        See :meth:`BatchLock.held`.
    """

    def __init__(self, lock: BatchLock, forget: Callable[[], None], while_waiting: Callable[[], None]) -> None:
        self._lock = lock
        self._forget = forget
        self._while_waiting = while_waiting
        self._seen: int | None = None

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold the lock for a batch; what was remembered before a repair is forgotten."""
        with self._lock.held(while_waiting=self._while_waiting) as held:
            if held.repairs != self._seen:
                self._forget()
                self._seen = held.repairs
            yield
