"""Vendors' bars as marts show them: as they were given, and put together to the lengths that were not.

What belongs here: what vendors' bars come to. What does not: own bars, which are :mod:`verify.longer_bars`; what the marts
hold, which :mod:`verify.marts`, :mod:`verify.days` and :mod:`verify.reconciliation` compare with it.
"""

from typing import Final

import polars as pl

from market import tables
from market.records import DAILY, INTERVALS
from market.sessions import Segment, Session, all_sessions
from verify.mart_schemas import MART_SCHEMA, MOMENT
from verify.segments import starts_of

_LEDGER: Final = ("topic", "partition", "offset")
_DAY: Final = ["symbol", "session_date"]
_SECOND: Final = 1_000_000
CANDIDATE_SCHEMA: Final = {**MART_SCHEMA, "is_given": pl.Boolean()}
"""Bars that a mart may show, and whether a vendor gave them at that length."""


def newest_versions(versions: pl.DataFrame) -> pl.DataFrame:
    """Return the newest version of each vendor bar, with the number of its versions as ``revision``."""
    key = list(tables.PG_VENDOR_BARS.key)
    ordered = versions.sort("ingested_at", *_LEDGER).with_columns(pl.len().over(key).cast(pl.Int32).alias("revision"))
    return ordered.unique(key, keep="last", maintain_order=True)


def vendor_days(versions: pl.DataFrame) -> pl.DataFrame:
    """Return the days of vendors as the mart shows them; of several bars of a day only the last."""
    opens = {session.session_date: session.open_at for session in all_sessions()}
    daily = newest_versions(versions.filter(pl.col("interval") == DAILY)).sort("bar_at")
    daily = daily.unique(["source", *_DAY], keep="last", maintain_order=True)
    bar_at = pl.col("session_date").replace_strict(opens, return_dtype=MOMENT).alias("bar_at")
    return _as_shown(daily.with_columns(bar_at, pl.lit(Segment.REGULAR.value).alias("segment")), is_given=True).select(
        *MART_SCHEMA
    )


def vendor_bars_of(versions: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Return the bars of vendors at all lengths shorter than a day.

    A length that a vendor did not give of a segment is made of the longest shorter one that it gave. A bar that does not begin
    where one of its length begins in its segment belongs to no mart.

    Parameters
    ----------
    versions
        Versions of vendors' bars of one session, with the columns of ``silver/vendor_bars``.
    session
        The session.

    Returns
    -------
    polars.DataFrame
        :data:`CANDIDATE_SCHEMA`.
    """
    newest = newest_versions(versions.filter(pl.col("interval") != DAILY))
    placed = starts_of(newest, session).with_columns(
        (pl.col("bar_at").to_physical() - pl.col("starts_at")).alias("elapsed")
    )
    source = ["source", *_DAY, "segment"]
    made = [pl.DataFrame(schema=CANDIDATE_SCHEMA)]
    base = placed.clear()
    for interval, seconds in sorted(INTERVALS.items(), key=lambda item: item[1]):
        step = seconds * _SECOND
        given = placed.filter((pl.col("interval") == interval) & (pl.col("elapsed") % step == 0))
        base = pl.concat([given, base.join(given, on=source, how="anti")])
        longer = base.join(given, on=source, how="anti")
        start = pl.col("starts_at") + pl.col("elapsed") // step * step
        grouped = (
            longer.sort("bar_at")
            .group_by(*source, start.cast(MOMENT).alias("begins_at"))
            .agg(
                pl.col("open").first(),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").last(),
                pl.col("volume", "revision").sum(),
                pl.col("ingested_at").max(),
            )
            .rename({"begins_at": "bar_at"})
            .with_columns(pl.lit(interval).alias("interval"))
        )
        made += [_as_shown(given, is_given=True), _as_shown(grouped, is_given=False)]
    return pl.concat(made)


def _as_shown(bars: pl.DataFrame, *, is_given: bool) -> pl.DataFrame:
    return bars.with_columns(
        pl.lit(None, pl.Int64).alias("vwap"),
        pl.lit(None, pl.Int64).alias("trade_count"),
        pl.lit(value=True).alias("is_final"),
        pl.lit(value=True).alias("is_vendor_bar"),
        pl.lit(is_given).alias("is_given"),
        pl.col("revision").cast(pl.Int64),
        pl.col("source").alias("origin"),
        pl.col("ingested_at").alias("revised_at"),
    ).select(*CANDIDATE_SCHEMA)
