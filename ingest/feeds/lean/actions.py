"""The factor files and map files of a LEAN data folder as a source of corporate actions.

``equity/usa/factor_files/<symbol>.csv`` has rows of date, price factor, split factor and reference price: a row's factors hold
for days up to its date, that included, and turn their prices into those of today; the reference price is the close of that day.
``equity/usa/map_files/<symbol>.csv`` has the symbols that a company traded under, each with its last date. Both are named by the
company's last symbol. From one row to the next

    split:     old shares / new shares = split factor / next split factor
    dividend:  1 - cash / reference price = price factor / next price factor

and the day of the action is the first session after the row's date. Factors are rounded to seven decimals: what was meant is the
simplest ratio, and the amount with the fewest decimals, that rounds to them.
"""

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Final

from ingest.actions.rounding import as_decimal, simplest_amount
from ingest.actions.source import Listed, Listing, Range, is_split, start_of
from ingest.history.source import Limit, Problem, SourceError
from market.records import PRICE_DECIMALS, Dividend, Split, SymbolChange
from market.sessions import all_sessions

_ROUNDING: Final = Fraction(1, 2 * 10**7)
_SIMPLE: Final = 200
"""A ratio is taken for what was meant if its two numbers are together no greater than this."""


class BadFileError(ValueError):
    """A row of a file is none; the text says which and why."""


@dataclass(frozen=True, slots=True)
class FactorRow:
    """A row of a factor file."""

    until: date
    price_factor: Decimal
    split_factor: Decimal
    reference_price: Decimal


@dataclass(frozen=True, slots=True)
class MapRow:
    """A row of a map file: the symbol until a date, that included."""

    until: date
    symbol: str


class LeanActions:
    """The corporate actions of a LEAN data folder.

    Parameters
    ----------
    path
        The folder that holds ``equity``.
    """

    name = "lean"
    limit: Limit | None = None
    symbols_per_ask = 100

    def __init__(self, path: Path) -> None:
        self._folder = path / "equity" / "usa"

    def check(self) -> None:
        """Look whether the folder is there.

        Raises
        ------
        SourceError
            If not.
        """
        if not (self._folder / "factor_files").is_dir() and not (self._folder / "map_files").is_dir():
            msg = f"{self._folder} has neither factor_files nor map_files: it is not of a LEAN data folder. Give another --path."
            raise SourceError(msg)

    def symbols(self) -> tuple[str, ...] | None:
        """Return the companies of the folder, by their last symbol."""
        files = (path for name in ("factor_files", "map_files") for path in (self._folder / name).glob("*.csv"))
        return tuple(sorted({path.stem.upper() for path in files}))

    def fetch(self, symbols: Sequence[str], within: Range, pace: Callable[[], None]) -> Listing:
        """Read the files of some companies, by their last symbol; their actions are under the symbol of their day."""
        pace()
        listed: list[Listed] = []
        problems: list[Problem] = []
        unknown: set[str] = set()
        for symbol in symbols:
            try:
                factors, symbol_map = (self._read(name, symbol) for name in ("factor_files", "map_files"))
            except BadFileError as error:
                problems.append(Problem(symbol, "damaged_file", str(error)))
                continue
            if factors is None and symbol_map is None:
                unknown.add(symbol)
                continue
            try:
                mapped = parse_map(symbol_map or "")
                listed += actions_of(symbol, parse_factors(factors or ""), mapped, self.name)
            except BadFileError as error:
                problems.append(Problem(symbol, "not_a_number", str(error)))
        own = [item for item in listed if date.fromisoformat(item.action.effective_date) in within]
        return Listing(own, problems, frozenset(unknown))

    def _read(self, folder: str, symbol: str) -> str | None:
        try:
            return (self._folder / folder / f"{symbol.lower()}.csv").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{folder}/{symbol.lower()}.csv cannot be read: {error}. Get the file again, or save it as UTF-8."
            raise BadFileError(msg) from error


def parse_factors(text: str) -> list[FactorRow]:
    """Return the rows of a factor file.

    Raises
    ------
    BadFileError
        If one is none, or they are not in the order of their dates.
    """
    rows = []
    for number, cells in _rows(text):
        if len(cells) < 3:  # noqa: PLR2004 - old files have no reference price
            msg = f"row {number} of the factor file has {len(cells)} fields: {','.join(cells)}"
            raise BadFileError(msg)
        numbers = [_number(cell, number) for cell in (*cells[1:4], "0")][:3]
        if min(numbers[:2]) <= _ROUNDING:  # nobody knows what less was
            msg = f"row {number} of the factor file has a factor that is not above 0: {','.join(cells)}"
            raise BadFileError(msg)
        rows.append(FactorRow(_date(cells[0], number), *numbers))
    _require_order([row.until for row in rows], "factor")
    return rows


def parse_map(text: str) -> list[MapRow]:
    """Return the rows of a map file.

    Raises
    ------
    BadFileError
        If one is none, or they are not in the order of their dates.
    """
    rows = []
    for number, cells in _rows(text):
        if len(cells) < 2 or not cells[1]:  # noqa: PLR2004
            msg = f"row {number} of the map file has no symbol: {','.join(cells)}"
            raise BadFileError(msg)
        rows.append(MapRow(_date(cells[0], number), cells[1].upper()))
    _require_order([row.until for row in rows], "map")
    return rows


def actions_of(symbol: str, factors: Sequence[FactorRow], mapped: Sequence[MapRow], source: str) -> Iterator[Listed]:
    """Yield what the files of a company say; ``symbol`` is its last one."""
    for row, later in itertools.pairwise(factors):
        ex_date = _session_after(row.until)
        if ex_date is None:
            continue
        own, day, ts = _symbol_on(ex_date, mapped, symbol), ex_date.isoformat(), start_of(ex_date)
        if row.split_factor != later.split_factor:
            new, old = split_of(row.split_factor, later.split_factor)
            if not is_split(new, old):
                msg = f"a split of {new} for {old} on {day}: split factors {row.split_factor} and {later.split_factor}"
                raise BadFileError(msg)
            yield Listed(Split(source, own, ts, day, new, old))
        if row.price_factor != later.price_factor:
            cash = cash_of(row.price_factor, later.price_factor, row.reference_price)
            if cash <= 0:
                msg = f"a dividend of {cash} on {day}: price factors {row.price_factor} and {later.price_factor}"
                raise BadFileError(msg)
            yield Listed(Dividend(source, own, ts, day, cash))
    for before, after in itertools.pairwise(mapped):
        first = _session_after(before.until)
        if before.symbol != after.symbol and first is not None:
            yield Listed(SymbolChange(source, before.symbol, start_of(first), first.isoformat(), after.symbol))


def split_of(factor: Decimal, later: Decimal) -> tuple[Decimal, Decimal]:
    """Return the new shares and the old shares of a split: the simplest ratio that rounds to these factors, or the factors."""
    low = (Fraction(factor) - _off(factor)) / (Fraction(later) + _off(later))
    high = (Fraction(factor) + _off(factor)) / (Fraction(later) - _off(later))
    ratio = simplest_between(low, high)
    if ratio.numerator + ratio.denominator <= _SIMPLE:
        return Decimal(ratio.denominator), Decimal(ratio.numerator)
    # What rounds to seven decimals is told with six: both numbers ten times.
    return as_decimal(Fraction(10 * later), PRICE_DECIMALS), as_decimal(Fraction(10 * factor), PRICE_DECIMALS)


def cash_of(factor: Decimal, later: Decimal, reference_price: Decimal) -> Decimal:
    """Return the cash of a dividend: the amount with the fewest decimals that rounds to these factors."""
    price = Fraction(reference_price)
    low = price * (1 - (Fraction(factor) + _off(factor)) / (Fraction(later) - _off(later)))
    high = price * (1 - (Fraction(factor) - _off(factor)) / (Fraction(later) + _off(later)))
    return simplest_amount(low, high)


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """Return the fraction with the smallest denominator between two positive ones, both included (Stern and Brocot)."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    floor = whole - 1
    return floor + 1 / simplest_between(1 / (high - floor), 1 / (low - floor))


def _off(factor: Decimal) -> Fraction:
    """Return by how much a factor may be off: the last one is 1 and not rounded."""
    return Fraction(0) if factor == 1 else _ROUNDING


def _session_after(day: date) -> date | None:
    sessions = all_sessions()
    if not sessions[0].session_date - timedelta(days=10) <= day < sessions[-1].session_date:
        return None
    return next(session.session_date for session in sessions if session.session_date > day)


def _symbol_on(day: date, mapped: Sequence[MapRow], last: str) -> str:
    return next((row.symbol for row in mapped if row.until >= day), last)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, cells in enumerate(csv.reader(io.StringIO(text)), start=1):
        if any(cell.strip() for cell in cells):
            yield number, [cell.strip() for cell in cells]


def _date(text: str, number: int) -> date:
    try:
        return datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007 - a date
    except ValueError as error:
        msg = f"row {number} begins with {text!r}, not with a date such as 20140606"
        raise BadFileError(msg) from error


def _number(text: str, number: int) -> Decimal:
    try:
        value = Decimal(text or "0")
    except InvalidOperation as error:
        msg = f"row {number} of the factor file has {text!r}, which is no number"
        raise BadFileError(msg) from error
    if not value.is_finite():
        msg = f"row {number} of the factor file has {text!r}, which is no number"
        raise BadFileError(msg)
    return value


def _require_order(days: Sequence[date], name: str) -> None:
    for before, after in itertools.pairwise(days):
        if after <= before:
            msg = f"the rows of the {name} file are not in the order of their dates: {after} after {before}"
            raise BadFileError(msg)
