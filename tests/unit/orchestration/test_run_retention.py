"""Which runs are forgotten."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from orchestration.jobs import TOUCHED_MARTS
from orchestration.retention import delete_runs_before


def test_only_finished_runs_of_the_marts_from_before_are_deleted(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for job, status in [
            ("marts", dg.DagsterRunStatus.SUCCESS),
            ("marts", dg.DagsterRunStatus.FAILURE),
            ("marts", dg.DagsterRunStatus.STARTED),
            ("history", dg.DagsterRunStatus.SUCCESS),
        ]:
            instance.add_run(dg.DagsterRun(job_name=job, status=status))
        now = datetime.now(UTC)

        assert delete_runs_before(instance, now - timedelta(hours=1)) == 0
        assert delete_runs_before(instance, now + timedelta(hours=1)) == 2
        assert sorted((run.job_name, run.status.value) for run in instance.get_runs()) == [
            ("history", "SUCCESS"),
            ("marts", "STARTED"),
        ]


def test_runs_of_touched_sessions_are_deleted_by_their_own_moment(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for job in ("marts", TOUCHED_MARTS):
            instance.add_run(dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus.SUCCESS))
        assert delete_runs_before(instance, datetime.now(UTC) + timedelta(hours=1), TOUCHED_MARTS) == 1
        assert [run.job_name for run in instance.get_runs()] == ["marts"]


def test_the_logs_of_a_deleted_run_are_deleted_too(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.add_run(dg.DagsterRun(job_name="marts", status=dg.DagsterRunStatus.SUCCESS))
        manager = instance.compute_log_manager
        assert isinstance(manager, LocalComputeLogManager)
        log = Path(manager.get_captured_local_path([run.run_id, "compute_logs", "dbt"], "out"))
        log.parent.mkdir(parents=True)
        log.write_text("Completed successfully")
        delete_runs_before(instance, datetime.now(UTC) + timedelta(hours=1))
        assert not log.exists()
