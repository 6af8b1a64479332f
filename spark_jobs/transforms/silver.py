"""The rows of trades, quotes and vendor bars, from valid messages with their place in a session."""

import zlib
from typing import Final

import polars as pl

from market.eligibility import RULES, rule_for
from market.sessions import Segment
from spark_jobs.schemas import MOMENT
from spark_jobs.transforms.calendar import MINUTE

_JUDGED_BY: Final = ["source", "segment", "conditions"]


def trade_rows(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/trades``."""
    rows = _of_tape(trades, "trade_id")
    return with_eligibility(rows).with_columns(
        pl.col("ts").cast(MOMENT).alias("traded_at"),
        (pl.col("ts") - pl.col("ts") % MINUTE).cast(MOMENT).alias("bar_at"),
    )


def amendment_rows(amendments: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/amendments``; a cancel states nothing but which trade it cancels."""
    is_correction = pl.col("kind") == "correction"
    return amendments.with_columns(
        pl.col("ref_id").alias("trade_id"),
        pl.col("ts").cast(MOMENT).alias("amended_at"),
        *(pl.when(is_correction).then(pl.col(name)).alias(name) for name in ("price", "size")),
        *(
            pl.when(is_correction).then(pl.col(name).fill_null("")).otherwise(pl.lit("")).alias(name)
            for name in ("exchange", "conditions")
        ),
    )


def quote_rows(quotes: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/quotes``."""
    return _of_tape(quotes, "quote_id").with_columns(pl.col("ts").cast(MOMENT).alias("quoted_at"))


def vendor_bar_rows(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``silver/vendor_bars``."""
    return bars.with_columns(pl.col("ts").cast(MOMENT).alias("bar_at"))


def _of_tape(rows: pl.DataFrame, id_field: str) -> pl.DataFrame:
    filled = rows.with_columns(pl.col("exchange", "conditions").fill_null(""))
    if not filled["sequence"].null_count():
        return filled
    missing = filled["sequence"].is_null()
    ids = filled[id_field].to_list()
    derived = pl.Series([zlib.crc32(text.encode()) for text in ids], dtype=pl.Int64)
    return filled.with_columns(pl.when(missing).then(derived).otherwise(pl.col("sequence")).alias("sequence"))


def with_eligibility(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades with what they count for under the rule of their feed."""
    met = trades.select("source").unique()["source"].to_list()
    if not set(met) & set(RULES):
        everything = {"counts_for_price": True, "counts_for_volume": True}
        version = pl.lit(rule_for("").version, pl.Int32).alias("eligibility_version")
        return trades.with_columns(*(pl.lit(value=value).alias(name) for name, value in everything.items()), version)
    combinations = trades.select(_JUDGED_BY).unique()
    judged = [_eligibility(*row) for row in combinations.iter_rows()]
    schema = {"counts_for_price": pl.Boolean(), "counts_for_volume": pl.Boolean(), "eligibility_version": pl.Int32()}
    return trades.join(
        combinations.hstack(pl.DataFrame(judged, schema=schema, orient="row")),
        on=_JUDGED_BY,
        how="left",
        maintain_order="left",
    )


def _eligibility(source: str, segment: str, conditions: str) -> tuple[bool, bool, int]:
    rule = rule_for(source)
    bits = int(conditions or "0", 16) if source in RULES else 0
    if segment == Segment.REGULAR:
        no_price, no_volume = rule.no_price_regular, rule.no_volume_regular
    else:
        no_price, no_volume = rule.no_price_extended, rule.no_volume_extended
    return not bits & no_price, not bits & no_volume, rule.version
