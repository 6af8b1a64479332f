"""A watchlist and a lake of which the tests say what is wanted and what is missing."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import dagster as dg

from ingest.history.plan import Missing
from ingest.history.source import SourceError
from market.sessions import Session, sessions_between
from market.settings import Settings
from orchestration.assets.keys import DAILY_BARS, INTRADAY_BARS
from orchestration.history import Series, series_of
from warehouse.watchlist import Watched

EARLIER = datetime(2026, 11, 1, tzinfo=UTC)
SESSIONS = list(sessions_between(date(2026, 11, 9), date(2026, 11, 20)))


class PlayedHistory:
    """A watchlist and what is missing of its daily bars."""

    series = series_of(Settings(_env_file=None))

    def __init__(self, groups: dict[str, str], missing: Missing | None = None) -> None:
        self.groups = groups
        self.lacking = missing or {}
        self.refused: set[dg.AssetKey] = set()
        self.since = dict.fromkeys((DAILY_BARS, INTRADAY_BARS), SESSIONS[0].session_date)
        self.lacking_before: set[str] = set()
        self.reaches_back_to: date | None = None

    def watchlist(self) -> list[Watched]:
        return [Watched(symbol, group, EARLIER) for symbol, group in self.groups.items()]

    def source(self, series: Series) -> None:
        if series.key in self.refused:
            msg = f"No key for {series.interval}."
            raise SourceError(msg)

    def wanted_sessions(self, series: Series, now: datetime, until: datetime) -> list[Session]:
        assert series in self.series
        assert until < now
        return [session for session in SESSIONS if session.post_close_at <= until]

    def first_wanted(self, series: Series, now: datetime) -> date:
        assert now
        return self.since[series.key]

    def reach(self, series: Series, now: datetime) -> date | None:
        assert now
        return self.reaches_back_to if series.key == DAILY_BARS else None

    def missing(self, series: Series, symbols: Sequence[str], sessions: Sequence[Session]) -> Missing:
        assert sessions
        found = self.lacking if series.key == DAILY_BARS else {}
        if sessions[-1].session_date < self.since[DAILY_BARS]:
            found = {symbol: [(0, len(sessions))] for symbol in self.lacking_before}
        return {symbol: ranges for symbol, ranges in found.items() if symbol in symbols}


class NothingDue:
    """Corporate actions of which none is due."""

    def source(self) -> None:
        """It can be asked."""

    def due(self, watched: Sequence[Watched], since: datetime) -> list[Watched]:
        assert watched
        assert since.tzinfo is not None
        return []
