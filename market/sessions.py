"""The trading calendar: sessions, half-days, segments, expected bars.

A session is a date of the exchange's calendar, not of UTC. It has three segments: ``pre`` from 04:00 exchange time
to the open, ``regular`` from the open to the close, ``post`` for four hours after the close (so until 20:00, or
17:00 on a half-day). Opens, closes and holidays come from the package ``exchange_calendars``.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import exchange_calendars

from market.errors import UsageError

EXCHANGE: Final = "XNYS"
EXCHANGE_ZONE: Final = ZoneInfo("America/New_York")
FIRST_SESSION: Final = date(1990, 1, 2)
PRE_OPENS: Final = time(4, 0)
USUAL_OPEN: Final = time(9, 30)
POST_LASTS: Final = timedelta(hours=4)


class Segment(StrEnum):
    """The part of a session that a moment lies in."""

    PRE = "pre"
    REGULAR = "regular"
    POST = "post"


@dataclass(frozen=True, slots=True)
class Session:
    """One trading session; all moments are UTC, each segment includes its start and excludes its end."""

    session_date: date
    pre_open_at: datetime
    open_at: datetime
    close_at: datetime
    post_close_at: datetime
    is_half_day: bool

    def segment(self, moment: datetime) -> Segment | None:
        """Return the segment that ``moment`` lies in, or ``None`` outside the session."""
        if self.pre_open_at <= moment < self.open_at:
            return Segment.PRE
        if self.open_at <= moment < self.close_at:
            return Segment.REGULAR
        if self.close_at <= moment < self.post_close_at:
            return Segment.POST
        return None

    def expected_bars(self, interval_seconds: int) -> list[datetime]:
        """Return the starts of the regular segment's bars; the last may be cut short by the close."""
        step = timedelta(seconds=interval_seconds)
        count = -((self.open_at - self.close_at) // step)
        return [self.open_at + step * i for i in range(count)]


@functools.cache
def _calendar() -> exchange_calendars.ExchangeCalendar:
    end = datetime.now(UTC).date() + timedelta(days=365)
    return exchange_calendars.get_calendar(EXCHANGE, start=FIRST_SESSION.isoformat(), end=end.isoformat())


@functools.cache
def all_sessions() -> tuple[Session, ...]:
    """Return every session from :data:`FIRST_SESSION` to about a year ahead, in order."""
    schedule = _calendar().schedule
    opens = [stamp.to_pydatetime() for stamp in schedule["open"]]
    closes = [stamp.to_pydatetime() for stamp in schedule["close"]]
    return tuple(
        _session(label.date(), open_at, close_at)
        for label, open_at, close_at in zip(schedule.index, opens, closes, strict=True)
    )


def _session(session_date: date, open_at: datetime, close_at: datetime) -> Session:
    return Session(
        session_date=session_date,
        pre_open_at=datetime.combine(session_date, PRE_OPENS, EXCHANGE_ZONE).astimezone(UTC),
        open_at=open_at,
        close_at=close_at,
        post_close_at=close_at + POST_LASTS,
        is_half_day=close_at.astimezone(EXCHANGE_ZONE).time() < time(16, 0),
    )


@functools.cache
def _by_date() -> dict[date, Session]:
    return {session.session_date: session for session in all_sessions()}


def find_session(session_date: date) -> Session | None:
    """Return the session of that date, or ``None`` on weekends, holidays and outside the calendar."""
    return _by_date().get(session_date)


def open_micros(day: date) -> int:
    """Return the open of the regular segment on ``day`` in UTC epoch microseconds: where a daily bar stands.

    On a day that is no session it is 09:30 exchange time.
    """
    session = find_session(day)
    moment = session.open_at if session is not None else datetime.combine(day, USUAL_OPEN, EXCHANGE_ZONE)
    return int(moment.timestamp()) * 1_000_000


def session_at(moment: datetime) -> Session | None:
    """Return the session that ``moment`` lies in (pre to post), or ``None``."""
    session = find_session(moment.astimezone(EXCHANGE_ZONE).date())
    return session if session is not None and session.segment(moment) is not None else None


def latest_session(moment: datetime) -> Session:
    """Return the newest session whose regular open is not after ``moment``.

    Raises
    ------
    UsageError
        If ``moment`` lies before the calendar.
    """
    day = moment.astimezone(EXCHANGE_ZONE).date()
    while day >= FIRST_SESSION:
        session = find_session(day)
        if session is not None and session.open_at <= moment:
            return session
        day -= timedelta(days=1)
    msg = f"{moment.isoformat()} lies before the calendar, which starts on {FIRST_SESSION}."
    raise UsageError(msg)


def sessions_between(start: date, end: date) -> Iterator[Session]:
    """Yield the sessions from ``start`` to ``end``, both included.

    Raises
    ------
    UsageError
        If ``end`` lies before ``start``.
    """
    if end < start:
        msg = f"The end {end} lies before the start {start}. Swap them."
        raise UsageError(msg)
    return (session for session in all_sessions() if start <= session.session_date <= end)
