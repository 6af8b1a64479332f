"""Bars of minutes put together to longer ones, as of any moment.

What belongs here: what the bars of a mart come to. What does not: what the marts hold, which :mod:`verify.marts` and
:mod:`verify.days` compare with it.

A build of a mart brings every change of every session, and batches come one after the other. So the newest ``revised_at`` of
a mart tells what all of its rows are made of: of each bar the newest revision up to that moment. What came later is behind,
and is no break.
"""

from datetime import datetime
from typing import Final

import polars as pl

from market import tables
from market.sessions import Segment, Session
from verify.calendar import epoch_micros
from verify.lake import Lake
from verify.revisions import vwap_of

_SECOND: Final = 1_000_000
_MOMENT: Final = pl.Datetime("us", "UTC")


def longer(minutes: pl.DataFrame, interval: str, seconds: int, session: Session) -> pl.DataFrame:
    """Return the bars of one length that minutes of a session come to; none lies in two segments.

    Parameters
    ----------
    minutes
        One revision of each minute, with the columns of the declared bars.
    interval, seconds
        What the length is called, and how long it is; counted from the start of the segment.
    session
        The session that they all lie in.

    Returns
    -------
    polars.DataFrame
        The columns of :data:`verify.published.MART_SCHEMA`, and ``ends_at``, the end of the segment, for ``is_final``.
    """
    starts = {Segment.PRE: session.pre_open_at, Segment.REGULAR: session.open_at, Segment.POST: session.close_at}
    ends = {Segment.PRE: session.open_at, Segment.REGULAR: session.close_at, Segment.POST: session.post_close_at}
    start = _of_segment(starts)
    nth = (pl.col("bar_at").to_physical() - start) // (seconds * _SECOND)
    bars = (
        minutes.sort("bar_at")
        .group_by(
            "symbol",
            "session_date",
            "segment",
            pl.col("source").alias("origin"),
            (start + nth * (seconds * _SECOND)).cast(_MOMENT).alias("begins_at"),
        )
        .agg(
            pl.col("open").drop_nulls().first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").drop_nulls().last(),
            pl.col("volume").sum(),
            pl.col("notional").sum(),
            pl.col("trade_count").sum(),
            pl.col("revision").cast(pl.Int64).sum(),
            pl.col("revised_at").max(),
        )
    )
    return bars.select(
        "symbol",
        pl.lit(interval).alias("interval"),
        pl.col("begins_at").alias("bar_at"),
        "open",
        "high",
        "low",
        "close",
        "volume",
        vwap_of(pl.col("notional"), pl.col("volume")).alias("vwap"),
        "trade_count",
        "session_date",
        "segment",
        "revision",
        "origin",
        "revised_at",
        _of_segment(ends).cast(_MOMENT).alias("ends_at"),
    )


def until(rows: pl.DataFrame, through: datetime | None, column: str = "revised_at") -> pl.DataFrame:
    """Return the rows up to a moment, that included; none where nothing was seen yet."""
    return rows.clear() if through is None else rows.filter(pl.col(column) <= through)


def after(rows: pl.DataFrame, through: datetime | None, column: str = "revised_at") -> pl.DataFrame:
    """Return the rows after a moment; all where nothing was seen yet."""
    return rows if through is None else rows.filter(pl.col(column) > through)


class Tapes:
    """How far the tape of each feed is: the start of its newest bar, or what its heartbeats cover.

    Parameters
    ----------
    lake
        The lake, cut at the newest batches that PostgreSQL has.
    coverage
        The spans of ``lake.feed_coverage``; nobody knows which of them a mart has seen.
    through
        Up to which moment a mart has seen batches at the least; ``None`` if it was never built.
    """

    def __init__(self, lake: Lake, coverage: pl.DataFrame, through: datetime | None) -> None:
        revisions = lake.scan(tables.BAR_REVISIONS).select("bar_at", "revised_at", pl.col("source").alias("origin"))
        seen = pl.lit(value=False) if through is None else pl.col("revised_at") <= through
        newest = revisions.group_by("origin").agg(
            pl.col("bar_at").filter(seen).max().alias("seen_at"), pl.col("bar_at").max().alias("tape_at")
        )
        covered = coverage.group_by(pl.col("source").alias("origin")).agg(pl.col("until_at").max())
        tapes = lake.read(newest).join(covered, on="origin", how="left")
        self._tapes = tapes.select("origin", "seen_at", pl.max_horizontal("tape_at", "until_at").alias("tape_at"))

    def passed(self, session: Session) -> list[pl.DataFrame]:
        """Return ``origin`` and ``segment`` that the tapes of feeds have passed: as far as is known of the mart, and now."""
        ends = {Segment.PRE: session.open_at, Segment.REGULAR: session.close_at, Segment.POST: session.post_close_at}
        return [
            pl.concat(
                self._tapes.filter(pl.col(tape) >= ends_at).select("origin", pl.lit(segment.value).alias("segment"))
                for segment, ends_at in ends.items()
            )
            for tape in ("seen_at", "tape_at")
        ]

    def finish(self, expected: pl.DataFrame, found: pl.DataFrame, key: list[str]) -> pl.DataFrame:
        """Return the bars with ``is_final`` in place of ``ends_at``: whether the tape of their feed has passed that moment.

        Where it did so while the mart may or may not have seen it, what the mart holds is right.

        Parameters
        ----------
        expected
            Bars with ``origin`` and ``ends_at``.
        found
            What the mart holds.
        key
            The columns that name a bar.
        """
        stored = found.select(*key, pl.col("is_final").alias("stored")).unique(key)
        joined = expected.join(self._tapes, on="origin", how="left").join(stored, on=key, how="left", nulls_equal=True)
        seen, is_final = ((pl.col(tape) >= pl.col("ends_at")).fill_null(value=False) for tape in ("seen_at", "tape_at"))
        is_open = is_final & ~seen & pl.col("stored").is_not_null()
        finished = joined.with_columns(pl.when(is_open).then("stored").otherwise(is_final).alias("is_final"))
        return finished.drop("ends_at", "seen_at", "tape_at", "stored")


def _of_segment(moments: dict[Segment, datetime]) -> pl.Expr:
    micros = {segment.value: epoch_micros(moment) for segment, moment in moments.items()}
    return pl.col("segment").replace_strict(micros, default=None, return_dtype=pl.Int64)
