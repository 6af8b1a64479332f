"""Decoded rows to the rows of trades, quotes, vendor bars and quarantine."""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from market import eligibility, tables
from spark_jobs.transforms.unique import Identity

_DETAIL_LENGTH: Final = 80


def _text(name: str) -> Column:
    return f.coalesce(f.col(name), f.lit("")).alias(name)


def _sequence(id_field: str) -> Column:
    return f.coalesce(f.col("sequence"), f.crc32(f.col(id_field).cast("binary"))).alias("sequence")


def _counts(mask_name: str) -> Column:
    """Return whether a trade's condition bits stay clear of its feed's mask for its segment."""
    hexadecimal = f.when(f.col("source").isin(*eligibility.RULES), f.col("conditions"))
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


def to_trades(decoded: DataFrame) -> DataFrame:
    """Return valid messages of the trades topic as rows of ``silver/trades``."""
    return decoded.select(
        "source",
        "symbol",
        "trade_id",
        f.timestamp_micros("ts").alias("traded_at"),
        f.timestamp_micros("bar_ts").alias("bar_at"),
        "session_date",
        "segment",
        "price",
        "size",
        _sequence("trade_id"),
        _text("exchange"),
        _text("conditions"),
        _counts("no_price").alias("counts_for_price"),
        _counts("no_volume").alias("counts_for_volume"),
        _eligibility_version().alias("eligibility_version"),
        "topic",
        "partition",
        "offset",
        "ingested_at",
    ).select(*tables.TRADES.column_names)


def to_quotes(decoded: DataFrame) -> DataFrame:
    """Return valid messages of the quotes topic as rows of ``silver/quotes``."""
    return decoded.withColumns(
        {
            "quoted_at": f.timestamp_micros("ts"),
            "sequence": _sequence("quote_id"),
            "exchange": _text("exchange"),
            "conditions": _text("conditions"),
        }
    ).select(*tables.QUOTES.column_names)


def to_vendor_bars(decoded: DataFrame) -> DataFrame:
    """Return valid messages of the bars topic as rows of ``silver/vendor_bars``."""
    return decoded.withColumn("bar_at", f.timestamp_micros("ts")).select(*tables.VENDOR_BARS.column_names)


def to_quarantine(rejected: DataFrame) -> DataFrame:
    """Return rejected messages (with ``reason``) as rows of ``bronze/quarantine``, with what could be read of them."""
    readable = [name for name in rejected.columns if name not in _NOT_DETAIL]
    short = (f.substring(f.col(name).cast("string"), 1, _DETAIL_LENGTH).alias(name) for name in readable)
    return rejected.withColumn("detail", f.to_json(f.struct(*short))).select(*tables.QUARANTINE.column_names)


def conflicts_to_quarantine(rows: DataFrame, identity: Identity) -> DataFrame:
    """Return rows whose key another record already has as rows of ``bronze/quarantine``."""
    return rows.withColumns(
        {
            "reason": f.concat(f.lit("conflicting_"), f.lit(identity.key[-1])),
            "detail": f.to_json(f.struct(*identity.key, *identity.payload)),
        }
    ).select(*tables.QUARANTINE.column_names)


_NOT_DETAIL: Final = {"topic", "partition", "offset", "ingested_at", "is_json", "valid", "bar_ts", "reason"}
