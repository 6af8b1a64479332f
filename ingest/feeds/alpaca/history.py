"""Alpaca as a source of history: what it offers, and one ask as requests of its client.

What belongs here: which bars are asked for, and what becomes of symbols that Alpaca refuses. What does not: requests and their
failures (:mod:`ingest.feeds.alpaca.client`), and what of its JSON is a bar (:mod:`ingest.feeds.alpaca.parse`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Final

import structlog
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from pydantic import SecretStr

from ingest.feeds.alpaca.client import (
    KEYS,
    PAGE_BARS,
    WHERE_KEYS_ARE,
    AlpacaClient,
    Place,
    RefusedError,
    Timeouts,
    without_refused,
)
from ingest.feeds.alpaca.parse import SOURCE, parse_bars
from ingest.history.source import Answer, Ask, HistorySource, Limit, Offer, Problem, SourceBusyError, SourceError
from market.records import DAILY, Bar
from market.sessions import EXCHANGE_ZONE
from market.settings import Settings

_TIME_FRAMES: Final = {
    DAILY: TimeFrame(1, TimeFrameUnit.Day),
    "15m": TimeFrame(15, TimeFrameUnit.Minute),
    "5m": TimeFrame(5, TimeFrameUnit.Minute),
    "1m": TimeFrame(1, TimeFrameUnit.Minute),
}
_SYMBOLS_PER_ASK: Final = 50
_SESSIONS_PER_ASK: Final = {DAILY: 1_000, "15m": 75, "5m": 25, "1m": 5}
"""So an ask takes five to ten pages if every bar is there."""
_MOST_BEGUN: Final = 8
"""Of so many asks, the last, the pages are kept that came before one that did not: some hundred megabytes at the most."""
_SECOND: Final = timedelta(seconds=1)
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Begun:
    """An ask some pages of which were answered."""

    symbols: Sequence[str]
    place: Place = field(default_factory=Place)
    bars: list[Bar] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class AlpacaHistory(HistorySource):
    """Bars as traded, of all American shares, from 2016 (``iex``: 2020) until a quarter of an hour ago.

    There are no bars of an hour: those of Alpaca begin at the full hour, ours with the session, at 09:30.

    Parameters
    ----------
    settings
        Say the keys, the address and the data feed.
    timeouts
        How long a request may take.
    """

    name = SOURCE
    at_once = 4
    limit = Limit(requests=200, seconds=60.0)
    """Of the free plan."""
    offers: Mapping[str, Offer] = MappingProxyType(
        {
            interval: Offer(
                interval,
                sessions_per_ask=sessions,
                symbols_per_ask=_SYMBOLS_PER_ASK,
                bars_per_request=PAGE_BARS,
            )
            for interval, sessions in _SESSIONS_PER_ASK.items()
        }
    )

    def __init__(self, settings: Settings, timeouts: Timeouts | None = None) -> None:
        self._settings = settings
        self._timeouts = timeouts or Timeouts()
        self._keeping = threading.Lock()
        self._begun: dict[Ask, _Begun] = {}

    def check(self) -> None:
        """Look whether both keys are set.

        Raises
        ------
        SourceError
            If one is not set, or holds what no key can.
        """
        for name, key in (
            ("APCA_API_KEY_ID", _key(self._settings.alpaca_key_id)),
            ("APCA_API_SECRET_KEY", _key(self._settings.alpaca_secret_key)),
        ):
            if not key:
                msg = f"Alpaca needs {KEYS}, in the environment or in .env; {name} is not set. {WHERE_KEYS_ARE}"
                raise SourceError(msg)
            if not (key.isascii() and key.isprintable()) or " " in key:
                # such a value cannot be sent, and the library's error would show it
                msg = f"{name} holds a character that no key of Alpaca has. Copy it again. {WHERE_KEYS_ARE}"
                raise SourceError(msg)

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Ask page by page, again without the symbols that Alpaca refuses the request for.

        The same ask after an error goes on behind the last page that came.

        Raises
        ------
        SourceBusyError
            If Alpaca does not answer, answers half a page, or asks to wait.
        SourceError
            If the keys are missing or wrong, or the plan does not allow what is asked for.
        """
        self.check()
        with self._keeping:
            begun = self._begun.pop(ask, None)
        if begun is not None:
            try:
                return replace(self._answer(ask, begun, pace), unknown=frozenset(ask.symbols) - set(begun.symbols))
            except RefusedError as error:
                _log.info("alpaca_pages_begun_anew", ask=str(ask), reason=str(error))
        answer, unknown = without_refused(
            ask.symbols,
            lambda symbols: self._answer(ask, _Begun(symbols), pace),
            lambda error, symbols: Answer((), [Problem(symbol, "refused", str(error)) for symbol in symbols]),
        )
        return replace(answer or Answer(()), unknown=unknown)

    def _answer(self, ask: Ask, begun: _Begun, pace: Callable[[], None]) -> Answer:
        began_at = begun.place.token
        try:
            for page in self._client.pages(self._request(ask, begun.symbols), pace, place=begun.place):
                for symbol in begun.symbols:
                    found, wrong = parse_bars(page.get(symbol) or (), symbol, ask.interval)
                    begun.bars += found
                    begun.problems += wrong
        except SourceBusyError as error:
            if begun.place.token is not None:
                self._keep(ask, begun)
                error.is_further = begun.place.token != began_at
            raise
        return Answer(begun.bars, begun.problems)

    def _keep(self, ask: Ask, begun: _Begun) -> None:
        with self._keeping:
            while len(self._begun) >= _MOST_BEGUN:  # the oldest was given up, or waits longest
                del self._begun[next(iter(self._begun))]
            self._begun[ask] = begun

    def _request(self, ask: Ask, symbols: Sequence[str]) -> StockBarsRequest:
        start, end = span(ask)
        return StockBarsRequest(
            symbol_or_symbols=list(symbols),
            timeframe=_TIME_FRAMES[ask.interval],
            start=start,
            end=end,
            adjustment=Adjustment.RAW,
            feed=DataFeed(self._settings.alpaca_data_feed),
        )

    @cached_property
    def _client(self) -> AlpacaClient:
        return AlpacaClient(
            _key(self._settings.alpaca_key_id),
            _key(self._settings.alpaca_secret_key),
            self._settings.alpaca_url,
            self._timeouts,
        )


def span(ask: Ask) -> tuple[datetime, datetime]:
    """Return the first and the last moment at which a bar of an ask may begin: Alpaca takes both as included.

    A daily bar begins at midnight in New York. The last moment is one before the close and not the end of the day: a session is
    asked for when its late hours are over, so that is never among the last minutes, which the free plan refuses of ``sip``.
    """
    first, last = ask.sessions[0], ask.sessions[-1]
    midnight = datetime.combine(first.session_date, time(), EXCHANGE_ZONE)
    return midnight if ask.interval == DAILY else first.open_at, last.close_at - _SECOND


def _key(secret: SecretStr | None) -> str:
    return secret.get_secret_value().strip() if secret is not None else ""
