"""When jobs run: the marts after each close and while the lake moves, the deep path and the proof every night."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from market.sessions import EXCHANGE_ZONE, Session, find_session
from orchestration.jobs import MARTS, RECOMPUTE, VERIFY
from orchestration.partitions import adjoining
from orchestration.progress import LONGEST_TRANSACTION
from orchestration.resources import Lake

AFTER_CLOSE_CRON: Final = "15 13-16 * * 1-5"
"""A quarter past each hour, exchange time, in which a session can have closed: 13:00 on half-days, 16:00 else. The quarter of
an hour lets the closing auction's trades and their corrections come in."""
INTRADAY_CRON: Final = "*/2 * * * *"
RECOMPUTE_CRON: Final = "30 20 * * *"
"""Exchange time: the post segment of a whole day has ended half an hour before. Weekends too: then history may come in."""
VERIFY_CRON: Final = "30 21 * * *"
"""After the deep path."""

UNDER_WAY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

TOUCHED_SINCE_TAG: Final = "tapehouse/touched_since"
TOUCHED_UNTIL_TAG: Final = "tapehouse/touched_until"
"""The tags of a night's runs that say between which moments the sessions were touched."""
_NIGHTLY: Final = {"tapehouse/nightly": "recompute"}
_RUNS_A_NIGHT: Final = 1000
_ENDED_BADLY: Final = frozenset({dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED})

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


@dg.schedule(
    name="nightly_recompute",
    cron_schedule=RECOMPUTE_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    job_name=RECOMPUTE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Works the sessions out again from bronze of which a bar changed since the night before.",
)
def nightly_recompute(
    context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run for each row of sessions that were touched."""
    until = context.scheduled_execution_time.astimezone(UTC)
    runs = context.instance.get_runs(dg.RunsFilter(job_name=RECOMPUTE, tags=_NIGHTLY), limit=_RUNS_A_NIGHT)
    since = touched_since(until, runs)
    sessions = lake.touched_sessions(since - LONGEST_TRANSACTION, until)
    if not sessions:
        return dg.SkipReason(f"No bar changed since {since.isoformat()}.")
    window = {TOUCHED_SINCE_TAG: since.isoformat(), TOUCHED_UNTIL_TAG: until.isoformat()}
    return [
        dg.RunRequest(
            run_key=f"{until.isoformat()} {first}",
            tags={
                **_NIGHTLY,
                **window,
                "dagster/asset_partition_range_start": first.isoformat(),
                "dagster/asset_partition_range_end": last.isoformat(),
            },
        )
        for first, last in adjoining(sessions)
    ]


nightly_verify = dg.ScheduleDefinition(
    name="nightly_verify",
    job_name=VERIFY,
    cron_schedule=VERIFY_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Proves the laws over the data at hand once a day.",
)


def touched_since(until: datetime, runs: Sequence[dg.DagsterRun]) -> datetime:
    """Return the moment from which on no night has worked out what was touched.

    Parameters
    ----------
    until
        The moment of this night; without runs before it, it looks back a day.
    runs
        The runs of nights before, the newest first.
    """
    if not runs:
        return until - timedelta(days=1)
    newest = runs[0].tags[TOUCHED_UNTIL_TAG]
    of_night = [run for run in runs if run.tags[TOUCHED_UNTIL_TAG] == newest]
    failed = [run.tags[TOUCHED_SINCE_TAG] for run in of_night if run.status in _ENDED_BADLY]
    return datetime.fromisoformat(min(failed, default=newest))


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
