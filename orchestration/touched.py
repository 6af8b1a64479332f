"""The sensor that has the marts follow the lake, and the rules the marts: it asks for a run as soon as anything is queued."""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from orchestration.assets.marts import TAKE_THE_LAKE_UP, TOUCHED_MODELS
from orchestration.jobs import MARTS, TOUCHED_MARTS
from orchestration.resources import Lake
from orchestration.schedules import follow, with_queue

INTERVAL_SECONDS: Final = 5
"""Dagster's daemon looks at its sensors no more often. A look that asks for nothing is a query or two."""
RUN_EVERY: Final = timedelta(seconds=30)
"""A run costs some seconds of a core whatever it builds: two a minute keep the marts less than a minute behind."""


@dg.sensor(
    name="touched_sessions",
    job_name=TOUCHED_MARTS,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the sessions built that are queued as changed, and the rules look at what is queued for them.",
)
def touched_sessions(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
) -> dg.RunRequest | dg.SkipReason:
    """Request a run if something is queued, and no run is under way that takes it: at once if rules wait for a bar that ended."""
    queues = [queue for queue in (lake.queued(TOUCHED_MODELS), lake.queued_for_rules()) if queue is not None]
    if not queues:
        return dg.SkipReason("Nothing is queued.")
    if not lake.are_built(sorted(TAKE_THE_LAKE_UP)):  # what follows these is built anew where it is not there
        return dg.SkipReason("The marts were not built yet: the first build of them all takes what is queued.")
    if (pause := _pause(context.instance, lake)) is not None:
        return pause
    newest = lake.newest_changes()
    if newest is None:
        return dg.SkipReason("The lake is empty yet.")
    return follow(context.instance, TOUCHED_MARTS, with_queue(newest, "+".join(queues)), beside=[MARTS])


def _pause(instance: dg.DagsterInstance, lake: Lake) -> dg.SkipReason | None:
    """Return why the next run is for later, if it is."""
    newest = instance.get_run_records(dg.RunsFilter(job_name=TOUCHED_MARTS), limit=1)
    if not newest:
        return None
    ago = datetime.now(UTC) - newest[0].create_timestamp.astimezone(UTC)
    if ago >= RUN_EVERY:
        return None
    is_awaited = newest[0].dagster_run.status is dg.DagsterRunStatus.SUCCESS and lake.has_bars_for_rules()
    if is_awaited:
        return None
    return dg.SkipReason(
        f"The run before began {ago.total_seconds():.0f} s ago, and no bar has ended since that a rule looks at."
    )
