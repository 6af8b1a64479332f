"""LEAN's tick files as tick frames: pure, no files in here.

The format: CSV without a header. A trade is milliseconds since midnight New York, price x 10,000, size, exchange,
sale conditions (hexadecimal bits), suspicious (0 or 1). A quote is milliseconds, bid x 10,000, bid size, ask x 10,000,
ask size, exchange, conditions, suspicious, with 0 where a side is unchanged.

Conditions are passed on as they are written. ``suspicious`` has no bit of its own in them, so it becomes bit 32,
which the vendor leaves unused: ``20002000`` of a suspicious trade is passed on as ``120002000``.
"""

import io
from datetime import date, datetime, time
from typing import Final

import polars as pl

from ingest.feeds.base import Kind
from ingest.feeds.ticks import TICK_SCHEMA
from market.errors import FeedError
from market.sessions import EXCHANGE_ZONE

SUSPICIOUS_BIT: Final = 32
DAY_MS: Final = 86_400_000
INT64_DIGITS: Final = 20
"""Characters of the longest 64-bit number, with its sign."""

_RAW_SCHEMAS: Final = {
    Kind.TRADES: {
        "ms": pl.Int64,
        "bid": pl.Int64,
        "bid_size": pl.Int64,
        "exchange": pl.String,
        "conditions": pl.String,
        "suspicious": pl.Int64,
    },
    Kind.QUOTES: {
        "ms": pl.Int64,
        "bid": pl.Int64,
        "bid_size": pl.Int64,
        "ask": pl.Int64,
        "ask_size": pl.Int64,
        "exchange": pl.String,
        "conditions": pl.String,
        "suspicious": pl.Int64,
    },
}


def parse_ticks(content: bytes, kind: Kind, symbol: str, session_date: date, origin: str) -> pl.DataFrame:
    """Return the tick frame of one file; the sequence of a tick is its row number, from 1.

    Parameters
    ----------
    content
        The CSV file.
    kind, symbol, session_date
        What the file holds.
    origin
        The file's name for error messages.

    Raises
    ------
    FeedError
        If a row does not parse; the message names the file and the line.
    """
    raw = _read(content, kind, origin)
    midnight = datetime.combine(session_date, time(), EXCHANGE_ZONE)
    midnight_us = int(midnight.timestamp()) * 1_000_000
    ticks = raw.with_row_index("row").select(
        (pl.col("ms") * 1000 + midnight_us).alias("ts"),
        pl.lit(symbol).alias("symbol"),
        pl.lit(kind is Kind.QUOTES).alias("is_quote"),
        (pl.col("row").cast(pl.Int64) + 1).alias("sequence"),
        pl.col("bid"),
        pl.col("bid_size"),
        (pl.col("ask") if kind is Kind.QUOTES else pl.lit(0, pl.Int64)).alias("ask"),
        (pl.col("ask_size") if kind is Kind.QUOTES else pl.lit(0, pl.Int64)).alias("ask_size"),
        pl.col("exchange").fill_null(""),
        _with_suspicion(raw).alias("conditions"),
    )
    return ticks.cast(pl.Schema(TICK_SCHEMA))


def _read(content: bytes, kind: Kind, origin: str) -> pl.DataFrame:
    schema = _RAW_SCHEMAS[kind]
    try:
        raw = pl.read_csv(io.BytesIO(content), has_header=False, schema=dict(schema), quote_char=None)
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict(schema))
    except pl.exceptions.PolarsError as error:
        raise _first_bad_line(content, kind, origin) from error
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    if raw.height != lines or not raw.select(_valid(raw)).item():
        raise _first_bad_line(content, kind, origin)
    return raw


def _valid(raw: pl.DataFrame) -> pl.Expr:
    has_all = pl.all_horizontal(pl.exclude("exchange").is_not_null())
    in_day = pl.col("ms").is_between(0, DAY_MS - 1)
    flag = pl.col("suspicious").is_between(0, 1)
    conditions = raw["conditions"].unique()
    hexadecimal = all(_is_hex(text) for text in conditions if text is not None)
    return (has_all & in_day & flag).all() & pl.lit(hexadecimal)


def _is_int64(text: str) -> bool:
    return (
        text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= INT64_DIGITS and abs(int(text)) < 2**63
    )


def _is_hex(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return text.isalnum()


def _first_bad_line(content: bytes, kind: Kind, origin: str) -> FeedError:
    """Return the error that names the first line which does not parse."""
    schema = _RAW_SCHEMAS[kind]
    for number, line in enumerate(content.split(b"\n"), start=1):
        text = line.decode("utf-8", errors="replace")
        reason = _why_bad(text.removesuffix("\r").split(","), schema)
        if reason:
            return FeedError(f"{origin} is damaged: line {number} ({text[:80]!r}) {reason}. Get the file again.")
    return FeedError(f"{origin} is damaged: it is not CSV as LEAN writes it. Get the file again.")


def _why_bad(fields: list[str], schema: dict[str, type[pl.DataType]]) -> str | None:
    if len(fields) != len(schema):
        return f"has {len(fields)} fields instead of {len(schema)}"
    for (name, dtype), text in zip(schema.items(), fields, strict=True):
        if dtype is pl.Int64 and not _is_int64(text):
            return f"has {text[:30]!r} where a whole number of 64 bits is expected"
        if name == "conditions" and not _is_hex(text):
            return f"has {text[:20]!r} where hexadecimal conditions are expected"
    if not 0 <= int(fields[0]) < DAY_MS:
        return f"has the time {fields[0]}, which is not within a day of {DAY_MS:,} milliseconds"
    if fields[-1] not in {"0", "1"}:
        return f"has {fields[-1][:20]!r} where the flag suspicious (0 or 1) is expected"
    return None


def _with_suspicion(raw: pl.DataFrame) -> pl.Series:
    conditions = raw["conditions"]
    if not (raw["suspicious"] == 1).any():
        return conditions
    values = [
        f"{int(text, 16) | 1 << SUSPICIOUS_BIT:x}" if suspicious else text
        for text, suspicious in zip(conditions.to_list(), raw["suspicious"].to_list(), strict=True)
    ]
    return pl.Series("conditions", values, dtype=pl.String)
