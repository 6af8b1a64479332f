"""Which of several sources a mart shows: taken from the mart itself, and not judged.

What belongs here: the bars that a mart must hold if it shows the sources that it does. What does not: what the bars of a
source are, which is :mod:`verify.longer_bars` and :mod:`verify.vendor_bars`.
"""

from typing import Final

import polars as pl

from warehouse.dbt import dbt_variables

SIDE: Final = ["origin", "is_vendor_bar"]
"""A source, and whether its bars are a vendor's: one source may have both."""
GROUP: Final = ["symbol", "session_date", "segment", "interval"]
"""Of such a group of bars a mart shows one source, as ``docs/bars.md`` says."""
_SESSION: Final = ["symbol", "session_date"]
_LAST_RESORT: Final = "simulated"


def source_rank(source: str) -> int:
    """Return the place of a source by ``source_priority``: the least is preferred."""
    priority = dbt_variables()["source_priority"]
    return int(priority.index(source if source in priority else "*"))


def is_last_resort(source: str) -> bool:
    """Return whether a source is shown only where no other has anything."""
    return source_rank(source) > source_rank("*")


def sides_of(in_mart: pl.DataFrame) -> pl.DataFrame:
    """Return which source a mart shows of each group: ``GROUP`` and ``SIDE``, that of most rows."""
    counted = in_mart.group_by(*GROUP, *SIDE).len().sort("len", *SIDE, descending=[True, False, False])
    return counted.unique(GROUP, keep="first", maintain_order=True).select(*GROUP, *SIDE)


def that_take_part(candidates: pl.DataFrame, in_mart: pl.DataFrame) -> pl.DataFrame:
    """Return the bars of which a mart shows some: one feed for each session, and nothing simulated beside anything else.

    Parameters
    ----------
    candidates
        Bars of all sources.
    in_mart
        ``_SESSION`` and ``SIDE`` of the mart's rows: a source that it shows takes part. Of several feeds none of which it
        shows, none does.
    """
    shown = in_mart.select(*_SESSION, *SIDE).unique()
    real = candidates.filter(pl.col("origin") != _LAST_RESORT).select(_SESSION).unique()
    last_resort = candidates.filter(pl.col("origin") == _LAST_RESORT)
    hidden = last_resort.join(real, on=_SESSION, how="semi").join(shown, on=[*_SESSION, *SIDE], how="anti")
    part = candidates.join(hidden.select(*_SESSION, *SIDE).unique(), on=[*_SESSION, *SIDE], how="anti")
    feeds = part.filter(~pl.col("is_vendor_bar")).select(*_SESSION, "origin").unique()
    shown_feeds = _one_feed(in_mart).join(feeds, on=[*_SESSION, "origin"], how="semi")
    alone = feeds.join(shown_feeds, on=_SESSION, how="anti").filter(pl.len().over(_SESSION) == 1)
    own = part.filter(~pl.col("is_vendor_bar")).join(
        pl.concat([shown_feeds, alone.select(shown_feeds.columns)]), on=[*_SESSION, "origin"], how="semi"
    )
    return pl.concat([own, part.filter(pl.col("is_vendor_bar"))])


def chosen_sides(candidates: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """Return ``GROUP`` and ``SIDE``: the source that is shown of each group; where that has no bar, another one that has."""
    known = shown.join(candidates, on=[*GROUP, *SIDE], how="semi")
    others = candidates.join(known, on=GROUP, how="anti").sort(*reversed(SIDE))
    return pl.concat([known, others.unique(GROUP, keep="first", maintain_order=True).select(*GROUP, *SIDE)])


def _one_feed(in_mart: pl.DataFrame) -> pl.DataFrame:
    counted = in_mart.filter(~pl.col("is_vendor_bar")).group_by(*_SESSION, "origin").len()
    ordered = counted.sort("len", "origin", descending=[True, False])
    return ordered.unique(_SESSION, keep="first", maintain_order=True).select(*_SESSION, "origin")
