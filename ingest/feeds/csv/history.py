"""Bars of the user's own files: CSV or Parquet, with columns named as ours or declared.

The columns are ``symbol, timestamp, open, high, low, close, volume``; other names are declared, as
``timestamp=Date,close=Last``. A timestamp is a date, ISO 8601 (without a zone it is the exchange's time), or epoch seconds,
milliseconds or microseconds.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from ingest.history.frames import BAR_SCHEMA, PRICES, BarFrames, opens_of
from ingest.history.source import Answer, Ask, Limit, Offer, Problem, SourceError
from market.instruments import SYMBOL_PATTERN
from market.records import DAILY, INTERVALS
from market.sessions import EXCHANGE_ZONE

COLUMNS: Final = ("symbol", "timestamp", *PRICES, "volume")
_ZONE: Final = str(EXCHANGE_ZONE)
_UNITS: Final = {10: 1_000_000, 13: 1_000, 16: 1}
"""Microseconds of an epoch number by its digits: from 2001 to 2286 these are seconds, milliseconds and microseconds."""
_IS_SYMBOL: Final = pl.col("symbol").str.contains(SYMBOL_PATTERN)
_HOW_TO_WRITE_TIMES: Final = "write a date as 2026-10-05, a moment as 2026-10-05 09:35 or as epoch seconds"
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
        unknown = sorted(set(columns or {}) - set(COLUMNS))
        if unknown:
            msg = f"There is no column {unknown[0]!r} to declare. The columns are: {', '.join(COLUMNS)}."
            raise SourceError(msg)

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Every bar length: what the file has is what was asked for."""
        return {interval: Offer(interval, symbols_per_ask=50) for interval in (DAILY, *INTERVALS)}

    def check(self) -> None:
        """Look whether the files are there and have the columns.

        Raises
        ------
        SourceError
            If not; names the file and what it has.
        """
        for path in self._files:
            found = _scan(path).collect_schema().names()
            missing = [own for own in self._columns.values() if own not in found]
            if missing:
                ours = next(name for name, own in self._columns.items() if own == missing[0])
                msg = (
                    f"{path} has no column {missing[0]!r}; it has {', '.join(found[:20])}. Declare what it is called, for "
                    f"example: --columns {ours}={found[0]}"
                )
                raise SourceError(msg)

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the files, in order, but for what cannot be one."""
        own = _symbol(pl.col(self._columns["symbol"])).alias("symbol")
        found = pl.concat([_scan(path).select(own.unique()) for path in self._files]).collect()
        return tuple(found.filter(_IS_SYMBOL)["symbol"].unique().sort())

    def misnamed(self) -> tuple[Problem, ...]:
        """Return what cannot be a symbol, each with the first row that has it."""
        return tuple(problem for path in self._files for problem in _misnamed(path, self._columns["symbol"]))

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Return the bars of the files; they are read once."""
        if ask.interval not in self._by_interval:
            pace()
            frames = [_bars(_scan(path), self._columns, ask.interval, path) for path in self._files]
            self._by_interval[ask.interval] = BarFrames.of(self.name, pl.concat(frames))
        return self._by_interval[ask.interval].answer(ask)

    @cached_property
    def _files(self) -> list[Path]:
        if self._path.is_file():
            return [self._path]
        suffixes = (".csv", ".csv.gz", ".parquet")
        files = (
            sorted(path for path in self._path.glob("*") if path.name.lower().endswith(suffixes))
            if self._path.is_dir()
            else []
        )
        if not files:
            msg = f"{self._path} is neither a file nor a folder with {', '.join(suffixes)} files. Give another --path."
            raise SourceError(msg)
        return files


def _scan(path: Path) -> pl.LazyFrame:
    try:
        is_parquet = path.name.lower().endswith(".parquet")
        frame = pl.scan_parquet(path) if is_parquet else pl.scan_csv(path, infer_schema=False)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        msg = f"{path} cannot be read: {reason}."
        raise SourceError(msg) from error
    return frame


def _bars(rows: pl.LazyFrame, columns: Mapping[str, str], interval: str, path: Path) -> pl.DataFrame:
    """Return the rows with :data:`ingest.history.frames.BAR_SCHEMA`."""
    own = {name: pl.col(column) for name, column in columns.items()}
    types = rows.collect_schema()
    read = {
        "symbol": _symbol(own["symbol"]),
        "ts": _ts(own["timestamp"], types[columns["timestamp"]], interval),
        **{name: _price(own[name]) for name in PRICES},
        "volume": own["volume"]
        .cast(pl.String)
        .str.strip_chars()
        .str.replace(r"\.0*$", "")
        .cast(pl.Int64, strict=False),
    }
    faults = [
        pl.when(value.is_null()).then(pl.format(f"{columns.get(name, columns['timestamp'])} {{}}", _shown(own, name)))
        for name, value in read.items()
    ]
    place = pl.format("{}, {} {}: ", pl.lit(path.name), pl.lit(_row_name(path)), _number(path))
    fault = pl.when(pl.any_horizontal(value.is_null() for value in read.values())).then(
        pl.concat_str(place, pl.concat_str(faults, separator=", ", ignore_nulls=True))
    )
    try:
        found = rows.select(*(value.alias(name) for name, value in read.items()), fault.alias("fault")).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = f"{path} cannot be read: {str(error).splitlines()[0][:200]}."
        raise SourceError(msg) from error
    return _of_each_symbol(found.cast(pl.Schema(BAR_SCHEMA)))


def _of_each_symbol(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a file with those whose symbol cannot be read told as one: it may be of any symbol of the file."""
    nameless = rows.filter(pl.col("symbol").is_null())
    if nameless.is_empty():
        return rows
    more = f" (and {nameless.height - 1:,} more without a symbol)" if nameless.height > 1 else ""
    told = nameless.head(1).select(pl.lit(None, pl.Int64).alias("ts"), pl.col("fault") + more)
    named = rows.filter(pl.col("symbol").is_not_null())
    of_each = named.select(pl.col("symbol").unique()).join(told, how="cross")
    return pl.concat([named, of_each, told], how="diagonal").select(*BAR_SCHEMA)


def _misnamed(path: Path, column: str) -> list[Problem]:
    own = pl.col(column)
    rows = _scan(path).select(
        _symbol(own).alias("symbol"), own.cast(pl.String).alias("own"), _number(path).alias("number")
    )
    wrong = rows.filter(~_IS_SYMBOL).group_by("symbol").agg(pl.all().first(), pl.len().alias("rows")).collect()
    return [
        Problem(
            symbol[:40],
            "no_symbol",
            f"{path.name}, {_row_name(path)} {number}{f' and {rows - 1:,} more' if rows > 1 else ''}: {column} {own[:40]!r}: "
            f"{_HOW_TO_WRITE_SYMBOLS}",
        )
        for symbol, own, number, rows in wrong.sort("number").iter_rows()
    ]


def _row_name(path: Path) -> str:
    return "row" if path.name.lower().endswith(".parquet") else "line"


def _number(path: Path) -> pl.Expr:
    """Return the number of a row; of a line of CSV, which has a header."""
    return pl.int_range(pl.len(), dtype=pl.Int64) + (1 if _row_name(path) == "row" else 2)


def _symbol(column: pl.Expr) -> pl.Expr:
    """Return symbols in upper case; null where there is none."""
    text = column.cast(pl.String).str.strip_chars().str.to_uppercase()
    return pl.when(text != "").then(text)


def _shown(own: Mapping[str, pl.Expr], name: str) -> pl.Expr:
    column = own["timestamp"] if name == "ts" else own[name]
    how = f" ({_HOW_TO_WRITE_TIMES})" if name == "ts" else ""
    return pl.format("'{}'" + how, column.cast(pl.String).fill_null("").str.head(40))


def _price(column: pl.Expr) -> pl.Expr:
    text = column.cast(pl.String).str.strip_chars()
    is_plain = text.str.contains(r"^-?[0-9]+(\.[0-9]{0,6}0*)?$")
    return pl.when(is_plain).then(text).otherwise(None).str.to_decimal(scale=6)


def _ts(column: pl.Expr, kind: pl.DataType, interval: str) -> pl.Expr:
    """Return when bars begin, in epoch microseconds; of a daily bar the open of its session."""
    if isinstance(kind, pl.Date):
        return opens_of(column)
    if isinstance(kind, pl.Datetime):
        moment = (
            column if kind.time_zone else column.dt.replace_time_zone(_ZONE, ambiguous="earliest", non_existent="null")
        )
        moment = moment.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        return opens_of(moment.dt.convert_time_zone(_ZONE).dt.date()) if interval == DAILY else moment.to_physical()
    text = column.cast(pl.String).str.strip_chars()
    epoch = text.cast(pl.Int64, strict=False) * text.str.len_chars().replace_strict(
        _UNITS, default=None, return_dtype=pl.Int64
    )
    zoned = text.str.to_datetime(time_unit="us", time_zone="UTC", strict=False, format="%+")
    naive = pl.coalesce(
        text.str.to_datetime(written, time_unit="us", strict=False)
        for written in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")
    ).dt.replace_time_zone(_ZONE, ambiguous="earliest", non_existent="null")
    moment = pl.coalesce(
        pl.from_epoch(epoch, "us").dt.replace_time_zone("UTC"), zoned, naive.dt.convert_time_zone("UTC")
    )
    if interval != DAILY:
        return moment.to_physical()
    day = pl.coalesce(
        text.str.to_date("%Y-%m-%d", strict=False),
        text.str.to_date("%Y%m%d", strict=False),
        # A moment of a daily bar is its day at midnight UTC, or a moment of the day in New York.
        pl.when(moment.dt.time() == pl.time(0))
        .then(moment.dt.date())
        .otherwise(moment.dt.convert_time_zone(_ZONE).dt.date()),
    )
    return opens_of(day)
