"""The rows of a user's file, CSV or Parquet, as they are written.

What belongs here: files to columns, also where single rows are no rows. What does not: what the columns mean
(:mod:`ingest.feeds.csv.bars`).
"""

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import polars as pl

from ingest.history.source import SourceError

SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")
SURPLUS: Final = "\x00fields"
"""The column that says how many fields a row has, if these are more than the header has: nobody knows which is which then."""

UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, csv.Error)
"""What reading a damaged file raises."""
_NO_TEXT: Final = ("\x00", "\ufffd")


class DamagedError(SourceError):
    """A file cannot be read, or has another header."""


def read_rows(path: Path, used: Collection[str] = ()) -> pl.LazyFrame:
    """Return the rows of a file with its own columns and :data:`SURPLUS`; those of CSV are all text.

    Parameters
    ----------
    path
        The file.
    used
        The columns that are looked at: no value of theirs has several lines, as a note in another column may.

    Raises
    ------
    DamagedError
        If it cannot be read; names the file.
    """
    try:
        if is_parquet(path):
            rows = pl.scan_parquet(path)
            rows.collect_schema()
            return rows.with_columns(pl.lit(None, pl.Int64).alias(SURPLUS))
        read = _read_csv(path, used)
    except UNREADABLE as error:
        raise damaged(path, error) from error
    if any(sign in name for name in read.columns if name != SURPLUS for sign in _NO_TEXT):
        msg = f"{path} cannot be read: its header is no text in UTF-8."
        raise DamagedError(msg)
    return read.lazy()


def doubled_columns(path: Path) -> set[str]:
    """Return the names that the header of a CSV file has more than once: readers take one of them without a word.

    Raises
    ------
    DamagedError
        If it cannot be read; names the file.
    """
    if is_parquet(path):
        return set()
    try:
        with _opened(path) as file:
            names = next(csv.reader(file), [])
    except UNREADABLE as error:
        raise damaged(path, error) from error
    return {name for name, count in Counter(names).items() if count > 1}


def damaged(path: Path, error: BaseException) -> DamagedError:
    """Return what is said of a file that cannot be read."""
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return DamagedError(f"{path} cannot be read: {reason}.")


def says_something(rows: pl.LazyFrame) -> pl.Expr:
    """Return whether a row has any field: a blank line, or the commas alone that spreadsheets leave, is no row."""
    fields = {name: kind for name, kind in rows.collect_schema().items() if name != SURPLUS}
    return ~pl.all_horizontal(
        (pl.col(name).str.strip_chars().fill_null("") == "") if isinstance(kind, pl.String) else pl.col(name).is_null()
        for name, kind in fields.items()
    )


def is_parquet(path: Path) -> bool:
    """Return whether a file is taken for Parquet: by its name."""
    return path.name.lower().endswith(".parquet")


def number_of_row(path: Path) -> pl.Expr:
    """Return the number of a row; of a line of CSV, which has a header."""
    return pl.int_range(pl.len(), dtype=pl.Int64) + (1 if is_parquet(path) else 2)


def name_of_row(path: Path) -> str:
    """Return what a row of the file is called."""
    return "row" if is_parquet(path) else "line"


def _read_csv(path: Path, used: Collection[str]) -> pl.DataFrame:
    try:
        rows = pl.read_csv(path, infer_schema=False).with_columns(pl.lit(None, pl.Int64).alias(SURPLUS))
    except pl.exceptions.ComputeError:
        # One row with a field too many, or that is no UTF-8, spoils the whole file for polars.
        try:
            rows = _read_row_by_row(path, csv.reader)
        except csv.Error:  # a field too long for any
            return _read_row_by_row(path, rows_of_lines)
    # A quote that nobody ends makes one field of the rows until the next one.
    return _read_row_by_row(path, rows_of_lines) if _holds_rows(rows, used) else rows


def _holds_rows(rows: pl.DataFrame, used: Collection[str]) -> bool:
    """Return whether some field holds other rows: a used one with a second line, or any with one that has as many fields."""
    fields = [name for name in rows.columns if name != SURPLUS]
    whole = rf"\n([^\n]*,){{{max(len(fields) - 1, 1)}}}"
    has_lines = (pl.col(name).str.contains(r"\n" if name in used else whole) for name in fields)
    return bool(rows.select(pl.any_horizontal(has_lines).any()).item())


def rows_of_lines(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the fields of each line by itself, so that a quote that nobody ends spoils its own line only."""
    return (_fields_of(line.rstrip("\r\n")) for line in lines)


def _fields_of(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        # The quote stays where it is, so that what has it is no number and no symbol.
        return next(csv.reader([line], quoting=csv.QUOTE_NONE), [])


def _read_row_by_row(path: Path, rows_of: Callable[[Iterable[str]], Iterator[list[str]]]) -> pl.DataFrame:
    with _opened(path) as file:
        reader = rows_of(file)
        names = next(reader)
        wide = len(names)
        rows = [
            [
                *((field or None) for field in row[:wide]),
                *[None] * (wide - len(row)),
                len(row) if len(row) > wide else None,
            ]
            for row in reader
        ]
    schema = {**dict.fromkeys(names, pl.String()), SURPLUS: pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
    opened = gzip.open if is_packed else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        yield file
