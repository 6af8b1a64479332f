"""Yahoo as a source of history: what it offers, its limit, and which requests an ask takes."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from ingest.feeds.yahoo.client import TIMEOUT_SECONDS, ChartClient
from ingest.feeds.yahoo.parse import (
    NothingThereError,
    RefusedError,
    Split,
    UnknownSymbolError,
    parse_bars,
    splits_of,
    ticker_of,
)
from ingest.history.source import Answer, Ask, HistorySource, Limit, Offer, Problem
from market.records import DAILY
from market.settings import Settings

_SHORT: Final = "1m"
"""The bar length of which a request may span a week only: the splits since then take one of their own."""


class YahooHistory(HistorySource):
    """Bars of Yahoo Finance as traded: its chart API through yfinance, with the splits undone.

    Parameters
    ----------
    settings
        Says where the API is.
    now
        The clock: splits are asked for until then.
    timeout_seconds
        How long an answer may take.
    """

    name = "yahoo"
    # The vendor counts back from the moment of the request, and refuses a range that begins before: a day less is safe.
    offers: Mapping[str, Offer] = {
        DAILY: Offer(DAILY),
        "1h": Offer("1h", days_back=729),
        "15m": Offer("15m", days_back=59),
        "5m": Offer("5m", days_back=59),
        _SHORT: Offer(_SHORT, days_back=29, sessions_per_ask=5, other_requests=1),
    }
    # The vendor names no limit; people who ask faster for long are turned away.
    limit = Limit(60, 60.0)
    at_once = 2

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._client = ChartClient(settings.yahoo_url, timeout_seconds)
        self._now = now

    def check(self) -> None:
        """Return at once: there is nothing that could be missing."""

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Ask for each symbol."""
        answers = [self._fetch_one(ask, symbol, pace) for symbol in ask.symbols]
        return Answer(
            bars=tuple(bar for answer in answers for bar in answer.bars),
            problems=tuple(problem for answer in answers for problem in answer.problems),
            unknown=frozenset(symbol for answer in answers for symbol in answer.unknown),
        )

    def _fetch_one(self, ask: Ask, symbol: str, pace: Callable[[], None]) -> Answer:
        ticker, now = ticker_of(symbol), self._now()
        start = ask.sessions[0].pre_open_at
        end = ask.sessions[-1].post_close_at if ask.interval == _SHORT else now
        try:
            chart = self._client.ask(ticker, ask.interval, start, end, pace)
            splits = self._splits_since(ticker, start, pace) if ask.interval == _SHORT else splits_of(chart.result)
        except UnknownSymbolError:
            return Answer((), unknown=frozenset({symbol}))
        except NothingThereError:
            return Answer(())
        except RefusedError as error:
            return Answer((), (Problem(symbol, error.code, str(error)),))
        bars, problems = parse_bars(chart.frame, chart.result, splits, ask=ask, symbol=symbol, source=self.name)
        return Answer(bars, problems)

    def _splits_since(self, ticker: str, start: datetime, pace: Callable[[], None]) -> tuple[Split, ...]:
        try:
            return splits_of(self._client.ask(ticker, DAILY, start, self._now(), pace).result)
        except NothingThereError:
            return ()
