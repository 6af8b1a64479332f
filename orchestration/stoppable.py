"""Work in a thread, while the step of a run waits for it: it can be stopped at any time, and ends when its time is up.

Dagster stops a run by an exception in the main thread, anywhere: a thread that is told by an event gets to publish what it has.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import dagster as dg

from ingest.history.source import SourceError

_LOG_EVERY_SECONDS: Final = 15.0
_Progress = TypeVar("_Progress")
_Outcome = TypeVar("_Outcome")


@dataclass(slots=True)
class Watch(Generic[_Progress]):
    """What the thread that works and the one that waits tell each other.

    Attributes
    ----------
    stop
        Set when the work is to end.
    progress
        How far it is.
    time_is_up
        Whether it is to end because its time is up.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: _Progress | None = None
    time_is_up: bool = False

    def note(self, progress: _Progress) -> None:
        """Say how far the work is."""
        self.progress = progress


def carry_out(
    context: dg.AssetExecutionContext,
    work: Callable[[Watch[_Progress]], _Outcome],
    describe: Callable[[_Progress], str],
    *,
    seconds: float,
) -> tuple[_Outcome, Watch[_Progress]]:
    """Return what the work came to. ``describe`` makes lines for the log; after ``seconds`` the work is told to stop.

    Raises
    ------
    Failure
        If the run was stopped, or a source refuses every request: trying again would be no use.
    """
    watch: Watch[_Progress] = Watch()
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="collect") as pool:
            try:
                working = pool.submit(work, watch)
                _wait(context, working, watch, describe, seconds)
                return working.result(), watch
            finally:
                watch.stop.set()  # whatever happened here: the thread ends, and is waited for
    except SourceError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        # Dagster would apply the retry policy: the process would go on and ask, instead of ending.
        msg = "Stopped; what was answered is in the lake. The next run asks for the rest."
        raise dg.Failure(msg, allow_retries=False) from interrupt


def _wait(
    context: dg.AssetExecutionContext,
    working: Future[_Outcome],
    watch: Watch[_Progress],
    describe: Callable[[_Progress], str],
    most_seconds: float,
) -> None:
    """Wait for the end, with a line in the log now and then; ask it to stop when the time is up."""
    started, next_line = time.monotonic(), _LOG_EVERY_SECONDS
    while not working.done():
        wait([working], timeout=1.0)
        seconds = time.monotonic() - started
        if seconds >= most_seconds and not watch.time_is_up:
            watch.time_is_up = True
            watch.stop.set()
        if seconds >= next_line and watch.progress is not None:
            next_line = seconds + _LOG_EVERY_SECONDS
            context.log.info(describe(watch.progress))
