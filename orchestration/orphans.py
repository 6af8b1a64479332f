"""Runs whose process died without a word, as after ``kill -9``: Dagster would take them for running, and keep others waiting."""

import platform
from typing import Final

import dagster as dg
import psutil

from infra.local.home import process_is_alive

PROCESS_TAG: Final = "tapehouse/process"
"""The tag of a run outside of the code server that says which process runs it: host, pid and its start, in epoch seconds."""
_SERVED_TAG: Final = ".dagster/grpc_info"
"""Dagster's own tag of the runs that a code server runs."""
_WILL_RETRY_TAG: Final = "dagster/will_retry"
_RETRIED_AS_TAG: Final = "dagster/auto_retry_run_id"
"""Dagster's own tags of a failed run: whether the daemon shall run it again, and as which run it has."""
_RUNNING: Final = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def this_process() -> dict[str, str]:
    """Return the tag for runs of this process."""
    process = psutil.Process()
    return {PROCESS_TAG: f"{platform.node()} {process.pid} {process.create_time()}"}


def find_orphans(instance: dg.DagsterInstance, *, served: bool) -> list[str]:
    """Return the ids of the runs that nobody runs any more.

    Parameters
    ----------
    instance
        Where the runs are recorded.
    served
        Whether the runs of the code server are orphans: true before it starts, because its runs die with it.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=_RUNNING))
    return [run.run_id for run in runs if (served and _SERVED_TAG in run.tags) or _is_dead(run.tags.get(PROCESS_TAG))]


def end_runs(instance: dg.DagsterInstance, run_ids: list[str]) -> list[str]:
    """End orphaned runs, and return the ids of those that the daemon shall run again.

    Those of the code server fail, and the daemon starts them again, unless they were started again too often. The others
    are canceled: whoever started them starts them again.
    """
    for run in instance.get_runs(dg.RunsFilter(run_ids=run_ids, statuses=_RUNNING)) if run_ids else []:
        if _SERVED_TAG in run.tags:
            instance.report_run_failed(run, "The code server ended during the run.")
        else:
            instance.report_run_canceled(run, "The process ended during the run.")
    return [run.run_id for run in _failed(instance, run_ids) if run.tags.get(_WILL_RETRY_TAG) == "true"]


def ask_again(instance: dg.DagsterInstance, run_ids: list[str]) -> list[str]:
    """Ask the daemon once more for the runs that it has not run again, and return their ids.

    The daemon looks at each failure once. It passes the run over for good if it finds no code server then, or if it looks
    between the moment at which the failure is written and the one at which the run's status is. Another failure makes it
    look again; one that it has run again it leaves alone.

    Parameters
    ----------
    instance
        Where the runs are recorded.
    run_ids
        Failed runs that the daemon was to run again, from :func:`end_runs`.
    """
    waiting = [run for run in _failed(instance, run_ids) if _RETRIED_AS_TAG not in run.tags]
    for run in waiting:
        instance.report_run_failed(run, "The daemon has not run it again: it is asked once more.")
    return [run.run_id for run in waiting]


def _failed(instance: dg.DagsterInstance, run_ids: list[str]) -> list[dg.DagsterRun]:
    return (
        list(instance.get_runs(dg.RunsFilter(run_ids=run_ids, statuses=[dg.DagsterRunStatus.FAILURE])))
        if run_ids
        else []
    )


def _is_dead(process: str | None) -> bool:
    """Return whether the process of a tag is one of this host and has ended."""
    if process is None:
        return False
    host, pid, started_at = process.rsplit(" ", 2)
    return host == platform.node() and not process_is_alive(int(pid), float(started_at))
