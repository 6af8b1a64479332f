"""The evaluation of rules as an asset: it follows the marts of indicators in every run that builds them."""

from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from alerts.evaluation.evaluate import Evaluated
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
def evaluation(rules: dg.ResourceParam[Rules]) -> dg.MaterializeResult[Any]:
    """Evaluate the rules over what is queued for them."""
    return evaluation_result(rules.evaluate(datetime.now(UTC)))


def evaluation_result(done: Evaluated) -> dg.MaterializeResult[Any]:
    """Return what an evaluation did as Dagster shows it."""
    return dg.MaterializeResult(
        metadata={
            "rules_evaluated": done.rules,
            "series": done.series,
            "fired": done.fired,
            "retracted": done.retracted,
            "historical": done.historical,
            "to_be_sent": done.queued,
        }
    )
