"""Bars by activity of a symbol, made on request from the trades of the lake as they count today."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as pl

from market.tables import AMENDMENTS, TRADES
from spark_jobs.io.delta import Lake
from spark_jobs.schemas import columns_to_arrow, frame_schema
from spark_jobs.transforms.activity import COLUMNS, Activity, activity_bars
from spark_jobs.transforms.amend import amend


def sessions_with(lake: Lake, symbol: str, source: str | None = None) -> list[date]:
    """Return the sessions in which the lake has trades of a symbol, in order.

    Raises
    ------
    ServiceError
        If the lake cannot be read.
    """
    dates = lake.in_chunks(_trades(lake, symbol, source).select("session_date").unique())
    return sorted({session_date for chunk in dates for session_date in chunk["session_date"]})


def bars_of_session(
    lake: Lake,
    symbol: str,
    session_date: date,
    by: Activity,
    size: int,
    *,
    source: str | None = None,
    segment: str | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Yield the bars of one session as rows of :data:`spark_jobs.transforms.activity.COLUMNS`, prices as decimals.

    Parameters
    ----------
    lake
        The tables.
    symbol, source
        Whose trades; of every feed that has the symbol without ``source``.
    session_date
        The session.
    by, size
        When a bar is full: see :func:`spark_jobs.transforms.activity.activity_bars`.
    segment
        Only trades of this segment; of the whole session without one.

    Raises
    ------
    ServiceError
        If the lake cannot be read.
    """
    wanted = _trades(lake, symbol, source).filter(pl.col("session_date") == session_date)
    if segment is not None:
        wanted = wanted.filter(pl.col("segment") == segment)
    trades = pl.concat([pl.DataFrame(schema=frame_schema(TRADES)), *lake.in_chunks(wanted)])
    amendments = pl.DataFrame(schema=frame_schema(AMENDMENTS))
    if lake.exists(AMENDMENTS):
        said = lake.scan(AMENDMENTS).filter(pl.col("symbol") == symbol)
        amendments = pl.concat([amendments, *lake.in_chunks(said)])
    bars = activity_bars(amend(trades, amendments), by, size)
    yield from zip(*(column.to_pylist() for column in columns_to_arrow(bars, COLUMNS).columns), strict=True)


def _trades(lake: Lake, symbol: str, source: str | None) -> pl.LazyFrame:
    rows = lake.scan(TRADES).filter(pl.col("symbol") == symbol)
    return rows if source is None else rows.filter(pl.col("source") == source)
