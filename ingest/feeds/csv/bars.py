"""The columns of a user's file as bars: pure, no files in here.

What belongs here: what a timestamp, a price and a volume may look like, and what is said of those that are none.
"""

from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Final

import polars as pl

from ingest.feeds.csv.rows import SURPLUS, says_something
from ingest.history.frames import BAR_SCHEMA, PRICES, opens_of
from market.records import DAILY, PRICE_DECIMALS
from market.sessions import EXCHANGE_ZONE

COLUMNS: Final = ("symbol", "timestamp", *PRICES, "volume")

_ZONE: Final = str(EXCHANGE_ZONE)
_UNITS: Final = (1_000_000, 1_000, 1)
"""Microseconds of seconds, milliseconds and microseconds: which of them an epoch number has is seen by its size."""
_FIRST_SECOND: Final = 631_152_000
"""1990 begins. What is less is no epoch number, as 202611230935 and 20261123 are not; ten digits last until 2286."""
_LAST_SECOND: Final = 9_999_999_999
_FORMATS: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")
_OFFSET: Final = r"(Z|[+-][0-9]{2}:?[0-9]{2})$"
_HOW_TO_WRITE_TIMES: Final = "write a date as 2026-10-05, a moment as 2026-10-05 09:35 or as epoch seconds since 1990"
_HOW_TO_WRITE_DAYS: Final = (
    "of a day only midnight, or a time from 09:30 to 16:00 New York, says which; write it as 2026-10-05"
)
_STEP: Final = Decimal(1).scaleb(-PRICE_DECIMALS)
_MIDNIGHT: Final = time(0)
_PLAIN: Final = r"^-?[0-9]+(\.[0-9]*)?$"
_SAYS_SOMETHING: Final = "says_something"
_WITH_EXPONENT: Final = r"^-?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]{1,2}$"


def bars_of(rows: pl.LazyFrame, columns: Mapping[str, str], interval: str, place: pl.Expr) -> pl.DataFrame:
    """Return the rows with :data:`ingest.history.frames.BAR_SCHEMA`.

    Parameters
    ----------
    rows
        The rows of a file, with :data:`ingest.feeds.csv.rows.SURPLUS`.
    columns
        What its columns are called, by our names.
    interval
        The bar length.
    place
        Where a row is, for problems.
    """
    own = {name: pl.col(column) for name, column in columns.items()}
    types = rows.collect_schema()
    is_whole = pl.col(SURPLUS).is_null()
    ts, has_time = _ts(own["timestamp"], types[columns["timestamp"]], interval)
    read = {
        "symbol": symbol_of(own["symbol"]),
        "ts": pl.when(is_whole).then(ts),
        **{name: _price(own[name], types[columns[name]]) for name in PRICES},
        "volume": _volume(own["volume"], types[columns["volume"]]),
    }
    faults = [
        pl.when(value.is_null()).then(
            pl.format(f"{columns.get(name, columns['timestamp'])} {{}}", _shown(own, name, has_time))
        )
        for name, value in read.items()
    ]
    surplus = pl.format("{} fields where the header has {}", SURPLUS, pl.lit(len(types) - 1))
    said = pl.when(is_whole).then(pl.concat_str(faults, separator=", ", ignore_nulls=True)).otherwise(surplus)
    is_faulty = pl.any_horizontal(value.is_null() for value in read.values())
    code = (
        pl.when(read["ts"].is_not_null())
        .then(pl.lit("not_a_number"))
        .when(is_whole & has_time)
        .then(pl.lit("wrong_time"))
        .otherwise(pl.lit("unplaced_row"))
    )
    found = rows.select(
        *(value.alias(name) for name, value in read.items()),
        pl.when(is_faulty).then(pl.concat_str(place, said)).alias("fault"),
        pl.when(is_faulty).then(code).alias("code"),
        says_something(rows).alias(_SAYS_SOMETHING),
    )
    # Only now: the place of a row counts the blank ones before it.
    found = found.filter(_SAYS_SOMETHING).drop(_SAYS_SOMETHING)
    return _of_each_symbol(found.collect().cast(pl.Schema(BAR_SCHEMA)))


def symbol_of(column: pl.Expr) -> pl.Expr:
    """Return symbols in upper case; null where there is none."""
    text = column.cast(pl.String).str.strip_chars().str.to_uppercase()
    return pl.when(text != "").then(text)


def _of_each_symbol(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a file with those whose symbol cannot be read told as one: it may be of any symbol of the file."""
    nameless = rows.filter(pl.col("symbol").is_null())
    if nameless.is_empty():
        return rows
    more = f" (and {nameless.height - 1:,} more without a symbol)" if nameless.height > 1 else ""
    told = nameless.head(1).select(
        pl.lit(None, pl.Int64).alias("ts"), pl.col("fault") + more, pl.lit("unplaced_row").alias("code")
    )
    named = rows.filter(pl.col("symbol").is_not_null())
    of_each = named.select(pl.col("symbol").unique()).join(told, how="cross")
    return pl.concat([named, of_each, told], how="diagonal").select(*BAR_SCHEMA)


def _shown(own: Mapping[str, pl.Expr], name: str, has_time: pl.Expr) -> pl.Expr:
    text = (own["timestamp"] if name == "ts" else own[name]).cast(pl.String).fill_null("").str.head(40)
    if name != "ts":
        return pl.format("'{}'", text)
    how = pl.when(has_time).then(pl.lit(_HOW_TO_WRITE_DAYS)).otherwise(pl.lit(_HOW_TO_WRITE_TIMES))
    return pl.format("'{}' ({})", text, how)


def _price(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return numbers as decimals, rounded half to even; what else there is, is null."""
    if kind.is_integer() or (isinstance(kind, pl.Decimal) and kind.scale <= PRICE_DECIMALS):
        return column.cast(BAR_SCHEMA["open"], strict=False)
    written = column.cast(pl.String).str.strip_chars()
    spread = (
        pl.when(written.str.contains(_WITH_EXPONENT))
        .then(written)
        .map_elements(lambda text: format(Decimal(text), "f"), return_dtype=pl.String)
    )
    text = pl.coalesce(spread, pl.when(written.str.contains(_PLAIN)).then(written))
    decimals = text.str.extract(r"\.([0-9]*)$").fill_null("")
    kept = decimals.str.head(PRICE_DECIMALS).str.pad_end(PRICE_DECIMALS, "0")
    rest = decimals.str.slice(PRICE_DECIMALS).str.strip_chars_end("0")
    cut = pl.concat_str(text.str.extract(r"^(-?[0-9]+)"), pl.lit("."), kept).str.to_decimal(scale=PRICE_DECIMALS)
    is_up = (rest > "5") | ((rest == "5") & kept.str.contains(r"[13579]$"))  # compared as text: "51" is more than "5"
    step = pl.when(text.str.starts_with("-")).then(pl.lit(-_STEP)).otherwise(pl.lit(_STEP))
    return pl.when(is_up).then(cut + step).otherwise(cut)


def _volume(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if kind.is_integer():
        return column.cast(pl.Int64, strict=False)
    return column.cast(pl.String).str.strip_chars().str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)


def _ts(column: pl.Expr, kind: pl.DataType, interval: str) -> tuple[pl.Expr, pl.Expr]:
    """Return when bars begin in epoch microseconds, of a daily bar the open of its session; and whether there is a time."""
    if isinstance(kind, pl.Date):
        return opens_of(column), column.is_not_null()
    if isinstance(kind, pl.Datetime):
        column = column.dt.cast_time_unit("us")
        if not kind.time_zone:
            return _naive(column, interval)
        local, in_new_york = (
            column.dt.replace_time_zone(None),
            column.dt.convert_time_zone(_ZONE).dt.replace_time_zone(None),
        )
        ts = opens_of(_day(local, in_new_york)) if interval == DAILY else column.to_physical()
        return ts, column.is_not_null()
    text = column.cast(pl.String).str.strip_chars()
    epoch = pl.from_epoch(_epoch_micros(text), "us").dt.replace_time_zone("UTC")
    zoned = text.str.to_datetime(time_unit="us", time_zone="UTC", strict=False, format="%+")
    naive_ts, has_naive = _naive(_written(text), interval)
    moment = pl.coalesce(epoch, zoned)
    if interval != DAILY:
        return pl.coalesce(moment.to_physical(), naive_ts), moment.is_not_null() | has_naive
    date = pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), text.str.to_date("%Y%m%d", strict=False))
    # The hour that a zone's own clock shows is what stands before the offset; an epoch number is UTC.
    local = pl.coalesce(epoch.dt.replace_time_zone(None), _written(text.str.replace(_OFFSET, "")))
    in_new_york = moment.dt.convert_time_zone(_ZONE).dt.replace_time_zone(None)
    ts = pl.coalesce(opens_of(pl.coalesce(date, _day(local, in_new_york))), naive_ts)
    return ts, moment.is_not_null() | has_naive


def _epoch_micros(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Int64, strict=False)
    scales = ((unit, 1_000_000 // unit) for unit in _UNITS)
    return pl.coalesce(
        pl.when(number.is_between(_FIRST_SECOND * scale, (_LAST_SECOND + 1) * scale - 1)).then(number * unit)
        for unit, scale in scales
    )


def _written(text: pl.Expr) -> pl.Expr:
    return pl.coalesce(text.str.to_datetime(written, time_unit="us", strict=False) for written in _FORMATS)


def _naive(column: pl.Expr, interval: str) -> tuple[pl.Expr, pl.Expr]:
    """Return the same of times without a zone: they are the exchange's."""
    if interval == DAILY:
        return opens_of(_day(column, column)), column.is_not_null()
    moment = column.dt.replace_time_zone(_ZONE, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    return moment.to_physical(), moment.is_not_null()


def _day(local: pl.Expr, in_new_york: pl.Expr) -> pl.Expr:
    """Return the day of a daily bar by a clock of its own and New York's; null where these leave it in doubt.

    Midnight is the beginning of that day, in whichever zone; a time within the hours of trading is of their session.
    """
    is_trading = in_new_york.dt.time().is_between(time(9, 30), time(16))
    return (
        pl.when(local.dt.time() == _MIDNIGHT)
        .then(local.dt.date())
        .when((in_new_york.dt.time() == _MIDNIGHT) | is_trading)
        .then(in_new_york.dt.date())
    )
