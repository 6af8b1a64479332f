"""The rows of trades, quotes and vendor bars from parsed messages; conflicts to quarantine."""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from market import eligibility, tables
from spark_jobs.transforms.unique import Identity

_HEX_DIGITS: Final = 15


def _columns(*names: str) -> dict[str, Column]:
    return {name: f.col(name) for name in names}


def _text(name: str) -> Column:
    return f.coalesce(f.col(name), f.lit(""))


def _sequence(id_field: str) -> Column:
    return f.coalesce(f.col("sequence"), f.crc32(f.col(id_field).cast("binary")))


def _counts(mask_name: str) -> Column:
    """Return whether a trade's condition bits stay clear of its feed's mask for its segment."""
    # Rows that will be rejected are computed too, and conv fails on what needs more than 64 bits.
    fits = f.col("source").isin(*eligibility.RULES) & (f.length("conditions") <= _HEX_DIGITS)
    hexadecimal = f.when(fits, f.col("conditions"))
    bits = f.coalesce(f.conv(hexadecimal, 16, 10).try_cast("long"), f.lit(0))
    counts = f.lit(True)  # noqa: FBT003
    for source, rule in eligibility.RULES.items():
        regular, extended = getattr(rule, f"{mask_name}_regular"), getattr(rule, f"{mask_name}_extended")
        mask = f.when(f.col("segment") == "regular", regular).otherwise(extended).cast("long")
        counts = f.when(f.col("source") == source, bits.bitwiseAND(mask) == 0).otherwise(counts)
    return counts


def _eligibility_version() -> Column:
    version = f.lit(eligibility.COUNT_ALL.version)
    for source, rule in eligibility.RULES.items():
        version = f.when(f.col("source") == source, rule.version).otherwise(version)
    return version.cast("int")


def trade_row() -> dict[str, Column]:
    """Return the columns of ``silver/trades`` from a parsed trade."""
    return {
        **_columns("source", "symbol", "trade_id"),
        "traded_at": f.timestamp_micros("ts"),
        "bar_at": f.timestamp_micros("bar_ts"),
        **_columns("session_date", "segment", "price", "size"),
        "sequence": _sequence("trade_id"),
        "exchange": _text("exchange"),
        "conditions": _text("conditions"),
        "counts_for_price": _counts("no_price"),
        "counts_for_volume": _counts("no_volume"),
        "eligibility_version": _eligibility_version(),
    }


def quote_row() -> dict[str, Column]:
    """Return the columns of ``silver/quotes`` from a parsed quote."""
    return {
        **_columns("source", "symbol", "quote_id"),
        "quoted_at": f.timestamp_micros("ts"),
        **_columns("session_date", "segment", "bid", "bid_size", "ask", "ask_size"),
        "sequence": _sequence("quote_id"),
        "exchange": _text("exchange"),
        "conditions": _text("conditions"),
    }


def vendor_bar_row() -> dict[str, Column]:
    """Return the columns of ``silver/vendor_bars`` from a parsed bar."""
    return {
        **_columns("source", "symbol", "interval"),
        "bar_at": f.timestamp_micros("ts"),
        **_columns("session_date", "open", "high", "low", "close", "volume"),
    }


def conflicts_to_quarantine(rows: DataFrame, identity: Identity) -> DataFrame:
    """Return rows whose key another record already has as rows of ``bronze/quarantine``."""
    return rows.withColumns(
        {
            "reason": f.concat(f.lit("conflicting_"), f.lit(identity.key[-1])),
            "detail": f.to_json(f.struct(*identity.key, *identity.payload)),
        }
    ).select(*tables.QUARANTINE.column_names)
