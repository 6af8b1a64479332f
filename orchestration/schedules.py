"""When the marts are built: after the close of every session, and while the lake moves."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from market.sessions import EXCHANGE_ZONE, Session, find_session
from orchestration.jobs import MARTS
from orchestration.resources import Lake

AFTER_CLOSE_CRON: Final = "15 13-16 * * 1-5"
"""A quarter past each hour, exchange time, in which a session can have closed: 13:00 on half-days, 16:00 else. The quarter of
an hour lets the closing auction's trades and their corrections come in."""
INTRADAY_CRON: Final = "*/2 * * * *"

UNDER_WAY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

BATCHES_TAG: Final = "tapehouse/batches"
"""The tag of a run that says up to which batches of the stream the run was sure to see."""
MAX_ATTEMPTS: Final = 3
"""Runs for the same batches, when they fail: more would only repeat the failure."""


@dg.schedule(
    name="session_close",
    cron_schedule=AFTER_CLOSE_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    job_name=MARTS,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Builds the marts after the close of every session of the exchange, half-days included.",
)
def session_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Request one run for the session that has just closed."""
    session = session_closed_before(context.scheduled_execution_time)
    if session is None:
        return dg.SkipReason("No session closed in the hour before.")
    day = session.session_date.isoformat()
    return dg.RunRequest(run_key=day, tags={"tapehouse/session_date": day})


@dg.schedule(
    name="intraday_marts",
    cron_schedule=INTRADAY_CRON,
    job_name=MARTS,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Builds the marts while the stream changes what they are made from.",
)
def intraday_marts(
    context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
) -> dg.RunRequest | dg.SkipReason:
    """Request a run if the lake has changed since the last one."""
    newest = lake.newest_changes()
    if newest is None:
        return dg.SkipReason("The lake is empty yet.")
    under_way = context.instance.get_runs(dg.RunsFilter(job_name=MARTS, statuses=UNDER_WAY), limit=1)
    if under_way:
        return dg.SkipReason(f"The run {under_way[0].run_id} is still under way.")
    earlier = context.instance.get_runs(dg.RunsFilter(job_name=MARTS, tags={BATCHES_TAG: newest}))
    return decide(newest, [run.status for run in earlier])


def session_closed_before(tick: datetime) -> Session | None:
    """Return the session whose close lies less than an hour before ``tick``, or at it; ``None`` if there is none.

    Ticks are an hour apart, so each session is found by exactly one tick of its day.
    """
    session = find_session(tick.astimezone(EXCHANGE_ZONE).date())
    if session is not None and timedelta(0) <= tick - session.close_at < timedelta(hours=1):
        return session
    return None


def decide(newest: str, earlier: Sequence[dg.DagsterRunStatus]) -> dg.RunRequest | dg.SkipReason:
    """Return a request for a run that sees the batches ``newest``, or why none is needed, given the runs that saw them."""
    if dg.DagsterRunStatus.SUCCESS in earlier:
        return dg.SkipReason(f"Nothing changed since batch {newest}, which the marts have.")
    if len(earlier) >= MAX_ATTEMPTS:
        return dg.SkipReason(f"{len(earlier)} runs for batch {newest} failed. The next change starts another.")
    return dg.RunRequest(run_key=f"{newest} #{len(earlier) + 1}", tags=batch_tags(newest))


def batch_tags(newest: str | None) -> dict[str, str]:
    """Return the tags of a run that starts when ``newest`` are the newest batches with changes."""
    return {} if newest is None else {BATCHES_TAG: newest}
