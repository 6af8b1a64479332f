"""What a tape covers, where it does not say so itself: each symbol's session from its first to its last trade.

More cannot be said of a file: it may have been cut before the first trade and after the last. A trade that has not happened yet
says nothing: the stream rejects it.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from market.records import Heartbeat, Record, Trade
from market.sessions import find_session

_EASTERN_STANDARD: Final = 5 * 3600 * 1_000_000
_DAY: Final = 86_400 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DAY: Final = 84_000  # in the year 2199


class Coverage:
    """Takes note of the records of a file, and says at its end what they cover; a file with heartbeats says it itself.

    Parameters
    ----------
    source
        The feed's name.
    now
        The moment up to which trades can have happened.
    """

    def __init__(self, source: str, now: datetime) -> None:
        self._source = source
        self._now = int(now.timestamp() * 1_000_000)
        self._is_stated = False
        self._spans: dict[tuple[int, str], tuple[int, int]] = {}

    def add(self, record: Record) -> None:
        """Take note of a record."""
        if isinstance(record, Heartbeat):
            self._is_stated = True
        elif isinstance(record, Trade) and record.ts <= self._now:
            # No session reaches over midnight in New York, nor an hour beyond.
            key = ((record.ts - _EASTERN_STANDARD) // _DAY, record.symbol)
            first, last = self._spans.get(key, (record.ts, record.ts))
            self._spans[key] = (min(first, record.ts), max(last, record.ts))

    def heartbeats(self) -> list[Heartbeat]:
        """Return one heartbeat per symbol and session, or none if the file has its own."""
        found = []
        for (day, symbol), (first, last) in sorted(self._spans.items() if not self._is_stated else ()):
            session = find_session(_EPOCH.date() + timedelta(days=day)) if 0 <= day <= _LAST_DAY else None
            if session is None:
                continue
            opens, closes = (round(at.timestamp()) * 1_000_000 for at in (session.pre_open_at, session.post_close_at))
            since, until = max(first, opens), min(last + 1, closes)
            if since < until:
                found.append(Heartbeat(self._source, symbol, since, until))
        return found
