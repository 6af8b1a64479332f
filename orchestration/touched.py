"""The sensor that has the marts follow the lake: it asks for a run as soon as sessions are queued as changed."""

from typing import Final

import dagster as dg

from orchestration.assets.marts import TOUCHED_MODELS
from orchestration.jobs import MARTS, TOUCHED_MARTS
from orchestration.resources import Lake
from orchestration.schedules import follow, with_queue

INTERVAL_SECONDS: Final = 30
"""A run costs some seconds of a core whatever it builds: two a minute keep the marts less than a minute behind."""


@dg.sensor(
    name="touched_sessions",
    job_name=TOUCHED_MARTS,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the sessions built that are queued as changed since the marts took them up.",
)
def touched_sessions(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
) -> dg.RunRequest | dg.SkipReason:
    """Request a run if something is queued, and no run is under way that takes it."""
    queue = lake.queued(TOUCHED_MODELS)
    if queue is None:
        return dg.SkipReason("Nothing is queued.")
    newest = lake.newest_changes()
    if newest is None:
        return dg.SkipReason("The lake is empty yet.")
    return follow(context.instance, TOUCHED_MARTS, with_queue(newest, queue), beside=[MARTS])
