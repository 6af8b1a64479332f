"""What heartbeats and halts come to, of all messages that said them: a set, whatever the order and the repeats."""

from typing import Final

import polars as pl

from market import tables
from spark_jobs.schemas import MOMENT, frame_schema

COVERAGE_KEY: Final = tables.PG_FEED_COVERAGE.key
SPAN_KEY: Final = (*COVERAGE_KEY, "since_at")
SPAN_SCHEMA: Final = {
    **{name: frame_schema(tables.FEED_STATUS)[name] for name in COVERAGE_KEY},
    "since_at": MOMENT,
    "until_at": MOMENT,
}
"""The spans of ``lake.feed_coverage``, a row each: start included, end excluded."""


def covered_spans(heartbeats: pl.DataFrame) -> pl.DataFrame:
    """Return when heartbeats cover the sessions that they lie in, in spans that neither overlap nor touch.

    Parameters
    ----------
    heartbeats
        :data:`COVERAGE_KEY`, ``since_at`` and ``status_at``, in any order, as often as they were said.
    """
    in_order = heartbeats.sort(*SPAN_KEY, "status_at").with_columns(
        pl.col("status_at").cum_max().shift(1).over(COVERAGE_KEY).alias("covered_until")
    )
    begins = (pl.col("since_at") > pl.col("covered_until")).fill_null(value=True)
    spans = (
        in_order.with_columns(begins.cum_sum().over(COVERAGE_KEY).alias("span"))
        .group_by(*COVERAGE_KEY, "span")
        .agg(pl.col("since_at").min(), pl.col("status_at").max().alias("until_at"))
    )
    return spans.select(pl.col(name).cast(own) for name, own in SPAN_SCHEMA.items()).sort(SPAN_KEY)


def halt_changes(statuses: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``lake.trading_halts``, of rows of ``silver/feed_status``: each halt and resume once."""
    said = statuses.filter(pl.col("kind") != "heartbeat").with_columns(pl.col("status_at").alias("changed_at"))
    return said.select(tables.PG_TRADING_HALTS.column_names).unique(maintain_order=True)
