"""History of the watchlist: what is collected, from whom, and one collection from the plan to the lake.

What belongs here: the wiring of ``ingest.history`` and ``warehouse.history`` for Dagster. What does not: partitions, runs and
metadata (:mod:`orchestration.assets.collected`), and when something is asked for (:mod:`orchestration.gaps`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg
import structlog

from ingest.history.backfill import Progress, run_backfill
from ingest.history.door import BarsDoor
from ingest.history.fetch import Pace
from ingest.history.order import KEPT_DAYS, Order, plan_of
from ingest.history.plan import Missing, Plan
from ingest.history.source import HistorySource, SourceError, StoppedError
from ingest.history.sources import get_source
from ingest.history.summary import Summary, SymbolResult
from ingest.history.turn import turn
from market.records import DAILY
from market.sessions import EXCHANGE_ZONE, Session, sessions_between
from market.settings import Settings
from orchestration.assets.keys import DAILY_BARS, INTRADAY_BARS
from warehouse.collected_history import forget
from warehouse.history import missing_sessions, stored_bars, symbols_to_ask
from warehouse.watchlist import Watched, watchlist

INTRADAY: Final = "5m"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one length that are collected of the watchlist.

    Attributes
    ----------
    key
        The asset.
    interval
        The bar length.
    feed
        The source that is asked; empty if none is.
    setting
        The setting that says so.
    """

    key: dg.AssetKey
    interval: str
    feed: str
    setting: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a collection did, and the sessions that are missing after it, with those that the source withholds."""

    plan: Plan
    summary: Summary
    missing: Missing


def series_of(settings: Settings) -> tuple[Series, Series]:
    """Return what is collected: days and five minutes."""
    return (
        Series(DAILY_BARS, DAILY, settings.daily_history_feed, "TAPEHOUSE_DAILY_HISTORY_FEED"),
        Series(INTRADAY_BARS, INTRADAY, settings.intraday_history_feed, "TAPEHOUSE_INTRADAY_HISTORY_FEED"),
    )


@dataclass(frozen=True, slots=True)
class History:
    """The watchlist, what is missing of it, and the sources that may have it."""

    settings: Settings
    find_source: Callable[[str, Settings], HistorySource] = get_source

    @property
    def series(self) -> tuple[Series, ...]:
        """What is collected."""
        return series_of(self.settings)

    def watchlist(self) -> list[Watched]:
        """Return the symbols and their groups."""
        return watchlist(self.settings)

    def source(self, series: Series) -> HistorySource:
        """Return the source of a series, after a look whether it can be asked at all.

        Raises
        ------
        SourceError
            If it cannot: the message says what to do.
        """
        if not series.feed:
            msg = f"No source is set for {series.interval} bars. Set {series.setting} to one, as in .env.example."
            raise SourceError(msg)
        source = self.find_source(series.feed, self.settings)
        if series.interval not in source.offers:
            msg = (
                f"The source {source.name} has no bars of {series.interval}. Set {series.setting} to one that has them: "
                "docs/history.md says which."
            )
            raise SourceError(msg)
        source.check()
        return source

    def reach(self, series: Series, now: datetime) -> date | None:
        """Return the first day that the source of a series may have at a moment; ``None`` if it may have all, or none is set."""
        offer = self.find_source(series.feed, self.settings).offers.get(series.interval) if series.feed else None
        if offer is None or offer.days_back is None:
            return None
        return now.astimezone(EXCHANGE_ZONE).date() - timedelta(days=offer.days_back)

    def wanted_sessions(self, series: Series, now: datetime, until: datetime) -> list[Session]:
        """Return the sessions that are kept, that the source may have now, and that were over at a moment, ``until``.

        What is too old by now is not wanted: in the hour after midnight a run would not be given what it was asked for, for ever.
        """
        found = sessions_between(self.first_wanted(series, now), now.astimezone(EXCHANGE_ZONE).date())
        return [session for session in found if session.post_close_at <= until]

    def first_wanted(self, series: Series, now: datetime) -> date:
        """Return the first day that is wanted at a moment: that is kept, and that the source may have."""
        first = now.astimezone(EXCHANGE_ZONE).date() - timedelta(days=KEPT_DAYS[series.interval])
        return max(first, self.reach(series, now) or first)

    def missing(self, series: Series, symbols: Sequence[str], sessions: Sequence[Session]) -> Missing:
        """Return by symbol which of some adjoining sessions are missing, all of which are over."""
        if not symbols or not sessions:
            return {}
        start, end, until = sessions[0].session_date, sessions[-1].session_date, sessions[-1].post_close_at
        place = (self.settings, series.feed, series.interval)
        concerned = symbols_to_ask(*place, symbols, start=start, end=end, until=until)
        return missing_sessions(*place, concerned, start=start, end=end, until=until) if concerned else {}

    def left(self, series: Series, symbols: Sequence[str], sessions: Sequence[Session]) -> Missing:
        """Return by symbol which of some adjoining sessions the lake lacks, and the source did not answer or withholds."""
        start, end, until = sessions[0].session_date, sessions[-1].session_date, sessions[-1].post_close_at
        place = (self.settings, series.feed, series.interval, symbols)
        return missing_sessions(*place, start=start, end=end, until=until, withheld=True)

    def stored(
        self, series: Series, symbols: Sequence[str], sessions: Sequence[Session]
    ) -> Mapping[tuple[str, date], int]:
        """Return how many bars the lake has, by symbol and session."""
        start, end = sessions[0].session_date, sessions[-1].session_date
        return stored_bars(self.settings, series.feed, series.interval, symbols, start=start, end=end)

    def collect(
        self,
        series: Series,
        symbols: Sequence[str],
        sessions: Sequence[Session],
        *,
        now: datetime,
        stop: threading.Event,
        on_progress: Callable[[Progress], None],
        again: bool = False,
        accepts_jumps: bool = False,
    ) -> Outcome:
        """Ask for what is missing of some adjoining sessions, all of which are over, and wait until the lake has it.

        With ``again`` what the source was asked for before is missing, too, unless the lake has all of it. With ``accepts_jumps``
        prices are believed that are far from those that the lake has.

        Raises
        ------
        SourceError
            If the source refuses every request.
        PublishError
            If the broker did not take the bars.
        ServiceError
            If the lake does not take them in, or the database cannot be reached.
        """
        source = self.source(series)
        order = Order(tuple(symbols), series.interval, tuple(sessions), now)
        log = _log.bind(source=source.name, interval=series.interval)
        try:
            with turn(
                self.settings.home, source.name, series.interval, stop, lambda: log.info("history_waits_its_turn")
            ):
                if again:
                    forget(self.settings, source.name, series.interval, symbols, sessions)
                plan = plan_of(self.settings, source, order)
                return self._carry_out(
                    series, source, order, plan, stop=stop, on_progress=on_progress, accepts_jumps=accepts_jumps
                )
        except StoppedError:
            plan = plan_of(self.settings, source, order)
            results = {symbol: SymbolResult(asked=plan.missing.get(symbol, 0)) for symbol in plan.symbols}
            return Outcome(plan, Summary(results, 0, 0.0, stopped=True), self.left(series, symbols, sessions))

    def _carry_out(
        self,
        series: Series,
        source: HistorySource,
        order: Order,
        plan: Plan,
        *,
        stop: threading.Event,
        on_progress: Callable[[Progress], None],
        accepts_jumps: bool,
    ) -> Outcome:
        symbols, sessions = order.symbols, order.sessions
        if not plan.asks:
            results = {
                symbol: SymbolResult(
                    too_old=plan.too_old.get(symbol, 0),
                    withheld=plan.withheld.get(symbol, 0),
                    is_unknown=symbol in plan.unknown,
                )
                for symbol in plan.symbols
            }
            return Outcome(plan, Summary(results, 0, 0.0, stopped=False), self.left(series, symbols, sessions))
        with BarsDoor(self.settings, source.name, series.interval) as door:
            pace = Pace(source.limit, self.settings.home / "run" / "limits" / f"{source.name}.sqlite", stop)
            try:
                summary = run_backfill(
                    source, plan, door, pace, stop=stop, accepts_jumps=accepts_jumps, on_progress=on_progress
                )
            finally:
                pace.close()
        return Outcome(plan, summary, self.left(series, symbols, sessions))
