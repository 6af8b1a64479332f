"""Work in a thread, while the step of a run waits for it: it can be stopped at any time, and ends when its time is up.

Dagster stops a run by an exception in the main thread, anywhere: a thread that is told by an event gets to publish what it has.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import dagster as dg

from ingest.history.source import SourceError
from orchestration.attempts import REFUSED_TAG

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
    is_interrupted
        Whether it is to end because somebody ended the run: what it came to is reported, and the run fails then.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: _Progress | None = None
    time_is_up: bool = False
    is_interrupted: bool = False

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

    So it is where somebody ends the run: what was complete by then counts. It is for the caller to say, and then to end by
    :func:`stopped`.

    Raises
    ------
    Failure
        If the run was stopped again meanwhile, or a source refuses every request: trying again would be no use.
    """
    watch: Watch[_Progress] = Watch()
    # Told by itself whether the work began: whoever ends the run may do so in the middle of the thread's start.
    working: Future[_Outcome] = Future()
    thread = threading.Thread(target=_carry, args=(working, work, watch), name="collect")
    try:
        try:
            thread.start()
            _wait(context, working, watch, describe, seconds)
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
            watch.is_interrupted = True
        finally:
            watch.stop.set()  # whatever happened here: the work ends, and is waited for
            if not working.cancel():
                wait([working])
        if working.cancelled():
            raise stopped()
        return working.result(), watch
    except SourceError as error:
        context.instance.add_run_tags(context.run.run_id, {REFUSED_TAG: "true"})
        raise dg.Failure(str(error), allow_retries=False) from error
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        raise stopped() from interrupt


def _carry(working: Future[_Outcome], work: Callable[[Watch[_Progress]], _Outcome], watch: Watch[_Progress]) -> None:
    if not working.set_running_or_notify_cancel():
        return
    try:
        working.set_result(work(watch))
    except BaseException as error:  # noqa: BLE001 - as a pool does: whoever asks for the result gets it
        working.set_exception(error)


def stopped() -> dg.Failure:
    """Return how a run ends that somebody ended. Dagster would apply the retry policy: it would go on and ask."""
    return dg.Failure("Stopped; what was answered is in the lake. The next run asks for the rest.", allow_retries=False)


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
