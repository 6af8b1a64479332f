"""Runs that nobody runs any more."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from orchestration.orphans import PROCESS_TAG, ask_again, end_runs, find_orphans, this_process

SERVED = {".dagster/grpc_info": '{"host": "127.0.0.1", "port": 21002}'}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


@pytest.fixture
def retrying(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that runs again what its process left, twice at the most."""
    overrides = {"run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as local:
        yield local


def failures_of(instance: dg.DagsterInstance, run_id: str) -> int:
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE))


def add_run(instance: dg.DagsterInstance, tags: dict[str, str], status: dg.DagsterRunStatus) -> str:
    return instance.add_run(dg.DagsterRun(job_name="marts", status=status, tags=tags)).run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.fixture
def dead_process() -> dict[str, str]:
    """The tag of a process that was killed."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        started_at = psutil.Process(process.pid).create_time()
        process.kill()
    return {PROCESS_TAG: f"{platform.node()} {process.pid} {started_at}"}


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)
def test_a_starting_code_server_fails_the_runs_of_its_predecessor(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    run_id = add_run(instance, SERVED, status)
    orphans = find_orphans(instance, served=True)
    assert orphans == [run_id]
    end_runs(instance, orphans)
    assert status_of(instance, run_id) is dg.DagsterRunStatus.FAILURE


def test_the_runs_of_a_running_code_server_are_left_alone(instance: dg.DagsterInstance) -> None:
    run_id = add_run(instance, SERVED, dg.DagsterRunStatus.STARTED)
    assert find_orphans(instance, served=False) == []
    assert status_of(instance, run_id) is dg.DagsterRunStatus.STARTED


def test_runs_that_wait_or_are_finished_are_left_alone(instance: dg.DagsterInstance) -> None:
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE):
        add_run(instance, SERVED, status)
    assert find_orphans(instance, served=True) == []


def test_a_run_of_a_dead_process_is_canceled(instance: dg.DagsterInstance, dead_process: dict[str, str]) -> None:
    run_id = add_run(instance, dead_process, dg.DagsterRunStatus.STARTED)
    orphans = find_orphans(instance, served=False)
    assert orphans == [run_id]
    end_runs(instance, orphans)
    assert status_of(instance, run_id) is dg.DagsterRunStatus.CANCELED


def test_a_run_of_a_living_process_or_of_another_host_is_left_alone(instance: dg.DagsterInstance) -> None:
    add_run(instance, this_process(), dg.DagsterRunStatus.STARTED)
    add_run(instance, {PROCESS_TAG: "elsewhere 1 1700000000.0"}, dg.DagsterRunStatus.STARTED)
    assert find_orphans(instance, served=True) == []


def test_a_run_that_ended_meanwhile_keeps_its_end(instance: dg.DagsterInstance) -> None:
    run_id = add_run(instance, SERVED, dg.DagsterRunStatus.SUCCESS)
    end_runs(instance, [run_id])
    assert status_of(instance, run_id) is dg.DagsterRunStatus.SUCCESS


def test_ending_nothing_ends_nothing(instance: dg.DagsterInstance) -> None:
    run_id = add_run(instance, SERVED, dg.DagsterRunStatus.STARTED)
    end_runs(instance, [])
    assert status_of(instance, run_id) is dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize("will_retry", ["false", "true"], ids=["no-code-server", "looked-too-early"])
def test_a_run_that_the_daemon_passed_over_is_asked_for_again(retrying: dg.DagsterInstance, will_retry: str) -> None:
    run_id = add_run(retrying, SERVED, dg.DagsterRunStatus.STARTED)
    assert end_runs(retrying, [run_id]) == [run_id]
    retrying.add_run_tags(run_id, {"dagster/will_retry": will_retry})  # as the daemon leaves it
    assert ask_again(retrying, [run_id]) == [run_id]
    assert failures_of(retrying, run_id) == 2
    run = retrying.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["dagster/will_retry"] == "true"


def test_a_run_that_the_daemon_runs_again_is_left_to_it(retrying: dg.DagsterInstance) -> None:
    run_id = add_run(retrying, SERVED, dg.DagsterRunStatus.STARTED)
    assert end_runs(retrying, [run_id]) == [run_id]
    retrying.add_run_tags(run_id, {"dagster/auto_retry_run_id": "another"})
    assert ask_again(retrying, [run_id]) == []
    assert failures_of(retrying, run_id) == 1


def test_a_run_that_was_started_again_too_often_is_not_asked_for(retrying: dg.DagsterInstance) -> None:
    first = add_run(retrying, SERVED, dg.DagsterRunStatus.FAILURE)
    again = [
        retrying.add_run(
            dg.DagsterRun(
                job_name="marts",
                status=dg.DagsterRunStatus.STARTED,
                tags={**SERVED, "dagster/parent_run_id": first, "dagster/root_run_id": first},
                parent_run_id=first,
                root_run_id=first,
            )
        ).run_id
        for _ in range(2)
    ]
    assert end_runs(retrying, again[-1:]) == []
