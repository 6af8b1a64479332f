"""Corporate actions in CSV files of one's own.

The header is ``symbol,kind,effective_date`` and, of ``known_date,new_shares,old_shares,cash,new_symbol,action``, what the kinds
in the file need; dates are written as 2014-06-09. A kind is ``split``, ``dividend``, ``symbol_change`` or ``withdrawal``.
"""

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from ingest.actions.source import MOST_SHARES, NAMELESS, Listed, Listing, Range, is_split, start_of
from ingest.feeds.csv.rows import rows_of_lines
from ingest.feeds.csv.separators import other_separator
from ingest.history.files import BEFORE_THE_CALENDAR
from ingest.history.source import Limit, Problem, SourceError
from market.errors import UsageError
from market.instruments import parse_symbols
from market.records import (
    ACTIONS,
    MAX_PRICE,
    PRICE_DECIMALS,
    CorporateAction,
    Dividend,
    Split,
    SymbolChange,
    Withdrawal,
)
from market.sessions import EXCHANGE_ZONE, FIRST_SESSION, all_sessions

REQUIRED: Final = ("symbol", "kind", "effective_date")
OPTIONAL: Final = ("known_date", "new_shares", "old_shares", "cash", "new_symbol", "action")

_SURPLUS: Final = "\x00fields"
"""The field that says how many fields a row has, if these are more than the header has."""
_BEGINNING: Final = FIRST_SESSION.isoformat()
_FIRST_KNOWN: Final = date(1970, 1, 1)
"""Nothing became known earlier: times of messages are counted from there."""


class _DamagedError(SourceError):
    """A file cannot be read, or has another header."""


class _BadRowError(ValueError):
    """A row is no action; the text says why."""


class CsvActions:
    """The corporate actions of a CSV file, or of all in a folder.

    Parameters
    ----------
    path
        The file or folder.
    now
        The clock: nothing became known later.
    """

    name = "csv"
    limit: Limit | None = None
    symbols_per_ask = 1_000_000

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now

    def check(self) -> None:
        """Look whether there is a file that can be read and has the header.

        Raises
        ------
        SourceError
            If not.
        """
        self._read()

    def symbols(self) -> tuple[str, ...] | None:
        """Return the symbols of all rows that name one."""
        found = {row["symbol"].upper() for rows in self._read()[0].values() for _, row in rows}
        return tuple(sorted(symbol for symbol in found if symbol))

    def fetch(self, symbols: Sequence[str], within: Range, pace: Callable[[], None]) -> Listing:
        """Read all files; a row that is no action is a problem of its symbol, one without a symbol is told in any case."""
        pace()
        wanted = set(symbols)
        listed: list[Listed] = []
        files, problems = self._read()
        is_whole_folder = not problems
        met: set[str] = set()
        early: dict[str, list[str]] = {}
        is_whole = within.first <= FIRST_SESSION
        today = self._now().astimezone(EXCHANGE_ZONE).date()
        for path, rows in files.items():
            for number, row in rows:
                symbol, place = row["symbol"].upper(), f"{path.name} line {number}"
                if not symbol:
                    problems.append(Problem(NAMELESS, "unplaced_row", f"{place}: there is no symbol"))
                    continue
                if symbol not in wanted:
                    continue
                met.add(symbol)
                try:
                    item = parse_action(row, self.name, today)
                except _BadRowError as error:
                    problems.append(Problem(symbol, "bad_action", f"{place}: {error}"))
                    continue
                if is_whole and item.action.effective_date < _BEGINNING:
                    early.setdefault(symbol, []).append(place)
                elif date.fromisoformat(item.action.effective_date) in within:
                    listed.append(item)
        for symbol, places in early.items():
            more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
            problems.append(Problem(symbol, "passed_over", f"{places[0]}{more}: passed over: {BEFORE_THE_CALENDAR}"))
        return Listing(listed, problems, frozenset(wanted - met) if is_whole_folder else frozenset())

    def _files(self) -> list[Path]:
        return sorted(self._path.glob("*.csv")) if self._path.is_dir() else [self._path] if self._path.is_file() else []

    def _read(self) -> tuple[dict[Path, list[tuple[int, Mapping[str, str]]]], list[Problem]]:
        """Return the rows of each file, and what is said of files of a folder that cannot be read: the others are done."""
        if not self._files():
            msg = f"{self._path} is no CSV file, nor a folder with some. Give another --path."
            raise SourceError(msg)
        files: dict[Path, list[tuple[int, Mapping[str, str]]]] = {}
        problems: list[Problem] = []
        for path in self._files():
            try:
                files[path] = list(self._rows(path))
            except _DamagedError as error:
                problems.append(Problem(NAMELESS, "damaged_file", str(error)))
                if len(problems) == len(self._files()):
                    raise
        return files, problems

    def _rows(self, path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = rows_of_lines(file)  # no field has several: a quote that nobody ends is of its own row
                names = [name.strip() for name in next(reader, [])]
                if not names:
                    msg = f"{path} cannot be read: it is empty."
                    raise _DamagedError(msg)
                if separated := other_separator(names):
                    msg = f"{path} {separated}."
                    raise _DamagedError(msg)
                missing = [name for name in REQUIRED if name not in names]
                unknown = [name for name in names if name not in (*REQUIRED, *OPTIONAL)]
                if missing or unknown:
                    lacks = (
                        f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}, which is not known"
                    )
                    msg = f"The header of {path} {lacks}. It is {','.join((*REQUIRED, *OPTIONAL))}; the first three are needed."
                    raise _DamagedError(msg)
                if twice := [name for name in names if names.count(name) > 1]:
                    msg = f"The header of {path} has {twice[0]} twice: nobody knows which of them is meant."
                    raise _DamagedError(msg)
                for number, row in enumerate(reader, start=2):
                    surplus = row[len(names) :]
                    fields = {
                        name: value.strip()
                        for name, value in itertools.zip_longest(names, row[: len(names)], fillvalue="")
                    }
                    if surplus:
                        fields[_SURPLUS] = f"{len(names) + len(surplus)} fields where the header has {len(names)}"
                    if any(fields[name] for name in fields if name != _SURPLUS) or any(surplus):
                        yield number, fields
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            msg = f"{path} cannot be read: {error}."
            raise _DamagedError(msg) from error


def parse_action(row: Mapping[str, str], source: str, today: date) -> Listed:
    """Return the action of a row as of a day in New York."""
    if _SURPLUS in row:  # as a decimal comma leaves: nobody knows which field is which
        raise _BadRowError(row[_SURPLUS])
    symbol, kind = _symbol(row["symbol"]), row["kind"].lower()
    effective, known = _dates(row, today)
    base = (source, symbol, start_of(known or effective), effective.isoformat())
    action: CorporateAction
    match kind:
        case "split":
            action = Split(*base, *_ratio(row))
        case "dividend":
            action = Dividend(*base, _positive(row, "cash"))
        case "symbol_change":
            new_symbol = _symbol(row.get("new_symbol", ""))
            if new_symbol == symbol:
                raise _BadRowError(f"new_symbol is {new_symbol}, as before")  # noqa: EM102
            action = SymbolChange(*base, new_symbol)
        case "withdrawal":
            if row.get("action") not in ACTIONS:
                raise _BadRowError(f"action is {row.get('action', '')!r}, not one of {', '.join(ACTIONS)}")  # noqa: EM102
            action = Withdrawal(*base, row["action"])
        case _:
            raise _BadRowError(f"kind is {kind!r}, not one of {', '.join(ACTIONS)}, withdrawal")  # noqa: EM102
    return Listed(action, is_known_stated=known is not None)


def _symbol(text: str) -> str:
    try:
        (symbol,) = parse_symbols(text)
    except (UsageError, ValueError) as error:
        raise _BadRowError(f"{text!r} is no ticker") from error  # noqa: EM102
    return symbol


def _dates(row: Mapping[str, str], today: date) -> tuple[date, date | None]:
    """Return from when on an action holds, and when it became known, if that is said."""
    effective = _date(row["effective_date"], "effective_date")
    if effective > (last := all_sessions()[-1].session_date):
        raise _BadRowError(f"effective_date is {effective}: the calendar ends on {last}")  # noqa: EM102
    known = _date(row["known_date"], "known_date") if row.get("known_date") else None
    if known is not None and not _FIRST_KNOWN <= known <= today:
        raise _BadRowError(f"known_date is {known}: it has to be from {_FIRST_KNOWN} to today, {today}")  # noqa: EM102
    return effective, known


def _ratio(row: Mapping[str, str]) -> tuple[Decimal, Decimal]:
    new, old = _positive(row, "new_shares"), _positive(row, "old_shares")
    if not is_split(new, old):
        raise _BadRowError(f"{new} for {old}: a split is {MOST_SHARES:,} for 1 at most, or 1 for that")  # noqa: EM102
    return new, old


def _date(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise _BadRowError(f"{name} is {text!r}, not a date such as 2014-06-09") from error  # noqa: EM102


def _positive(row: Mapping[str, str], name: str) -> Decimal:
    text = row.get(name, "")
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise _BadRowError(f"{name} is {text!r}, not a number") from error  # noqa: EM102
    if not value.is_finite() or not 0 < value < MAX_PRICE or value != round(value, PRICE_DECIMALS):
        raise _BadRowError(f"{name} is {text}: it has to be above 0, with {PRICE_DECIMALS} decimals at most")  # noqa: EM102
    return value
