"""The stock way to build dbt models with Dagster: dagster-dbt as its documentation has it, each step a process, dbt another one.

Run by ``dagster job execute``; the variables say which manifest, which project and which models.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets


@dbt_assets(manifest=Path(os.environ["BENCH_MANIFEST"]), select=os.environ["BENCH_MODELS"])
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Run the models."""
    yield from dbt.cli(["run"], context=context).stream()


defs = dg.Definitions(
    assets=[models],
    jobs=[dg.define_asset_job("refresh", selection=dg.AssetSelection.assets(models))],
    resources={
        "dbt": DbtCliResource(project_dir=os.environ["BENCH_PROJECT"], profiles_dir=os.environ["BENCH_PROJECT"])
    },
    executor=dg.multiprocess_executor,
)
