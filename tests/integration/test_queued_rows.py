"""How PostgreSQL finds what is queued: by the sessions, however many rows came lately."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from quality.stored import POSTGRES

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 1, tzinfo=UTC)
QUEUED = ("lake.bars_1m", "lake.vendor_bars", "lake.corporate_actions")


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def test_a_large_backfill_is_looked_up_by_its_sessions(connection: psycopg.Connection[Any]) -> None:
    """Where nearly all rows are new, the index of when they came finds those that are older in no time, says the planner."""
    connection.execute(
        "insert into lake.vendor_bars (source, symbol, interval, bar_at, session_date, open, high, low, close, volume, topic, "
        'partition, "offset", revision, ingested_at) '
        "select 'sample', 'S' || number %% 30, '5m', at, at::date, 1, 1, 1, 1, 1, 't', 0, number, 1, %(now)s "
        "from generate_series(1, 60000) as number "
        "cross join lateral (select '2024-01-02 15:00+00'::timestamptz + number / 30 * interval '5 minutes' as at) as bars",
        {"now": NOW},
    )
    connection.execute("analyze lake.vendor_bars, staging.pending_sessions")
    for checked in POSTGRES:
        if checked.name not in QUEUED:
            continue
        query = checked.query(NOW - timedelta(minutes=1))
        ((plan,),) = connection.execute(f"explain (format json) {query}".encode()).fetchall()
        (top,) = plan if isinstance(plan, list) else json.loads(plan)
        queue = [
            inner
            for node in nodes(top["Plan"])
            if "queued" in json.dumps(node.get("Alias", "")) or node["Node Type"] == "Nested Loop"
            for inner in nodes(node)
        ]
        used = {node["Index Name"] for node in queue if "Index Name" in node}
        assert not {name for name in used if name.endswith(("ingested_at_idx", "revised_at_idx"))}, checked.name
