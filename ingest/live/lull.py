"""How long a connection brought nothing before it spoke again: what happened meanwhile it may never say.

What belongs here: which lulls are too long to be believed. What does not: what follows of it (:mod:`ingest.live.link`), and
connections that stay silent (:mod:`ingest.live.silence`).
"""

from collections.abc import Iterable
from typing import Final

from ingest.live.coverage import micros
from market.sessions import Session

LONGEST_LULL: Final = 20_000_000
"""In regular hours, in microseconds. Long enough that a list with one busy symbol hardly ever has one, since quotes count too."""
LONGEST_LULL_OUTSIDE: Final = 60_000_000
"""Before the open and after the close, where a minute without anything is common."""


class Lulls:
    """Sees the lulls of one connection, all its symbols together.

    A lull is measured twice, and the longer measure counts: by when records came, and by the times that they state. The first
    also sees one that ends with a trade that is reported late; the second also sees one that passed while this process was
    held up, so that what came before it and after it is taken at once.

    Parameters
    ----------
    session
        Says which hours are regular.
    moment
        When the connection was ready, UTC epoch microseconds.
    counts_outside
        Whether lulls before the open and after the close matter.
    """

    def __init__(self, session: Session, moment: int, *, counts_outside: bool) -> None:
        self._regular = micros(session.open_at), micros(session.close_at)
        self._counts_outside = counts_outside
        self._came = self._stated = moment

    def longest(self, stated: Iterable[int], moment: int) -> int:
        """Note records by the times that they state and when they came; return the longest lull before or between them.

        In microseconds, and 0 if it is short enough to be believed.
        """
        spans = [(self._came, moment)]
        self._came = moment
        for ts in sorted(stated):
            spans.append((self._stated, min(ts, moment)))
            self._stated = max(self._stated, min(ts, moment))
        return max(until - since if self._is_long(since, until) else 0 for since, until in spans)

    def _is_long(self, since: int, until: int) -> bool:
        opens, closes = self._regular
        regular = min(until, closes) - max(since, opens)
        return regular > LONGEST_LULL or (self._counts_outside and until - since > LONGEST_LULL_OUTSIDE)
