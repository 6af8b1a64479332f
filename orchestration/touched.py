"""The sensor that has the marts follow the lake: it asks for a run as soon as sessions are queued as changed."""

from typing import Final

import dagster as dg

from orchestration.assets.marts import TOUCHED_MODELS
from orchestration.jobs import MARTS, TOUCHED_MARTS
from orchestration.resources import Lake
from orchestration.schedules import BATCHES_TAG, UNDER_WAY, decide, with_queue

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
    for job in (TOUCHED_MARTS, MARTS):
        if under_way := context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1):
            return dg.SkipReason(f"The run {under_way[0].run_id} is still under way.")
    newest = lake.newest_changes()
    if newest is None:
        return dg.SkipReason("The lake is empty yet.")
    newest = with_queue(newest, queue)
    earlier = context.instance.get_runs(dg.RunsFilter(job_name=TOUCHED_MARTS, tags={BATCHES_TAG: newest}))
    return decide(newest, [run.status for run in earlier])
