"""Keeps a live source live for a session: publishes what comes, fills holes, and says what is covered.

The order in which things happen, of which the truth of the heartbeats depends:

1. What the connection and the history brought is handed to the publisher.
2. What is *proven* counts as delivered: of the connection, all until 15 seconds before the newest thing that it brought, since
   trades are reported late and a silent connection proves nothing, but not the time of a lull (:mod:`ingest.live.lull`); of the
   history, a hole that was answered whole after it had settled.
3. Heartbeats for what is delivered are handed to the publisher, which holds them back until all before them is acknowledged.
4. When the broker has acknowledged all of it, it is saved: a process that is started again fills what is not.

If the broker loses something, everything since the last save counts as missed, and is asked for again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Final

import structlog

from ingest.live.coverage import Coverage, micros, span_of
from ingest.live.covered_file import Covered, load_covered, save_covered
from ingest.live.filler import Filler
from ingest.live.link import GRACE, Link
from ingest.live.market import Outlet
from ingest.live.reach import Reach
from ingest.live.source import LiveSource
from ingest.pacing import Clock
from ingest.publisher import PublishSummary
from market.errors import PublishError, ServiceError
from market.records import Heartbeat, Record
from market.sessions import Session

TICK_SECONDS: Final = 0.25
CHECKPOINT_SECONDS: Final = 5.0
FILLS_FOR: Final = timedelta(minutes=30)
"""How long its last holes are asked for, after a session or after the broker came back."""
FLUSH_SECONDS: Final = 1.0
RECONNECT_SECONDS: Final = 2.0
STOP_DEADLINE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Keeper:
    """Keeps one source live.

    Parameters
    ----------
    source
        The source.
    reach
        The world.
    path
        Where it is kept what is covered.
    clock, stop_event
        Time, and when to end.
    """

    def __init__(self, source: LiveSource, reach: Reach, path: Path, clock: Clock, stop_event: Event) -> None:
        self._source = source
        self._reach = reach
        self._path = path
        self._clock = clock
        self._stop_event = stop_event
        self._log = _log.bind(source=source.name)
        self.summary = PublishSummary()

    def has_unfinished(self, session: Session) -> bool:
        """Whether an earlier process began with a session that is over, and some of it is missing."""
        saved = load_covered(self._path, session.session_date)
        if saved is None:
            return False
        coverage = Coverage(tuple(saved.spans), span_of(session), saved.spans)
        return any(coverage.missing(symbol, span_of(session)[1]) for symbol in saved.spans)

    def keep(self, session: Session, until: datetime) -> None:
        """Stay live until the session is over and its holes are filled, or ``until`` at the latest, or the stop event is set.

        A broker that is away is waited for. A session that is over is not connected for: what is missing of it is filled.

        Raises
        ------
        SourceError
            If the source refuses every connection.
        """
        self._until = until
        self._begin(session)
        try:
            while not self._is_over():
                try:
                    outlet = self._reach.open_outlet()
                except ServiceError as error:
                    self._log.warning("live_waits_for_broker", cause=str(error))
                    self._clock.wait(RECONNECT_SECONDS)
                    continue
                self._deadline = max(session.post_close_at, self._clock.now()) + FILLS_FOR
                self._publish_through(outlet)
        finally:
            self._link.close()
            self._filler.stop()
        self._log.info("live_session_left", session_date=str(session.session_date), missing=self._count_missing())

    def _begin(self, session: Session) -> None:
        now = self._clock.now()
        self._session = session
        saved = load_covered(self._path, session.session_date)
        known = saved.spans if saved is not None else {}
        symbols = self._reach.symbols() if now < session.post_close_at else tuple(sorted(known))
        self._coverage = Coverage(symbols, span_of(session), known)
        self._link = Link(self._source, self._reach, self._clock, session, self._coverage)
        self._filler = Filler(self._source, self._reach, self._clock, self._coverage)
        self._saved: Covered | None = None
        self._save()  # whoever comes after a kill knows that this session was begun, and with which symbols
        self._checkpoint_at = 0.0
        self._is_done = self._is_cut = False
        self._log.info("live_session", session_date=str(session.session_date), symbols=len(symbols))

    def _is_over(self) -> bool:
        return self._is_done or self._stop_event.is_set() or self._clock.now() >= self._until

    def _publish_through(self, outlet: Outlet) -> None:
        """Publish through one outlet until it loses something, or it is time to stop."""
        try:
            while not self._is_over():
                self._tick(outlet)
                self._clock.wait(TICK_SECONDS)
            self._checkpoint(outlet)
        except PublishError as error:
            self._log.warning("live_publishes_again", cause=str(error))
            self._lose()
            self._clock.wait(RECONNECT_SECONDS)
        finally:
            self.summary = self.summary.plus(outlet.close(STOP_DEADLINE_SECONDS))

    def _tick(self, outlet: Outlet) -> None:
        """Do what is due, in the order that the module's text says."""
        now = self._clock.now()
        self._hand_over(outlet, self._link.take(now))
        self._hand_over(outlet, self._filler.take())
        self._filler.conclude()
        self._link.watch(now)
        self._filler.begin(self._link.fillable(now), now)
        if self._clock.monotonic() >= self._checkpoint_at:
            self._checkpoint(outlet)
            self._checkpoint_at = self._clock.monotonic() + CHECKPOINT_SECONDS
            self._is_done = self._has_ended(now)

    def _hand_over(self, outlet: Outlet, records: Sequence[Record]) -> None:
        """Publish records; if the stop event comes before the last of them, nothing may be claimed any more."""
        if records and outlet.publish_all(records) < len(records):
            self._is_cut = True

    def _checkpoint(self, outlet: Outlet) -> None:
        """Claim what is delivered, and save what the broker has acknowledged."""
        if self._is_cut:
            return
        self._link.prove()
        due = self._coverage.unclaimed()
        beats = (
            [Heartbeat(self._source.name, symbol, *span) for symbol, span in due]
            if self._source.has_every_trade
            else []
        )
        if outlet.publish_all(beats) < len(beats):
            return
        for symbol, span in due:
            self._coverage.claim(symbol, span)
        in_flight = outlet.flush(FLUSH_SECONDS)
        if outlet.has_losses:
            msg = "The broker did not acknowledge everything in time."
            raise PublishError(msg)
        if not in_flight:
            self._coverage.acknowledge()
            self._save()
        if self._link.passed_over:
            self._log.info("live_passed_over", **self._link.passed_over)
            self._link.passed_over.clear()

    def _save(self) -> None:
        covered = Covered(self._session.session_date, self._coverage.acknowledged)
        if covered != self._saved:
            save_covered(self._path, covered)
            self._saved = covered

    def _lose(self) -> None:
        """Count everything that the broker has not acknowledged as missed."""
        self._coverage.forget()
        self._filler.stop()
        self._link.begin_anew(self._clock.now())

    def _has_ended(self, now: datetime) -> bool:
        """Whether the session is over and there is nothing left to do, or no more time to do it."""
        if micros(now) < span_of(self._session)[1] + 2 * GRACE or self._coverage.unclaimed():
            return False
        return now >= self._deadline or not (self._filler.is_busy or self._count_missing())

    def _count_missing(self) -> int:
        """Return of how many symbols something is missing that was not given up."""
        end = min(span_of(self._session)[1], micros(self._clock.now()))
        return sum(1 for symbol in self._link.symbols if self._coverage.missing(symbol, end))
