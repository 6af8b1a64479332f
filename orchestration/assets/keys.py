"""The asset keys and groups: how a topic, a table and a dbt model are named in Dagster."""

from enum import StrEnum
from typing import Final

import dagster as dg

from market.tables import MESSAGES, Store, Table
from market.topics import Topic

OWNER: Final = "team:market-data"
"""Owner of every asset."""


class Group(StrEnum):
    """Groups of assets, in the order of the data's way; also the first part of an asset's key."""

    HISTORY = "history"
    KAFKA = "kafka"
    LAKE = "lake"
    POSTGRES = "postgres"
    STAGING = "staging"
    INTERMEDIATE = "intermediate"
    MARTS = "marts"
    ALERTS = "alerts"
    REPORTS = "reports"


def asset_key(group: Group, name: str) -> dg.AssetKey:
    """Return the key of an asset of a group. Dagster serialises plain text only, no member of an enumeration."""
    return dg.AssetKey([group.value, name])


SAMPLE_DAILY_BARS: Final = asset_key(Group.HISTORY, "sample_daily_bars")
DAILY_BARS: Final = asset_key(Group.HISTORY, "daily_bars")
INTRADAY_BARS: Final = asset_key(Group.HISTORY, "intraday_bars")
COLLECTED_ACTIONS: Final = asset_key(Group.HISTORY, "corporate_actions")
RECOMPUTED_SESSIONS: Final = asset_key(Group.LAKE, "recomputed_sessions")


def topic_key(topic: Topic) -> dg.AssetKey:
    """Return the key of a topic: its name with underscores, because Dagster's names hold no dots."""
    return asset_key(Group.KAFKA, topic.name.replace(".", "_"))


def table_key(table: Table) -> dg.AssetKey:
    """Return the key of a table. Bronze messages carry their layer in the name, for they are not one kind of record."""
    if table.store is Store.POSTGRES:
        return asset_key(Group.POSTGRES, table.name)
    return asset_key(Group.LAKE, "bronze_messages" if table == MESSAGES else table.name)
