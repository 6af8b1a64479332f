"""The dividends and splits of Yahoo's chart API as a source of corporate actions.

The API's dividends are adjusted for every split until today, as its prices are, and rounded to six decimals; ours are as paid, so
the splits since are undone: of the amounts that Yahoo rounds to what it says the one with the fewest decimals was paid. A later
split changes what Yahoo says, and with that the rounding: that is no other dividend. It says nothing of announcements and of
changes of symbol.
"""

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from ingest.actions.rounding import as_decimal, simplest_amount
from ingest.actions.source import Listed, Listing, Range, start_of
from ingest.feeds.yahoo.answer import DividendEvent, Events, Result
from ingest.feeds.yahoo.client import TIMEOUT_SECONDS, ChartClient
from ingest.feeds.yahoo.parse import (
    CURRENCY,
    WRONG_CURRENCY,
    NothingThereError,
    RefusedError,
    Split,
    UnknownSymbolError,
    day_of,
    factor_after,
    splits_of,
    ticker_of,
)
from ingest.history.source import Limit, Problem
from market.records import DAILY, MAX_PRICE, PRICE_DECIMALS, Dividend
from market.records import Split as SplitRecord
from market.sessions import EXCHANGE_ZONE
from market.settings import Settings

_DAY: Final = timedelta(days=1)
_HALF: Final = Fraction(1, 2 * 10**6)
"""Half of the last decimal of what Yahoo says."""
_WRONG_DIVIDEND: Final = "wrong_dividend"
_GAIN_IN_DOUBT: Final = "gain_in_doubt"


class YahooActions:
    """Splits and dividends of Yahoo Finance, one request a symbol.

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
    limit = Limit(60, 60.0)
    symbols_per_ask = 1

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

    def symbols(self) -> tuple[str, ...] | None:
        """Return ``None``: it has all."""
        return None

    def fetch(self, symbols: Sequence[str], within: Range, pace: Callable[[], None]) -> Listing:
        """Ask for each symbol, from the first day until now: what comes after a dividend decides what it was."""
        listed: list[Listed] = []
        problems: list[Problem] = []
        unknown: set[str] = set()
        for symbol in symbols:
            start = datetime.combine(within.first, time(), EXCHANGE_ZONE)
            try:
                result = self._client.ask(ticker_of(symbol), DAILY, start, self._now(), pace).result
                found, wrong = actions_of(result, symbol, self.name)
            except UnknownSymbolError:
                unknown.add(symbol)
            except NothingThereError:
                continue
            except RefusedError as error:
                problems.append(Problem(symbol, error.code, str(error)))
            else:
                listed += [item for item in found if date.fromisoformat(item.action.effective_date) in within]
                problems += wrong
        return Listing(listed, problems, frozenset(unknown))


def actions_of(result: Result, symbol: str, source: str) -> tuple[list[Listed], list[Problem]]:
    """Return the splits and the dividends of an answer, each as it was on its day, and what is wrong with dividends.

    All cash of a day is one dividend, capital gains included. Of a day with a dividend that is none no dividend is returned: the
    rest would be too little.

    Raises
    ------
    RefusedError
        If a split is none: every dividend before it could be wrong then.
    """
    listed: list[Listed] = []
    problems: list[Problem] = []
    splits = splits_of(result)
    for split in splits:
        new, old = (Decimal(number) for number in (split.ratio.numerator, split.ratio.denominator))
        listed.append(Listed(SplitRecord(source, symbol, start_of(split.day), split.day.isoformat(), new, old)))
    events = result.events or Events()
    dividends, gains = _by_day(events.dividends.values()), _by_day(events.capital_gains.values())
    for day in sorted(dividends.keys() | gains.keys()):
        try:
            cash = _all_cash(day, dividends.get(day, ()), gains.get(day, ()), splits)
        except RefusedError as error:
            problems.append(Problem(symbol, error.code, str(error)))
            continue
        margin = (len(dividends.get(day, ())) + len(gains.get(day, ()))) * margin_of(day, splits)
        listed.append(Listed(Dividend(source, symbol, start_of(day), day.isoformat(), cash), cash_margin=margin))
    return listed, problems


def _by_day(events: Iterable[DividendEvent]) -> dict[date, list[DividendEvent]]:
    found: dict[date, list[DividendEvent]] = {}
    for event in events:
        found.setdefault(day_of(event.date), []).append(event)
    return found


def _all_cash(
    day: date, dividends: Sequence[DividendEvent], gains: Sequence[DividendEvent], splits: Sequence[Split]
) -> Decimal:
    """Return all cash of a day.

    The vendor adds a capital gain to the dividend at times, and lists it beside that as well: a dividend
    that is as large may hold it already.
    """
    paid, gained = (sum((cash_of(event, splits) for event in events), Decimal(0)) for events in (dividends, gains))
    if gained and paid >= gained:
        msg = f"a dividend of {paid} and a capital gain of {gained} on {day}: the gain may be in the dividend already"
        raise RefusedError(_GAIN_IN_DOUBT, msg)
    return paid + gained


def cash_of(event: DividendEvent, splits: Sequence[Split]) -> Decimal:
    """Return what was paid for a share held at the close before, with splits of that day and later undone.

    Raises
    ------
    RefusedError
        If it is not positive, with the decimals that a message has.
    """
    day = day_of(event.date)
    if event.currency and event.currency != CURRENCY:
        raise RefusedError(WRONG_CURRENCY, f"{event.amount:g} on {day} is in {event.currency}, not in {CURRENCY}")
    factor = factor_after(day - _DAY, splits)
    said = Fraction(Decimal(repr(event.amount)) if math.isfinite(event.amount) else 0)
    if not 0 < said * factor < MAX_PRICE:
        raise RefusedError(_WRONG_DIVIDEND, f"{event.amount:g} on {day} is not a dividend")
    low, high = (said - _HALF) * factor, (said + _HALF) * factor
    cash = as_decimal(said, PRICE_DECIMALS) if factor == 1 else simplest_amount(low, high)
    if cash <= 0:
        raise RefusedError(_WRONG_DIVIDEND, f"{event.amount:g} on {day} is too little for a dividend")
    return _plain(cash)


def margin_of(day: date, splits: Sequence[Split]) -> Decimal:
    """Return by how much two derivations of a dividend may differ, before and after any of the splits since."""
    since = sorted((split for split in splits if split.day >= day), key=lambda split: split.day)
    factors = itertools.accumulate((split.ratio for split in since), operator.mul, initial=Fraction(1))
    # Each is off by its own rounding at the most, and then is rounded to our decimals.
    return as_decimal(min(4 * _HALF * max(factors) + 2 * _HALF, Fraction(MAX_PRICE)), PRICE_DECIMALS)


def _plain(cash: Decimal) -> Decimal:
    return cash.normalize() if cash != cash.to_integral() else cash.quantize(Decimal(1))
