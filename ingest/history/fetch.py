"""When a source is asked: within its limit, several requests at once, again after a while if it does not answer.

What belongs here: pace, patience and giving up. What does not: what is asked for (:mod:`ingest.history.plan`) and what becomes of
the answers (:mod:`ingest.history.backfill`).
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import structlog
from pyrate_limiter import Limiter, Rate, RateItem, SQLiteBucket
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ingest.history.source import (
    Answer,
    Ask,
    HistorySource,
    Limit,
    QuotaUsedUpError,
    SourceBusyError,
    StoppedError,
    UnansweredError,
    UnreadableAnswerError,
)

ATTEMPTS: Final = 5
"""How often a source is asked for the same before it is given up for this time."""
MOST_FAILURES: Final = 10
"""After so many asks in a row without an answer the source is not asked any more: it is down."""
LONGEST_WAIT_SECONDS: Final = 900.0
"""So long an ask waits in all because the source asks for it; for longer the source is left alone, and one comes again."""
LONGEST_BACKOFF_SECONDS: Final = 60.0
"""So long at most is a pause that the source did not ask for."""
LONGEST_PACE_SECONDS: Final = 600.0
"""Nobody waits longer for a limit: then a quota is used up, and one comes again another time."""

_log = structlog.get_logger(__name__)
_SLICE_SECONDS: Final = 0.05
_NOTICED_SECONDS: Final = 10.0
"""A pause from which on whoever started a command is told of it."""
_MOST_SECONDS: Final = 7 * 86_400.0
"""A longer pause is believed no source: its moment may lie beyond the calendar."""
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of an ask, or of some of its sessions: an answer, or the reason why there is none.

    ``quota`` is why the source is not asked for anything more, if its quota is used up. ``is_unreadable`` is whether it did
    answer, each time with what cannot be read.
    """

    ask: Ask
    answer: Answer | None
    reason: str = ""
    quota: QuotaUsedUpError | None = None
    is_unreadable: bool = False


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
        self._limit = limit
        self._limiter: Limiter | None = None
        self._bucket: SQLiteBucket | None = None
        self.requests = 0
        if limit is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            rates = [Rate(limit.requests, round(limit.seconds * 1000))]
            self._bucket = SQLiteBucket.init_from_file(rates, db_path=str(path), use_file_lock=True)
            self._limiter = Limiter(self._bucket)

    def __call__(self) -> None:
        """Wait until a request is allowed.

        Raises
        ------
        StoppedError
            If somebody asked to stop.
        QuotaUsedUpError
            If it would take longer than :data:`LONGEST_PACE_SECONDS`.
        """
        while not self._stop.is_set():
            with self._lock:
                if self._limiter is None or self._limiter.try_acquire("request", blocking=False):
                    self.requests += 1
                    return
                self._refuse_long_waits()
            self._stop.wait(_SLICE_SECONDS)
        raise StoppedError

    def _refuse_long_waits(self) -> None:
        if self._bucket is None or self._limit is None or self._limit.seconds <= LONGEST_PACE_SECONDS:
            return
        now = round(time.time() * 1000)  # the bucket's clock
        waiting = self._bucket.waiting(RateItem("request", now))
        left = timedelta(milliseconds=waiting if isinstance(waiting, int) else 0)
        if left.total_seconds() > LONGEST_PACE_SECONDS:
            hours = self._limit.seconds / 3600
            msg = f"The {self._limit.requests:,} requests that the source allows in {hours:g} hours are used up."
            raise QuotaUsedUpError(msg, datetime.now(UTC) + left)

    def close(self) -> None:
        """Let go of the file."""
        if self._limiter is not None:
            self._limiter.close()


def fetch_all(
    source: HistorySource, asks: Sequence[Ask], pace: Callable[[], None], stop: threading.Event
) -> Iterator[Fetched]:
    """Yield what becomes of each ask, as it comes; end early when ``stop`` is set.

    When the source's quota is used up, it is not asked for what is left.

    Raises
    ------
    SourceError
        If the source refuses every request.
    """
    left = iter(asks)
    failures = 0
    quota: QuotaUsedUpError | None = None
    with ThreadPoolExecutor(max_workers=source.at_once, thread_name_prefix=f"ask-{source.name}") as pool:
        under_way: dict[Future[list[Fetched]], Ask] = {}

        def begin() -> None:
            while len(under_way) < source.at_once and not stop.is_set() and (ask := next(left, None)) is not None:
                under_way[pool.submit(_fetch, source, ask, pace, stop)] = ask

        try:
            begin()
            while under_way:
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    del under_way[future]
                    for fetched in future.result():
                        failures = 0 if fetched.answer is not None else failures + 1
                        quota = quota or fetched.quota
                        yield fetched
                if quota is not None:
                    yield from (Fetched(ask, None, str(quota), quota) for ask in left)
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
    QuotaUsedUpError
        If it asks for a longer pause than :data:`LONGEST_WAIT_SECONDS`.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(SourceBusyError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=_wait,
        sleep=lambda seconds: _sleep(seconds, stop),
        before_sleep=lambda state: _tell(source, what, state),
        reraise=True,
    )
    return attempts(ask)


def _fetch(source: HistorySource, ask: Ask, pace: Callable[[], None], stop: threading.Event) -> list[Fetched]:
    """Return what became of the sessions of an ask: what was answered of it is not asked for again, whatever ends it.

    It is asked again as often as ever for each part that comes.
    """
    found: list[Fetched] = []
    left, is_unreadable, is_further = ask, True, False

    def fetch_left() -> Answer:
        nonlocal left, is_unreadable, is_further
        try:
            return source.fetch(left, pace)
        except UnansweredError as error:
            is_unreadable = is_unreadable and isinstance(error, UnreadableAnswerError)
            is_further = is_further or error.is_further or error.part is not None
            if error.part is not None:
                found.append(Fetched(*error.part))
                left = Ask(left.symbols, left.interval, left.sessions[len(error.part[0].sessions) :])
            raise

    while True:
        is_further = False
        try:
            answer = asked(source.name, str(ask), fetch_left, stop)
        except StoppedError:
            return found
        except QuotaUsedUpError as error:
            return [*found, Fetched(left, None, str(error), error)]
        except SourceBusyError as error:
            if not is_further:
                return [*found, Fetched(left, None, str(error), is_unreadable=is_unreadable)]
        else:
            return [*found, Fetched(left, answer)]


def _wait(state: RetryCallState) -> float:
    """Return how long the source asked to wait, or a random while that grows with each attempt.

    Raises
    ------
    QuotaUsedUpError
        If that is too long, with the pauses before: to ask sooner would be to ask in vain, and against the source's word.
    """
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, SourceBusyError) or error.after_seconds is None:
        return _BACKOFF(state)
    if state.idle_for + error.after_seconds > LONGEST_WAIT_SECONDS:
        pause = timedelta(seconds=round(min(error.after_seconds, _MOST_SECONDS)))
        msg = f"{error} It asks for a pause of {pause}."
        raise QuotaUsedUpError(msg, datetime.now(UTC) + pause) from error
    return error.after_seconds


_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=LONGEST_BACKOFF_SECONDS)


def _tell(source: str, what: str, state: RetryCallState) -> None:
    seconds = state.upcoming_sleep
    tell = _log.warning if seconds >= _NOTICED_SECONDS else _log.info
    reason = _reason(state)
    tell(
        "source_asked_again",
        source=source,
        ask=what,
        attempt=state.attempt_number,
        seconds=round(seconds, 1),
        reason=reason,
    )


def _reason(state: RetryCallState) -> str:
    return str(state.outcome.exception()) if state.outcome is not None else ""


def _sleep(seconds: float, stop: threading.Event) -> None:
    if stop.wait(seconds):
        raise StoppedError
