"""What Alpha Vantage answers, as raw bars: pure, no network in here.

Errors come with HTTP 200, as an object with one text under ``Error Message``, ``Information`` or ``Note``; some texts hold the
key, so no text of the vendor is passed on. Times are New York's, without a zone: when the bar begins, or the day of a daily bar.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, Final, NoReturn

import msgspec

from ingest.history.source import (
    WRONG_TIME,
    Ask,
    Problem,
    QuotaUsedUpError,
    SourceBusyError,
    SourceError,
    UnreadableAnswerError,
)
from market.records import DAILY, MAX_PRICE, MAX_SIZE_SHARES, Bar
from market.sessions import EXCHANGE_ZONE, open_micros

KEY_NAME: Final = "ALPHAVANTAGE_API_KEY"
KEY_PAGE: Final = "https://www.alphavantage.co/support/#api-key"
FUNCTIONS: Final = {
    DAILY: {"function": "TIME_SERIES_DAILY"},
    **{
        interval: {"function": "TIME_SERIES_INTRADAY", "interval": name}
        for interval, name in {"1m": "1min", "5m": "5min", "15m": "15min", "1h": "60min"}.items()
    },
}
"""By bar length what to ask for."""

_OTHER_SYMBOL: Final = "other_symbol"
_WRONG_TIME_ZONE: Final = "wrong_time_zone"
_ZONES: Final = {"US/Eastern", "America/New_York"}
_SERIES: Final = "Time Series"
_FIELDS: Final = ("1. open", "2. high", "3. low", "4. close", "5. volume")
_MICROS: Final = 1_000_000
_BURST_SECONDS: Final = 1.0
_MINUTE_SECONDS: Final = 60.0

Series = Mapping[str, Any]
"""By time a row, or :class:`Repeated` ones."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The values of one name that an object holds several times, where they differ: JSON readers take the last one silently."""

    values: tuple[Any, ...]


class UnknownSymbolError(Exception):
    """Alpha Vantage calls the request invalid: it does not know the symbol, or has nothing of it in that month."""


class PremiumError(SourceError):
    """The key's plan does not have what was asked for."""


class UselessError(Exception):
    """Alpha Vantage's answer about one symbol is of no use.

    Attributes
    ----------
    code
        The code of the :class:`~ingest.history.source.Problem`.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def ticker_of(symbol: str) -> str:
    """Return Alpha Vantage's ticker: classes of shares have a hyphen there."""
    return symbol.replace(".", "-")


def read_answer(ticker: str, status: int, body: bytes) -> Series:
    """Return the rows of an HTTP answer, by time; none if it holds nothing.

    Parameters
    ----------
    ticker
        Alpha Vantage's ticker that was asked for.
    status, body
        The answer.

    Raises
    ------
    UnknownSymbolError, UselessError
        If they are of no use.
    SourceBusyError
        If it is no answer, or says that requests came too fast.
    SourceError
        If the key is wrong, its day's quota is used up (:class:`ingest.history.source.QuotaUsedUpError`), or
        (:class:`PremiumError`) its plan does not have it.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        msg = f"Alpha Vantage did not answer (HTTP {status})."
        raise SourceBusyError(msg)
    if status != HTTPStatus.OK:
        msg = f"Alpha Vantage refuses requests (HTTP {status}). Look at {KEY_NAME} and TAPEHOUSE_ALPHAVANTAGE_URL."
        raise SourceError(msg)
    try:
        answer = _decoded(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # Without the decoder's own words: they may quote what the vendor sent.
        answer = None
    if answer is None:
        msg = f"Alpha Vantage's answer ({len(body):,} bytes) is not one of its API."
        raise UnreadableAnswerError(msg)
    for name in ("Error Message", "Information", "Note"):
        text = answer.get(name)
        if isinstance(text, str):
            raise _meaning_of(text)
    return _rows(ticker, answer)


def _decoded(body: bytes) -> dict[str, str | dict[str, Any]]:
    found = json.loads(body, object_pairs_hook=_with_repeated, parse_constant=_refuse)
    return msgspec.convert(found, type=dict[str, str | dict[str, Any]])


def _with_repeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        if value not in (of := values.setdefault(name, [])):
            of.append(value)
    return {name: of[0] if len(of) == 1 else Repeated(tuple(of)) for name, of in values.items()}


def _refuse(constant: str) -> NoReturn:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _rows(ticker: str, answer: Mapping[str, str | dict[str, Any]]) -> Series:
    if not answer:
        return {}
    meta = answer.get("Meta Data")
    series = next((rows for name, rows in answer.items() if name.startswith(_SERIES)), None)
    if not isinstance(meta, dict) or not isinstance(series, dict):
        msg = "Alpha Vantage's answer holds neither rows nor a reason."
        raise UnreadableAnswerError(msg)
    whose = next((str(value) for name, value in meta.items() if name.endswith("Symbol")), ticker)
    if ticker_of(whose.strip().upper()) != ticker.upper():
        raise UselessError(_OTHER_SYMBOL, f"Alpha Vantage's answer is about {whose[:64]}, not about {ticker}")
    zone = next((str(value) for name, value in meta.items() if name.endswith("Time Zone")), "an unnamed zone")
    if zone not in _ZONES:
        raise UselessError(_WRONG_TIME_ZONE, f"its times are those of {zone[:64]}, not of {EXCHANGE_ZONE.key}")
    return series


def _meaning_of(text: str) -> Exception:
    """Return what a text means; the texts change from time to time, so only what they are about is looked for."""
    words = text.lower()
    return next(
        (error for needles, error in _meanings() if any(needle in words for needle in needles)),
        SourceBusyError("Alpha Vantage answered with a text that is not known here instead of bars."),
    )


def _meanings() -> list[tuple[tuple[str, ...], Exception]]:
    """Return what to look for, in this order: the text about haste names the day's quota and the premium plans too."""
    too_fast = "Alpha Vantage says that requests came too fast."
    used_up = "The requests that Alpha Vantage allows the key a day are used up."
    premium = (
        f"Alpha Vantage has this for premium plans only. Take a plan for the key in {KEY_NAME}, or another source."
    )
    wrong_key = f"Alpha Vantage does not accept the key in {KEY_NAME}. Get one at {KEY_PAGE}."
    return [
        (("per second",), SourceBusyError(too_fast, _BURST_SECONDS)),
        (("per minute",), SourceBusyError(too_fast, _MINUTE_SECONDS)),
        (("per day", "daily rate"), QuotaUsedUpError(used_up)),
        (("premium",), PremiumError(premium)),
        (("apikey", "api key"), SourceError(wrong_key)),
        (("invalid api call",), UnknownSymbolError("Alpha Vantage calls the request invalid.")),
    ]


def parse_bars(series: Series, ask: Ask, symbol: str, source: str) -> tuple[list[Bar], list[Problem]]:
    """Return the bars of the sessions that were asked for, and what cannot be one."""
    is_daily = ask.interval == DAILY
    sessions = {session.session_date: session for session in ask.sessions}
    bars: list[Bar] = []
    problems: list[Problem] = []
    # Each of several rows of one time is a bar here: whoever believes bars sees that they differ.
    rows = ((text, row) for text, of in series.items() for row in (of.values if isinstance(of, Repeated) else (of,)))
    for text, row in rows:
        moment = _moment(text)
        if moment is None:
            problems.append(Problem(symbol, WRONG_TIME, f"{text[:40]!r} is no time"))
            continue
        session = sessions.get(moment.date())
        if session is None or not (is_daily or session.open_at <= moment < session.close_at):
            continue
        ts = open_micros(moment.date()) if is_daily else int(moment.timestamp()) * _MICROS
        values = [_number(row.get(name)) if isinstance(row, Mapping) else None for name in _FIELDS]
        numbers = [value for value in values if value is not None]
        if len(numbers) < len(_FIELDS):
            wrong = ", ".join(name for name, value in zip(_FIELDS, values, strict=True) if value is None)
            problems.append(Problem(symbol, "not_a_number", f"{wrong} at {text}", ts))
            continue
        *prices, volume = numbers
        if not (min(prices) > 0 and max(prices) < MAX_PRICE and 0 <= volume <= MAX_SIZE_SHARES):
            problems.append(Problem(symbol, "impossible_value", f"{', '.join(map(str, numbers))} at {text}", ts))
            continue
        opened, high, low, close = prices
        bars.append(Bar(source, symbol, ask.interval, ts, opened, high, low, close, int(volume)))
    return bars, problems


def oldest_day(series: Series) -> date | None:
    """Return the first day of the rows."""
    return min((moment.date() for moment in map(_moment, series) if moment is not None), default=None)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=EXCHANGE_ZONE)
    except ValueError:
        return None


def _number(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
