"""Which feed is on when: a real source in its hours, and the simulated market or nothing while the market is closed.

What belongs here: the borders of sessions. What does not: how a source is kept live (:mod:`ingest.live.keeper`), or how the
simulated market is shown (:mod:`ingest.live.market`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Final, Protocol

import structlog

from ingest.history.source import SourceError
from ingest.live.source import LiveSource
from ingest.pacing import Clock
from ingest.publisher import PublishSummary
from market.errors import UsageError
from market.sessions import Session, all_sessions, latest_session, session_at

WAIT_SECONDS: Final = 30.0
"""While nothing is on, the calendar is looked at so often."""

_log = structlog.get_logger(__name__)


class SessionKeeper(Protocol):
    """Keeps one source live: :class:`ingest.live.keeper.Keeper`."""

    summary: PublishSummary

    def keep(self, session: Session) -> None:
        """Stay live until the session is over."""

    def has_unfinished(self, session: Session) -> bool:
        """Whether something is missing of a session that an earlier process began with."""


class UntilEvent(Event):
    """Is set when another event is, or when a moment has come."""

    def __init__(self, other: Event, clock: Clock, moment: datetime) -> None:
        super().__init__()
        self._other = other
        self._clock = clock
        self._moment = moment

    def is_set(self) -> bool:
        """Whether it is time to end."""
        return super().is_set() or self._other.is_set() or self._clock.now() >= self._moment


@dataclass(frozen=True, slots=True)
class Parts:
    """What the rota puts on.

    Attributes
    ----------
    sources
        The real sources that may be asked, best first; one that refuses is not asked again.
    keeper
        Makes the keeper of a source.
    simulate
        Shows the simulated market until an event, while the market is closed; ``None`` waits instead.
    tell_closed
        Is told when the market is closed and nothing is shown.
    """

    sources: Sequence[LiveSource]
    keeper: Callable[[LiveSource], SessionKeeper]
    simulate: Callable[[Event], PublishSummary] | None
    tell_closed: Callable[[], None] = lambda: None


class Rota:
    """Puts on what is due until told to stop.

    Parameters
    ----------
    parts
        What there is.
    clock, stop_event
        Time, and when to end.
    """

    def __init__(self, parts: Parts, clock: Clock, stop_event: Event) -> None:
        self._parts = parts
        self._clock = clock
        self._stop_event = stop_event
        self._sources = list(parts.sources)
        self._summary = PublishSummary()

    def run(self) -> PublishSummary:
        """Go from session to session until the stop event is set, and return what became of all records.

        Raises
        ------
        SourceError
            If every source refuses.
        """
        self._finish_latest()
        while not self._stop_event.is_set():
            now = self._clock.now()
            session = session_at(now)
            if session is not None:
                self._keep(self._sources[0], session)
            else:
                self._pass_closed_hours(next_session(now))
        return self._summary

    def _keep(self, source: LiveSource, session: Session) -> None:
        keeper = self._parts.keeper(source)
        try:
            keeper.keep(session)
        except SourceError as error:
            self._sources.remove(source)
            if not self._sources:
                raise
            _log.error("live_source_changes", source=source.name, cause=str(error), to=self._sources[0].name)
        finally:
            self._summary = self._summary.plus(keeper.summary)

    def _finish_latest(self) -> None:
        """Fill what an earlier process left open of the newest session, if that is over."""
        now = self._clock.now()
        session = latest_session(now)
        if now < session.post_close_at:
            return
        for source in tuple(self._sources):
            if self._parts.keeper(source).has_unfinished(session):
                self._keep(source, session)

    def _pass_closed_hours(self, session: Session) -> None:
        opens_at = session.pre_open_at
        _log.info(
            "live_market_closed",
            opens_at=opens_at.isoformat(),
            meanwhile="simulated" if self._parts.simulate else "wait",
        )
        until = UntilEvent(self._stop_event, self._clock, opens_at)
        if self._parts.simulate is not None:
            self._summary = self._summary.plus(self._parts.simulate(until))
            return
        self._parts.tell_closed()
        while not until.is_set():
            left = (opens_at - self._clock.now()).total_seconds()
            self._clock.wait(min(WAIT_SECONDS, max(left, 0.0)))


def next_session(now: datetime) -> Session:
    """Return the first session that begins after ``now``.

    Raises
    ------
    UsageError
        If the calendar ends before it.
    """
    coming = next((session for session in all_sessions() if session.pre_open_at > now), None)
    if coming is None:
        msg = f"The trading calendar ends before {now.date()}. Start again: it is made a year ahead at every start."
        raise UsageError(msg)
    return coming
