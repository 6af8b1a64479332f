"""Which feed is on when: a real source in its hours, and the simulated market or nothing while none is to be had.

What belongs here: the borders of sessions. What does not: how a source is kept live (:mod:`ingest.live.keeper`), or how the
simulated market is shown (:mod:`ingest.live.market`).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from threading import Event
from typing import Final, Protocol

import structlog

from ingest.history.source import SourceError
from ingest.live.covered_file import KEPT_SESSIONS
from ingest.live.notice import FeedState
from ingest.live.source import LiveSource
from ingest.pacing import Clock
from ingest.publisher import PublishSummary
from market.errors import UsageError
from market.sessions import Session, all_sessions, session_at

WAIT_SECONDS: Final = 30.0
"""While nothing is on, the calendar is looked at so often."""

_log = structlog.get_logger(__name__)
_WHY: Final = {
    FeedState.CLOSED: "the market is closed",
    FeedState.WAITING: "every real source refuses, and is asked again then",
}


class SessionKeeper(Protocol):
    """Keeps one source live: :class:`ingest.live.keeper.Keeper`."""

    summary: PublishSummary

    def keep(self, session: Session, until: datetime) -> None:
        """Stay live until the session is over and its holes are filled, until a moment at the latest."""

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
        The real sources that may be asked, best first; one that refuses is not asked again in the same session.
    keeper
        Makes the keeper of a source.
    simulate
        Shows the simulated market until an event, while no real source is on; ``None`` waits instead.
    ends_when_refused
        Whether a refusal of the last source ends it all; if not, the sources are asked again in the next session.
    tell
        Is told why nothing is shown: the market is closed, or every source refuses.
    warn
        Is told of a source why it refuses, and nothing once it does no more.
    """

    sources: Sequence[LiveSource]
    keeper: Callable[[LiveSource], SessionKeeper]
    simulate: Callable[[Event], PublishSummary] | None
    ends_when_refused: bool = True
    tell: Callable[[FeedState, str], None] = lambda _state, _detail: None
    warn: Callable[[str, str], None] = lambda _source, _reason: None


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
        self._refused: dict[str, date] = {}
        self._finished: set[tuple[str, date]] = set()
        self._summary = PublishSummary()

    def run(self) -> PublishSummary:
        """Go from session to session until the stop event is set, and return what became of all records.

        A session that is on comes first. What is missing of earlier ones is filled when the market is closed.

        Raises
        ------
        SourceError
            If every source refuses, and that is to end it.
        """
        while not self._stop_event.is_set():
            now = self._clock.now()
            session = session_at(now)
            if session is None and (left := self._unfinished(now)) is not None:
                self._keep(*left)
            elif session is None:
                self._pass_the_time(next_session(now), FeedState.CLOSED)
            elif (source := self._willing(session)) is not None:
                self._finished.clear()
                self._parts.warn(source.name, "")
                self._keep(source, session)
            else:
                self._pass_the_time(next_session(now), FeedState.WAITING)
        return self._summary

    def _willing(self, session: Session) -> LiveSource | None:
        """Return the best source that did not refuse in this session."""
        return next((s for s in self._parts.sources if self._refused.get(s.name) != session.session_date), None)

    def _keep(self, source: LiveSource, session: Session) -> None:
        keeper = self._parts.keeper(source)
        self._finished.add((source.name, session.session_date))
        try:
            keeper.keep(session, next_session(session.pre_open_at).pre_open_at)
        except SourceError as error:
            self._refused[source.name] = session.session_date
            other = self._willing(session)
            if other is None and self._parts.ends_when_refused:
                raise
            self._parts.warn(source.name, str(error))
            to = other.name if other is not None else self._meanwhile
            _log.error("live_source_changes", source=source.name, cause=str(error), to=to)
        finally:
            self._summary = self._summary.plus(keeper.summary)

    def _unfinished(self, now: datetime) -> tuple[LiveSource, Session] | None:
        """Return a source and a session that is over and of which something is missing, the newest first.

        In one closed time each is tried once.
        """
        latest = bisect_right(all_sessions(), now, key=lambda session: session.post_close_at)
        for session in reversed(all_sessions()[max(0, latest - KEPT_SESSIONS) : latest]):
            for source in self._parts.sources:
                is_new = (source.name, session.session_date) not in self._finished
                if is_new and self._parts.keeper(source).has_unfinished(session):
                    return source, session
        return None

    @property
    def _meanwhile(self) -> str:
        return "simulated" if self._parts.simulate is not None else "wait"

    def _pass_the_time(self, session: Session, why: FeedState) -> None:
        """Show the simulated market, or wait, until a session begins."""
        opens_at = session.pre_open_at
        event = "live_market_closed" if why is FeedState.CLOSED else "live_every_source_refuses"
        _log.info(event, again_at=opens_at.isoformat(), meanwhile=self._meanwhile)
        until = UntilEvent(self._stop_event, self._clock, opens_at)
        if self._parts.simulate is not None:
            self._summary = self._summary.plus(self._parts.simulate(until))
            return
        self._parts.tell(why, f"{_WHY[why]}; the next session begins at {opens_at:%Y-%m-%d %H:%M} UTC")
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
