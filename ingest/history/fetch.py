"""When a source is asked: within its limit, several requests at once, again after a while if it does not answer.

What belongs here: pace, patience and giving up. What does not: what is asked for (:mod:`ingest.history.plan`) and what becomes of
the answers (:mod:`ingest.history.backfill`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import structlog
from pyrate_limiter import Limiter, Rate, SQLiteBucket
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ingest.history.source import Answer, Ask, HistorySource, Limit, SourceBusyError

ATTEMPTS: Final = 5
"""How often a source is asked for the same before it is given up for this time."""
MOST_FAILURES: Final = 10
"""After so many asks in a row without an answer the source is not asked any more: it is down."""
LONGEST_WAIT_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)
_SLICE_SECONDS: Final = 0.05
_Answer = TypeVar("_Answer")


class StoppedError(Exception):
    """Somebody asked to stop."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of an ask: an answer, or the reason why there is none."""

    ask: Ask
    answer: Answer | None
    reason: str = ""


class Pace:
    """Lets requests pass within a source's limit, and counts them.

    The requests of the last seconds are kept in a file: a process that is started again, and others of the same home, keep the
    limit together.

    Parameters
    ----------
    limit
        The limit; ``None`` lets everything pass.
    path
        The file.
    stop
        Ends every wait.
    """

    def __init__(self, limit: Limit | None, path: Path, stop: threading.Event) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._limiter: Limiter | None = None
        self.requests = 0
        if limit is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            rates = [Rate(limit.requests, round(limit.seconds * 1000))]
            self._limiter = Limiter(SQLiteBucket.init_from_file(rates, db_path=str(path), use_file_lock=True))

    def __call__(self) -> None:
        """Wait until a request is allowed.

        Raises
        ------
        StoppedError
            If somebody asked to stop.
        """
        while not self._stop.is_set():
            with self._lock:
                if self._limiter is None or self._limiter.try_acquire("request", blocking=False):
                    self.requests += 1
                    return
            self._stop.wait(_SLICE_SECONDS)
        raise StoppedError

    def close(self) -> None:
        """Let go of the file."""
        if self._limiter is not None:
            self._limiter.close()


def fetch_all(
    source: HistorySource, asks: Sequence[Ask], pace: Callable[[], None], stop: threading.Event
) -> Iterator[Fetched]:
    """Yield what becomes of each ask, as it comes; end early when ``stop`` is set.

    Raises
    ------
    SourceError
        If the source refuses every request.
    """
    left = iter(asks)
    failures = 0
    with ThreadPoolExecutor(max_workers=source.at_once, thread_name_prefix=f"ask-{source.name}") as pool:
        under_way: dict[Future[Fetched], Ask] = {}

        def begin() -> None:
            while len(under_way) < source.at_once and not stop.is_set() and (ask := next(left, None)) is not None:
                under_way[pool.submit(_fetch, source, ask, pace, stop)] = ask

        try:
            begin()
            while under_way:
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    del under_way[future]
                    try:
                        fetched = future.result()
                    except StoppedError:
                        continue
                    failures = 0 if fetched.answer is not None else failures + 1
                    yield fetched
                if failures >= MOST_FAILURES:
                    reason = f"{source.name} did not answer {failures} times in a row and was not asked any more"
                    yield from (Fetched(ask, None, reason) for ask in left)
                begin()
        finally:
            for future in under_way:
                future.cancel()


def asked(source: str, what: str, ask: Callable[[], _Answer], stop: threading.Event) -> _Answer:
    """Ask, and ask again after a while if the source is busy, a few times; ``what`` is for the log.

    Raises
    ------
    SourceBusyError
        If it still is.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(SourceBusyError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=_wait,
        sleep=lambda seconds: _sleep(seconds, stop),
        before_sleep=lambda state: _log.info(
            "source_asked_again", source=source, ask=what, attempt=state.attempt_number, reason=_reason(state)
        ),
        reraise=True,
    )
    return attempts(ask)


def _fetch(source: HistorySource, ask: Ask, pace: Callable[[], None], stop: threading.Event) -> Fetched:
    try:
        return Fetched(ask, asked(source.name, str(ask), lambda: source.fetch(ask, pace), stop))
    except SourceBusyError as error:
        return Fetched(ask, None, str(error))


def _wait(state: RetryCallState) -> float:
    """Return how long the source asked to wait, or a random while that grows with each attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, SourceBusyError) and error.after_seconds is not None:
        return min(error.after_seconds, LONGEST_WAIT_SECONDS)
    return _BACKOFF(state)


_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT_SECONDS)


def _reason(state: RetryCallState) -> str:
    return str(state.outcome.exception()) if state.outcome is not None else ""


def _sleep(seconds: float, stop: threading.Event) -> None:
    if stop.wait(seconds):
        raise StoppedError
