"""The evaluation of rules as an asset: it follows the marts of indicators in every run that builds them."""

from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from alerts.evaluation.evaluate import Evaluated
from alerts.recent import Recent
from market.errors import ServiceError
from orchestration.assets.keys import OWNER, Group, asset_key
from orchestration.resources import Rules

EVALUATION: Final = asset_key(Group.ALERTS, "evaluation")
LOOKED_AT: Final = ("intraday_analytics", "daily_analytics")
"""The marts whose bars rules look at."""


@dg.asset(
    key=EVALUATION,
    deps=[asset_key(Group.MARTS, name) for name in LOOKED_AT],
    group_name=Group.ALERTS.value,
    kinds={"postgres"},
    owners=[OWNER],
    description="Has all rules look at the bars that changed: alerts, retractions, and what is to be sent, in one transaction.",
)
def evaluation(context: dg.AssetExecutionContext, rules: dg.ResourceParam[Rules]) -> dg.MaterializeResult[Any]:
    """Evaluate the rules over what is queued for them."""
    now = datetime.now(UTC)
    done = rules.evaluate(now)
    try:
        return evaluation_result(done, rules.recent(now))
    except ServiceError as error:  # what was evaluated is committed: nobody would find it queued again
        context.log.warning(f"What was recorded cannot be shown: {error}")
        return evaluation_result(done, Recent((), 0, 0))


def evaluation_result(done: Evaluated, recent: Recent) -> dg.MaterializeResult[Any]:
    """Return what an evaluation did as Dagster shows it, with the alerts themselves and what became of messages lately."""
    metadata: dict[str, Any] = {
        "rules_evaluated": done.rules,
        "series": done.series,
        "fired": done.fired,
        "retracted": done.retracted,
        "historical": done.historical,
        "to_be_sent": done.queued,
        "delivered_in_the_last_hour": recent.delivered,
        "waiting_to_be_sent": recent.waiting,
        "all_alerts": dg.MetadataValue.asset(asset_key(Group.MARTS, "alerts")),
    }
    if recent.recorded:
        rows = [
            dg.TableRecord({name: value if isinstance(value, bool) else str(value) for name, value in row.items()})
            for row in recent.recorded
        ]
        metadata["recorded"] = dg.MetadataValue.table(rows)
    return dg.MaterializeResult(metadata=metadata)
