"""The jobs. Both are light: their steps run one after the other in the run's own process."""

from typing import Any, Final

import dagster as dg

from orchestration.assets.keys import Group

HISTORY: Final = "history"
MARTS: Final = "marts"
RUN_RETENTION: Final = "run_retention"


def build_jobs(marts: dg.AssetsDefinition) -> list[Any]:
    """Return the jobs: ``history`` publishes the daily bars, ``marts`` builds and tests every dbt model of ``marts``."""
    return [
        dg.define_asset_job(
            HISTORY,
            selection=dg.AssetSelection.groups(Group.HISTORY.value),
            description="Publishes the real daily bars of the sample feed and waits until the lake has them.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            MARTS,
            selection=dg.AssetSelection.assets(marts),
            description="Builds every dbt model and runs its tests.",
            executor_def=dg.in_process_executor,
        ),
    ]
