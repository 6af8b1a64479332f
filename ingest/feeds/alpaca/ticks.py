"""Alpaca's trades, quotes, amendments and halts as records: pure, no network in here.

A message of the stream and a row of the history state a trade alike: ``t`` (when), ``x`` (exchange), ``p`` (price), ``s``
(shares), ``i`` (the exchange's number of it), ``c`` (sale conditions), ``z`` (tape). So the same trade gives the same record,
whichever way it came. See https://docs.alpaca.markets/docs/real-time-stock-pricing-data and https://docs.alpaca.markets/reference/stocktrades.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from msgpack import Timestamp

from ingest.feeds.alpaca.parse import SOURCE, parse_bars
from ingest.live.source import Delivery
from market.eligibility import sale_condition_bit
from market.records import (
    MAX_PRICE,
    MAX_REASON_CHARACTERS,
    NUL,
    PRICE_DECIMALS,
    Bar,
    Cancel,
    Correction,
    Halt,
    Quote,
    Record,
    Resume,
    Trade,
)
from market.sessions import EXCHANGE_ZONE

BAR_INTERVAL: Final = "1m"
TAPE_OF_NASDAQ: Final = "C"
HALTED: Final = frozenset({"2", "H", "P"})
"""Status codes: trading halt (tapes A and B), trading halt and volatility pause (tape C)."""
RESUMED: Final = frozenset({"3", "T"})
"""Status codes: resume (tapes A and B), trading resumption (tape C)."""

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_PLAIN_SALES: Final = frozenset({"@", " ", ""})
_OF_TRADES: Final = frozenset({"t", "x", "c"})
"""What the history has, too: trades, their cancels and their corrections."""
_BROKEN: Final = frozenset({"canceled", "incorrect"})
_ID_BITS: Final = 27
_MOST_CHARACTERS: Final = 200


class UnreadableError(Exception):
    """A message is not what it should be."""


class PassedOverError(Exception):
    """A message is what it should be, and no record can be made of it; the text is the reason, as one word."""


def trade(raw: Mapping[str, Any], symbol: str) -> Trade:
    """Return the trade that a message or a row states.

    Its identity is the day, the exchange and the exchange's number. Among trades of the same microsecond the nanoseconds decide,
    then that number.

    Raises
    ------
    UnreadableError
        If it states none.
    PassedOverError
        If it is not of whole shares.
    """
    nanos = _nanos(raw.get("t"))
    number, exchange = _integer(raw.get("i"), "trade id"), _code(raw.get("x"))
    return Trade(
        source=SOURCE,
        symbol=symbol,
        ts=nanos // 1000,
        price=_price(raw.get("p")),
        size=_shares(raw.get("s")),
        trade_id=_trade_id(nanos, exchange, number),
        sequence=(nanos % 1000 << _ID_BITS) | (number & ((1 << _ID_BITS) - 1)),
        exchange=exchange,
        conditions=conditions(raw.get("c"), raw.get("z")),
    )


def history_records(raw: object, symbol: str, asked_at: int) -> list[Record]:
    """Return the trade of a row of the history, and its cancel if the row says that it holds no longer.

    The history does not say when it was cancelled or corrected: ``asked_at``, UTC epoch microseconds, is when it was known. The
    correction is a row of its own.
    """
    if not isinstance(raw, Mapping):
        raise UnreadableError(_shown(raw))
    found = trade(raw, symbol)
    if raw.get("u") in _BROKEN:
        return [found, Cancel(SOURCE, symbol, asked_at, found.trade_id)]
    return [found]


def history_amendments(raw: object, symbol: str, asked_at: int) -> list[Record]:
    """Return what a row says of a trade that was known before: the cancel, or the trade that is in the place of one."""
    if not isinstance(raw, Mapping) or raw.get("u") not in {*_BROKEN, "corrected"}:
        return []
    return history_records(raw, symbol, asked_at)[-1:]


def row_moment(raw: object) -> int:
    """Return when the trade of a row of the history was, UTC epoch microseconds.

    Raises
    ------
    UnreadableError
        If it does not say so.
    """
    return _nanos(raw.get("t") if isinstance(raw, Mapping) else None) // 1000


def conditions(codes: object, tape: object) -> str:
    """Return sale conditions as the bits of :func:`market.eligibility.sale_condition_bit`, in hexadecimal.

    An average price is ``B`` on tapes A and B and ``W`` on tape C, where ``B`` is a bunched trade: it is the bit of ``W`` here.
    """
    given = [codes] if isinstance(codes, str) else codes or ()
    if not isinstance(given, Sequence) or not all(isinstance(code, str) for code in given):
        msg = f"its conditions are {_shown(codes)}"
        raise UnreadableError(msg)
    bits = 0
    for code in given:
        if code not in _PLAIN_SALES:
            bits |= sale_condition_bit("W" if code == "B" and tape != TAPE_OF_NASDAQ else code)
    return f"{bits:X}" if bits else ""


class Translator:
    """Makes records of the messages of a source, over all its connections.

    It remembers which trade a correction took the place of: the next correction or cancel names the number that the correction
    gave it, on whichever connection it comes.
    """

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}

    def delivery(self, messages: Sequence[Mapping[str, Any]]) -> Delivery:
        """Return what messages state.

        Raises
        ------
        UnreadableError
            If one does not say which symbol it is about: nobody can tell what was lost.
        """
        records: list[Record] = []
        passed_over: Counter[str] = Counter()
        unreadable: set[str] = set()
        for message in messages:
            kind, symbol = message.get("T"), message.get("S")
            if not isinstance(symbol, str) or not symbol:
                msg = f"a message without a symbol: {_shown(message)}"
                raise UnreadableError(msg)
            try:
                records += self._records(str(kind), message, symbol)
            except PassedOverError as reason:
                passed_over[str(reason)] += 1
            except UnreadableError:
                passed_over[f"unreadable_{kind}"] += 1
                if kind in _OF_TRADES:
                    unreadable.add(symbol)
        return Delivery(records, dict(passed_over), frozenset(unreadable))

    def _records(self, kind: str, message: Mapping[str, Any], symbol: str) -> Sequence[Record]:
        if kind == "t":
            return (trade(message, symbol),)
        if kind == "q":
            return (_quote(message, symbol),)
        if kind in {"b", "u"}:
            return (_bar(message, symbol),)
        if kind == "x":
            return self._cancels(message, symbol)
        if kind == "c":
            return self._corrections(message, symbol)
        if kind == "s":
            return (_status(message, symbol),)
        msg = "unknown_message"
        raise PassedOverError(msg)

    def _cancels(self, message: Mapping[str, Any], symbol: str) -> list[Record]:
        nanos, exchange = _nanos(message.get("t")), _code(message.get("x"))
        named = _trade_id(nanos, exchange, _integer(message.get("i"), "trade id"))
        both = dict.fromkeys((named, self._first.get((symbol, named), named)))
        return [Cancel(SOURCE, symbol, nanos // 1000, trade_id) for trade_id in both]

    def _corrections(self, message: Mapping[str, Any], symbol: str) -> list[Record]:
        """Return the correction of the first trade, and the cancel of what may be in the lake under a later number.

        That is the trade of the history that a correction before this one became, if a hole was filled meanwhile.
        """
        nanos, exchange = _nanos(message.get("t")), _code(message.get("x"))
        named = _trade_id(nanos, exchange, _integer(message.get("oi"), "original id"))
        first = self._first.get((symbol, named), named)
        self._first[symbol, _trade_id(nanos, exchange, _integer(message.get("ci"), "corrected id"))] = first
        correction = Correction(
            source=SOURCE,
            symbol=symbol,
            ts=nanos // 1000,
            ref_id=first,
            price=_price(message.get("cp")),
            size=_shares(message.get("cs")),
            exchange=exchange,
            conditions=conditions(message.get("cc"), message.get("z")),
        )
        return [correction, *([Cancel(SOURCE, symbol, nanos // 1000, named)] if named != first else [])]


def _quote(message: Mapping[str, Any], symbol: str) -> Quote:
    """Return the best bid and offer; a price of 0 says that there is none on that side.

    A quote has no number: what it states is its identity.
    """
    nanos = _nanos(message.get("t"))
    stated = [message.get(key) for key in ("bx", "bp", "bs", "ax", "ap", "as", "c")]
    bid, ask = (None if message.get(key) == 0 else _price(message.get(key)) for key in ("bp", "ap"))
    if bid is None and ask is None:
        msg = "quote_of_nothing"
        raise PassedOverError(msg)
    return Quote(
        source=SOURCE,
        symbol=symbol,
        ts=nanos // 1000,
        quote_id=f"{nanos}-{zlib.crc32(repr(stated).encode()):08x}",
        bid=bid,
        bid_size=_integer(message.get("bs"), "bid size") if bid is not None else None,
        ask=ask,
        ask_size=_integer(message.get("as"), "ask size") if ask is not None else None,
        sequence=nanos % 1000,
        exchange=f"{_code(message.get('bx'))}{_code(message.get('ax'))}",
    )


def _bar(message: Mapping[str, Any], symbol: str) -> Bar:
    start = datetime.fromtimestamp(_nanos(message.get("t")) // 1_000_000_000, UTC).isoformat()
    bars, problems = parse_bars([{**message, "t": start}], symbol, BAR_INTERVAL)
    if problems:
        raise UnreadableError(problems[0].detail)
    return bars[0]


def _status(message: Mapping[str, Any], symbol: str) -> Halt | Resume:
    ts, code = _nanos(message.get("t")) // 1000, str(message.get("sc"))
    if code in HALTED:
        reason = str(message.get("rc") or message.get("rm") or message.get("sm") or "").replace(NUL, "")
        return Halt(SOURCE, symbol, ts, reason[:MAX_REASON_CHARACTERS])
    if code in RESUMED:
        return Resume(SOURCE, symbol, ts)
    msg = "other_status"
    raise PassedOverError(msg)


def _trade_id(nanos: int, exchange: str, number: int) -> str:
    return f"{_day(nanos // 3_600_000_000_000):%Y%m%d}-{exchange}-{number}"


@lru_cache(maxsize=1024)
def _day(hour: int) -> date:
    """Return the exchange's day of an hour of the epoch: its days begin with one."""
    return datetime.fromtimestamp(hour * 3600, EXCHANGE_ZONE).date()


def _nanos(value: object) -> int:
    """Return nanoseconds of the epoch: the stream has a timestamp of MessagePack, the history RFC 3339 with nanoseconds."""
    if isinstance(value, Timestamp):
        return int(value.to_unix_nano())
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        msg = f"its time is {_shown(value)}"
        raise UnreadableError(msg)
    try:
        seconds = int(datetime.fromisoformat(found[1] + found[3]).timestamp())
    except ValueError as error:
        msg = f"its time is {_shown(value)}"
        raise UnreadableError(msg) from error
    return seconds * 1_000_000_000 + int((found[2] or "").ljust(9, "0"))


def _price(value: object) -> Decimal:
    """Return a price by the shortest decimal form of what came: that is what the vendor wrote."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        msg = f"its price is {_shown(value)}"
        raise UnreadableError(msg)
    price = Decimal(repr(value))
    if price < MAX_PRICE and -int(price.as_tuple().exponent) > PRICE_DECIMALS:
        price = round(price, PRICE_DECIMALS)
    if not 0 < price < MAX_PRICE:
        msg = f"its price is {_shown(value)}"
        raise UnreadableError(msg)
    return price


def _shares(value: object) -> int:
    if isinstance(value, float) and math.isfinite(value) and value > 0 and value != int(value):
        msg = "fraction_of_a_share"
        raise PassedOverError(msg)
    shares = _integer(value, "size")
    if shares == 0:
        msg = "no_shares"
        raise PassedOverError(msg)
    return shares


def _integer(value: object, name: str) -> int:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        msg = f"its {name} is {_shown(value)}"
        raise UnreadableError(msg)
    return value


def _code(value: object) -> str:
    """Return the code of an exchange, which is a letter."""
    if not isinstance(value, str) or (value and not (value.isascii() and value.isalnum())):
        msg = f"its exchange is {_shown(value)}"
        raise UnreadableError(msg)
    return value


def _shown(value: object) -> str:
    return repr(value)[:_MOST_CHARACTERS]
