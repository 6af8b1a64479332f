"""How the messages of sessions came, counted in the lake every hour: late trades and rejected messages by symbol."""

from typing import Any, Final

import dagster as dg

from market.settings import Settings
from market.tables import PG_SESSION_ARRIVALS
from orchestration.assets.keys import table_key
from orchestration.assets.lake import table_spec
from orchestration.resources import Arrivals

ARRIVALS_KEY: Final = table_key(PG_SESSION_ARRIVALS)


def arrival_assets(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset of the counts: a run counts the sessions again of which something came since."""

    @dg.multi_asset(name="count_arrivals", specs=[table_spec(PG_SESSION_ARRIVALS, settings)])
    def count_arrivals(arrivals: dg.ResourceParam[Arrivals]) -> dg.MaterializeResult[Any]:
        counted = arrivals.count()
        return dg.MaterializeResult(
            metadata={
                "sessions": counted.sessions,
                "rows": counted.rows,
                "trades": counted.trades,
                "late_trades": counted.late_trades,
                "rejected_messages": counted.rejected_messages,
            }
        )

    return count_arrivals
