"""The connection of a live source in a session: when there is one, which symbols it brings, and what it has proven.

What belongs here: connecting again, silence, and the symbols that a source takes or refuses. What does not: what is published and
claimed, and holes (:mod:`ingest.live.keeper`).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from ingest.history.source import SourceBusyError, SourceError
from ingest.live.allowance import Allowance
from ingest.live.backoff import connection_pause_seconds, is_open
from ingest.live.connection import Line
from ingest.live.coverage import MINUTE, Coverage, micros, span_of
from ingest.live.lull import Lulls
from ingest.live.notice import FeedState
from ingest.live.reach import Reach
from ingest.live.silence import Silence, Verdict
from ingest.live.source import Delivery, LiveSource
from ingest.pacing import Clock
from market.errors import FeedError
from market.records import Record
from market.sessions import Segment, Session

GRACE: Final = 15_000_000
"""Trades may be reported 10 seconds late; a history has them some seconds later still. In microseconds."""
SILENT_AFTER: Final = timedelta(seconds=60)
"""If a connection brings nothing for so long in regular hours, the history is asked whether anything happened."""
MUTE_AFTER: Final = timedelta(minutes=5)
"""A connection that brings nothing for so long counts as dead if the history does not answer either."""
STEADY_AFTER: Final = timedelta(seconds=60)
"""A connection that brought something counts as good once it is so old: one that comes and goes is a failure each time."""
SUBSCRIBE_WITHIN: Final = timedelta(seconds=30)
REFUSAL_ENDS_WITHIN: Final = timedelta(seconds=5)
"""A connection that ends so soon after it refused symbols ended because of that."""
SYMBOLS_SECONDS: Final = 60.0

_MOST_NAMED: Final = 20


@dataclass(slots=True)
class _Live:
    """The connection at hand.

    Attributes
    ----------
    heard_at, quiet_at
        When it brought something, and until when the history said that nothing happened.
    asked, asked_at, is_answered, refused_at
        Which symbols were asked for last, and what became of it.
    since, newest
        Since when each of its symbols is live, and the newest thing that it brought; UTC epoch microseconds.
    lulls, after_lull
        How long it brought nothing; ``None`` until a symbol is live. And since when it is live after the last that was too long.
    """

    line: Line
    begun_at: datetime
    heard_at: datetime
    quiet_at: datetime
    asked: tuple[str, ...]
    asked_at: datetime
    is_answered: bool = False
    refused_at: datetime | None = None
    since: dict[str, int] = field(default_factory=dict)
    newest: int = 0
    lulls: Lulls | None = None
    after_lull: int = 0


class Link:
    """Connects to one source while a session is on, and again whenever that ends.

    Parameters
    ----------
    source
        The source.
    reach
        The world.
    clock
        Time.
    session
        When to be connected.
    coverage
        Of the symbols that are wanted at first, in order of worth; is told what the connection has proven.
    """

    def __init__(self, source: LiveSource, reach: Reach, clock: Clock, session: Session, coverage: Coverage) -> None:
        self._source = source
        self._silence = Silence(reach)
        self._silence_at = 0.0
        self._reach = reach
        self._clock = clock
        self._session = session
        self._coverage = coverage
        self._log = structlog.get_logger(__name__).bind(source=source.name)
        self._live: _Live | None = None
        self._failures = 0
        self._silent_since: float | None = None  # since the first failure after something came
        self._connect_at = 0.0
        self._symbols_at = clock.monotonic() + SYMBOLS_SECONDS
        self._allowance = Allowance()
        self._refusal = ""
        self._streamed: frozenset[str] = frozenset()
        self._left_out: tuple[str, ...] = ()
        self.symbols = tuple(coverage.acknowledged)
        self.passed_over: Counter[str] = Counter()

    def take(self, now: datetime) -> list[Record]:
        """Return what the connection has brought since the last time."""
        live, records = self._live, list[Record]()
        for delivery in live.line.take() if live is not None else ():
            assert live is not None
            if delivery.subscribed is not None:
                self._subscribed(live, delivery.subscribed, now)
            if delivery.too_many:
                self._refused(live, delivery, now)
            if not delivery.is_old and (delivery.records or delivery.unreadable or delivery.passed_over):
                self._heard(live, delivery, now)
            records += delivery.records
            self.passed_over.update(delivery.passed_over)
        return records + self._silence.take()

    def watch(self, now: datetime) -> None:
        """Do what is due: connect, ask for other symbols, or end a connection that has ended, or may as well have.

        Raises
        ------
        SourceError
            If there is no connection to be had.
        """
        session, live = self._session, self._live
        if now >= session.post_close_at or now < session.pre_open_at:
            if live is not None and now >= session.post_close_at + timedelta(microseconds=GRACE):
                self.hang_up()
            return
        self._renew_symbols()
        if live is None:
            if self._clock.monotonic() >= self._connect_at and self.symbols:
                self._connect(now)
        elif (error := live.line.error) is not None:
            self._failed(error, now)
        elif not live.is_answered and now - live.asked_at >= SUBSCRIBE_WITHIN and not live.since:
            self._failed(SourceBusyError("The subscription was not acknowledged in time."), now)
        elif self._is_mute(live, now):
            quiet = round((now - live.heard_at).total_seconds())
            msg = f"The connection is open, but brought nothing for {quiet} s in market hours."
            self._failed(SourceBusyError(msg), now)
        else:
            self._ask(live, now)

    def prove(self, step: int = MINUTE) -> None:
        """Note as delivered what the connection has proven, in whole steps."""
        if self._live is not None:
            self._deliver(self._live, tuple(self._live.since), step)

    def fillable(self, now: datetime) -> Mapping[str, int]:
        """Return until when the history may be asked, by symbol: until the connection took over, a little later.

        While there is none, until the last whole step of the source: its limit is for other requests, too.
        """
        moment, end = micros(now), span_of(self._session)[1]
        until = moment - max(2 * GRACE, self._lag)
        step = (self._source.hole_size.joins_minutes or 1) * MINUTE
        whole = min(until - until % step, end)
        if self._live is not None and self._live.since:
            # A list that is quiet again and again would be asked for at each lull: what lies before the last, once a step.
            due, after_lull = moment - max(GRACE, self._lag), self._live.after_lull
            return {
                symbol: since if since <= due and since != after_lull else min(since, whole)
                for symbol, since in self._live.since.items()
            }
        return dict.fromkeys(self.symbols, whole)

    def begin_anew(self, now: datetime) -> None:
        """Count what the connection brought until now as missed: the broker may not have it."""
        if self._live is not None:
            self._live.since = dict.fromkeys(self._live.since, micros(now) + GRACE)

    def hang_up(self) -> None:
        """Leave the connection; what it has proven stays delivered, to the microsecond."""
        if self._live is not None:
            live, self._live = self._live, None
            live.line.close()
            self._silence.stop()
            self._deliver(live, tuple(live.since))

    def close(self) -> None:
        """Leave the connection for good: nothing is to be mended any more."""
        self.hang_up()
        self._reach.warn("")

    def _connect(self, now: datetime) -> None:
        symbols = self._due_symbols()
        self._log.info("live_connects", symbols=len(symbols), failures=self._failures)
        if not self._failures:
            self._reach.tell(FeedState.CONNECTING, "")
        self._live = _Live(self._reach.connect(symbols), now, now, now, symbols, now)

    def _renew_symbols(self) -> None:
        """See whether other symbols are wanted."""
        if self._clock.monotonic() < self._symbols_at:
            return
        self._symbols_at = self._clock.monotonic() + SYMBOLS_SECONDS
        wanted = self._reach.symbols()
        if wanted != self.symbols:
            self._log.info("live_symbols_changed", symbols=len(wanted))
            self.symbols = wanted
            self._coverage.follow(wanted)

    def _due_symbols(self) -> tuple[str, ...]:
        """Return the symbols to subscribe to, as many as the source allows: those that stream, then the others in their order."""
        in_order = sorted(self.symbols, key=lambda symbol: symbol not in self._streamed)
        return tuple(in_order[: self._allowance.next(len(in_order))])

    def _ask(self, live: _Live, now: datetime) -> None:
        """Ask for what is due, one thing at a time; if nothing is, say which symbols are left out."""
        if not live.is_answered and now - live.asked_at < SUBSCRIBE_WITHIN:
            return
        due = self._due_symbols()
        if set(due) != set(live.asked):
            live.line.subscribe(due)
            live.asked, live.asked_at, live.is_answered = due, now, False
            return
        left_out = tuple(symbol for symbol in self.symbols if symbol not in live.since)
        if left_out != self._left_out:
            self._left_out = left_out
            self._say_left_out(len(live.since))

    def _say_left_out(self, streamed: int) -> None:
        if not self._left_out:
            self._reach.warn("")
            return
        why = self._refusal or "Their subscription was not acknowledged."
        more = f" and {len(self._left_out) - _MOST_NAMED} more" if len(self._left_out) > _MOST_NAMED else ""
        names = f"{', '.join(self._left_out[:_MOST_NAMED])}{more}"
        self._log.warning("live_symbols_left_out", symbols=",".join(self._left_out), live=streamed, cause=why)
        self._reach.warn(
            f"{self._source.name} streams {streamed} of {len(self.symbols)} symbols and leaves out {names}. {why}"
        )

    def _subscribed(self, live: _Live, symbols: Collection[str], now: datetime) -> None:
        gone = [symbol for symbol in live.since if symbol not in symbols]
        self._deliver(live, gone)
        for symbol in gone:
            del live.since[symbol]
        was_live = bool(live.since)
        for symbol in live.asked:
            if symbol in symbols:
                live.since.setdefault(symbol, micros(now) + GRACE)
        if live.since and not was_live:
            live.heard_at = now
            live.lulls = Lulls(self._session, micros(now), counts_outside=self._source.has_every_trade)
            self._reach.tell(FeedState.LIVE, "")
        self._streamed = frozenset(live.since)
        if all(symbol in live.since for symbol in live.asked):
            live.is_answered = True
            self._allowance.take(len(live.asked))
            self._log.info("live_subscribed", symbols=len(live.asked))

    def _refused(self, live: _Live, delivery: Delivery, now: datetime) -> None:
        """Note that these are too many symbols; the next tick asks for fewer.

        Raises
        ------
        SourceError
            If one alone is.
        """
        self._allowance.refuse(delivery.too_many)
        self._refusal = delivery.refusal
        if not self._allowance.next(len(self.symbols)):
            self._failed(SourceError(delivery.refusal), now)
        live.asked, live.is_answered, live.refused_at = tuple(live.since), True, now

    def _heard(self, live: _Live, delivery: Delivery, now: datetime) -> None:
        live.heard_at = now
        moment = micros(now)
        self._doubt_lull(live, [record.ts for record in delivery.records], moment)
        live.newest = max(live.newest, *(min(record.ts, moment) for record in delivery.records), 0)
        self._silent_since = None
        if self._failures and now - live.begun_at >= STEADY_AFTER:
            self._log.info("live_back", failures=self._failures, circuit="closed")
            self._failures = 0
        for symbol in delivery.unreadable & live.since.keys():
            self._log.warning("live_trade_unreadable", symbol=symbol)
            self._deliver(live, (symbol,))
            live.since[symbol] = moment + GRACE

    def _doubt_lull(self, live: _Live, stated: Sequence[int], moment: int) -> None:
        """Count a long lull as missing, as if the connection was made now, and any time before the first thing that it brought.

        The vendor may have dropped what happened meanwhile.
        """
        if live.lulls is None or not stated:
            return
        lull = live.lulls.longest(stated, moment)
        if lull:
            self._log.info("live_lull", seconds=round(lull / 1_000_000), symbols=len(live.since))
            self._deliver(live, tuple(live.since))
            live.after_lull = moment + GRACE
        if lull or not live.newest:
            live.since = dict.fromkeys(live.since, moment + GRACE)

    def _deliver(self, live: _Live, symbols: Collection[str], step: int = 1) -> None:
        proven = live.newest - GRACE
        for symbol in symbols:
            self._coverage.deliver(symbol, (live.since[symbol], proven - proven % step))

    def _is_mute(self, live: _Live, now: datetime) -> bool:
        """Whether the connection is silent though something happens, or nobody knows for long whether it does."""
        verdict = self._silence.conclude()
        if verdict is Verdict.QUIET:
            live.quiet_at = now
        if self._session.segment(now) is not Segment.REGULAR or not live.since:
            return False
        quiet_for = now - max(live.heard_at, live.quiet_at, self._session.open_at)
        if quiet_for >= SILENT_AFTER and not self._silence.is_asked and self._clock.monotonic() >= self._silence_at:
            self._silence_at = self._clock.monotonic() + SILENT_AFTER.total_seconds()
            since = max(live.newest + GRACE, *live.since.values())
            if not self._source.has_every_trade:  # its history has minutes: that of the newest tells of nothing missed
                since += -since % MINUTE
            until = micros(now) - max(2 * GRACE, self._lag)
            if since < until:
                self._silence.ask(tuple(live.since), since, until)
        return verdict is Verdict.MUTE or quiet_for >= MUTE_AFTER

    @property
    def _lag(self) -> int:
        return self._source.history_lag_seconds * 1_000_000

    def _failed(self, error: FeedError, now: datetime) -> None:
        """Leave a connection, and say when the next is due.

        Raises
        ------
        SourceError
            If there is none to be had.
        """
        refused_at = self._live.refused_at if self._live is not None else None
        if refused_at is not None and now - refused_at < REFUSAL_ENDS_WITHIN:
            self._allowance.settle()
        self.hang_up()
        if not isinstance(error, SourceBusyError):
            self._log.error("live_refused", cause=str(error))
            self._reach.tell(FeedState.REFUSED, str(error))
            raise error
        self._failures += 1
        moment = self._clock.monotonic()
        self._silent_since = moment if self._silent_since is None else self._silent_since
        silent = moment - self._silent_since
        seconds = connection_pause_seconds(self._failures, silent, error)
        self._log.warning(
            "live_connection_lost",
            cause=str(error),
            failures=self._failures,
            circuit="open" if is_open(silent) else "closed",
            again_in_s=round(seconds, 1),
        )
        self._reach.tell(FeedState.DISCONNECTED, str(error))
        self._connect_at = moment + seconds
