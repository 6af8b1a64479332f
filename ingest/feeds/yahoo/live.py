"""Yahoo as a live source: its stream of snapshots, and its minute bars for what was missed.

What belongs here: what it declares, and one hole as asks of its history. What does not: frames
(:mod:`ingest.feeds.yahoo.stream`), what a message states (:mod:`ingest.feeds.yahoo.messages`), or the chart API
(:mod:`ingest.feeds.yahoo.history`).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Final

import structlog

from ingest.feeds.yahoo.history import YahooHistory
from ingest.feeds.yahoo.samples import Samples
from ingest.feeds.yahoo.stream import YahooSocket
from ingest.history.check import NOTHING_KNOWN, believe
from ingest.history.source import Ask, SourceBusyError
from ingest.live.coverage import MINUTE, micros
from ingest.live.source import Capability, Delivery, Filled, Hole, HoleSize, LiveSource, Wishes
from market.eligibility import SAMPLED
from market.errors import ServiceError
from market.records import Bar, Record, Trade
from market.sessions import latest_session, session_at
from market.settings import Settings
from warehouse.history import KnownCloses, known_closes

INTERVAL: Final = "1m"
SETTLES_SECONDS: Final = 10.0
"""A minute's bar is not asked for before it is over for so long."""

_log = structlog.get_logger(__name__)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class YahooLive(LiveSource):
    """Samples of trades and quotes. Not every trade: nothing is ever covered, and a hole is filled from the vendor's minute bars.

    Parameters
    ----------
    settings
        Say the addresses.
    now
        The clock.
    known
        Says which closes near an ask the lake has, by symbol; asked of the database if not given.
    """

    name = "yahoo"
    capabilities = frozenset({Capability.TRADES, Capability.QUOTES})
    has_every_trade = False
    hole_size = HoleSize(symbols=1, hours=24, joins_minutes=5)
    history_lag_seconds = 70
    # Its chart may be minutes late. A bar shows that it has come so far; where there is none, only time does.
    history_settles_seconds = 600
    limit = YahooHistory.limit

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        known: Callable[[Ask], Mapping[str, KnownCloses]] | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._known = known or self._ask_the_lake
        self._samples = Samples(now, self._last_closes)

    def check(self) -> None:
        """Return at once: there is nothing that could be missing."""

    async def stream(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        """Connect once and hand over what comes, until cancelled."""
        await YahooSocket(self._settings.yahoo_stream_url, self._samples).run_once(wishes, deliver)

    def fill(self, hole: Hole, pace: Callable[[], None], deliver: Callable[[Sequence[Record]], None]) -> Filled:
        """Ask for the minute bars of regular hours that a hole touches, symbol by symbol, and believe them as a backfill does."""
        since, until = (_EPOCH + timedelta(microseconds=moment) for moment in (hole.since, hole.until))
        session = session_at(since)
        if session is None or until <= session.open_at or since >= session.close_at:
            return Filled(reaches=dict.fromkeys(hole.symbols, hole.until))
        over = min(until, session.close_at) + timedelta(minutes=1, seconds=SETTLES_SECONDS)
        wait = (over - self._now()).total_seconds()
        if wait > 0:
            msg = "The last minute of the hole is not over yet."
            raise SourceBusyError(msg, wait)
        now = micros(self._now())
        settled = now - self.history_settles_seconds * 1_000_000
        unfilled: dict[str, str] = {}
        reaches: dict[str, int] = {}
        for symbol in hole.symbols:
            ask = Ask((symbol,), INTERVAL, (session,))
            answer = self._history.fetch(ask, pace)
            believed = believe(ask, answer.bars, self._near(ask) if answer.bars else NOTHING_KNOWN)
            # The newest bar may still grow, and the latest price, which is no minute's, comes without a volume.
            shown = [bar.ts for bar in believed.bars if bar.volume and bar.ts < now]
            newest = max(shown, default=micros(session.open_at))
            whole = max(newest, settled - MINUTE + 1)
            touched = [bar for bar in believed.bars if _is_touched(hole, bar.ts)]
            deliver([sample for bar in touched for sample in samples_of(bar, is_whole=bar.ts < whole)])
            problems = [
                one
                for one in (*answer.problems, *believed.problems)
                if one.ts is None or (_is_touched(hole, one.ts) and one.ts < whole)
            ]
            is_of_all = symbol in answer.unknown or any(one.ts is None for one in problems)
            is_reached = min(hole.until, micros(session.close_at)) <= max(newest, settled)
            reaches[symbol] = hole.until if is_reached or is_of_all else newest
            if symbol in answer.unknown:
                unfilled[symbol] = "unknown"
            elif problems:
                unfilled[symbol] = f"{problems[0].code}: {problems[0].detail}"
        reason = "; ".join(f"{symbol} {why}" for symbol, why in unfilled.items())
        return Filled(frozenset(unfilled), reason, reaches)

    def _near(self, ask: Ask) -> Mapping[str, KnownCloses]:
        try:
            return self._known(ask)
        except ServiceError as error:
            msg = f"What the lake has near it cannot be asked: {error}"
            raise SourceBusyError(msg) from error

    def _last_closes(self, symbols: Sequence[str]) -> Mapping[str, Decimal] | None:
        """Return the last closes that the lake has; ``None`` where it cannot be asked now, for what is live does not wait."""
        try:
            known = self._known(Ask(tuple(symbols), INTERVAL, (latest_session(self._now()),)))
        except ServiceError as error:
            _log.warning("live_closes_unknown", cause=str(error))
            return None
        return {symbol: closes.before.close for symbol, closes in known.items() if closes.before is not None}

    def _ask_the_lake(self, ask: Ask) -> Mapping[str, KnownCloses]:
        """Return the closes near an ask; none where no database is set, as for the feed alone."""
        if self._settings.database_url is None:
            return NOTHING_KNOWN
        return known_closes(self._settings, ask.interval, ask.symbols, ask.sessions[0], ask.sessions[-1])

    @cached_property
    def _history(self) -> YahooHistory:
        return YahooHistory(self._settings, self._now)


def samples_of(bar: Bar, *, is_whole: bool = True) -> list[Trade]:
    """Return the prices of a minute as samples of it, as the stream would have given some: first, highest, lowest, last.

    So a minute that was missed becomes a bar like those around it, of the same source, and longer bars have no hole in them.
    When the highest and the lowest were traded nobody knows: they stand right after the first. Like all samples they say
    nothing of the volume. The last price so far of a minute that is not whole stands right after the others: what was sampled
    later in it is newer, and so is the last price that it may still get.
    """
    last, moment = ("close", bar.ts + MINUTE - 1) if is_whole else ("so_far", bar.ts + 3)
    prices = {"open": bar.open, "high": bar.high, "low": bar.low, last: bar.close}
    moments = (bar.ts, bar.ts + 1, bar.ts + 2, moment)
    return [
        Trade(bar.source, bar.symbol, at, price, 1, f"{bar.ts // 1000}-{name}-{price:f}", conditions=f"{SAMPLED:X}")
        for at, (name, price) in zip(moments, prices.items(), strict=True)
    ]


def _is_touched(hole: Hole, minute: int) -> bool:
    """Return whether a hole touches the minute that begins at a moment."""
    return hole.since - MINUTE < minute < hole.until
