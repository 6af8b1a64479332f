"""Yahoo's stream messages as records: pure, no network in here.

A message is a snapshot: what traded last, at which time, and how much the day has traded until then. It comes when something
changes, several times a second at most, and leaves out what was traded between two of them. So a record of it is a *sample*: its
price was traded, its size says nothing about the market's volume. ``docs/decisions/0008-live.md`` says what follows.
"""

import math
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn

from ingest.live.source import Delivery
from market.eligibility import SAMPLED
from market.records import MAX_PRICE, MAX_SIZE_SHARES, PRICE_DECIMALS, Quote, Record, Trade
from market.sessions import session_at

SOURCE: Final = "yahoo"
SHARES: Final = frozenset({8, 20})
"""The kinds of instrument that are shares: equity and ETF."""
CURRENCY: Final = "USD"

_MILLISECOND: Final = 1000
_LATEST: Final = 7_258_118_400_000
"""The start of 2200, in milliseconds."""
_MOST_EXCHANGE: Final = 16
_OUTSIDE: Final = "outside_session"


class _NoRecordError(Exception):
    """A message is no record of ours; the text is the reason, as one word."""


class Translator:
    """Makes records of messages.

    Parameters
    ----------
    tickers
        Our symbols by the vendor's.
    """

    def __init__(self, tickers: Mapping[str, str]) -> None:
        self._tickers = tickers

    def delivery(self, message: Mapping[str, Any]) -> Delivery:
        """Return what a message states: a trade that is a sample, and a quote if it has a bid or an ask.

        The same message gives the same records: nothing depends on what came before.
        """
        try:
            return Delivery(self._records(message))
        except _NoRecordError as reason:
            return Delivery(passed_over={str(reason): 1}, is_old=str(reason) == _OUTSIDE)

    def _records(self, message: Mapping[str, Any]) -> list[Record]:
        symbol = self._tickers.get(str(message.get("id")))
        if symbol is None:
            _no_record("other_symbol")
        if message.get("quote_type") not in SHARES:
            _no_record("no_share")
        if message.get("currency", CURRENCY) != CURRENCY:
            _no_record("other_currency")
        millis = _whole(message.get("time"))
        if not 0 < millis < _LATEST or session_at(datetime.fromtimestamp(millis / 1000, UTC)) is None:
            _no_record(_OUTSIDE)
        exchange = str(message.get("exchange", ""))[:_MOST_EXCHANGE]
        quotes = _quote(message, symbol, millis, exchange)
        return [_trade(message, symbol, millis, exchange), *quotes]


def _trade(message: Mapping[str, Any], symbol: str, millis: int, exchange: str) -> Trade:
    """Return the trade that a message says was the last. Without a size it is of one share: it counts for no volume anyway."""
    price, volume = _price(message.get("price")), _whole(message.get("day_volume", 0))
    if price is None:
        _no_record("no_price")
    size = _whole(message.get("last_size", 0))
    return Trade(
        source=SOURCE,
        symbol=symbol,
        ts=millis * _MILLISECOND,
        price=price,
        size=size if 0 < size <= MAX_SIZE_SHARES else 1,
        trade_id=f"{millis}-{max(volume, 0)}-{price:f}",
        sequence=min(max(volume, 0), 2**37 - 1),
        exchange=exchange,
        conditions=f"{SAMPLED:X}",
    )


def _quote(message: Mapping[str, Any], symbol: str, millis: int, exchange: str) -> list[Quote]:
    bid, ask = _price(message.get("bid")), _price(message.get("ask"))
    if bid is None and ask is None:
        return []
    sizes = [_whole(message.get(key, 0)) for key in ("bid_size", "ask_size")]
    stated = repr((bid, ask, sizes)).encode()
    return [
        Quote(
            source=SOURCE,
            symbol=symbol,
            ts=millis * _MILLISECOND,
            quote_id=f"{millis}-{zlib.crc32(stated):08x}",
            bid=bid,
            bid_size=sizes[0] if bid is not None and 0 < sizes[0] <= MAX_SIZE_SHARES else None,
            ask=ask,
            ask_size=sizes[1] if ask is not None and 0 < sizes[1] <= MAX_SIZE_SHARES else None,
            exchange=exchange,
        )
    ]


def _price(value: object) -> Decimal | None:
    """Return a price, ``None`` if there is none; the vendor's are of single precision, written as short as that allows."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    price = Decimal(repr(value))
    if not 0 < price < MAX_PRICE:
        return None
    if -int(price.as_tuple().exponent) > PRICE_DECIMALS:
        price = round(price, PRICE_DECIMALS)
    return price if price > 0 else None


def _whole(value: object) -> int:
    """Return a whole number: yfinance gives those of 64 bits as text."""
    try:
        return int(str(value))
    except ValueError:
        return 0


def _no_record(reason: str) -> NoReturn:
    raise _NoRecordError(reason)
