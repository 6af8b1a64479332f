"""dbt as tests run it: in this process, the project parsed once."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from dbt.cli.main import dbtRunner

from market.settings import Settings
from warehouse.dbt import DBT_PROJECT, dbt_environment

Dbt = Callable[..., None]


@contextmanager
def dbt_runs(
    settings: Settings, project: Path = DBT_PROJECT, variables: Mapping[str, object] | None = None
) -> Iterator[Dbt]:
    """Give what runs a dbt project on the database of some settings; it raises if a model or a test of it fails."""
    chosen = ["--vars", json.dumps(variables)] if variables else []
    with pytest.MonkeyPatch.context() as patch:
        folders = {"DBT_PROJECT_DIR": str(project), "DBT_PROFILES_DIR": str(project)}
        for name, value in {**dbt_environment(settings), **folders}.items():
            patch.setenv(name, value)
        manifest = dbtRunner().invoke(["--quiet", "parse", *chosen]).result

        def run(*arguments: str) -> None:
            # A run with other variables has to parse again.
            runner = dbtRunner(manifest=None if "--vars" in arguments else manifest)
            outcome = runner.invoke(["--quiet", "--no-use-colors", *arguments, *chosen])
            results = getattr(outcome.result, "results", [])
            failed = [result for result in results if result.status not in {"success", "pass", "warn"}]
            assert outcome.success, outcome.exception or [(result.node.name, result.message) for result in failed]

        yield run
