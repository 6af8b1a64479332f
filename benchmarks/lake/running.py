"""The stream as a benchmark runs it: watched from outside, by what shows in PostgreSQL and by the memory that it takes."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psutil

from benchmarks.progress import Progress
from market.errors import ServiceError
from market.settings import CHECKOUT, Settings
from warehouse.connection import connect

MEMORY_GOAL_GIB: Final = 3.0
DEADLINE_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.01
_WEIGH_SECONDS: Final = 1.0


@dataclass(slots=True)
class Watch:
    """Notes when each batch of trades becomes visible in PostgreSQL, and the stream's memory.

    Attributes
    ----------
    settings, process
        The platform, and the stream.
    seen_at
        Per ``ingested_at`` of a batch when it was seen, in epoch seconds.
    most_bytes
        The most memory that its processes took, shared pages counted in proportion.
    """

    settings: Settings
    process: subprocess.Popen[bytes]
    seen_at: dict[datetime, float] = field(default_factory=dict)
    most_bytes: int = 0
    _started_at: float = field(default_factory=time.time)
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def most_gib(self) -> float:
        """The most memory that its processes took, in GiB."""
        return self.most_bytes / 2**30

    def look(self) -> None:
        """Look for batches until stopped."""
        question = (
            "select ingested_at from lake.stream_batches where trades > 0 and ingested_at > %s order by ingested_at"
        )
        newest = datetime.fromtimestamp(self._started_at, UTC)
        with connect(self.settings, read_only=True) as connection:
            while not self._stopped.is_set():
                for (ingested_at,) in connection.execute(question, (newest,)).fetchall():
                    self.seen_at[ingested_at] = time.time()
                    newest = ingested_at
                connection.rollback()
                self._stopped.wait(_POLL_SECONDS)

    def weigh(self) -> None:
        """Weigh the processes until stopped."""
        while not self._stopped.wait(_WEIGH_SECONDS):
            self.most_bytes = max(self.most_bytes, memory_of(self.process.pid))

    def stop(self) -> None:
        """End what looks and weighs."""
        self._stopped.set()


def memory_of(pid: int) -> int:
    """Return the memory of a process and its descendants in bytes, shared pages counted in proportion."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
    return total


@contextmanager
def stream(engines: Settings, *, to_the_end: bool = False) -> Iterator[Watch]:
    """Run the stream, watched; stop it at the end of the block, or with ``to_the_end`` wait until it has stopped by itself.

    Raises
    ------
    ServiceError
        If it stopped before it should, or with an error.
    """
    command = [sys.executable, "-m", "spark_jobs.jobs.stream", *(["--to-the-end"] if to_the_end else [])]
    log = engines.home / "stream.log"
    with log.open("a") as output:
        process = subprocess.Popen(command, env=engines.child_environment(), cwd=CHECKOUT, stdout=output, stderr=output)
    watch = Watch(engines, process)
    threads = [threading.Thread(target=target, daemon=True) for target in (watch.look, watch.weigh)]
    for thread in threads:
        thread.start()
    try:
        yield watch
        if to_the_end and process.wait():
            raise ServiceError(f"The stream ended with {process.returncode}: {log.read_text()[-2000:]}")  # noqa: EM102
    finally:
        watch.stop()
        for thread in threads:
            thread.join()
        if process.poll() is None:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


def trade_progress(engines: Settings) -> Progress:
    """Return how many trades were in PostgreSQL after each batch that has one; the clock is that of the database."""
    question = "select trades, published_at from lake.stream_batches where trades > 0 order by published_at"
    with connect(engines, read_only=True) as connection:
        batches: list[Any] = connection.execute(question).fetchall()
    progress = Progress()
    for trades, published_at in batches:
        progress.note(published_at.timestamp(), progress.done + trades)
    return progress


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds.

    Raises
    ------
    ServiceError
        If it does not in time.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            msg = f"The benchmark waited {DEADLINE_SECONDS:g} s in vain for {what}."
            raise ServiceError(msg)
        time.sleep(_POLL_SECONDS)
