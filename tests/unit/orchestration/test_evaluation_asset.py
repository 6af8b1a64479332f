"""The evaluation of rules as Dagster shows it."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from alerts.evaluation.evaluate import Evaluated
from orchestration.assets.alerts import EVALUATION, evaluation


class PlayedRules:
    """Rules that come to what they are told."""

    def __init__(self) -> None:
        self.asked: list[datetime] = []

    def evaluate(self, now: datetime) -> Evaluated:
        self.asked.append(now)
        return Evaluated(series=500, rules=7, fired=4, retracted=1, historical=3, queued=2)


def test_a_run_says_how_many_rules_looked_and_what_came_of_it() -> None:
    rules = PlayedRules()
    result = dg.materialize([evaluation], resources={"rules": rules})
    (event,) = result.asset_materializations_for_node(evaluation.op.name)
    assert event.asset_key == EVALUATION
    said = {name: value.value for name, value in event.metadata.items()}
    assert said == {"rules_evaluated": 7, "series": 500, "fired": 4, "retracted": 1, "historical": 3, "to_be_sent": 2}
    (asked,) = rules.asked
    assert datetime.now(UTC) - asked < timedelta(minutes=5)
