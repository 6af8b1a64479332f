"""Alpaca's JSON as bars: pure, no network in here.

A bar is an object with ``t`` (its start, RFC 3339), ``o``, ``h``, ``l``, ``c`` (prices as JSON numbers) and ``v`` (shares); a
daily bar's ``t`` is midnight in New York. See https://docs.alpaca.markets/reference/stockbars.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from ingest.history.source import WRONG_TIME, Problem
from market.records import DAILY, MAX_PRICE, PRICE_DECIMALS, Bar
from market.sessions import EXCHANGE_ZONE, open_micros

SOURCE: Final = "alpaca"

BAD_BAR: Final = "bad_bar"
NOT_A_NUMBER: Final = "not_a_number"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIELDS: Final = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
_MOST_CHARACTERS: Final = 200


class _NotABarError(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.ts: int | None = None


def parse_bars(raw_bars: Iterable[object], symbol: str, interval: str) -> tuple[list[Bar], list[Problem]]:
    """Return the bars of a symbol on a page, and what is wrong with those that are none.

    A daily bar is put at the open of its session. Whether prices are in order, and which bars were asked for, is looked at by
    :mod:`ingest.history.check`.
    """
    bars: list[Bar] = []
    problems: list[Problem] = []
    for raw in raw_bars:
        try:
            bars.append(_bar(raw, symbol, interval))
        except _NotABarError as error:
            problems.append(Problem(symbol, error.code, str(error), error.ts))
    return bars, problems


def _bar(raw: object, symbol: str, interval: str) -> Bar:
    if not isinstance(raw, dict):
        raise _NotABarError(BAD_BAR, f"no bar: {_shown(raw)}")
    missing = [key for key in ("t", *_FIELDS) if key not in raw]
    if missing:
        raise _NotABarError(BAD_BAR, f"without {', '.join(missing)}: {_shown(raw)}")
    ts = _start(raw["t"], interval)
    try:
        opened, high, low, close = (_price(raw, name) for name in "ohlc")
        return Bar(SOURCE, symbol, interval, ts, opened, high, low, close, _volume(raw))
    except _NotABarError as error:
        error.ts = ts
        raise


def _start(value: object, interval: str) -> int:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _NotABarError(BAD_BAR, f"its t is {_shown(value)}, not a time such as 2024-01-02T14:30:00Z")
    if interval != DAILY:
        return (moment - _EPOCH) // _MICROSECOND
    in_new_york = moment.astimezone(EXCHANGE_ZONE)
    if in_new_york.time() != time():
        # a day of UTC or of another zone would be put a session too early
        raise _NotABarError(WRONG_TIME, f"a daily bar at {value}, which is not midnight in New York")
    return open_micros(in_new_york.date())


def _price(raw: Mapping[str, object], key: str) -> Decimal:
    """Return a price by its shortest decimal form: that is what the vendor wrote."""
    number = _number(raw, key)
    price = Decimal(repr(number))
    if price < MAX_PRICE and -int(price.as_tuple().exponent) > PRICE_DECIMALS:
        price = round(price, PRICE_DECIMALS)
    if not 0 < price < MAX_PRICE:
        raise _NotABarError(BAD_BAR, f"{_FIELDS[key]} is {_shown(number)} at {raw['t']}, not a price")
    return price


def _volume(raw: Mapping[str, object]) -> int:
    number = _number(raw, "v")
    if number < 0 or number != int(number):
        raise _NotABarError(BAD_BAR, f"volume is {_shown(number)} at {raw['t']}, not a number of shares")
    return int(number)


def _number(raw: Mapping[str, object], key: str) -> int | float:
    value = raw[key]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise _NotABarError(NOT_A_NUMBER, f"{_FIELDS[key]} is {_shown(value)} at {raw['t']}")


def _shown(value: object) -> str:
    return repr(value)[:_MOST_CHARACTERS]
