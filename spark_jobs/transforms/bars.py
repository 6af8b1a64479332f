"""Trades to bars: sums that can be added to one another, used by the stream and by whoever recomputes.

A bar is kept as a *sum*: what its trades come to, in a form in which the sums of two sets of trades give that of both,
in any order. So a bar is a function of the set of its trades alone, and adding a batch to what is known of a session
costs no look at the trades that came before.
"""

from typing import Final

import polars as pl

from market.eligibility import REASONS
from market.tables import BAR_REVISIONS

BAR_KEY: Final = ("source", "symbol", "bar_at")
_GROUP: Final = (*BAR_KEY, "session_date", "segment")
_SEQUENCE_SPACE: Final = 2**37
_PRICE_SPACE: Final = 10**18

_LEFT_OUT: Final = {reason: f"left_out_{reason}" for reason in REASONS}

SUM_SCHEMA: Final = {
    "source": pl.String(),
    "symbol": pl.String(),
    "bar_at": pl.Datetime("us", "UTC"),
    "session_date": pl.Date(),
    "segment": pl.String(),
    "first": pl.Int128(),
    "last": pl.Int128(),
    "high": pl.Int64(),
    "low": pl.Int64(),
    "volume": pl.Int64(),
    "notional": pl.Int128(),
    "trade_count": pl.Int64(),
    "excluded_trade_count": pl.Int64(),
    **dict.fromkeys(_LEFT_OUT.values(), pl.Int64()),
    "cancelled_trade_count": pl.Int64(),
    "corrected_trade_count": pl.Int64(),
    "revision": pl.Int32(),
    "revised_at": pl.Datetime("us", "UTC"),
}
"""The columns of a sum.

``first`` and ``last`` are the least and the greatest of the trades' positions, see :func:`_position`; ``revision`` is the
number of batches that brought trades of the bar or amended them.
"""


_ADDED: Final = (
    "volume",
    "notional",
    "trade_count",
    "excluded_trade_count",
    *_LEFT_OUT.values(),
    "cancelled_trade_count",
    "corrected_trade_count",
    "revision",
)


def _position() -> pl.Expr:
    """Return one number that orders the trades of a minute by time, then sequence, then price, and ends with the price.

    Microseconds since the start of the minute take 30 bits (the closing auction comes up to 16 minutes after the start of its
    minute), the sequence 37, the price in millionths 18 decimal digits: 127 bits in all.
    """
    within = (pl.col("traded_at") - pl.col("bar_at")).dt.total_microseconds()
    order = within.cast(pl.Int128) * _SEQUENCE_SPACE + pl.col("sequence")
    return order * _PRICE_SPACE + pl.col("price")


def sum_trades(trades: pl.DataFrame, *, by_batch: bool = False) -> pl.DataFrame:
    """Return the sums of the bars of trades that came with one batch.

    Parameters
    ----------
    trades
        Each trade once, as it counts: see :func:`spark_jobs.transforms.amend.amend`. Prices are in millionths.
    by_batch
        Whether the trades came with several batches, and each of them gives a sum of its own.
    """
    stands = ~pl.col("is_cancelled")
    for_open_close, for_high_low, for_volume = (
        pl.col(f"counts_for_{use}") & stands for use in ("open_close", "high_low", "volume")
    )
    reason = pl.col("left_out_for")
    if trades["left_out_for"].null_count() < trades.height:
        left_out = [
            ((reason == name).fill_null(value=False) & stands).sum().alias(own) for name, own in _LEFT_OUT.items()
        ]
    else:
        left_out = [pl.lit(0, pl.Int64).first().alias(own) for own in _LEFT_OUT.values()]
    sums = (
        trades.lazy()
        .with_columns(
            position=pl.when(for_open_close).then(_position()),
            priced=pl.when(for_high_low).then(pl.col("price")),
            counted=pl.when(for_volume).then(pl.col("size")).otherwise(0),
        )
        .with_columns(worth=pl.col("price").cast(pl.Int128) * pl.col("counted").cast(pl.Int128))
        .group_by(*_GROUP, *(("touched_at",) if by_batch else ()))
        .agg(
            pl.col("position").min().alias("first"),
            pl.col("position").max().alias("last"),
            pl.col("priced").max().alias("high"),
            pl.col("priced").min().alias("low"),
            pl.col("counted").sum().alias("volume"),
            pl.col("worth").sum().alias("notional"),
            stands.sum().alias("trade_count"),
            (stands & reason.is_not_null()).sum().alias("excluded_trade_count"),
            *left_out,
            pl.col("is_cancelled").sum().alias("cancelled_trade_count"),
            (stands & pl.col("is_corrected")).sum().alias("corrected_trade_count"),
            pl.lit(1, pl.Int32).first().alias("revision"),
            pl.col("touched_at").max().alias("revised_at"),
        )
    )
    return sums.select(pl.col(name).cast(own) for name, own in SUM_SCHEMA.items()).collect()


def add_sums(sums: pl.DataFrame) -> pl.DataFrame:
    """Return one sum per bar, of all that are given for it; each batch may occur once per bar."""
    return (
        sums.lazy()
        .group_by(_GROUP)
        .agg(
            pl.col("first").min(),
            pl.col("last").max(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col(*_ADDED).sum(),
            pl.col("revised_at").max(),
        )
        .select(pl.col(name).cast(own) for name, own in SUM_SCHEMA.items())
        .collect()
    )


def accumulate(sums: pl.DataFrame) -> pl.DataFrame:
    """Return for the sums of single batches what their bars came to when each of the batches had been added.

    Parameters
    ----------
    sums
        One per bar and batch, each with the revision 1.
    """
    least, greatest = pl.col("first", "low"), pl.col("last", "high")
    return sums.sort(*BAR_KEY, "revised_at").with_columns(
        least.cum_min().forward_fill().over(BAR_KEY),
        greatest.cum_max().forward_fill().over(BAR_KEY),
        pl.col(*_ADDED).cum_sum().over(BAR_KEY),
    )


def finish(sums: pl.DataFrame) -> pl.DataFrame:
    """Return the bars that the sums stand for, with the columns of the declared bars, prices in millionths."""
    bars = sums.with_columns(
        (pl.col("first") % _PRICE_SPACE).cast(pl.Int64).alias("open"),
        (pl.col("last") % _PRICE_SPACE).cast(pl.Int64).alias("close"),
        vwap(),
        _left_out().alias("left_out"),
    )
    return bars.select(BAR_REVISIONS.column_names).sort(BAR_KEY)


def vwap() -> pl.Expr:
    """Return notional / volume, rounded half up, in millionths; null without volume."""
    volume = pl.col("volume").cast(pl.Int128)
    half_up = (pl.col("notional") * 2 + volume) // (volume * 2)  # floor(notional / volume + 1/2), in whole numbers
    return pl.when(volume > 0).then(half_up).cast(pl.Int64).alias("vwap")


def _left_out() -> pl.Expr:
    """Return the counts of the reasons as a JSON object; null if there are none."""
    counted = [
        pl.when(pl.col(own) > 0).then(pl.concat_str(pl.lit(f'"{reason}": '), pl.col(own)))
        for reason, own in _LEFT_OUT.items()
    ]
    body = pl.concat_str(counted, separator=", ", ignore_nulls=True)
    return pl.when(pl.col("excluded_trade_count") > 0).then(pl.concat_str(pl.lit("{"), body, pl.lit("}")))
