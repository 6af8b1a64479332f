"""Trades to bars: one aggregation, used by the stream and by whoever recomputes."""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from market.tables import BAR_REVISIONS
from spark_jobs.schemas import NOTIONAL, PRICE

_SEQUENCE_BITS: Final = 37
_ORDER: Final = "decimal(38,0)"
_MILLIONTHS: Final = 10**6
_PRICE_SPACE: Final = 10**18
BAR_KEY: Final = ("source", "symbol", "bar_at")


def order_and_price(traded_at: Column, bar_at: Column, sequence: Column, price: Column) -> Column:
    """Return one number that orders the trades of a minute by time, then sequence, then price, and ends with the price.

    A microsecond within a minute takes 26 bits, the sequence 37, the price in millionths 18 decimal digits: together a
    decimal of at most 37 digits. The least and the greatest of them hold the first and the last price, whatever the
    order in which the trades are seen.
    """
    within = f.unix_micros(traded_at) - f.unix_micros(bar_at)
    order = f.shiftleft(within, _SEQUENCE_BITS) + sequence
    return order.cast(_ORDER) * f.lit(_PRICE_SPACE).cast(_ORDER) + (price * _MILLIONTHS).cast(_ORDER)


def _price_in(order_and_price: Column) -> Column:
    return ((order_and_price % f.lit(_PRICE_SPACE).cast(_ORDER)).cast(_ORDER) / f.lit(_MILLIONTHS)).cast(PRICE)


def build_bars(trades: DataFrame) -> DataFrame:
    """Return the 1-minute bars of ``trades`` with the columns of the declared bars.

    Every column is a function of the set of trades alone, so neither order of arrival nor batches can change a bar: the
    revision is the number of batches that brought a trade of the bar.

    Parameters
    ----------
    trades
        The columns of ``silver/trades``, each trade once, all trades of each minute that occurs.
    """
    order = order_and_price(f.col("traded_at"), f.col("bar_at"), f.col("sequence"), f.col("price"))
    for_price, for_volume = f.col("counts_for_price"), f.col("counts_for_volume")
    price = f.when(for_price, f.col("price"))
    order_for_price = f.when(for_price, order)
    notional = f.col("price") * f.col("size").cast("decimal(19,0)")
    bars = trades.groupBy(*BAR_KEY, "session_date", "segment").agg(
        _price_in(f.min(order_for_price)).alias("open"),
        f.max(price).alias("high"),
        f.min(price).alias("low"),
        _price_in(f.max(order_for_price)).alias("close"),
        f.coalesce(f.sum(f.when(for_volume, f.col("size"))), f.lit(0).cast("long")).alias("volume"),
        f.coalesce(f.sum(f.when(for_volume, notional)), f.lit(0)).cast(NOTIONAL).alias("notional"),
        f.count("*").alias("trade_count"),
        f.count_if(~for_price).alias("excluded_trade_count"),
        f.count_distinct("ingested_at").cast("int").alias("revision"),
        f.max("ingested_at").alias("revised_at"),
    )
    vwap = f.when(f.col("volume") > 0, (f.col("notional") / f.col("volume").cast("decimal(19,0)")).cast(PRICE))
    return bars.withColumn("vwap", vwap).select(*BAR_REVISIONS.column_names)
