"""The sensor that has all marts built while the lake moves: once in a quarter of an hour, where no bar waits for that build."""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from orchestration.jobs import HISTORY, MARTS
from orchestration.resources import Lake
from orchestration.schedules import follow, with_queue

NAME: Final = "intraday_marts"
EVERY: Final = timedelta(minutes=15)
"""Between two of these runs the sensor ``touched_sessions`` has what changed built."""
INTERVAL_SECONDS: Final = 8
"""The daemon looks every five seconds, so a tick comes every ten."""
ASKED_FROM: Final = 15
"""By this second of a minute the build has begun, or is over, that rules wait for which are about the minute before."""
ASKED_UNTIL: Final = 35
"""From this second on a run of half a minute would still be under way when bars of the minute end."""

_SENSOR_TAG: Final = "dagster/sensor_name"


@dg.sensor(
    name=NAME,
    job_name=MARTS,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has all marts built and tested each quarter of an hour, while the stream changes what they are made from.",
)
def intraday_marts(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.RunRequest | dg.SkipReason:
    """Request a run if the lake has changed since the last one, and none was requested in this quarter of an hour.

    A cron would have it begin with the minute, when the bars of the minute before are on their way to the rules: what they
    would set off waits for such a run, which builds everything.
    """
    now = datetime.now(UTC)
    if not is_asked_at(now):
        return dg.SkipReason(f"A run is asked for between the seconds {ASKED_FROM} and {ASKED_UNTIL} of a minute.")
    asked = dg.RunsFilter(job_name=MARTS, tags={_SENSOR_TAG: NAME}, created_after=quarter_of(now))
    if context.instance.get_runs(asked, limit=1):
        return dg.SkipReason("A run was asked for in this quarter of an hour.")
    newest = lake.newest_changes()
    if newest is None:
        return dg.SkipReason("The lake is empty yet.")
    return follow(context.instance, MARTS, with_queue(newest, lake.queued()), beside=[HISTORY])


def is_asked_at(now: datetime) -> bool:
    """Return whether a run that begins now is over, as a rule, before the next bars end."""
    return ASKED_FROM <= now.second < ASKED_UNTIL


def quarter_of(moment: datetime) -> datetime:
    """Return when the quarter of an hour began in which a moment lies."""
    return moment - (moment - datetime.min.replace(tzinfo=UTC)) % EVERY
