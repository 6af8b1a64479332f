"""The cancels and corrections that are stored: all of them, in memory; they are a few in ten thousand trades."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from market.tables import AMENDMENTS
from spark_jobs.io.delta import Lake
from spark_jobs.schemas import MOMENT, frame_schema
from spark_jobs.transforms.unique import AMENDMENT, FRESH, judge


class Amendments:
    """What the lake holds of cancels and corrections, read when it is first asked for.

    Parameters
    ----------
    lake
        The tables.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._stored: pl.DataFrame | None = None

    def forget(self) -> None:
        """Forget everything: what was written since is not certain."""
        self._stored = None

    def stored(self, before: datetime) -> pl.DataFrame:
        """Return what batches before ``before`` stored: the table's columns, ``key_hash`` and ``payload_hash``."""
        if self._stored is None:
            rows = self._lake.scan(AMENDMENTS).filter(pl.col("ingested_at") < pl.lit(before, MOMENT))
            parts = [part.with_columns(AMENDMENT.hashes()) for part in self._lake.in_chunks(rows)]
            empty = pl.DataFrame(schema=frame_schema(AMENDMENTS)).with_columns(AMENDMENT.hashes())
            self._stored = pl.concat([empty, *parts])
        return self._stored

    def remember(self, fresh: Sequence[pl.DataFrame]) -> None:
        """Take note of amendments that are stored now."""
        if self._stored is not None and fresh:
            self._stored = pl.concat([self._stored, *fresh])


def split(rows: pl.DataFrame, known: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return which of the new cancels and corrections are stated for the first time, and which repeat one that is ``known``."""
    known = known.select("key_hash", pl.col("payload_hash").alias("stored_payload"))
    judged = judge(rows.join(known, on="key_hash", how="left", maintain_order="left"))
    is_fresh = judged["verdict"] == FRESH
    columns = [*frame_schema(AMENDMENTS), "key_hash", "payload_hash"]
    return judged.filter(is_fresh).select(columns), judged.filter(~is_fresh).select(columns)
