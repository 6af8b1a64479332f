"""Every revision that a session's bars ever had, from its trades and from what amends them.

A bar has a revision for each batch that brought a trade of it or amended one; the revision counts what these batches and
those before had brought. So revisions are a function of the trades, the amendments and their batches: what the stream wrote
one by one comes out again at once.
"""

import polars as pl

from spark_jobs.transforms.amend import amend, stamps
from spark_jobs.transforms.bars import BAR_KEY, SUM_SCHEMA, accumulate, finish, sum_trades
from spark_jobs.transforms.unique import TRADE_REFERENCE


def every_revision(trades: pl.DataFrame, amendments: pl.DataFrame) -> pl.DataFrame:
    """Return all revisions of the bars of some trades, with the columns of the declared bars, prices in millionths.

    Parameters
    ----------
    trades
        The columns of ``silver/trades``: all trades of each bar, each trade once.
    amendments
        The columns of ``silver/amendments``; those of other trades do not matter.
    """
    relevant = amendments.join(trades, on=TRADE_REFERENCE, how="semi")
    bars = trades.join(relevant, on=TRADE_REFERENCE, how="semi").select(BAR_KEY).unique()
    amended, others = trades.join(bars, on=BAR_KEY, how="semi"), trades.join(bars, on=BAR_KEY, how="anti")
    added = accumulate(sum_trades(amend(others, relevant.clear()), by_batch=True))
    return finish(pl.concat([added, *_built_anew(amended, relevant)]))


def _built_anew(trades: pl.DataFrame, amendments: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the sums of bars with amended trades as of each batch: out of a sum nothing can be taken."""
    numbered = stamps(trades, amendments, BAR_KEY).with_columns(
        pl.col("ingested_at").rank("dense").over(BAR_KEY).cast(pl.Int32).alias("revision")
    )
    sums = []
    for (stamp,), touched in numbered.partition_by("ingested_at", as_dict=True).items():
        until = pl.col("ingested_at") <= stamp
        stored = trades.filter(until).join(touched, on=BAR_KEY, how="semi")
        built = sum_trades(amend(stored, amendments.filter(until))).drop("revision")
        sums.append(built.join(touched.drop("ingested_at"), on=BAR_KEY).select(*SUM_SCHEMA))
    return sums
