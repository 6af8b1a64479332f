"""Where stored rows differ from what they ought to be."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from spark_jobs.report import Differences

_STORED: Final = "__stored"


def find_differences(right: pl.DataFrame, stored: pl.DataFrame, key: Sequence[str]) -> Differences:
    """Return where ``stored`` differs from ``right``.

    Parameters
    ----------
    right, stored
        Frames with the same columns; ``right`` has each key once.
    key
        The columns that name a row.
    """
    values = [name for name in right.columns if name not in key]
    once = stored.unique(key, keep="any")
    both = right.join(once, on=key, nulls_equal=True, suffix=_STORED)
    differs = [pl.col(name).ne_missing(pl.col(f"{name}{_STORED}")) for name in values]
    return Differences(
        missing=right.height - both.height,
        unexpected=stored.height - both.height,
        different=both.filter(pl.any_horizontal(differs)).height if values else 0,
    )


def wrong_keys(right: pl.DataFrame, stored: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the keys, each once, of the rows in which the two frames differ."""
    columns = right.columns
    stored = stored.select(columns)
    doubled = stored.filter(pl.struct(key).is_duplicated())
    parts = [
        right.join(stored, on=columns, how="anti", nulls_equal=True),
        stored.join(right, on=columns, how="anti", nulls_equal=True),
        doubled,
    ]
    return pl.concat([part.select(key) for part in parts]).unique()
