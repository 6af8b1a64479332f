"""What Yahoo's chart API answers, as raw bars: pure, no network in here.

The API's prices and volumes are adjusted for every split until today, not for dividends. Ours are as traded, so the splits after
a bar are undone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from http import HTTPStatus
from typing import Any, Final

import msgspec
import pandas as pd

from ingest.actions.source import MOST_SHARES, is_split
from ingest.feeds.yahoo.answer import Reason, Result, SplitEvent, decode
from ingest.history.source import WRONG_TIME, Ask, Problem, SourceBusyError, SourceError, UnreadableAnswerError
from market.records import DAILY, MAX_BAR_VOLUME, MAX_PRICE, Bar
from market.sessions import EXCHANGE_ZONE, find_session, open_micros

CURRENCY: Final = "USD"
SIGNIFICANT_DIGITS: Final = 7
"""The API's prices went through single precision: 182.01 comes as 182.00999450683594. Seven digits are what that can hold, and
give back what was meant."""
_DECIMALS: Final = 4
_DECIMALS_BELOW_ONE: Final = 6
"""No more decimals than a trade can have: the rest of the seven digits is what undoing a split made of the lost precision."""
_LONGEST_TEXT: Final = 200
_MICROS: Final = 1_000_000
_STARTS: Final = frozenset({time(), time(9, 30)})
_BEFORE_MIDNIGHT: Final = timedelta(hours=2)
_LATEST_AFTER_CLOSE: Final = timedelta(minutes=15)
"""So long after the close the last trade of a session may be: the closing auction's comes a moment after it."""
_NOTHING: Final = "data doesn't exist for startdate"
_OTHER_SYMBOL: Final = "other_symbol"
_REFUSED: Final = "refused"
WRONG_CURRENCY: Final = "wrong_currency"
_WRONG_SPLIT: Final = "wrong_split"
_WRONG_TIME_ZONE: Final = "wrong_time_zone"
_PRICES: Final = ("Open", "High", "Low", "Close")


class UnknownSymbolError(Exception):
    """Yahoo does not know the symbol."""


class NothingThereError(Exception):
    """Yahoo knows the symbol and has nothing of it in that range."""


class RefusedError(Exception):
    """Yahoo's answer about one symbol is of no use.

    Attributes
    ----------
    code
        The code of the :class:`~ingest.history.source.Problem`.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Split:
    """One share became ``ratio`` shares at the open of ``day``."""

    day: date
    ratio: Fraction


def ticker_of(symbol: str) -> str:
    """Return Yahoo's ticker: classes of shares have a hyphen there."""
    return symbol.replace(".", "-")


def read_answer(ticker: str, status: int, body: bytes, after_seconds: float | None = None) -> Result:
    """Return what an HTTP answer says, if there are rows in it.

    Parameters
    ----------
    ticker
        Yahoo's ticker that was asked for.
    status, body
        The answer.
    after_seconds
        How long it asks to wait.

    Raises
    ------
    UnknownSymbolError, NothingThereError, RefusedError
        If it says that there are none.
    SourceBusyError
        If it is no answer, or says that there were too many requests.
    SourceError
        If it refuses every request.
    """
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        msg = f"Yahoo refuses requests from here (HTTP {status}). Try again hours later, or take another source."
        raise SourceError(msg)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        msg = f"Yahoo's chart API has moved (HTTP {status}). Look whether TAPEHOUSE_YAHOO_URL is right."
        raise SourceError(msg)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        msg = "Yahoo says that there were too many requests (HTTP 429)."
        raise SourceBusyError(msg, after_seconds)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        msg = f"Yahoo is out of order (HTTP {status})."
        raise SourceBusyError(msg, after_seconds)
    try:
        chart = decode(body).chart
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if status >= HTTPStatus.BAD_REQUEST:
            text = f"HTTP {status} without a reason; look whether TAPEHOUSE_YAHOO_URL is right"
            raise RefusedError(_REFUSED, text) from error
        msg = f"Yahoo's answer (HTTP {status}, {len(body):,} bytes) is not one of its chart API: {error}."
        raise UnreadableAnswerError(msg) from error
    if chart.error is not None:
        raise _meaning_of(chart.error)
    if not chart.result:
        msg = f"Yahoo's answer (HTTP {status}) holds neither rows nor a reason."
        raise UnreadableAnswerError(msg)
    return _usable(ticker, chart.result[0])


def _meaning_of(reason: Reason) -> Exception:
    text = (reason.description or reason.code or "no reason given")[:_LONGEST_TEXT]
    if reason.code == "Not Found":
        return UnknownSymbolError(text)
    if _NOTHING in text.lower():
        return NothingThereError(text)
    return RefusedError(_REFUSED, f"Yahoo says: {text}")


def _usable(ticker: str, result: Result) -> Result:
    whose = result.meta.symbol
    if whose is not None and ticker_of(whose.strip().upper()) != ticker.upper():
        raise RefusedError(_OTHER_SYMBOL, f"Yahoo's answer is about {whose[:_LONGEST_TEXT]}, not about {ticker}")
    if result.meta.exchange_timezone_name != EXCHANGE_ZONE.key:
        zone = result.meta.exchange_timezone_name[:_LONGEST_TEXT]
        raise RefusedError(_WRONG_TIME_ZONE, f"it trades by the clock of {zone}, not of {EXCHANGE_ZONE.key}")
    if result.meta.currency != CURRENCY:
        raise RefusedError(WRONG_CURRENCY, f"its prices are in {result.meta.currency}, not in {CURRENCY}")
    if not result.timestamp or not result.indicators.quote:
        msg = "The range is empty."
        raise NothingThereError(msg)
    if any(len(column) != len(result.timestamp) for column in result.indicators.quote[0].all()):
        msg = f"Yahoo's answer is incomplete: its columns are not as long as its {len(result.timestamp):,} timestamps."
        raise UnreadableAnswerError(msg)
    splits_of(result)  # yfinance stumbles over one that is none, and does not say so
    return result


def splits_of(result: Result) -> tuple[Split, ...]:
    """Return the splits of an answer, oldest first.

    Raises
    ------
    RefusedError
        If one is not positive, or beyond every ratio.
    """
    events = result.events.splits.values() if result.events is not None else ()
    return tuple(sorted((_split(event) for event in events), key=lambda split: split.day))


def _split(event: SplitEvent) -> Split:
    day = day_of(event.date)
    is_finite = math.isfinite(event.numerator) and math.isfinite(event.denominator)
    if not is_finite or not is_split(Fraction(event.numerator), Fraction(event.denominator)):
        raise RefusedError(_WRONG_SPLIT, f"{event.numerator:g} for {event.denominator:g} on {day} is not a split")
    return Split(day, (Fraction(event.numerator) / Fraction(event.denominator)).limit_denominator(MOST_SHARES))


def factor_after(day: date, splits: Sequence[Split]) -> Fraction:
    """Return how many shares of today one share of ``day`` is; on the day of a split that split is in the prices already."""
    return math.prod((split.ratio for split in splits if split.day > day), start=Fraction(1))


def raw_price(adjusted: float, factor: Fraction) -> Decimal:
    """Return the price as traded: to seven significant digits, and at most four decimals, or six below one dollar."""
    exact = Decimal(adjusted) * factor.numerator / factor.denominator
    price = Context(prec=SIGNIFICANT_DIGITS).create_decimal(exact)
    places = _DECIMALS if price >= 1 else _DECIMALS_BELOW_ONE
    if price.adjusted() - SIGNIFICANT_DIGITS + 1 < -places:
        price = round(price, places)
    return Decimal(f"{price.normalize():f}")


def raw_shares(adjusted: int, factor: Fraction) -> int:
    """Return the volume as traded, in whole shares."""
    return round(adjusted / factor)


def incomplete_moments(result: Result) -> dict[int, str]:
    """Return when the answer has a row with fields that are missing or no number, and which; a row of nothing is no bar."""
    if result.timestamp is None:
        return {}
    found = {}
    names = [name.lower() for name in (*_PRICES, "Volume")]
    for at, *values in zip(result.timestamp, *result.indicators.quote[0].all(), strict=True):
        missing = [name for name, value in zip(names, values, strict=True) if value is None]
        wrong = [
            f"{name} is {value:g}"
            for name, value in zip(names, values, strict=True)
            if value is not None and not math.isfinite(value)
        ]
        # A volume of 0 beside missing prices is how the vendor writes that nothing traded.
        if wrong or (missing and any(values)):
            found[at] = ", ".join([*wrong, *([f"no {', '.join(missing)}"] if missing else [])])
    return found


@dataclass(frozen=True, slots=True)
class SentRow:
    """A row as the vendor sent it: ``key`` is its day, or its second if it is of a part of a day."""

    key: date | int
    moment: datetime
    values: tuple[float | None, ...]


def sent_rows(result: Result, *, is_daily: bool) -> list[SentRow]:
    """Return the rows of an answer that say something, in the order of the answer."""
    found: list[SentRow] = []
    for at, *values in zip(result.timestamp or (), *result.indicators.quote[0].all(), strict=True):
        if any(values):
            moment = datetime.fromtimestamp(at, UTC).astimezone(EXCHANGE_ZONE)
            # yfinance takes a row of 22:00 or 23:00 for one of the day that begins then.
            found.append(SentRow((moment + _BEFORE_MIDNIGHT).date() if is_daily else at, moment, tuple(values)))
    return found


def faults_of(result: Result, ask: Ask, symbol: str) -> tuple[set[date | int], list[Problem]]:
    """Return the keys of rows that are left out, and why: yfinance drops one of two rows, and takes a time for its date.

    A daily row begins at the open or at midnight in New York, at half past nine also if the exchange opened late. Only the last
    may be the latest price instead, of the session that it lies in; it then takes the place of the row of its day.
    """
    is_daily = ask.interval == DAILY
    rows = [row for row in sent_rows(result, is_daily=is_daily) if ask.first <= _date_of(row) <= ask.last]
    found: dict[date | int, Problem] = {}
    seen: dict[date | int, SentRow] = {}
    latest = result.timestamp[-1] if result.timestamp else None
    for row in rows:
        when = f"{row.moment:%Y-%m-%d %H:%M} in New York"
        session = find_session(_date_of(row))
        if session is None:
            found[row.key] = Problem(symbol, "no_session", f"a row at {when}: the exchange was closed that day")
        elif is_daily and row.moment.time() not in _STARTS and row.moment != session.open_at:
            is_latest = row.moment.timestamp() == latest
            if not (is_latest and session.open_at < row.moment < session.close_at + _LATEST_AFTER_CLOSE):
                found[row.key] = Problem(symbol, WRONG_TIME, f"a daily row at {when}, neither the open nor midnight")
        elif row.values != seen.setdefault(row.key, row).values:
            found[row.key] = Problem(
                symbol, "contradicts_itself", f"two rows at {when} that differ", _micros(row.moment)
            )
    return set(found), list(found.values())


def _micros(moment: datetime) -> int:
    return round(moment.timestamp()) * _MICROS


def _date_of(row: SentRow) -> date:
    return row.key if isinstance(row.key, date) else row.moment.date()


def parse_bars(
    frame: pd.DataFrame, result: Result, splits: Sequence[Split], *, ask: Ask, symbol: str, source: str
) -> tuple[list[Bar], list[Problem]]:
    """Return the raw bars of the sessions that were asked for, and what cannot be one.

    Parameters
    ----------
    frame
        The rows as yfinance gives them: split-adjusted, indexed by the exchange's time.
    result
        The answer that they come from: yfinance turns a missing volume into 0.
    splits
        Every split from the first session until today.
    ask, symbol, source
        Whose bars.
    """
    is_daily = ask.interval == DAILY
    sessions = {session.session_date: session for session in ask.sessions}
    incomplete = {day_of(at) if is_daily else at: what for at, what in incomplete_moments(result).items()}
    # yfinance gives volumes as 64-bit numbers, whatever the vendor said.
    volumes = {row.key: row.values[-1] for row in sent_rows(result, is_daily=is_daily)}
    bars: list[Bar] = []
    left_out, problems = faults_of(result, ask, symbol)
    factors = {day: factor_after(day, splits) for day in sessions}
    for moment, row in _rows(frame):
        day = moment.date()
        session = sessions.get(day)
        if session is None or not (is_daily or session.open_at <= moment < session.close_at):
            continue  # the running session, the latest price, and what lies outside of the regular segment
        seconds = int(moment.timestamp())
        key: date | int = day if is_daily else seconds
        if key in left_out:
            continue
        if missing := incomplete.get(key):
            detail = f"{missing} at {key if is_daily else moment}"
            problems.append(Problem(symbol, "not_a_number", detail, _micros(moment)))
            continue
        if any(pd.isna(value) for value in row) or not any(row):
            continue
        prices = [raw_price(value, factors[day]) for value in row[:4]]
        shares = volumes.get(key) or 0
        volume = raw_shares(int(shares), factors[day])
        if not (min(prices) > 0 and max(prices) < MAX_PRICE and 0 <= volume <= MAX_BAR_VOLUME):
            detail = f"{_written((*row[:4], shares))} at {moment}"
            problems.append(Problem(symbol, "impossible_value", detail, _micros(moment)))
            continue
        opened, high, low, close = prices
        ts = open_micros(day) if is_daily else seconds * _MICROS
        bars.append(Bar(source, symbol, ask.interval, ts, opened, high, low, close, volume))
    return bars, problems


def _rows(frame: pd.DataFrame) -> Iterator[tuple[datetime, tuple[Any, ...]]]:
    return (
        (at.to_pydatetime(), values)
        for at, *rest in frame[[*_PRICES, "Volume"]].itertuples(name=None)
        for values in [tuple(rest)]
    )


def _written(row: Sequence[Any]) -> str:
    return ", ".join(f"{name.lower()} {value:g}" for name, value in zip((*_PRICES, "Volume"), row, strict=True))


def day_of(seconds: int) -> date:
    """Return the date in New York of a moment in seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(EXCHANGE_ZONE).date()
