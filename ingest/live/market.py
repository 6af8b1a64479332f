"""The simulated live market at work: publishing what is due, and moving its position only past acknowledged records."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Final, Protocol

import structlog

from ingest.feeds.simulated.client import session_tape
from ingest.feeds.ticks import Tape
from ingest.live.position import LivePosition, load_position, save_position
from ingest.live.schedule import Pace, begin, following
from ingest.pacing import Clock
from ingest.publisher import PublishSummary
from market.errors import PublishError, ServiceError
from market.records import Record
from market.sessions import Session, find_session, latest_session

TICK_SECONDS: Final = 0.25
"""How often what has become due is published."""
SAVE_SECONDS: Final = 1.0
HEARTBEAT_EVERY: Final = timedelta(minutes=1)
BURST_RECORDS: Final = 50_000
"""Records between two saves while much is due at once."""
FLUSH_SECONDS: Final = 1.0
RECONNECT_SECONDS: Final = 2.0
STOP_DEADLINE_SECONDS: Final = 5.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_log = structlog.get_logger(__name__)


class Outlet(Protocol):
    """What the market publishes through: :class:`ingest.publisher.Publisher`, open."""

    @property
    def has_losses(self) -> bool:
        """Whether a record failed or became unknown so far."""
        ...

    def publish_all(self, records: Iterable[Record]) -> int:
        """Hand in records and return how many were taken."""
        ...

    def flush(self, timeout_seconds: float) -> int:
        """Wait for what is in flight and return how many records still are."""
        ...

    def close(self, deadline_seconds: float) -> PublishSummary:
        """Give up what is in flight after the deadline, and return the account."""
        ...


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What the market shows, and where it keeps its position."""

    symbols: tuple[str, ...]
    seed: int
    trades_per_day: int
    speed: float
    position_path: Path


class LiveMarket:
    """Shows one session after the other until told to stop.

    Parameters
    ----------
    options
        What to show.
    open_outlet
        Connects to the broker; called again after a loss.
    clock, stop_event
        Time, and when to end.
    """

    def __init__(
        self, options: LiveOptions, open_outlet: Callable[[], Outlet], clock: Clock, stop_event: Event
    ) -> None:
        self._options = options
        self._open_outlet = open_outlet
        self._clock = clock
        self._stop_event = stop_event
        self._saved = load_position(options.position_path)
        self._summary = PublishSummary()
        self._pace: Pace
        self._tape: Tape
        self._terms: tuple[int, int]
        self._next = 0
        self._acknowledged = 0
        self._next_save_at = 0.0

    def run(self) -> PublishSummary:
        """Publish until the stop event is set, and return what became of all records.

        A broker that is away is waited for: nothing more is generated meanwhile, and what was not acknowledged is
        published again with the same identities.
        """
        self._resume()
        while not self._stop_event.is_set():
            try:
                outlet = self._open_outlet()
            except ServiceError as error:
                _log.warning("live_waits_for_broker", cause=str(error))
                self._clock.wait(RECONNECT_SECONDS)
                continue
            self._publish_through(outlet)
        self._save()
        return self._summary

    def _publish_through(self, outlet: Outlet) -> None:
        """Publish through one outlet until it loses a record or it is time to stop."""
        self._next = self._acknowledged
        try:
            while not self._stop_event.is_set():
                self._step(outlet)
                self._clock.wait(TICK_SECONDS)
        except PublishError as error:
            _log.warning("live_publishes_again", from_time=self._shown_through.isoformat(), cause=str(error))
            self._clock.wait(RECONNECT_SECONDS)
        summary = outlet.close(STOP_DEADLINE_SECONDS)
        if summary.is_complete:
            self._acknowledged = self._tape.whole_moments(self._next)
        self._summary = self._summary.plus(summary)

    def _step(self, outlet: Outlet) -> None:
        """Publish what is due, in the order: hand in, wait for acknowledgements, save, go to the next session."""
        due = self._pace.due(self._clock.now())
        stop = self._tape.count_through(_micros(due))
        while self._next < stop and not self._stop_event.is_set():
            burst = self._tape.align(min(self._next + BURST_RECORDS, stop))
            self._next += outlet.publish_all(self._tape.records(self._next, burst))
            if self._next < stop:
                self._checkpoint(outlet)
        if self._next > self._acknowledged and self._clock.monotonic() >= self._next_save_at:
            self._checkpoint(outlet)
        if due >= self._pace.session.post_close_at and self._next == len(self._tape):
            self._checkpoint(outlet)
            if self._acknowledged == len(self._tape):
                self._change_session()

    def _checkpoint(self, outlet: Outlet) -> None:
        """Wait until the broker has everything that was handed in, then move the position there and save it."""
        while outlet.flush(FLUSH_SECONDS) and not self._stop_event.is_set():
            pass
        if outlet.has_losses:
            msg = "The broker did not acknowledge everything in time."
            raise PublishError(msg)
        if not self._stop_event.is_set():
            self._acknowledged = self._next
            self._save()
            self._next_save_at = self._clock.monotonic() + SAVE_SECONDS

    def _resume(self) -> None:
        """Go on from the saved position, or begin with the newest session that has opened."""
        now = self._clock.now()
        saved = self._saved
        session = find_session(saved.session_date) if saved is not None else None
        if saved is None or session is None:
            self._show(begin(latest_session(now), now, self._options.speed), self._options_terms)
            return
        terms = (saved.seed, saved.trades_per_day)
        if terms != self._options_terms:
            _log.warning(
                "live_keeps_seed", session_date=str(saved.session_date), seed=saved.seed, until="the next session"
            )
        self._show(begin(session, now, self._options.speed, saved.shown_through), terms)
        if saved.symbols == self._options.symbols:
            self._acknowledged = self._tape.count_through(_micros(saved.shown_through))

    def _change_session(self) -> None:
        now = self._clock.now()
        session = following(self._pace.session, now)
        self._show(begin(session, now, self._options.speed), self._options_terms)

    def _show(self, pace: Pace, terms: tuple[int, int]) -> None:
        self._pace, self._terms = pace, terms
        self._tape = session_tape(
            self._options.symbols,
            pace.session,
            seed=terms[0],
            trades_per_day=terms[1],
            heartbeat_every=HEARTBEAT_EVERY,
        )
        self._next = self._acknowledged = 0
        _log.info("live_session", session_date=str(pace.session.session_date), ticks=len(self._tape), speed=pace.speed)

    @property
    def _options_terms(self) -> tuple[int, int]:
        return self._options.seed, self._options.trades_per_day

    @property
    def _shown_through(self) -> datetime:
        """Time of the newest acknowledged tick; just before the session if there is none."""
        if self._acknowledged == 0:
            return self._pace.session.pre_open_at - _MICROSECOND
        return _EPOCH + self._tape.time_of(self._acknowledged - 1) * _MICROSECOND

    def _save(self) -> None:
        session: Session = self._pace.session
        position = LivePosition(
            session.session_date, self._shown_through, self._options.symbols, self._terms[0], self._terms[1]
        )
        if position != self._saved:
            save_position(self._options.position_path, position)
            self._saved = position


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
