"""The segments of a session for whole columns: which one a moment lies in, and where that begins."""

import polars as pl

from market.sessions import Segment, Session
from verify.calendar import epoch_micros


def starts_of(bars: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Return bars of a session with ``segment`` and ``starts_at``, its start in epoch microseconds; none that lie outside."""
    bounds = (
        (Segment.PRE, session.pre_open_at, session.open_at),
        (Segment.REGULAR, session.open_at, session.close_at),
        (Segment.POST, session.close_at, session.post_close_at),
    )
    moment = pl.col("bar_at").to_physical()
    parts = [
        bars.filter((moment >= epoch_micros(start)) & (moment < epoch_micros(end))).with_columns(
            pl.lit(segment.value).alias("segment"), pl.lit(epoch_micros(start), pl.Int64).alias("starts_at")
        )
        for segment, start, end in bounds
    ]
    return pl.concat(parts)
