"""How long Dagster remembers the runs of the marts: there are up to a thousand a day, each with tens to hundreds of events."""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from orchestration.jobs import MARTS, RUN_RETENTION, TOUCHED_MARTS

KEEP: Final = timedelta(days=7)
KEEP_TOUCHED: Final = timedelta(days=1)
CRON: Final = "30 3 * * *"

_FINISHED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_AT_ONCE: Final = 500


@dg.op(description="Deletes the finished runs of the marts that are older than a week, or a day, with their events.")
def delete_old_runs(context: dg.OpExecutionContext) -> None:
    """Delete what is older than :data:`KEEP`, or, of runs that built what was touched alone, than :data:`KEEP_TOUCHED`."""
    now = datetime.now(UTC)
    deleted = delete_runs_before(context.instance, now - KEEP)
    deleted += delete_runs_before(context.instance, now - KEEP_TOUCHED, TOUCHED_MARTS)
    context.log.info(f"{deleted:,} runs deleted.")


@dg.job(name=RUN_RETENTION, executor_def=dg.in_process_executor, description="Keeps the record of runs small.")
def run_retention() -> None:
    """Delete old runs."""
    delete_old_runs()


nightly_retention = dg.ScheduleDefinition(
    name="nightly_retention",
    job=run_retention,
    cron_schedule=CRON,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes old runs of the marts once a day.",
)


def delete_runs_before(instance: dg.DagsterInstance, moment: datetime, job: str = MARTS) -> int:
    """Delete the finished runs of a job that were created before ``moment``, with their logs; return their number.

    What they built stays, and so does the record of when an asset was last built.
    """
    deleted = 0
    old = dg.RunsFilter(job_name=job, statuses=_FINISHED, created_before=moment)
    while runs := instance.get_runs(old, limit=_AT_ONCE):
        for run in runs:
            instance.compute_log_manager.delete_logs(prefix=[run.run_id])
            instance.delete_run(run.run_id)
        deleted += len(runs)
    return deleted
