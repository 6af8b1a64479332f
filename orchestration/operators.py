"""The sensor that tells operators what is wrong with the platform, once, and when it is well again."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from alerts.notices import Settled, settle_incidents
from market.errors import ServiceError
from market.settings import Settings
from orchestration.health import (
    FAMILIES,
    check_health,
    feed_health,
    marts_health,
    pages_address,
    run_health,
    stream_health,
)

INTERVAL_SECONDS: Final = 60
OVERLAP: Final = timedelta(minutes=5)
"""So far behind the last look the runs are looked at again: their times are of more than one machine."""
FIRST_LOOK: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Operators:
    """What operators are told."""

    settings: Settings

    def look(
        self, instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey], since: datetime, now: datetime
    ) -> tuple[Settled, datetime]:
        """Look at everything, record what began and ended, and return it with how far the runs were looked at.

        Raises
        ------
        ServiceError
            If the database cannot be reached.
        """
        address = pages_address(self.settings)
        runs, looked_until = run_health(instance, since, address)
        health = (
            feed_health(self.settings, now)
            + stream_health(self.settings, now)
            + marts_health(self.settings, instance, now)
            + runs
            + check_health(instance, checks, address)
        )
        return settle_incidents(self.settings, now, health.broken, well=health.well, families=FAMILIES), looked_until


@dg.sensor(
    name="operators",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells operators of a feed, a stream or marts that stand still, of failed runs and broken checks; once each.",
)
def operators(context: dg.SensorEvaluationContext, operators: dg.ResourceParam[Operators]) -> dg.SkipReason:
    """Look; a tick that is repeated, or made by two daemons at once, records nothing twice."""
    now = datetime.now(UTC)
    since = datetime.fromisoformat(context.cursor) if context.cursor else now - FIRST_LOOK
    checks = context.repository_def.asset_graph.asset_check_keys if context.repository_def else ()
    try:
        settled, looked_until = operators.look(context.instance, checks, since - OVERLAP, now)
    except ServiceError as error:
        return dg.SkipReason(f"Nothing could be recorded: {error}")
    context.update_cursor(looked_until.isoformat())
    return dg.SkipReason(_said(settled))


def _said(settled: Settled) -> str:
    parts = [
        f"{word}: {', '.join(subjects)}"
        for word, subjects in (("Began", settled.opened), ("well again", settled.resolved), ("open", settled.open))
        if subjects
    ]
    return "; ".join(parts) or "All is well."
