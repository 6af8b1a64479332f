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

DAILY: Final = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(days=1, hours=6), fail_window=timedelta(days=4, hours=6)
)
"""For what moves once a session. Between two closes lie four days at most in an ordinary year (a weekend with a holiday)."""

POLICIES: Final[Mapping[dg.AssetKey, dg.FreshnessPolicy]] = MappingProxyType(
    {
        **{table_key(table): LIVE for table in (MESSAGES, TRADES, BAR_REVISIONS, PG_BARS, PG_STREAM_BATCHES)},
        asset_key(Group.MARTS, "realtime_prices"): LIVE,
        asset_key(Group.MARTS, "intraday_ohlcv"): LIVE,
        asset_key(Group.MARTS, "bar_gaps"): LIVE,
        asset_key(Group.MARTS, "bar_reconciliation"): LIVE,
        asset_key(Group.MARTS, "intraday_analytics"): LIVE,
        asset_key(Group.MARTS, "data_quality"): LIVE,
        asset_key(Group.MARTS, "historical_ohlcv"): DAILY,
        asset_key(Group.MARTS, "daily_analytics"): DAILY,
        asset_key(Group.MARTS, "market_breadth"): DAILY,
        asset_key(Group.MARTS, "top_movers"): DAILY,
        asset_key(Group.MARTS, "anomalies"): DAILY,
        asset_key(Group.MARTS, "correlations"): DAILY,
    }
)
"""The assets that must be fresh. Quarantine and duplicates are well when nothing happens to them; quotes and vendor bars
come only from some feeds. The dimensions change when the calendar or a symbol does."""
