"""How old an asset may grow before Dagster says so: every freshness policy of the project."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import dagster as dg

from market.tables import BAR_REVISIONS, MESSAGES, PG_BARS, PG_STREAM_BATCHES, TRADES
from orchestration.assets.keys import Group, asset_key, table_key

LIVE: Final = dg.FreshnessPolicy.time_window(warn_window=timedelta(minutes=10), fail_window=timedelta(minutes=30))
"""For what moves with the market. Outside of trading hours, or after a replay, such an asset is stale, and is said to be."""

QUARTER_HOURLY: Final = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(minutes=30), fail_window=timedelta(minutes=60)
)
"""For what only a run of all marts builds, while the market moves."""

DAILY: Final = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(days=1, hours=6), fail_window=timedelta(days=4, hours=6)
)
"""For what moves once a session. Between two closes lie four days at most in an ordinary year (a weekend with a holiday)."""

POLICIES: Final[Mapping[dg.AssetKey, dg.FreshnessPolicy]] = MappingProxyType(
    {
        **{table_key(table): LIVE for table in (MESSAGES, TRADES, BAR_REVISIONS, PG_BARS, PG_STREAM_BATCHES)},
        asset_key(Group.MARTS, "realtime_prices"): QUARTER_HOURLY,
        asset_key(Group.MARTS, "intraday_ohlcv"): LIVE,
        asset_key(Group.MARTS, "bar_gaps"): QUARTER_HOURLY,
        asset_key(Group.MARTS, "bar_reconciliation"): QUARTER_HOURLY,
        asset_key(Group.MARTS, "intraday_analytics"): LIVE,
        asset_key(Group.MARTS, "data_quality"): QUARTER_HOURLY,
    }
)
"""The assets that must be fresh while the market is open. Quarantine and duplicates are well when nothing happens to them; quotes
and vendor bars come only from some feeds."""


def policy_of(key: dg.AssetKey) -> dg.FreshnessPolicy | None:
    """Return how old an asset may grow, or ``None`` if it may grow as old as it likes; a mart may not."""
    return POLICIES.get(key, DAILY if key.path[0] == Group.MARTS else None)
