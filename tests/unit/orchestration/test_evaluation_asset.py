"""The evaluation of rules as Dagster shows it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from alerts.evaluation.evaluate import Evaluated
from alerts.recent import Recent
from orchestration.assets.alerts import EVALUATION, evaluation

RECORDED = {
    "kind": "alert",
    "rule_name": "dip",
    "symbol": "SPY",
    "interval": "5m",
    "bar_at": datetime(2026, 11, 20, 15, 30, tzinfo=UTC),
    "is_historical": False,
    "message": "close is 1",
}


class PlayedRules:
    """Rules that come to what they are told."""

    def __init__(self, *recorded: dict[str, Any]) -> None:
        self.asked: list[datetime] = []
        self.recorded = recorded

    def evaluate(self, now: datetime) -> Evaluated:
        self.asked.append(now)
        return Evaluated(series=500, rules=7, fired=4, retracted=1, historical=3, queued=2)

    def recent(self, now: datetime) -> Recent:
        assert [now] == self.asked, "what this evaluation recorded has its time"
        return Recent(self.recorded, delivered=6, waiting=5)


def said_by(rules: PlayedRules) -> dict[str, Any]:
    result = dg.materialize([evaluation], resources={"rules": rules})
    (event,) = result.asset_materializations_for_node(evaluation.op.name)
    assert event.asset_key == EVALUATION
    return {name: value.value for name, value in event.metadata.items()}


def test_a_run_says_how_many_rules_looked_and_what_came_of_it() -> None:
    rules = PlayedRules()
    assert said_by(rules) == {
        "rules_evaluated": 7,
        "series": 500,
        "fired": 4,
        "retracted": 1,
        "historical": 3,
        "to_be_sent": 2,
        "delivered_in_the_last_hour": 6,
        "waiting_to_be_sent": 5,
        "all_alerts": dg.AssetKey(["marts", "alerts"]),
    }
    (asked,) = rules.asked
    assert datetime.now(UTC) - asked < timedelta(minutes=5)


def test_a_run_shows_the_alerts_that_it_recorded() -> None:
    (row,) = said_by(PlayedRules(RECORDED))["recorded"].records
    assert row.data == {**RECORDED, "bar_at": "2026-11-20 15:30:00+00:00"}
