"""The sensor that has the marts follow the lake, and the rules the marts: it asks for a run as soon as anything is queued."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from orchestration.assets.marts import TAKE_THE_LAKE_UP, TOUCHED_MODELS
from orchestration.jobs import MARTS, TOUCHED_MARTS
from orchestration.resources import Lake
from orchestration.schedules import follow, with_queue

INTERVAL_SECONDS: Final = 3
"""Dagster's daemon looks at its sensors every five seconds: with as many here one tick in two would come a moment too early."""
RUN_EVERY: Final = timedelta(seconds=30)
"""A run costs some seconds of a core whatever it builds: two a minute keep the marts less than a minute behind."""
EXPECTED_FROM: Final = 55
"""From this second of a minute on bars are expected to end: a tick that begins then goes on until the minute is over."""
EXPECTED_UNTIL: Final = 15
"""Until this second of the next: the feed has passed the minute by then, or is behind."""
LONGEST_TICK_SECONDS: Final = 4.0
"""A tick that goes on looking ends, with all that is written of it, before the daemon's next look: else that is passed over."""
LOOK_EVERY_SECONDS: Final = 0.3


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
    """Request a run if something is queued, and no run is under way that takes it: at once if rules wait for a bar that ended.

    While bars are about to end that rules look at, a tick goes on looking: a bar that ends just after it would wait for the next.
    """
    until = time.monotonic() + LONGEST_TICK_SECONDS - LOOK_EVERY_SECONDS
    found = _look(context.instance, lake)
    if isinstance(found, dg.RunRequest) or not (is_bar_expected(datetime.now(UTC)) and lake.has_intraday_rules()):
        return found
    while is_bar_expected(datetime.now(UTC)) and time.monotonic() < until:
        time.sleep(LOOK_EVERY_SECONDS)
        if lake.has_bars_for_rules():
            return _look(context.instance, lake)
    return found


def is_bar_expected(now: datetime) -> bool:
    """Return whether bars end about now: the shortest is a minute, and what it is made of takes some seconds."""
    return now.second >= EXPECTED_FROM or now.second < EXPECTED_UNTIL


def _look(instance: dg.DagsterInstance, lake: Lake) -> dg.RunRequest | dg.SkipReason:
    queues = [queue for queue in (lake.queued(TOUCHED_MODELS), lake.queued_for_rules()) if queue is not None]
    if not queues:
        return dg.SkipReason("Nothing is queued.")
    if not lake.are_built(sorted(TAKE_THE_LAKE_UP)):  # what follows these is built anew where it is not there
        return dg.SkipReason("The marts were not built yet: the first build of them all takes what is queued.")
    if (pause := _pause(instance, lake)) is not None:
        return pause
    newest = lake.newest_changes()
    if newest is None:
        return dg.SkipReason("The lake is empty yet.")
    return follow(instance, TOUCHED_MARTS, with_queue(newest, "+".join(queues)), beside=[MARTS])


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
