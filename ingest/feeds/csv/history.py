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

from ingest.history.frames import BAR_SCHEMA, PRICES, BarFrames
from ingest.history.source import Answer, Ask, Limit, Offer, SourceError
from market.records import DAILY, INTERVALS
from market.sessions import EXCHANGE_ZONE, all_sessions

COLUMNS: Final = ("symbol", "timestamp", *PRICES, "volume")
_ZONE: Final = str(EXCHANGE_ZONE)
_UNITS: Final = {10: 1_000_000, 13: 1_000, 16: 1}
"""Microseconds of an epoch number by its digits: from 2001 to 2286 these are seconds, milliseconds and microseconds."""
_USUAL_OPEN: Final = pl.duration(hours=9, minutes=30)


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
        """Return the symbols of the files, in order."""
        own = pl.col(self._columns["symbol"]).cast(pl.String).str.strip_chars().str.to_uppercase()
        found = pl.concat([_scan(path).select(own.alias("symbol").unique()) for path in self._files]).collect()
        return tuple(sorted(found["symbol"].drop_nulls().unique()))

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
        "symbol": own["symbol"].cast(pl.String).str.strip_chars().str.to_uppercase(),
        "ts": _ts(own["timestamp"], types[columns["timestamp"]], interval),
        **{name: _price(own[name]) for name in PRICES},
        "volume": own["volume"]
        .cast(pl.String)
        .str.strip_chars()
        .str.replace(r"\.0*$", "")
        .cast(pl.Int64, strict=False),
    }
    what = "row" if path.name.lower().endswith(".parquet") else "line"
    number = pl.int_range(pl.len(), dtype=pl.Int64) + (1 if what == "row" else 2)
    faults = [
        pl.when(value.is_null()).then(pl.format(f"{columns.get(name, columns['timestamp'])} {{}}", _shown(own, name)))
        for name, value in read.items()
    ]
    place = pl.format(f"{path.name}, {what} {{}}: ", number)
    fault = pl.when(pl.any_horizontal(value.is_null() for value in read.values())).then(
        pl.concat_str(place, pl.concat_str(faults, separator=", ", ignore_nulls=True))
    )
    try:
        found = rows.select(*(value.alias(name) for name, value in read.items()), fault.alias("fault")).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = f"{path} cannot be read: {str(error).splitlines()[0][:200]}."
        raise SourceError(msg) from error
    return found.cast(pl.Schema(BAR_SCHEMA))


def _shown(own: Mapping[str, pl.Expr], name: str) -> pl.Expr:
    column = own["timestamp"] if name == "ts" else own[name]
    return pl.format("'{}'", column.cast(pl.String).fill_null("").str.head(40))


def _price(column: pl.Expr) -> pl.Expr:
    text = column.cast(pl.String).str.strip_chars()
    is_plain = text.str.contains(r"^-?[0-9]+(\.[0-9]{0,6}0*)?$")
    return pl.when(is_plain).then(text).otherwise(None).str.to_decimal(scale=6)


def _ts(column: pl.Expr, kind: pl.DataType, interval: str) -> pl.Expr:
    """Return when bars begin, in epoch microseconds; of a daily bar the open of its session."""
    if isinstance(kind, pl.Date):
        return _opens(column)
    if isinstance(kind, pl.Datetime):
        moment = (
            column if kind.time_zone else column.dt.replace_time_zone(_ZONE, ambiguous="earliest", non_existent="null")
        )
        moment = moment.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        return _opens(moment.dt.convert_time_zone(_ZONE).dt.date()) if interval == DAILY else moment.to_physical()
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
    return _opens(day)


def _opens(day: pl.Expr) -> pl.Expr:
    """Return the opens of days; of a day without a session the usual time of it."""
    opens = {session.session_date: round(session.open_at.timestamp()) * 1_000_000 for session in all_sessions()}
    usual = (
        (day.cast(pl.Datetime("us")) + _USUAL_OPEN)
        .dt.replace_time_zone(_ZONE)
        .dt.convert_time_zone("UTC")
        .to_physical()
    )
    return day.replace_strict(opens, default=None, return_dtype=pl.Int64).fill_null(usual)
