"""Alpaca as a live source: its stream, and its historical trades for what was missed.

What belongs here: what it declares, and one hole as requests of its client. What does not: frames and their failures
(:mod:`ingest.feeds.alpaca.stream`), and what of a message is a record (:mod:`ingest.feeds.alpaca.ticks`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

import structlog
from alpaca.data.enums import DataFeed
from alpaca.data.requests import StockTradesRequest
from pydantic import SecretStr

from ingest.feeds.alpaca.client import AlpacaClient, Timeouts, without_refused
from ingest.feeds.alpaca.history import AlpacaHistory
from ingest.feeds.alpaca.parse import SOURCE
from ingest.feeds.alpaca.stream import AlpacaStream
from ingest.feeds.alpaca.ticks import (
    PassedOverError,
    Translator,
    UnreadableError,
    history_amendments,
    history_records,
    row_moment,
)
from ingest.history.source import SourceError
from ingest.live.source import Capability, Delivery, Filled, Hole, HoleSize, LiveSource, Wishes
from market.records import Record
from market.settings import Settings

LIVE_DATA_FEEDS: Final = ("iex", "sip")

_log = structlog.get_logger(__name__)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class AlpacaLive(LiveSource):
    """Trades with their cancels and corrections, quotes, minute bars and halts, as Alpaca's stream has them.

    Parameters
    ----------
    settings
        Say the keys, the addresses and the data feed.
    now
        The clock: a trade of the history that holds no longer was known to be so then.
    timeouts
        How long a request may take.
    """

    name = SOURCE
    capabilities = frozenset(Capability)
    has_every_trade = True
    hole_size = HoleSize(symbols=10, hours=1)
    history_lag_seconds = 15
    # The vendor says nothing of when a minute is complete; its own bars of a minute are revised half a minute after it.
    history_settles_seconds = 300
    limit = AlpacaHistory.limit

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeouts: Timeouts | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._timeouts = timeouts or Timeouts()
        self._translator = Translator()

    def check(self) -> None:
        """Look whether both keys are set, and whether the data feed is one that is live.

        Raises
        ------
        SourceError
            If not.
        """
        AlpacaHistory(self._settings).check()
        if self._settings.alpaca_data_feed not in LIVE_DATA_FEEDS:
            msg = (
                f"Alpaca's data feed {self._settings.alpaca_data_feed} is not live. Set TAPEHOUSE_ALPACA_DATA_FEED to iex, or, "
                "with a paid plan, to sip."
            )
            raise SourceError(msg)

    async def stream(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        """Connect once and hand over what comes, until cancelled."""
        self.check()
        url = f"{self._settings.alpaca_stream_url.rstrip('/')}/v2/{self._settings.alpaca_data_feed}"
        await AlpacaStream(*self._keys, url, self._translator).run_once(wishes, deliver)

    def fill(self, hole: Hole, pace: Callable[[], None], deliver: Callable[[Sequence[Record]], None]) -> Filled:
        """Ask page by page for the trades of a hole, again without the symbols that Alpaca refuses the request for."""
        self.check()
        answer, unknown = without_refused(
            hole.symbols,
            lambda symbols: Filled(frozenset(self._ask(hole, symbols, pace, deliver)), "unreadable trades"),
            lambda error, symbols: Filled(frozenset(symbols), str(error)),
        )
        unfilled = answer.unfilled if answer is not None else frozenset[str]()
        reasons = ["unknown"] if unknown else []
        if answer is not None and unfilled:
            reasons.append(answer.reason)
        return Filled(unknown | unfilled, ", ".join(reasons))

    def _ask(
        self, hole: Hole, symbols: Sequence[str], pace: Callable[[], None], deliver: Callable[[Sequence[Record]], None]
    ) -> set[str]:
        """Hand over the trades of a hole and what became of those before it; return the symbols of which one cannot be read."""
        request = StockTradesRequest(
            symbol_or_symbols=list(symbols),
            start=_moment(hole.since if hole.amended_since is None else hole.amended_since),
            end=_moment(hole.until),
            feed=DataFeed(self._settings.alpaca_data_feed),
        )
        unreadable: set[str] = set()
        for page in self._client.pages(request, pace, "trades"):
            asked_at = round(self._now().timestamp() * 1_000_000)
            records, wrong = _page_records(page, symbols, hole.since, asked_at)
            deliver(records)
            unreadable |= wrong
        return unreadable

    @property
    def _keys(self) -> tuple[str, str]:
        return _key(self._settings.alpaca_key_id), _key(self._settings.alpaca_secret_key)

    @cached_property
    def _client(self) -> AlpacaClient:
        return AlpacaClient(*self._keys, self._settings.alpaca_url, self._timeouts)


def _page_records(
    page: Mapping[str, Sequence[object] | None], symbols: Sequence[str], since: int, asked_at: int
) -> tuple[list[Record], set[str]]:
    records: list[Record] = []
    unreadable: set[str] = set()
    passed_over: Counter[str] = Counter()
    for symbol in symbols:
        for raw in page.get(symbol) or ():
            is_known = False
            try:
                is_known = row_moment(raw) < since
                records += (history_amendments if is_known else history_records)(raw, symbol, asked_at)
            except PassedOverError as reason:
                passed_over[str(reason)] += 1
            except UnreadableError as error:
                unreadable |= set() if is_known else {symbol}
                _log.warning("live_trade_unreadable", symbol=symbol, cause=str(error))
    if passed_over:
        _log.info("live_passed_over", **passed_over)
    return records, unreadable


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _key(secret: SecretStr | None) -> str:
    return secret.get_secret_value().strip() if secret is not None else ""
