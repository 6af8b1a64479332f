"""Which session a tick of an hourly schedule is for: the one that closed, or whose last segment ended, in the hour before."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from market.sessions import EXCHANGE_ZONE, Session, find_session, sessions_between

AFTER_CLOSE_CRON: Final = "15 13-16 * * 1-5"
"""A quarter past each hour, exchange time, in which a session can have closed: 13:00 on half-days, 16:00 else. The quarter of
an hour lets the closing auction's trades and their corrections come in."""
AFTER_SESSION_CRON: Final = "45 17-20 * * 1-5"
"""A quarter to each hour, exchange time, in which a session can have ended: its post segment ends at 17:00 on half-days, at
20:00 else. Three quarters of an hour let vendors finish what they say of it."""

_LONGEST_PAUSE: Final = timedelta(days=14)
"""There is a session in any two weeks."""


def session_closed_before(tick: datetime) -> Session | None:
    """Return the session whose close lies less than an hour before ``tick``, or at it; ``None`` if there is none."""
    return _session_before(tick, lambda session: session.close_at)


def session_ended_before(tick: datetime) -> Session | None:
    """Return the session whose post segment ended less than an hour before ``tick``, or at it; ``None`` if there is none."""
    return _session_before(tick, lambda session: session.post_close_at)


def newest_end(moment: datetime) -> datetime:
    """Return when the last session ended that was over at a moment."""
    today = moment.astimezone(EXCHANGE_ZONE).date()
    found = sessions_between(today - _LONGEST_PAUSE, today)
    return max(session.post_close_at for session in found if session.post_close_at <= moment)


def _session_before(tick: datetime, end_of: Callable[[Session], datetime]) -> Session | None:
    """Ticks are an hour apart, so each session is found by exactly one tick of its day."""
    session = find_session(tick.astimezone(EXCHANGE_ZONE).date())
    if session is not None and timedelta(0) <= tick - end_of(session) < timedelta(hours=1):
        return session
    return None
