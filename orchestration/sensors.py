"""The sensor that tells Dagster what the stream did."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import dagster as dg

from market.tables import (
    BAR_REVISIONS,
    CORPORATE_ACTIONS,
    DUPLICATES,
    FEED_STATUS,
    MESSAGES,
    PG_BAR_SESSIONS,
    PG_BARS,
    PG_CORPORATE_ACTIONS,
    PG_FEED_COVERAGE,
    PG_LATEST_QUOTES,
    PG_QUOTES_1M,
    PG_STREAM_BATCHES,
    PG_STREAM_OFFSETS,
    PG_VENDOR_BAR_SESSIONS,
    PG_VENDOR_BARS,
    QUARANTINE,
    QUOTES,
    TRADES,
    VENDOR_BARS,
    Table,
)
from market.topics import TOPICS
from orchestration.assets.keys import table_key, topic_key
from orchestration.progress import Advance, Mark
from orchestration.resources import Lake

INTERVAL_SECONDS: Final = 60
"""A shorter one would fill the event log, a longer one would blunt the freshness policies."""

ROWS_OF: Final[Mapping[Table, str]] = MappingProxyType(
    {
        MESSAGES: "messages",
        QUARANTINE: "quarantined",
        DUPLICATES: "duplicates",
        TRADES: "trades",
        FEED_STATUS: "statuses",
        QUOTES: "quotes",
        VENDOR_BARS: "vendor_bars",
        CORPORATE_ACTIONS: "corporate_actions",
        BAR_REVISIONS: "bars",
        PG_BARS: "bars",
        PG_BAR_SESSIONS: "bars",
        PG_FEED_COVERAGE: "statuses",
        PG_VENDOR_BARS: "vendor_bars",
        PG_CORPORATE_ACTIONS: "corporate_actions",
        PG_VENDOR_BAR_SESSIONS: "vendor_bars",
        PG_LATEST_QUOTES: "quotes",
        PG_QUOTES_1M: "quotes",
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
    """Report the batches after the cursor as one materialization an asset. A tick only reads: Dagster keeps its result."""
    seen = Mark.from_cursor(context.cursor) if context.cursor else None
    advance = lake.advance_after(seen)
    if advance is None:
        return dg.SkipReason("No new batch." if seen else "The stream has not written a batch yet.")
    return dg.SensorResult(asset_events=materializations(advance), cursor=advance.mark.to_cursor())


def materializations(advance: Advance) -> list[dg.AssetMaterialization]:
    """Return one materialization for each topic that was read and each table that was written to."""
    shared: dict[str, dg.MetadataValue] = {
        "batches": dg.MetadataValue.int(advance.batch_count),
        "newest_batches": dg.MetadataValue.text(advance.new_batches),
        "published_at": dg.MetadataValue.timestamp(advance.mark.published_at),
        "longest_batch_ms": dg.MetadataValue.int(advance.longest_batch_ms),
    }
    if advance.newest_event_at is not None:
        shared["newest_event_at"] = dg.MetadataValue.timestamp(advance.newest_event_at)
    read = {topic_key(topic): ("messages", advance.messages.get(topic.name, 0)) for topic in TOPICS}
    written = {table_key(table): ("rows", advance.rows[count]) for table, count in ROWS_OF.items()}
    return [
        dg.AssetMaterialization(
            asset_key=key,
            description=f"{advance.batch_count:,} batches of the stream",
            metadata={**shared, unit: dg.MetadataValue.int(number)},
        )
        for key, (unit, number) in {**read, **written}.items()
        if number > 0
    ]
