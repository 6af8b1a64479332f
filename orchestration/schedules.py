"""When jobs run: all marts after each close, the deep path and the proof every night."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import dagster as dg

from market.sessions import EXCHANGE_ZONE, find_session
from orchestration.assets.recomputed import recomputed_until
from orchestration.jobs import ARRIVALS, FULL_REFRESH, MARTS, RECOMPUTE, TIERS, VERIFY
from orchestration.orphans import end_runs, find_orphans
from orchestration.partitions import RANGE_TAGS, adjoining, range_of
from orchestration.resources import Lake
from orchestration.session_ticks import AFTER_CLOSE_CRON, session_closed_before

ARRIVALS_CRON: Final = "5 * * * *"
"""Whole sessions are looked through, and nobody decides anything within the hour by how messages came."""
RECOMPUTE_CRON: Final = "30 20 * * *"
"""Exchange time: the post segment of a whole day has ended half an hour before. Weekends too: then history may come in."""
VERIFY_CRON: Final = "30 21 * * *"
"""After the deep path."""
TIERS_CRON: Final = "0 3 * * *"
"""While nobody trades."""
FULL_REFRESH_CRON: Final = "0 5 * * 0"
"""On Sunday, when nothing comes in."""

UNDER_WAY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

_NIGHTLY: Final = {"tapehouse/nightly": "recompute"}

BATCHES_TAG: Final = "tapehouse/batches"
"""The tag of a run that says up to which batches of the stream the run was sure to see."""
MAX_ATTEMPTS: Final = 3
"""Runs for the same batches one after the other, when they fail."""
RETRY_AFTER: Final = timedelta(minutes=15)
"""After these there is one more now and then: what a run failed for may be mended without a trace in what it follows."""


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
    name="hourly_arrivals",
    cron_schedule=ARRIVALS_CRON,
    job_name=ARRIVALS,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Counts how messages came while the stream brings some.",
)
def hourly_arrivals(
    context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
) -> dg.RunRequest | dg.SkipReason:
    """Request a run if the stream has taken anything in since the last one."""
    newest = lake.newest_arrivals()
    if newest is None:
        return dg.SkipReason("The lake is empty yet.")
    return follow(context.instance, ARRIVALS, newest)


@dg.schedule(
    name="nightly_recompute",
    cron_schedule=RECOMPUTE_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    job_name=RECOMPUTE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Works the sessions out again from bronze that were touched since they were worked out last.",
)
def nightly_recompute(
    context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run for each row of sessions that were touched and are not worked out since, nor about to be.

    What counts is what was done: a session whose run failed, or was never started, is asked for again the next night.
    """
    night = context.scheduled_execution_time.astimezone(UTC)
    newest = lake.touched()
    days = sorted(day for day in set().union(*newest.values()) if find_session(day) is not None)
    sessions = not_done(newest, recomputed_until(context.instance, days))
    under_way = context.instance.get_runs(dg.RunsFilter(job_name=RECOMPUTE, statuses=UNDER_WAY))
    ranges = [found for run in under_way if (found := _range(run)) is not None]
    left = [day for day in sessions if not any(first <= day.isoformat() <= last for first, last in ranges)]
    if not left:
        return dg.SkipReason(
            f"Of {len(days):,} sessions none was touched since it was worked out, or is not being worked out."
        )
    return [
        dg.RunRequest(
            run_key=f"{night.isoformat()} {first}",
            tags={**_NIGHTLY, **dict(zip(RANGE_TAGS, (first.isoformat(), last.isoformat()), strict=True))},
        )
        for first, last in adjoining(left)
    ]


nightly_verify = dg.ScheduleDefinition(
    name="nightly_verify",
    job_name=VERIFY,
    cron_schedule=VERIFY_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Proves the laws over the data at hand once a day.",
)


nightly_tiers = dg.ScheduleDefinition(
    name="nightly_tiers",
    job_name=TIERS,
    cron_schedule=TIERS_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Moves the tiers of the marts on by a day, removes what they keep no longer, and checks them.",
)


weekly_full_refresh = dg.ScheduleDefinition(
    name="weekly_full_refresh",
    job_name=FULL_REFRESH,
    cron_schedule=FULL_REFRESH_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Builds the marts anew once a week, and compares them with what was built step by step.",
)


def not_done(newest: Mapping[str, Mapping[date, int]], done: Mapping[date, Mapping[str, int]]) -> list[date]:
    """Return the sessions of which a topic brought something after they were worked out, in order.

    Parameters
    ----------
    newest
        By topic and session the stamp of the newest batch that stored something of the session, in epoch microseconds.
    done
        By session and topic up to which batch the session was worked out.
    """
    behind = {
        day
        for topic, days in newest.items()
        for day, moment in days.items()
        if moment > done.get(day, {}).get(topic, -1) and find_session(day) is not None
    }
    return sorted(behind)


def _range(run: dg.DagsterRun) -> tuple[str, str] | None:
    """Return the first and the last session of a run of the deep path over all symbols, or ``None``."""
    if run.run_config.get("ops"):  # a dry run, or some symbols only
        return None
    return range_of(run.tags)


def follow(
    instance: dg.DagsterInstance, job: str, newest: str, *, beside: Sequence[str] = ()
) -> dg.RunRequest | dg.SkipReason:
    """Return a request for a run of a job that sees the changes ``newest``, unless one of it or ``beside`` it is under way."""
    end_runs(instance, find_orphans(instance, served=False))  # a run whose process was killed would hold up all others
    for name in (job, *beside):
        if under_way := instance.get_runs(dg.RunsFilter(job_name=name, statuses=UNDER_WAY), limit=1):
            return dg.SkipReason(f"The run {under_way[0].run_id} is still under way.")
    records = instance.get_run_records(dg.RunsFilter(job_name=job, tags={BATCHES_TAG: newest}))
    last = max((record.create_timestamp.timestamp() for record in records), default=0)
    quiet_for = datetime.now(UTC) - datetime.fromtimestamp(last, UTC)
    return decide(newest, [record.dagster_run.status for record in records], quiet_for)


def decide(
    newest: str, earlier: Sequence[dg.DagsterRunStatus], quiet_for: timedelta = timedelta()
) -> dg.RunRequest | dg.SkipReason:
    """Return a request for a run that sees the batches ``newest``, or why none is needed.

    Parameters
    ----------
    newest
        The newest changes.
    earlier
        How the runs ended that saw them.
    quiet_for
        How long ago the last of these was asked for.
    """
    if dg.DagsterRunStatus.SUCCESS in earlier:
        return dg.SkipReason(f"Nothing changed since batch {newest}, which the marts have.")
    if len(earlier) >= MAX_ATTEMPTS and quiet_for < RETRY_AFTER:
        again = (RETRY_AFTER - quiet_for).total_seconds() // 60 + 1
        return dg.SkipReason(
            f"{len(earlier)} runs for batch {newest} failed. The next change starts another, or {again:.0f} minutes."
        )
    return dg.RunRequest(run_key=f"{newest} #{len(earlier) + 1}", tags=batch_tags(newest))


def with_queue(newest: str, queue: str | None) -> str:
    """Return the newest changes with what is queued beside them: what a person changes is in no batch."""
    return newest if queue is None else f"{newest} queue/{queue}"


def batch_tags(newest: str | None) -> dict[str, str]:
    """Return the tags of a run that starts when ``newest`` are the newest batches with changes."""
    return {} if newest is None else {BATCHES_TAG: newest}
