"""Which runs are forgotten."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

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
