"""Bars by activity: a new bar after so many trades, shares or dollars, instead of after a minute.

Each session begins anew. Trades are taken in the order of time, sequence and price, and a bar ends with the trade that reaches
the next multiple of the size. So a trade is in one bar, whole, and what is beyond the multiple counts for the next one.
"""

from enum import StrEnum
from typing import Final

import polars as pl

from market.tables import Column, DataType
from spark_jobs.schemas import frame_types
from spark_jobs.transforms.bars import vwap

_SESSION: Final = ("source", "symbol", "session_date")
_ORDER: Final = (*_SESSION, "traded_at", "sequence", "price", "size", "trade_id")
_MILLION: Final = 10**6
COLUMNS: Final = (
    Column("source", DataType.TEXT, "Feed that the trades came from."),
    Column("symbol", DataType.TEXT, "Ticker, upper case."),
    Column("session_date", DataType.DATE, "Session of the exchange calendar."),
    Column("bar_number", DataType.BIGINT, "Number of the bar in its session, from 0."),
    Column("first_trade_at", DataType.TIMESTAMP, "Time of the first trade, UTC."),
    Column("last_trade_at", DataType.TIMESTAMP, "Time of the last trade, UTC."),
    Column("open", DataType.PRICE, "First price; null if no trade of the bar may set it.", nullable=True),
    Column("high", DataType.PRICE, "Highest price.", nullable=True),
    Column("low", DataType.PRICE, "Lowest price.", nullable=True),
    Column("close", DataType.PRICE, "Last price.", nullable=True),
    Column("volume", DataType.BIGINT, "Shares traded, of the trades that count for volume."),
    Column("notional", DataType.NOTIONAL, "Sum of price times size of the trades that count for volume."),
    Column("vwap", DataType.PRICE, "notional / volume, rounded half up.", nullable=True),
    Column("trade_count", DataType.BIGINT, "All trades of the bar."),
    Column("is_full", DataType.BOOLEAN, "Whether the size was reached; a session's last bar may be cut short."),
)
"""The columns of a bar."""


class Activity(StrEnum):
    """What is counted."""

    TICK = "tick"
    VOLUME = "volume"
    DOLLAR = "dollar"


def activity_bars(trades: pl.DataFrame, by: Activity, size: int) -> pl.DataFrame:
    """Return the bars of trades, with :data:`COLUMNS`, prices and notionals in millionths.

    Parameters
    ----------
    trades
        Each trade once, as it counts: see :func:`spark_jobs.transforms.amend.amend`. Whole sessions.
    by, size
        A bar has ``size`` trades, shares or dollars. Only trades that count for volume are counted.
    """
    counted = pl.col("counts_for_volume").cast(pl.Int128)
    shares = pl.col("size") * counted
    worth = pl.col("price") * shares
    measure = {Activity.TICK: counted, Activity.VOLUME: shares, Activity.DOLLAR: worth}[by]
    step = size * _MILLION if by is Activity.DOLLAR else size
    price = pl.col("price")
    at_ends, between = price.filter(pl.col("counts_for_open_close")), price.filter(pl.col("counts_for_high_low"))
    bars = (
        trades.lazy()
        .filter(~pl.col("is_cancelled"))
        .sort(_ORDER)
        .with_columns(measure.alias("measure"), shares.alias("shares"), worth.alias("worth"))
        .with_columns(pl.col("measure").cum_sum().over(_SESSION).alias("reached"))
        .with_columns(((pl.col("reached") - pl.col("measure")) // step).alias("multiple"))
        .group_by(*_SESSION, "multiple", maintain_order=True)
        .agg(
            pl.col("traded_at").first().alias("first_trade_at"),
            pl.col("traded_at").last().alias("last_trade_at"),
            at_ends.first().alias("open"),
            between.max().alias("high"),
            between.min().alias("low"),
            at_ends.last().alias("close"),
            pl.col("shares").sum().alias("volume"),
            pl.col("worth").sum().alias("notional"),
            pl.len().alias("trade_count"),
            pl.col("reached").last(),
        )
        .with_columns(
            vwap(),
            pl.int_range(pl.len()).over(_SESSION).alias("bar_number"),
            (pl.col("reached") >= (pl.col("multiple") + 1) * step).alias("is_full"),
        )
    )
    return bars.select(pl.col(name).cast(own) for name, own in frame_types(COLUMNS).items()).collect()
