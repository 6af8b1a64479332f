"""When the simulated market shows what: pure functions of the wall clock.

The rules, for one session:

1. Simulated time never passes the wall clock.
2. A session that is on right now is shown up to the wall clock, and then goes along with it.
3. A session that is over is shown at once up to 30 minutes after its open, so that there is something to see, and
   from there at ``speed`` times the pace of the market.
4. When a newer session opens before that is through, the rest is shown at once.

The pre segment belongs to what is shown at once: a session is always shown whole.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from market.errors import UsageError
from market.sessions import Session, all_sessions, latest_session

HEAD_START: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Pace:
    """How one session is shown.

    Attributes
    ----------
    session
        The session.
    started_at
        Wall-clock time from which this pace counts.
    started_from
        Simulated time that is due at ``started_at``, if the session is over by then.
    speed
        Times the pace of the market.
    """

    session: Session
    started_at: datetime
    started_from: datetime
    speed: float

    def due(self, now: datetime) -> datetime:
        """Return the simulated time up to which the session is shown at the wall-clock time ``now``."""
        end = self.session.post_close_at
        if self.started_at < end:
            return min(now, end)
        if latest_session(now).session_date > self.session.session_date:
            return end
        return min(self.started_from + (now - self.started_at) * self.speed, end)


def begin(session: Session, now: datetime, speed: float, shown_through: datetime | None = None) -> Pace:
    """Return the pace of a session that begins now, or goes on from what was shown already."""
    head = session.open_at + HEAD_START
    return Pace(session, now, max(head, shown_through or head), speed)


def following(session: Session, now: datetime) -> Session:
    """Return the session to show when ``session`` is through: the newest that has opened, else the next to come.

    Raises
    ------
    UsageError
        If the calendar ends before it.
    """
    newest = latest_session(now)
    if newest.session_date > session.session_date:
        return newest
    coming = next((other for other in all_sessions() if other.session_date > session.session_date), None)
    if coming is None:
        msg = f"The trading calendar ends with {session.session_date}. Start again: it is made a year ahead at every start."
        raise UsageError(msg)
    return coming
