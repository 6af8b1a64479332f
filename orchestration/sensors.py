"""The sensor that tells Dagster what the stream did."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import dagster as dg

from market.tables import (
    BAR_REVISIONS,
    DUPLICATES,
    MESSAGES,
    PG_BAR_SESSIONS,
    PG_BARS,
    PG_LATEST_QUOTES,
    PG_STREAM_BATCHES,
    PG_STREAM_OFFSETS,
    PG_VENDOR_BARS,
    QUARANTINE,
    QUOTES,
    TRADES,
    VENDOR_BARS,
    Table,
)
from orchestration.assets.keys import table_key
from orchestration.progress import Advance, Batch
from orchestration.resources import Lake

INTERVAL_SECONDS: Final = 60
"""A shorter one would fill the event log, a longer one would blunt the freshness policies."""

ROWS_OF: Final[Mapping[Table, str]] = MappingProxyType(
    {
        MESSAGES: "messages",
        QUARANTINE: "quarantined",
        DUPLICATES: "duplicates",
        TRADES: "trades",
        QUOTES: "quotes",
        VENDOR_BARS: "vendor_bars",
        BAR_REVISIONS: "bars",
        PG_BARS: "bars",
        PG_BAR_SESSIONS: "bars",
        PG_VENDOR_BARS: "vendor_bars",
        PG_LATEST_QUOTES: "quotes",
        PG_STREAM_OFFSETS: "messages",
        PG_STREAM_BATCHES: "messages",
    }
)
"""The count of a batch that says how many rows of a table it wrote, or that it wrote any."""


@dg.sensor(
    name="lake_progress",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports what the stream has written to the lake and to PostgreSQL since the last look.",
)
def lake_progress(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SensorResult | dg.SkipReason:
    """Report the batches after the cursor as one materialization a table. A tick only reads: Dagster keeps its result."""
    seen = Batch.from_cursor(context.cursor) if context.cursor else None
    advance = lake.advance_after(seen)
    if advance is None:
        return dg.SkipReason(f"No batch since {seen.name}." if seen else "The stream has not written a batch yet.")
    return dg.SensorResult(asset_events=materializations(advance), cursor=advance.newest.to_cursor())


def materializations(advance: Advance) -> list[dg.AssetMaterialization]:
    """Return one materialization for each table that the batches wrote to."""
    shared: dict[str, dg.MetadataValue] = {
        "batches": dg.MetadataValue.int(advance.batches),
        "newest_batch": dg.MetadataValue.text(advance.newest.name),
        "published_at": dg.MetadataValue.timestamp(advance.newest.published_at),
        "longest_batch_ms": dg.MetadataValue.int(advance.longest_batch_ms),
    }
    if advance.newest_event_at is not None:
        shared["newest_event_at"] = dg.MetadataValue.timestamp(advance.newest_event_at)
    return [
        dg.AssetMaterialization(
            asset_key=table_key(table),
            description=f"{advance.batches:,} batches of the stream",
            metadata={**shared, "rows": dg.MetadataValue.int(advance.rows[count])},
        )
        for table, count in ROWS_OF.items()
        if advance.rows[count] > 0
    ]
