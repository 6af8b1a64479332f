"""Cancels and corrections: what trades count as, by all that was said of them.

The newest amendment of a trade holds, in the order of the moments at which they were made; of those made at the same
moment a correction before a cancel, then by what they state. So what a trade counts as is a function of the set of its
amendments: it does not matter whether they came before or after it, or in which order.
"""

from typing import Final

import polars as pl

from spark_jobs.transforms.silver import JUDGEMENT, with_eligibility
from spark_jobs.transforms.unique import TRADE_REFERENCE

_TRADE_KEY: Final = list(TRADE_REFERENCE)
_STATED: Final = ("price", "size", "exchange", "conditions")
_PRECEDENCE: Final = ("amended_at", "is_cancelled", *_STATED)


def amend(trades: pl.DataFrame, amendments: pl.DataFrame) -> pl.DataFrame:
    """Return the trades as they count.

    Parameters
    ----------
    trades
        The columns of ``silver/trades``, each trade once.
    amendments
        The columns of ``silver/amendments``; those of other trades do not matter.

    Returns
    -------
    polars.DataFrame
        The trades, a corrected one with what the correction states; with ``is_cancelled``, ``is_corrected`` and
        ``touched_at``, the stamp of the newest batch that brought the trade or amended it.
    """
    relevant = amendments.join(trades, on=_TRADE_KEY, how="semi") if amendments.height else amendments
    if not relevant.height:
        never = pl.lit(value=False)
        return trades.with_columns(never.alias("is_cancelled"), never.alias("is_corrected"), touched_at="ingested_at")
    holding = _holding(relevant)
    known = trades.join(holding, on=_TRADE_KEY, how="left", maintain_order="left", suffix="_amended")
    is_corrected = (~pl.col("is_cancelled")).fill_null(value=False)
    counted = known.with_columns(
        *(
            pl.when(is_corrected).then(pl.col(f"{name}_amended")).otherwise(pl.col(name)).alias(name)
            for name in _STATED
        ),
        pl.col("is_cancelled").fill_null(value=False),
        is_corrected.alias("is_corrected"),
        pl.max_horizontal("ingested_at", "amendment_ingested_at").alias("touched_at"),
    )
    counted = counted.select(*trades.columns, "is_cancelled", "is_corrected", "touched_at")
    judged = with_eligibility(counted.filter("is_corrected").drop(JUDGEMENT)).select(counted.columns)
    return pl.concat([counted.filter(~pl.col("is_corrected")), judged])


def stamps(trades: pl.DataFrame, amendments: pl.DataFrame, bar_key: tuple[str, ...]) -> pl.DataFrame:
    """Return which batches brought a trade of a bar or amended one: ``bar_key`` and ``ingested_at``, each pair once.

    An amendment that came before its trade took effect with the trade.
    """
    own = trades.select(*bar_key, "ingested_at").unique()
    if not amendments.height:
        return own
    made = amendments.select(*_TRADE_KEY, pl.col("ingested_at").alias("amendment_ingested_at"))
    amended = trades.join(made, on=_TRADE_KEY).with_columns(
        pl.max_horizontal("ingested_at", "amendment_ingested_at").alias("ingested_at")
    )
    return pl.concat([own, amended.select(*bar_key, "ingested_at")]).unique()


def _holding(amendments: pl.DataFrame) -> pl.DataFrame:
    """Return the amendment of each trade that holds, with the stamp of the newest batch that brought one of the trade."""
    return (
        amendments.with_columns((pl.col("kind") == "cancel").alias("is_cancelled"))
        .sort(_PRECEDENCE, nulls_last=False)
        .group_by(_TRADE_KEY, maintain_order=True)
        .agg(
            pl.col("is_cancelled", *_STATED).last(),
            pl.col("ingested_at").max().alias("amendment_ingested_at"),
        )
    )
