"""Which sessions a report is about: one, those of a week, or those of a month."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from market.errors import UsageError
from market.sessions import FIRST_SESSION, Session, all_sessions, find_session, sessions_between

SESSION: Final = "session"
WEEK: Final = "week"
MONTH: Final = "month"
KINDS: Final = (SESSION, WEEK, MONTH)

_ROUND: Final = timedelta(days=14)
"""There is a session in any two weeks."""


@dataclass(frozen=True, slots=True)
class Period:
    """Some sessions in a row.

    Attributes
    ----------
    name
        ``2013-10-07``, ``2013-W41`` or ``2013-10``.
    sessions
        Those that have begun, in order; there is one at least.
    left
        How many of it have not begun.
    """

    kind: str
    name: str
    sessions: tuple[Session, ...]
    left: int = 0

    @property
    def days(self) -> list[date]:
        """The dates of the sessions."""
        return [session.session_date for session in self.sessions]

    @property
    def before(self) -> date | None:
        """The session before the first one, by the calendar; none where the calendar begins."""
        first = self.sessions[0].session_date
        earlier = _between(first - _ROUND, first - timedelta(days=1))
        return earlier[-1].session_date if earlier else None

    @property
    def last(self) -> Session:
        """The newest session."""
        return self.sessions[-1]

    def is_over(self, now: datetime) -> bool:
        """Return whether nothing of it can be traded any more."""
        return not self.left and self.last.post_close_at <= now


def period_of(kind: str, day: date, now: datetime) -> Period:
    """Return the period of a kind in which a day lies.

    Raises
    ------
    UsageError
        If the day lies outside the calendar, is no session, where one is asked for, or no session of the period has begun.
    """
    _require_in_calendar(day)
    if kind == SESSION:
        return _begun(kind, day.isoformat(), [_session(day)], now)
    if kind == WEEK:
        year, week, weekday = day.isocalendar()
        first = day - timedelta(days=weekday - 1)
        return _begun(kind, f"{year}-W{week:02}", _between(first, first + timedelta(days=6)), now)
    first = day.replace(day=1)
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return _begun(kind, f"{day:%Y-%m}", _between(first, last), now)


def _session(day: date) -> Session:
    session = find_session(day)
    if session is not None:
        return session
    before = [one.session_date for one in _between(day - _ROUND, day)]
    after = [one.session_date for one in _between(day, day + _ROUND)]
    beside = [f"the one before is {before[-1]}"] if before else []
    beside += [f"the one after {after[0]}"] if after else []
    msg = f"{day}, a {day:%A}, is no session of the exchange: {', '.join(beside)}."
    raise UsageError(msg)


def _require_in_calendar(day: date) -> None:
    last = all_sessions()[-1].session_date
    if not FIRST_SESSION.replace(day=1) <= day <= last:
        msg = f"The calendar goes from {FIRST_SESSION} to {last}: {day} is not in it. Ask for a day that is."
        raise UsageError(msg)


def _between(first: date, last: date) -> list[Session]:
    calendar = all_sessions()
    first, last = max(first, FIRST_SESSION), min(last, calendar[-1].session_date)
    return list(sessions_between(first, last)) if first <= last else []


def _begun(kind: str, name: str, sessions: list[Session], now: datetime) -> Period:
    begun = tuple(session for session in sessions if session.pre_open_at <= now)
    if begun:
        return Period(kind, name, begun, len(sessions) - len(begun))
    msg = f"The {kind} {name} has not begun: it begins on {sessions[0].session_date}. Ask for one that has."
    raise UsageError(msg)
