"""``python -m orchestration.run JOB [JOB …]``: runs jobs here and now, with the instance of this home as their record.

No server is needed, and the runs show in the UI like those that were started there.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog

from infra.local.home import connected_settings
from market.errors import ModelsFailedError, ServiceError, TapehouseError
from market.logs import log_to_standard_error
from market.settings import Settings, load_settings
from orchestration.instance import LOCATION, instance_environment, write_instance_config

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.resources import Lake

JOBS: Final = ("history", "marts", "touched_marts")
"""The names of :mod:`orchestration.jobs`, which is slow to import, for the usage text."""
DEFAULT_TIMEOUT_SECONDS: Final = 600.0
FAILS_AGAIN: Final = 3
"""The exit code after which it makes no sense to run the jobs again: a model or a test failed."""

_LINE_EVERY_SECONDS: Final = 2.0
_REPOSITORY_TAGS: Final = {".dagster/repository": f"__repository__@{LOCATION}"}
"""By this tag the UI lists a run under the jobs of the code location."""

_log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs that the command line names, one after the other, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = connected_settings(load_settings())
        _configure_logging(settings)
        run_jobs(settings, options.jobs, wait_for_lake=options.wait_for_lake, timeout_seconds=options.timeout)
    except TapehouseError as error:
        sys.stderr.writelines(f"Error: {line}\n" for line in str(error).splitlines())
        return FAILS_AGAIN if isinstance(error, ModelsFailedError) else error.exit_code
    return 0


def run_jobs(
    settings: Settings,
    names: Sequence[str],
    *,
    wait_for_lake: bool = False,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> list[str]:
    """Run jobs in this process, each to its end, and return the checks that failed without stopping them.

    Parameters
    ----------
    settings
        Where everything is.
    names
        The jobs, of :data:`JOBS`, in order.
    wait_for_lake
        Whether ``marts`` waits until the lake has everything that the topics hold at that moment.
    timeout_seconds
        How long to wait for the lake at most.

    Raises
    ------
    ModelsFailedError
        If a model of the marts, or a test of one, failed.
    ServiceError
        If a job failed, an engine cannot be reached, or the lake did not come so far in time.
    """
    write_instance_config(settings)
    os.environ.update(instance_environment(settings))  # dagster.yaml refers to these

    import dagster as dg

    from orchestration.build import build_definitions
    from orchestration.jobs import MARTS
    from orchestration.orphans import end_runs, find_orphans, this_process
    from orchestration.resources import Broker, Lake
    from orchestration.schedules import batch_tags

    lake = Lake(settings)
    definitions = build_definitions(settings=settings)
    with _kept_record(), dg.DagsterInstance.get() as instance:
        end_runs(instance, find_orphans(instance, served=False))
        failed = []
        for name in names:
            if name != MARTS:
                failed += _execute(definitions, instance, name, this_process())
                continue
            if wait_for_lake:
                _wait(lake, Broker(settings).end_offsets(), timeout_seconds)
            failed += _execute(definitions, instance, name, {**this_process(), **batch_tags(lake.newest_changes())})
    return failed


@contextmanager
def _kept_record() -> Iterator[None]:
    """Say in a sentence that PostgreSQL went away for good while Dagster wrote the record of a run there."""
    from dagster_postgres.utils import DagsterPostgresException

    try:
        yield
    except DagsterPostgresException as error:
        msg = "PostgreSQL, which keeps the record of the runs, went away. See ./run status; ./run up starts it again."
        raise ServiceError(msg) from error


def _execute(
    definitions: "dg.Definitions", instance: "dg.DagsterInstance", name: str, tags: Mapping[str, str]
) -> list[str]:
    """Run a job and return its checks that failed."""
    started = time.monotonic()
    _log.info("job_started", job=name)
    result = definitions.resolve_job_def(name).execute_in_process(
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={**tags, **_REPOSITORY_TAGS},
        raise_on_error=False,
    )
    if not result.success:
        _raise_failure(name, result)
    failed = [
        f"{check.check_name} of {check.asset_key.to_user_string()}"
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity.value == "ERROR"
    ]
    for check in failed:
        _log.warning("check_failed", job=name, check=check)
    _log.info("job_finished", job=name, run_id=result.run_id, seconds=round(time.monotonic() - started, 1))
    return failed


def _raise_failure(name: str, result: "dg.ExecuteInProcessResult") -> NoReturn:
    from orchestration.assets.marts import IS_FINAL

    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    if any(_is_interrupt(failure.error) for failure in failures):
        raise KeyboardInterrupt
    for said in (failure.user_failure_data for failure in failures):
        if said is not None and IS_FINAL in said.metadata and said.metadata[IS_FINAL].value:
            msg = f"The job {name} failed (run {result.run_id}).\n{said.description}"
            raise ModelsFailedError(msg)
    causes = (failure.error.message.strip() for failure in failures if failure.error is not None)
    msg = f"The job {name} failed (run {result.run_id}): {next(causes, 'no step said why')}"
    raise ServiceError(msg)


def _is_interrupt(error: Any) -> bool:  # noqa: ANN401 - Dagster keeps the class of its recorded errors to itself
    """Return whether a step ended because somebody pressed Ctrl-C, or the process was asked to end."""
    while error is not None:
        if error.cls_name in {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}:
            return True
        error = error.cause
    return False


def _wait(lake: "Lake", ends: Mapping[tuple[str, int], int], timeout_seconds: float) -> None:
    """Wait for the lake, with a line now and then that says how many messages it still lacks."""
    lake.wait_for(ends, timeout_seconds=timeout_seconds, on_progress=_Progress())


class _Progress:
    """Logs what remains, at most every :data:`_LINE_EVERY_SECONDS`."""

    def __init__(self) -> None:
        self._next_line_at = 0.0

    def __call__(self, remaining: int) -> None:
        now = time.monotonic()
        if remaining and now >= self._next_line_at:
            self._next_line_at = now + _LINE_EVERY_SECONDS
            _log.info("waiting_for_lake", messages_remaining=remaining)


def _configure_logging(settings: Settings) -> None:
    log_to_standard_error(settings.log_level)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration.run", description="Run Dagster jobs in this process."
    )
    parser.add_argument("jobs", nargs="+", choices=JOBS, metavar="JOB", help=f"one of: {', '.join(JOBS)}")
    parser.add_argument(
        "--wait-for-lake",
        action="store_true",
        help="before marts, wait until the lake has everything that the topics hold",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="how long to wait for the lake at most (default: %(default)g)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
