"""The sample data in PostgreSQL, as the stream puts them there, from the raw files and without the project's parsers.

The minutes follow the published rule of the feed ``lean`` (``docs/decisions/0001-lean-eligibility.md``), worked out here by
polars from the ticks; they are the ground that the oracle of the questions stands on.
"""

import io
import zipfile
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl
import psycopg

from market.settings import CHECKOUT
from market.tables import PG_BARS

LEAN: Final = CHECKOUT.parent / "shared" / "data" / "lean" / "equity" / "usa"
DAYS: Final = (date(2013, 10, 7), date(2013, 10, 8))
TICK_SYMBOLS: Final = ("IBM", "SPY")
DAILY_SYMBOLS: Final = ("AAPL", "FB", "GOOG", "IBM", "MSFT")

_ZONE: Final = ZoneInfo("America/New_York")
_INGESTED: Final = datetime(2026, 1, 2, tzinfo=UTC)
_MINUTE_MS: Final = 60_000
_OPEN_MS, _CLOSE_MS, _AUCTION_END_MS, _END_MS = 34_200_000, 57_600_000, 58_500_000, 72_000_000
_NO_PRICE, _NO_VOLUME, _NOTHING_EXTENDED, _CLOSING_PRINT = 0x05142220, 0x05000000, 0x01000080, 1 << 7


def zipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        return archive.read(name)


def minutes() -> pl.DataFrame:
    """Return the own 1-minute bars: prices as decimals, volume, notional and trade_count, by symbol, day and minute."""
    return pl.concat([_minutes_of(symbol, day) for symbol in TICK_SYMBOLS for day in DAYS])


def _minutes_of(symbol: str, day: date) -> pl.DataFrame:
    names = ["ms", "price", "size", "exchange", "conditions", "suspicious"]
    raw = zipped(LEAN / "tick" / symbol.lower() / f"{day:%Y%m%d}_trade.zip")
    ticks = pl.read_csv(io.BytesIO(raw), has_header=False, new_columns=names, schema_overrides={"column_5": pl.String})
    bits = pl.col("conditions").str.to_integer(base=16, dtype=pl.Int64)
    ms = pl.col("ms")
    ticks = ticks.with_columns(bits.alias("bits")).with_columns(
        pl.when(ms.is_between(_CLOSE_MS, _AUCTION_END_MS, closed="left") & ((pl.col("bits") & _CLOSING_PRINT) != 0))
        .then(_CLOSE_MS - _MINUTE_MS)
        .otherwise(ms // _MINUTE_MS * _MINUTE_MS)
        .alias("minute")
    )
    regular = pl.col("minute").is_between(_OPEN_MS, _CLOSE_MS, closed="left")
    extended_out = (pl.col("bits") & _NOTHING_EXTENDED) != 0
    ticks = ticks.with_columns(
        (~pl.when(regular).then((pl.col("bits") & _NO_PRICE) != 0).otherwise(extended_out)).alias("priced"),
        (~pl.when(regular).then((pl.col("bits") & _NO_VOLUME) != 0).otherwise(extended_out)).alias("counted"),
    )
    priced, counted = pl.col("priced"), pl.col("counted")
    in_order = ticks.with_row_index().sort("ms", "index")
    midnight = datetime(day.year, day.month, day.day, tzinfo=_ZONE).astimezone(UTC)
    price = pl.col("price")
    return (
        in_order.group_by("minute", maintain_order=True)
        .agg(
            price.filter(priced).first().alias("open"),
            price.filter(priced).max().alias("high"),
            price.filter(priced).min().alias("low"),
            price.filter(priced).last().alias("close"),
            pl.col("size").filter(counted).sum().alias("volume"),
            (price * pl.col("size")).filter(counted).sum().alias("notional"),
            pl.len().cast(pl.Int64).alias("trade_count"),
        )
        .with_columns(
            pl.lit(symbol).alias("symbol"),
            pl.lit(day).alias("session_date"),
            (pl.lit(midnight) + pl.duration(milliseconds=pl.col("minute"))).alias("bar_at"),
            pl.when(pl.col("minute") < _OPEN_MS)
            .then(pl.lit("pre"))
            .when(pl.col("minute") < _CLOSE_MS)
            .then(pl.lit("regular"))
            .otherwise(pl.lit("post"))
            .alias("segment"),
            *(
                (pl.col(name).cast(pl.Decimal(38, 6)) / pl.lit(10_000).cast(pl.Decimal(38, 6)))
                .cast(pl.Decimal(38, 6))
                .alias(name)
                for name in ("open", "high", "low", "close", "notional")
            ),
        )
        .sort("bar_at")
    )


def days() -> pl.DataFrame:
    """Return the daily bars of the sample, as traded."""
    frames = []
    for symbol in DAILY_SYMBOLS:
        text = (files("bokeh_sampledata") / "_data" / f"{symbol}.csv").read_bytes()
        names = {
            "Date": "session_date",
            "Open": "open",
            "High": "high",
            "Low": "low",
            "Close": "close",
            "Volume": "volume",
        }
        frame = pl.read_csv(text, infer_schema=False).rename(names).select(*names.values())
        frames.append(frame.with_columns(pl.lit(symbol).alias("symbol")))
    price = pl.col("open", "high", "low", "close").str.to_decimal(scale=6).cast(pl.Decimal(18, 6))
    return pl.concat(frames).with_columns(pl.col("session_date").str.to_date(), price, pl.col("volume").cast(pl.Int64))


def vendor_minutes() -> pl.DataFrame:
    """Return the vendor's 1-minute bars of the same sessions."""
    frames = []
    for symbol in TICK_SYMBOLS:
        for day in DAYS:
            raw = zipped(LEAN / "minute" / symbol.lower() / f"{day:%Y%m%d}_trade.zip")
            frame = pl.read_csv(
                io.BytesIO(raw), has_header=False, new_columns=["ms", "open", "high", "low", "close", "volume"]
            )
            midnight = datetime(day.year, day.month, day.day, tzinfo=_ZONE).astimezone(UTC)
            frames.append(
                frame.select(
                    pl.lit(symbol).alias("symbol"),
                    pl.lit(day).alias("session_date"),
                    (pl.lit(midnight) + pl.duration(milliseconds=pl.col("ms"))).alias("bar_at"),
                    pl.col("ms"),
                    *(pl.col(name) / 10_000 for name in ("open", "high", "low", "close")),
                    pl.col("volume").cast(pl.Int64),
                )
            )
    return pl.concat(frames)


def quote() -> tuple[Decimal, Decimal]:
    """Return the last bid and ask of IBM before trading ended at 20:00: a side of which a row says 0 stays as it was."""
    lines = zipped(LEAN / "tick" / "ibm" / "20131007_quote.zip").decode().split()
    rows = [row for row in (line.split(",") for line in lines) if int(row[0]) < _END_MS]
    bid = next(Decimal(row[1]) for row in reversed(rows) if row[1] != "0")
    ask = next(Decimal(row[3]) for row in reversed(rows) if row[3] != "0")
    return bid / 10_000, ask / 10_000


def factors(symbol: str) -> list[tuple[date, Decimal, Decimal, Decimal]]:
    """Return the vendor's factors: last day on which they hold, for dividends, for splits, and the close of that day."""
    lines = (LEAN / "factor_files" / f"{symbol.lower()}.csv").read_text().split()
    rows = [line.split(",") for line in lines]
    return [
        (datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date(), *(Decimal(number) for number in numbers))  # type: ignore[misc]
        for day, *numbers in rows
    ]


def load_sample(connection: psycopg.Connection[Any]) -> None:
    """Put everything into ``lake.*``, as it is after the commands of docs/questions."""
    _load_minutes(connection)
    _load_days(connection)
    _load_actions(connection)
    bid, ask = quote()
    connection.execute(
        "insert into lake.latest_quotes (source, symbol, quoted_at, bid, bid_size, bid_at, bid_sequence, ask, ask_size, ask_at, "
        "ask_sequence) select 'lean', 'IBM', at, %s, 100, at, 1, %s, 100, at, 1 "
        "from (select '2013-10-07 23:59+00'::timestamptz as at) as quote",
        [bid, ask],
    )
    connection.execute(
        "insert into lake.feed_coverage (source, symbol, session_date, covered) "
        "select 'lean', symbol, session_date, tstzmultirange(tstzrange(pre_open_at, post_close_at)) "
        "from lake.sessions cross join unnest(%s::text[]) as symbol where session_date = any(%s)",
        [list(TICK_SYMBOLS), list(DAYS)],
    )


def _load_minutes(connection: psycopg.Connection[Any]) -> None:
    columns = ", ".join(f'"{name}"' for name in PG_BARS.column_names)
    with connection.cursor().copy(f"copy lake.bars_1m ({columns}) from stdin".encode()) as copy:
        for row in minutes().iter_rows(named=True):
            vwap = row["notional"] / row["volume"] if row["volume"] else None
            rounded = None if vwap is None else vwap.quantize(Decimal("1e-6"), ROUND_HALF_UP)
            key = ("lean", row["symbol"], row["bar_at"], row["session_date"], row["segment"])
            prices = (row["open"], row["high"], row["low"], row["close"])
            copy.write_row(
                (
                    *key,
                    *prices,
                    row["volume"],
                    row["notional"],
                    rounded,
                    row["trade_count"],
                    0,
                    None,
                    0,
                    0,
                    1,
                    _INGESTED,
                )
            )


def _load_days(connection: psycopg.Connection[Any]) -> None:
    columns = (
        'source, symbol, interval, bar_at, session_date, open, high, low, close, volume, topic, "partition", "offset", '
        "ingested_at, revision"
    )
    opens = dict(connection.execute("select session_date, open_at from lake.sessions").fetchall())
    with connection.cursor().copy(f"copy lake.vendor_bars ({columns}) from stdin".encode()) as copy:
        for number, row in enumerate(days().iter_rows(named=True)):
            at = opens[row["session_date"]]
            copy.write_row(("sample", row["symbol"], "1d", at, *_values(row), "t", 0, number, _INGESTED, 1))
        for number, row in enumerate(vendor_minutes().iter_rows(named=True)):
            at = row["bar_at"]
            copy.write_row(("lean", row["symbol"], "1m", at, *_values(row), "t", 1, number, _INGESTED, 1))


def _values(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("session_date", "open", "high", "low", "close", "volume"))


def _load_actions(connection: psycopg.Connection[Any]) -> None:
    """Put in AAPL's two splits, and IBM's dividends as the factors say them: known on the day from which they hold."""
    sessions = [day for (day,) in connection.execute("select session_date from lake.sessions order by 1").fetchall()]

    def put(number: int, symbol: str, action: str, day: date, **others: Decimal) -> None:
        known = datetime(day.year, day.month, day.day, tzinfo=_ZONE)
        row = {"source": "lean", "symbol": symbol, "action": action, "session_date": day, "known_at": known}
        row |= {
            "is_withdrawn": False,
            "topic": "t",
            "partition": 0,
            "offset": number,
            "ingested_at": _INGESTED,
            **others,
        }
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(["%s"] * len(row))
        connection.execute(
            f"insert into lake.corporate_actions ({names}) values ({values})".encode(), list(row.values())
        )

    for number, day in enumerate((date(2000, 6, 21), date(2005, 2, 28))):
        put(number, "AAPL", "split", day, new_shares=Decimal(2), old_shares=Decimal(1))
    rows = factors("IBM")
    for number, (before, after) in enumerate(pairwise(rows), start=2):
        (last_day, factor, _, close), later = before, after[1]
        if factor != later and last_day < date(2013, 3, 1):
            day = min(session for session in sessions if session > last_day)
            put(number, "IBM", "dividend", day, cash=(close * (1 - factor / later)).quantize(Decimal("0.0001")))
