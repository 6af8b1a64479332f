"""Bars of the user's own files: CSV or Parquet, with columns named as ours or declared.

The columns are ``symbol, timestamp, open, high, low, close, volume``; other names are declared, as
``timestamp=Date,close=Last``. A timestamp is a date, ISO 8601 (without a zone it is the exchange's time), or epoch seconds,
milliseconds or microseconds.
"""

import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from ingest.feeds.csv.bars import COLUMNS, bars_of, symbol_of
from ingest.feeds.csv.rows import (
    SUFFIXES,
    SURPLUS,
    UNREADABLE,
    DamagedError,
    damaged,
    doubled_columns,
    name_of_row,
    number_of_row,
    read_rows,
)
from ingest.feeds.csv.separators import other_separator
from ingest.history.files import DAMAGED
from ingest.history.frames import BAR_SCHEMA, BarFrames
from ingest.history.source import Answer, Ask, Limit, Offer, Problem, SourceError
from market.instruments import SYMBOL_PATTERN
from market.records import DAILY, INTERVALS

_IS_SYMBOL: Final = pl.col("symbol").str.contains(SYMBOL_PATTERN)
_DAILY_SYMBOLS: Final = 50
_INTRADAY_SYMBOLS: Final = 1
"""So many symbols are compared with the lake at once: ten years of minutes are a million bars of each."""
_HOW_TO_WRITE_SYMBOLS: Final = "a symbol is a letter, then letters, digits, dots or hyphens, 15 at most"


class CsvHistory:
    """The bars of a file, or of all files of a folder.

    Parameters
    ----------
    path
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file, or a folder of such.
    columns
        What its columns are called, where not as :data:`COLUMNS`.
    """

    name = "csv"
    limit: Limit | None = None
    at_once = 1

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._columns = {name: (columns or {}).get(name, name) for name in COLUMNS}
        self._by_interval: dict[str, BarFrames] = {}
        self._damaged: dict[Path, Problem] = {}
        self._reading = threading.Lock()
        unknown = sorted(set(columns or {}) - set(COLUMNS))
        if unknown:
            msg = f"There is no column {unknown[0]!r} to declare. The columns are: {', '.join(COLUMNS)}."
            raise SourceError(msg)

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Every bar length: what the file has is what was asked for."""
        intraday = {interval: Offer(interval, symbols_per_ask=_INTRADAY_SYMBOLS) for interval in INTERVALS}
        return {DAILY: Offer(DAILY, symbols_per_ask=_DAILY_SYMBOLS), **intraday}

    def check(self) -> None:
        """Look whether there is a file that has the columns; of a folder those that have not are put aside.

        Raises
        ------
        SourceError
            If not; names the file and what it has.
        """
        self.symbols()

    def _check_header(self, path: Path, rows: pl.LazyFrame) -> None:
        found = [name for name in rows.collect_schema().names() if name != SURPLUS]
        for ours, own in self._columns.items():
            if own not in found:
                if separated := other_separator(found):
                    msg = f"{path} {separated}."
                    raise DamagedError(msg)
                msg = (
                    f"{path} has no column {own!r}; it has {', '.join(found[:20])}. Declare what it is called, for "
                    f"example: --columns {ours}={found[0]}"
                )
                raise DamagedError(msg)
        if twice := sorted(doubled_columns(path).intersection(self._columns.values())):
            msg = f"{path} has the column {twice[0]!r} twice: nobody knows which of them is meant."
            raise DamagedError(msg)

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the files, in order, but for what cannot be one."""
        return tuple(pl.concat(self._names.values()).filter(_IS_SYMBOL)["symbol"].unique().sort())

    def misnamed(self) -> tuple[Problem, ...]:
        """Return what cannot be a symbol, each with the first row that has it; and the files of a folder that cannot be read."""
        odd = [path for path, names in self._names.items() if not names.filter(~_IS_SYMBOL).is_empty()]
        found = [problem for path in odd for problem in _misnamed(path, self._rows[path], self._columns["symbol"])]
        return (*self._damaged.values(), *found)

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Return the bars of the files."""
        del pace  # nobody is asked
        return self.read(ask).answer(ask)

    def read(self, ask: Ask) -> BarFrames:
        """Return all rows of the files; they are read once."""
        with self._reading:
            if ask.interval not in self._by_interval:
                self._by_interval[ask.interval] = self._frames(ask.interval)
            return self._by_interval[ask.interval]

    def _frames(self, interval: str) -> BarFrames:
        frames, problems = [pl.DataFrame(schema=BAR_SCHEMA)], []
        for path in self._names:
            try:
                frames.append(self._bars(path, self._rows[path], interval))
            except DamagedError as error:
                self._refuse_single(error)
                named = self._names[path].filter(_IS_SYMBOL)["symbol"].to_list()
                problems += [Problem(symbol, DAMAGED, str(error)) for symbol in named]
        known = {problem.symbol for problem in problems}
        return BarFrames.of(self.name, pl.concat(frames), known=known, problems=problems)

    def _bars(self, path: Path, rows: pl.LazyFrame, interval: str) -> pl.DataFrame:
        place = pl.format("{}, {} {}: ", pl.lit(path.name), pl.lit(name_of_row(path)), number_of_row(path))
        try:
            return bars_of(rows, self._columns, interval, place)
        except UNREADABLE as error:
            raise damaged(path, error) from error

    @cached_property
    def _rows(self) -> dict[Path, pl.LazyFrame]:
        found = {}
        for path in self._files:
            try:
                rows = read_rows(path, self._columns.values())
                self._check_header(path, rows)
                found[path] = rows
            except DamagedError as error:
                self._put_aside(path, error)
        return found

    @cached_property
    def _names(self) -> dict[Path, pl.DataFrame]:
        """What is written as a symbol, in upper case, each once a file: quicker than a look at every row."""
        column = self._columns["symbol"]
        own = symbol_of(pl.col(column)).alias("symbol")
        found = {}
        for path, rows in self._rows.items():
            try:
                found[path] = rows.select(column).unique().select(own).unique().collect()
            except UNREADABLE as error:
                self._put_aside(path, damaged(path, error))
        return found

    def _put_aside(self, path: Path, error: DamagedError) -> None:
        """Note that a file of a folder cannot be read, or has another header: the others are.

        Raises
        ------
        DamagedError
            If there is no other.
        """
        self._refuse_single(error)
        self._damaged[path] = Problem(path.name, DAMAGED, str(error))
        if len(self._damaged) == len(self._files):
            raise error

    def _refuse_single(self, error: DamagedError) -> None:
        if self._path.is_file():
            raise error

    @cached_property
    def _files(self) -> list[Path]:
        if self._path.is_file():
            return [self._path]
        files = (
            sorted(path for path in self._path.glob("*") if path.name.lower().endswith(SUFFIXES))
            if self._path.is_dir()
            else []
        )
        if not files:
            msg = f"{self._path} is neither a file nor a folder with {', '.join(SUFFIXES)} files. Give another --path."
            raise SourceError(msg)
        return files


def _misnamed(path: Path, rows: pl.LazyFrame, column: str) -> list[Problem]:
    own = pl.col(column)
    named = rows.select(
        symbol_of(own).alias("symbol"), own.cast(pl.String).alias("own"), number_of_row(path).alias("number")
    )
    wrong = named.filter(~_IS_SYMBOL).group_by("symbol").agg(pl.all().first(), pl.len().alias("rows")).collect()
    return [
        Problem(
            symbol[:40],
            "no_symbol",
            f"{path.name}, {name_of_row(path)} {number}{f' and {more - 1:,} more' if more > 1 else ''}: {column} {own[:40]!r}: "
            f"{_HOW_TO_WRITE_SYMBOLS}",
        )
        for symbol, own, number, more in wrong.sort("number").iter_rows()
    ]
