"""Keeps a live source live for a session: connects again, notices silence, fills holes, and says what is covered.

The order in which things happen, of which the truth of the heartbeats depends:

1. What the connection and the history brought is handed to the publisher.
2. What is *proven* counts as delivered: of the connection, all until 15 seconds before the newest thing that it brought, since
   trades are reported late and a silent connection proves nothing; of the history, a hole that was answered whole.
3. Heartbeats for what is delivered are handed to the publisher, which holds them back until all before them is acknowledged.
4. When the broker has acknowledged all of it, it is saved: a process that is started again fills what is not.

If the broker loses something, everything since the last save counts as missed, and is asked for again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Final

import structlog

from ingest.history.source import SourceBusyError
from ingest.live.backoff import OPENS_AFTER, pause_seconds
from ingest.live.connection import Filling, Line
from ingest.live.coverage import MINUTE, Coverage
from ingest.live.covered_file import Covered, load_covered, save_covered
from ingest.live.market import Outlet
from ingest.live.notice import FeedState
from ingest.live.reach import Reach
from ingest.live.source import Delivery, Filled, Hole, LiveSource
from ingest.pacing import Clock
from ingest.publisher import PublishSummary
from market.errors import FeedError, PublishError, ServiceError
from market.records import Heartbeat, Record
from market.sessions import Segment, Session

TICK_SECONDS: Final = 0.25
GRACE: Final = 15_000_000
"""Trades may be reported 10 seconds late; a history has them some seconds later still. In microseconds."""
MUTE_AFTER: Final = timedelta(seconds=60)
"""A connection that brings nothing for so long in regular hours counts as dead."""
STEADY_AFTER: Final = timedelta(seconds=60)
"""A connection that brought something counts as good once it is so old: one that comes and goes is a failure each time."""
SUBSCRIBE_WITHIN: Final = timedelta(seconds=30)
CHECKPOINT_SECONDS: Final = 5.0
SYMBOLS_SECONDS: Final = 60.0
FILLS_FOR: Final = timedelta(minutes=30)
"""How long its last holes are asked for, after a session or after the broker came back."""
FLUSH_SECONDS: Final = 1.0
RECONNECT_SECONDS: Final = 2.0
STOP_DEADLINE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Live:
    """The connection at hand: since when each symbol is live (empty before the subscription), and what it brought last."""

    line: Line
    begun_at: datetime
    heard_at: datetime
    since: dict[str, int] = field(default_factory=dict)
    newest: int = 0


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
        saved = load_covered(self._path)
        if saved is None or saved.session_date != session.session_date:
            return False
        coverage = Coverage(tuple(saved.spans), _span(session), saved.spans)
        return any(coverage.missing(symbol, _span(session)[1]) for symbol in saved.spans)

    def keep(self, session: Session) -> None:
        """Stay live until the session is over and its holes are filled, or the stop event is set.

        A broker that is away is waited for. A session that is over is not connected for: what is missing of it is filled.

        Raises
        ------
        SourceError
            If the source refuses every connection.
        """
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
            self._hang_up()
            self._stop_filling()
        self._log.info("live_session_left", session_date=str(session.session_date), missing=self._count_missing())

    def _begin(self, session: Session) -> None:
        now = self._clock.now()
        self._session = session
        saved = load_covered(self._path)
        is_same = saved is not None and saved.session_date == session.session_date
        if saved is not None and not is_same:
            self._log.info("live_covered_forgotten", session_date=str(saved.session_date))
        known = saved.spans if saved is not None and is_same else {}
        self._symbols = self._reach.symbols() if now < session.post_close_at else tuple(sorted(known))
        self._coverage = Coverage(self._symbols, _span(session), known)
        self._saved: Covered | None = None
        self._save()  # whoever comes after a kill knows that this session was begun, and with which symbols
        self._live: _Live | None = None
        self._filling: tuple[Hole, Filling] | None = None
        self._failures = self._fill_failures = 0
        self._connect_at = self._fill_at = self._checkpoint_at = 0.0
        self._symbols_at = self._clock.monotonic() + SYMBOLS_SECONDS
        self._passed_over: Counter[str] = Counter()
        self._is_done = self._is_cut = False
        self._log.info("live_session", session_date=str(session.session_date), symbols=len(self._symbols))

    def _is_over(self) -> bool:
        return self._is_done or self._stop_event.is_set()

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
        self._take(outlet, now)
        self._take_filled(outlet)
        self._watch(now)
        self._begin_filling(now)
        if self._clock.monotonic() >= self._checkpoint_at:
            self._checkpoint(outlet)
            self._checkpoint_at = self._clock.monotonic() + CHECKPOINT_SECONDS
            self._is_done = self._has_ended(now)

    def _take(self, outlet: Outlet, now: datetime) -> None:
        """Hand over what the connection brought."""
        live, records = self._live, list[Record]()
        for delivery in live.line.take() if live is not None else ():
            assert live is not None
            if delivery.is_acknowledgement and not live.since:
                live.since = dict.fromkeys(self._symbols, _micros(now) + GRACE)
                live.heard_at = now
                self._log.info("live_subscribed", symbols=len(self._symbols))
                self._reach.tell(FeedState.LIVE, "")
            if delivery.records or delivery.unreadable or delivery.passed_over:
                self._heard(live, delivery, now)
            records += delivery.records
            self._passed_over.update(delivery.passed_over)
        self._hand_over(outlet, records)

    def _hand_over(self, outlet: Outlet, records: Sequence[Record]) -> None:
        """Publish records; if the stop event comes before the last of them, nothing may be claimed any more."""
        if records and outlet.publish_all(records) < len(records):
            self._is_cut = True

    def _heard(self, live: _Live, delivery: Delivery, now: datetime) -> None:
        live.heard_at = now
        moment = _micros(now)
        live.newest = max(live.newest, *(min(record.ts, moment) for record in delivery.records), 0)
        if self._failures and now - live.begun_at >= STEADY_AFTER:
            self._log.info("live_back", failures=self._failures, circuit="closed")
            self._failures = 0
        for symbol in delivery.unreadable & live.since.keys():
            self._log.warning("live_trade_unreadable", symbol=symbol)
            self._deliver_live(live, (symbol,))
            live.since[symbol] = _micros(now) + GRACE

    def _watch(self, now: datetime) -> None:
        """Connect if it is time for that, and end a connection that has ended, or may as well have."""
        session, live = self._session, self._live
        if now >= session.post_close_at or now < session.pre_open_at:
            if live is not None and now >= session.post_close_at + timedelta(microseconds=GRACE):
                self._hang_up()
            return
        self._renew_symbols(now)
        if self._live is None:
            if self._clock.monotonic() >= self._connect_at and self._symbols:
                self._log.info("live_connects", symbols=len(self._symbols), failures=self._failures)
                if not self._failures:
                    self._reach.tell(FeedState.CONNECTING, "")
                self._live = _Live(self._reach.connect(self._symbols), now, now)
        elif (error := self._live.line.error) is not None:
            self._failed(error)
        elif not self._live.since and now - self._live.begun_at >= SUBSCRIBE_WITHIN:
            self._failed(SourceBusyError("The subscription was not acknowledged in time."))
        elif self._is_mute(self._live, now):
            quiet = round((now - self._live.heard_at).total_seconds())
            self._failed(SourceBusyError(f"The connection is open, but brought nothing for {quiet} s in market hours."))

    def _is_mute(self, live: _Live, now: datetime) -> bool:
        quiet_since = max(live.heard_at, self._session.open_at)
        return self._session.segment(now) is Segment.REGULAR and now - quiet_since >= MUTE_AFTER

    def _failed(self, error: FeedError) -> None:
        """Leave a connection, and say when the next is due.

        Raises
        ------
        SourceError
            If there is none to be had.
        """
        self._hang_up()
        if not isinstance(error, SourceBusyError):
            self._log.error("live_refused", cause=str(error))
            self._reach.tell(FeedState.REFUSED, str(error))
            raise error
        self._failures += 1
        seconds = pause_seconds(self._failures, error)
        circuit = "open" if self._failures >= OPENS_AFTER else "closed"
        self._log.warning(
            "live_connection_lost",
            cause=str(error),
            failures=self._failures,
            circuit=circuit,
            again_in_s=round(seconds, 1),
        )
        self._reach.tell(FeedState.DISCONNECTED, str(error))
        self._connect_at = self._clock.monotonic() + seconds

    def _hang_up(self) -> None:
        """Leave the connection; what it has proven stays delivered, to the microsecond."""
        if self._live is not None:
            live, self._live = self._live, None
            live.line.close()
            self._deliver_live(live, tuple(live.since))

    def _renew_symbols(self, now: datetime) -> None:
        """See whether other symbols are wanted; if so, subscribe anew."""
        if self._clock.monotonic() < self._symbols_at:
            return
        self._symbols_at = self._clock.monotonic() + SYMBOLS_SECONDS
        wanted = self._reach.symbols()
        if wanted != self._symbols:
            self._log.info("live_symbols_changed", symbols=len(wanted), at=now.isoformat())
            self._hang_up()
            self._symbols = wanted
            self._coverage.follow(wanted)

    def _deliver_live(self, live: _Live, symbols: Sequence[str], step: int = 1) -> None:
        """Note as delivered what the connection has proven, in whole steps."""
        proven = live.newest - GRACE
        for symbol in symbols:
            self._coverage.deliver(symbol, (live.since[symbol], proven - proven % step))

    def _begin_filling(self, now: datetime) -> None:
        if self._filling is not None or self._clock.monotonic() < self._fill_at:
            return
        self._fill_at = self._clock.monotonic() + 1.0
        holes = self._coverage.holes(self._fillable(now), self._source.longest_hole_hours)
        if holes:
            self._log.info("live_hole_asked_for", **_shown(holes[0]), holes=len(holes))
            self._filling = holes[0], self._reach.fill(holes[0])

    def _fillable(self, now: datetime) -> Mapping[str, int]:
        """Return until when the history may be asked, by symbol: until the connection took over, a little later."""
        moment, end = _micros(now), _span(self._session)[1]
        if self._live is not None and self._live.since:
            return {symbol: since for symbol, since in self._live.since.items() if since + GRACE <= moment}
        until = moment - 2 * GRACE
        return dict.fromkeys(self._symbols, min(until - until % MINUTE, end))

    def _take_filled(self, outlet: Outlet) -> None:
        """Hand over what the history brought, and count a hole as delivered when all of it was handed over."""
        if self._filling is None:
            return
        hole, filling = self._filling
        self._hand_over(outlet, filling.take())
        outcome = filling.outcome
        if outcome is None:
            return
        self._filling = None
        if isinstance(outcome, Filled):
            self._filled(hole, outcome)
            return
        self._fill_failures += 1
        seconds = pause_seconds(self._fill_failures, outcome)
        self._fill_at = self._clock.monotonic() + seconds
        self._log.warning("live_hole_not_filled", **_shown(hole), cause=str(outcome), again_in_s=round(seconds, 1))

    def _filled(self, hole: Hole, outcome: Filled) -> None:
        self._fill_failures = 0
        self._fill_at = self._clock.monotonic()
        for symbol in hole.symbols:
            if symbol in outcome.unfilled:
                self._coverage.give_up(symbol, (hole.since, hole.until))
                self._log.warning("live_hole_stays", symbol=symbol, **_shown(hole), cause=outcome.reason)
            else:
                self._coverage.deliver(symbol, (hole.since, hole.until))
        self._log.info("live_hole_filled", **_shown(hole))

    def _checkpoint(self, outlet: Outlet) -> None:
        """Claim what is delivered, and save what the broker has acknowledged."""
        if self._is_cut:
            return
        if self._live is not None:
            self._deliver_live(self._live, tuple(self._live.since), step=MINUTE)
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
        if self._passed_over:
            self._log.info("live_passed_over", **self._passed_over)
            self._passed_over.clear()

    def _save(self) -> None:
        covered = Covered(self._session.session_date, self._coverage.acknowledged)
        if covered != self._saved:
            save_covered(self._path, covered)
            self._saved = covered

    def _lose(self) -> None:
        """Count everything that the broker has not acknowledged as missed."""
        self._coverage.forget()
        self._stop_filling()
        if self._live is not None:
            self._live.since = dict.fromkeys(self._live.since, _micros(self._clock.now()) + GRACE)

    def _stop_filling(self) -> None:
        if self._filling is not None:
            self._filling[1].close()
            self._filling = None

    def _has_ended(self, now: datetime) -> bool:
        """Whether the session is over and there is nothing left to do, or no more time to do it."""
        if _micros(now) < _span(self._session)[1] + 2 * GRACE or self._coverage.unclaimed():
            return False
        return now >= self._deadline or (self._filling is None and not self._count_missing())

    def _count_missing(self) -> int:
        """Return of how many symbols something is missing that was not given up."""
        end = min(_span(self._session)[1], _micros(self._clock.now()))
        return sum(1 for symbol in self._symbols if self._coverage.missing(symbol, end))


def _span(session: Session) -> tuple[int, int]:
    return _micros(session.pre_open_at), _micros(session.post_close_at)


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _shown(hole: Hole) -> dict[str, str]:
    return {"symbols": ",".join(hole.symbols), "since": str(hole.since), "until": str(hole.until)}
