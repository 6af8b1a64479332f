"""The bars that a peer should have come to, from the messages themselves: by polars, at once, without any of the peers' code."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from market.settings import Settings
from market.tables import MESSAGES
from market.topics import TRADES

MINUTE_MICROSECONDS: Final = 60_000_000
BAR: Final = ("open", "high", "low", "close", "volume", "trade_count")
_FIELDS: Final = pl.Struct({"symbol": pl.String(), "ts": pl.Int64(), "price": pl.Float64(), "size": pl.Int64()})


def exact_bars(engines: Settings, ends: Mapping[int, int], *, grace_seconds: float | None = None) -> pl.DataFrame:
    """Return the bars of the messages before some offsets, every message counted, repeated ones too.

    Parameters
    ----------
    engines
        The platform whose lake has the messages.
    ends
        Per partition the offset after the last message.
    grace_seconds
        If given, a symbol's minute is closed, and said, once a trade of the symbol is this much later than the minute's end;
        what comes after that is left out, and minutes that are not closed are not returned.

    Returns
    -------
    polars.DataFrame
        ``symbol``, ``minute`` (minutes since the epoch), and the columns of :data:`BAR`.
    """
    return pl.concat(_bars_of(engines, partition, end, grace_seconds) for partition, end in sorted(ends.items()))


def _bars_of(engines: Settings, partition: int, end: int, grace_seconds: float | None) -> pl.DataFrame:
    wanted = (pl.col("topic") == TRADES.name) & (pl.col("partition") == partition) & (pl.col("offset") < end)
    messages = pl.scan_delta(f"{engines.lake}/{MESSAGES.path}").filter(wanted).select("offset", "value").collect()
    trades = (
        messages.sort("offset")
        .select(pl.col("offset"), pl.col("value").cast(pl.String).str.json_decode(_FIELDS).alias("trade"))
        .unnest("trade")
        .with_columns(pl.col("ts").floordiv(MINUTE_MICROSECONDS).alias("minute"))
    )
    if grace_seconds is not None:
        closed_after = MINUTE_MICROSECONDS + int(grace_seconds * 1_000_000)
        age = pl.col("ts").cum_max().over("symbol") - pl.col("minute") * MINUTE_MICROSECONDS
        at_the_end = pl.col("ts").max().over("symbol") - pl.col("minute") * MINUTE_MICROSECONDS
        trades = trades.filter((age < closed_after) & (at_the_end >= closed_after))
    in_time = trades.sort("ts", "offset", maintain_order=True)
    return in_time.group_by("symbol", "minute").agg(
        pl.col("price").first().alias("open"),
        pl.col("price").max().alias("high"),
        pl.col("price").min().alias("low"),
        pl.col("price").last().alias("close"),
        pl.col("size").sum().alias("volume"),
        pl.len().cast(pl.Int64).alias("trade_count"),
    )


def share_equal(bars: pl.DataFrame, exact: pl.DataFrame) -> float:
    """Return the share of the exact bars that a peer has too, equal in every column; 0 if it has bars that should not be."""
    names = ("symbol", "minute", *BAR)
    if bars.height > exact.height:
        return 0.0
    equal = exact.select(names).join(bars.select(names), on=names, how="inner").height
    return equal / exact.height if exact.height else 0.0
