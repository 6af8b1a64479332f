"""What the stream fills, as Dagster sees it: Kafka topics, lake tables and PostgreSQL tables.

They are external assets: Spark fills them all the time and no run does. Their names, columns and grains come from
:mod:`market.tables` and :mod:`market.topics`; which comes from which is declared here, once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import dagster as dg

from market.alert_tables import ALERTS
from market.app_tables import WATCHLIST
from market.settings import Settings
from market.tables import (
    AMENDMENTS,
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
    PG_SESSION_ARRIVALS,
    PG_SESSIONS,
    PG_STREAM_BATCHES,
    PG_STREAM_OFFSETS,
    PG_TRADING_HALTS,
    PG_VENDOR_BAR_SESSIONS,
    PG_VENDOR_BARS,
    QUARANTINE,
    QUOTES,
    TABLES,
    TRADES,
    VENDOR_BARS,
    Column,
    Store,
    Table,
)
from market.tiers import PG_TIERS
from market.topics import ACTIONS, BARS, TOPICS, Topic
from orchestration.assets.keys import (
    COLLECTED_ACTIONS,
    DAILY_BARS,
    INTRADAY_BARS,
    OWNER,
    SAMPLE_DAILY_BARS,
    Group,
    table_key,
    topic_key,
)
from orchestration.freshness import POLICIES
from warehouse.ddl import COLUMN_TYPES

UPSTREAM: Final[Mapping[Table, tuple[Table | Topic, ...]]] = MappingProxyType(
    {
        MESSAGES: TOPICS,
        QUARANTINE: (MESSAGES,),
        DUPLICATES: (MESSAGES,),
        TRADES: (MESSAGES,),
        AMENDMENTS: (MESSAGES,),
        FEED_STATUS: (MESSAGES,),
        QUOTES: (MESSAGES,),
        VENDOR_BARS: (MESSAGES,),
        CORPORATE_ACTIONS: (MESSAGES,),
        BAR_REVISIONS: (TRADES, AMENDMENTS),
        PG_BARS: (BAR_REVISIONS,),
        PG_BAR_SESSIONS: (PG_BARS,),
        PG_FEED_COVERAGE: (FEED_STATUS,),
        PG_TRADING_HALTS: (FEED_STATUS,),
        PG_VENDOR_BARS: (VENDOR_BARS,),
        PG_CORPORATE_ACTIONS: (CORPORATE_ACTIONS,),
        PG_VENDOR_BAR_SESSIONS: (PG_VENDOR_BARS,),
        PG_LATEST_QUOTES: (QUOTES,),
        PG_QUOTES_1M: (QUOTES,),
        PG_SESSION_ARRIVALS: (TRADES, QUARANTINE),
        PG_SESSIONS: (),
        PG_TIERS: (),
        WATCHLIST: (),
        ALERTS: (),
        PG_STREAM_OFFSETS: (MESSAGES,),
        PG_STREAM_BATCHES: (MESSAGES,),
    }
)
"""What each table is made from."""

_PUBLISHED_BY: Final[Mapping[str, tuple[dg.AssetKey, ...]]] = {
    BARS.name: (SAMPLE_DAILY_BARS, DAILY_BARS, INTRADAY_BARS),
    ACTIONS.name: (COLLECTED_ACTIONS,),
}
"""The assets whose runs publish to a topic."""
_FILLED_BY_RUNS: Final = (PG_TIERS, PG_SESSION_ARRIVALS)
_FILLED_BY_OTHERS: Final = {
    PG_SESSION_ARRIVALS: "Counted in the lake every hour.",
    PG_SESSIONS: "Filled from the exchange calendar.",
    PG_TIERS: "Filled every night: what is older goes with the next build of the marts.",
    WATCHLIST: "Filled by ./run watchlist.",
    ALERTS: "Filled by the evaluation of rules.",
}


def stream_assets(settings: Settings) -> list[dg.AssetSpec]:
    """Return the external assets: every topic, every table that the stream fills, the watchlist, and the alerts."""
    tables = (table for table in (*TABLES, WATCHLIST, ALERTS) if table not in _FILLED_BY_RUNS)
    return [*(_topic_spec(topic) for topic in TOPICS), *(table_spec(table, settings) for table in tables)]


def _topic_spec(topic: Topic) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=topic_key(topic),
        deps=_PUBLISHED_BY.get(topic.name, ()),
        description=topic.description,
        group_name=Group.KAFKA.value,
        kinds={"kafka", "json"},
        owners=[OWNER],
        metadata={
            "topic": topic.name,
            "message_key": topic.key,
            "partitions": topic.partitions,
            "retention_hours": topic.retention_hours,
        },
    )


def table_spec(table: Table, settings: Settings) -> dg.AssetSpec:
    """Return what Dagster shows of a table: where it is, its grain, key and columns, and what it comes from."""
    is_lake = table.store is Store.LAKE
    location = {"dagster/uri": f"{settings.lake}/{table.path}"} if is_lake else {}
    return dg.AssetSpec(
        key=table_key(table),
        deps=[table_key(source) if isinstance(source, Table) else topic_key(source) for source in UPSTREAM[table]],
        description=_description(table),
        group_name=(Group.LAKE if is_lake else Group.POSTGRES).value,
        kinds={"deltalake", "spark"} if is_lake else {"postgres", "table"},
        owners=[OWNER],
        tags={"layer": table.layer},
        freshness_policy=POLICIES.get(table_key(table)),
        metadata={
            **location,
            "dagster/table_name": table.qualified_name,
            "dagster/column_schema": _column_schema(table),
            "grain": table.grain,
            "key": ", ".join(table.key),
        },
    )


def _description(table: Table) -> str:
    kept = f"kept for {table.retention_days} days" if table.retention_days else "kept for ever"
    filled = _FILLED_BY_OTHERS.get(table, "Filled by the stream.")
    return f"{table.grain[0].upper()}{table.grain[1:]}; {kept}. {filled}"


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[_table_column(column, is_key=column.name in table.key) for column in table.columns],
        constraints=dg.TableConstraints(other=[f"unique ({', '.join(table.key)})"]),
    )


def _table_column(column: Column, *, is_key: bool) -> dg.TableColumn:
    return dg.TableColumn(
        name=column.name,
        type=COLUMN_TYPES[column.type],
        description=column.description,
        constraints=dg.TableColumnConstraints(nullable=column.nullable, other=["part of the key"] if is_key else []),
    )
