"""Every revision that bars ever had, worked out from their trades and what amends them.

What belongs here: arithmetic, in whole millionths. What does not: what is stored, which :mod:`verify.bars` compares.

A bar is the minute that its trades fall into. Its revision *k* is what its trades come to as they were known with the *k*-th
batch that brought one of them or amended one; an amendment that came before its trade counts from the trade on. The newest
amendment of a trade holds. Open and close are the prices of the first and the last trade by time, then sequence, then price,
among those that may set them.
"""

import json
from collections.abc import Iterator
from typing import Final

import polars as pl

from market import tables
from verify.messages import judged_again

BAR_KEY: Final = list(tables.BAR_REVISIONS.key[:3])
_TRADE_KEY: Final = ["source", "symbol", "trade_id"]
_RESTATED: Final = ["price", "size", "exchange", "conditions"]
_REVISION: Final = [*BAR_KEY, "session_date", "segment", "revision", "revised_at"]
_TOTALS: Final = ("volume", "notional", "trade_count", "excluded_trade_count")
_LEFT_OUT: Final = "left out for "


def every_revision(trades: pl.DataFrame, amendments: pl.DataFrame) -> pl.DataFrame:
    """Return all revisions of the bars of unique trades, with the columns of the declared bars.

    Memory is bounded by the trades and the revisions, whatever the revisions of one bar are: what trades add to a bar is
    accumulated from batch to batch. Only a bar with an amended trade is built anew as of each of its batches.

    Parameters
    ----------
    trades
        The columns of ``silver/trades``, prices in millionths: all trades of each bar, each trade once.
    amendments
        The columns of ``silver/amendments``; those of other trades do not matter.
    """
    relevant = amendments.join(trades, on=_TRADE_KEY, how="semi")
    is_amended = trades.join(relevant, on=_TRADE_KEY, how="semi").select(BAR_KEY).unique()
    amended = trades.join(is_amended, on=BAR_KEY, how="semi")
    others = trades.join(is_amended, on=BAR_KEY, how="anti")
    return pl.concat([_accumulated(others), *_built_anew(amended, relevant)])


def newest_revisions(revisions: pl.DataFrame) -> pl.DataFrame:
    """Return the highest of some revisions of each bar: the bar as they leave it."""
    return revisions.sort("revision").unique(BAR_KEY, keep="last", maintain_order=True)


def counted(trades: pl.DataFrame, amendments: pl.DataFrame) -> pl.DataFrame:
    """Return unique trades as they count, with ``said``: what holds, ``cancel``, ``correction`` or null.

    Parameters
    ----------
    trades
        The columns of ``silver/trades``, prices in millionths, and any others.
    amendments
        The columns of ``silver/amendments``; of several of a trade at one moment a cancel holds, then the greatest.
    """
    stated = (pl.col(name).fill_null(0) for name in ("price", "size"))
    holding = (
        amendments.join(trades, on=_TRADE_KEY, how="semi")
        .sort("amended_at", pl.col("kind") == "cancel", *stated, "exchange", "conditions")
        .unique(_TRADE_KEY, keep="last", maintain_order=True)
        .select(*_TRADE_KEY, *_RESTATED, pl.col("kind").alias("said"))
    )
    joined = trades.join(holding, on=_TRADE_KEY, how="left", suffix="_restated")
    corrected = joined.filter(pl.col("said") == "correction").with_columns(
        pl.col(f"{name}_restated").alias(name) for name in _RESTATED
    )
    columns = [*trades.columns, "said"]
    others = joined.filter(pl.col("said").ne_missing("correction"))
    return pl.concat([others.select(columns), judged_again(corrected).select(columns)])


def vwap_of(notional: pl.Expr, volume: pl.Expr) -> pl.Expr:
    """Return notional / volume in millionths, rounded half up in whole numbers: floor(notional / volume + 1/2)."""
    shares = volume.cast(pl.Int128)
    return pl.when(shares > 0).then((notional * 2 + shares) // (shares * 2)).cast(pl.Int64)


def _accumulated(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the revisions of bars of which no trade was amended."""
    numbered = trades.with_columns(
        pl.col("ingested_at").rank("dense").over(BAR_KEY).cast(pl.Int32).alias("revision"),
        pl.col("ingested_at").alias("revised_at"),
        pl.lit(None, pl.String).alias("said"),
    )
    ordered = _in_order(numbered)
    sums = _sums(ordered).sort(*BAR_KEY, "revision")
    totals = [name for name in sums.columns if name in _TOTALS or name.startswith(_LEFT_OUT)]
    accumulated = sums.with_columns(
        *(pl.col(name).cum_sum().over(BAR_KEY) for name in totals),
        *(pl.col(name).cum_min().forward_fill().over(BAR_KEY) for name in ("first", "low")),
        *(pl.col(name).cum_max().forward_fill().over(BAR_KEY) for name in ("last", "high")),
    )
    return _finished(accumulated, ordered)


def _built_anew(trades: pl.DataFrame, amendments: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the first revisions of bars with amended trades, then their second ones, and so on."""
    own = trades.select(*BAR_KEY, "ingested_at")
    made = amendments.select(*_TRADE_KEY, pl.col("ingested_at").alias("made_in"))
    amended = trades.join(made, on=_TRADE_KEY).select(
        *BAR_KEY, pl.max_horizontal("ingested_at", "made_in").alias("ingested_at")
    )
    stamps = (
        pl.concat([own, amended])
        .unique()
        .rename({"ingested_at": "revised_at"})
        .with_columns(pl.col("revised_at").rank("dense").over(BAR_KEY).cast(pl.Int32).alias("revision"))
    )
    is_known = pl.col("ingested_at") <= pl.col("revised_at")
    for _, at in sorted(stamps.partition_by("revision", as_dict=True).items()):
        known = trades.join(at, on=BAR_KEY).filter(is_known)
        said = amendments.join(known.select(*_TRADE_KEY, "revised_at"), on=_TRADE_KEY).filter(is_known)
        ordered = _in_order(counted(known, said.drop("revised_at")))
        yield _finished(_sums(ordered), ordered)


def _in_order(trades: pl.DataFrame) -> pl.DataFrame:
    return trades.sort("traded_at", "sequence", "price").with_row_index("nth")


def _sums(ordered: pl.DataFrame) -> pl.DataFrame:
    """Return what the trades of each revision come to: ``first`` and ``last`` are the rows of those that set open and close."""
    stands = pl.col("said").ne_missing("cancel")
    counts, reaches = pl.col("counts_for_volume") & stands, pl.col("counts_for_high_low") & stands
    sets = pl.col("nth").filter(pl.col("counts_for_open_close") & stands)
    price, size, reason = pl.col("price"), pl.col("size"), pl.col("left_out_for")
    notional = price.cast(pl.Int128) * size.cast(pl.Int128)
    reasons = sorted(ordered["left_out_for"].unique().drop_nulls())
    return ordered.group_by(_REVISION).agg(
        sets.min().alias("first"),
        price.filter(reaches).max().alias("high"),
        price.filter(reaches).min().alias("low"),
        sets.max().alias("last"),
        size.filter(counts).sum().alias("volume"),
        notional.filter(counts).sum().alias("notional"),
        _times(stands).alias("trade_count"),
        _times(reason.is_not_null() & stands).alias("excluded_trade_count"),
        *(_times((reason == name) & stands).alias(f"{_LEFT_OUT}{name}") for name in reasons),
        _times(~stands).alias("cancelled_trade_count"),
        _times(pl.col("said") == "correction").alias("corrected_trade_count"),
    )


def _times(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)


def _finished(sums: pl.DataFrame, ordered: pl.DataFrame) -> pl.DataFrame:
    """Return bars with the declared columns: open and close out of the trades, vwap, and the reasons as JSON in their order."""
    left_out = [
        pl.when(pl.col(name) > 0).then(
            pl.format("{}: {}", pl.lit(json.dumps(name.removeprefix(_LEFT_OUT))), pl.col(name))
        )
        for name in sums.columns
        if name.startswith(_LEFT_OUT)
    ]
    reasons = pl.concat_str(left_out, separator=", ", ignore_nulls=True) if left_out else pl.lit("")
    return sums.with_columns(
        ordered["price"].gather(sums["first"]).alias("open"),
        ordered["price"].gather(sums["last"]).alias("close"),
        vwap_of(pl.col("notional"), pl.col("volume")).alias("vwap"),
        pl.when(pl.col("excluded_trade_count") > 0)
        .then(pl.concat_str(pl.lit("{"), reasons, pl.lit("}")))
        .alias("left_out"),
    ).select(tables.BAR_REVISIONS.column_names)
