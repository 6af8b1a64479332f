"""dbt as tests run it: in this process, the project parsed once."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import pytest
from dbt.cli.main import dbtRunner

from market.settings import Settings
from warehouse.dbt import DBT_PROJECT, dbt_environment

_QUICK: Final = ("--no-write-json", "--log-level-file", "none")
"""Nobody reads the artifacts and the log of a test, which take a fifth of the time to write."""


class Dbt(Protocol):
    """Run dbt; variables are added to those that every run of it has. ``touched``: what is queued alone is looked at."""

    def __call__(
        self, *arguments: str, variables: Mapping[str, object] | None = None, touched: bool = False
    ) -> None: ...


@contextmanager
def dbt_runs(
    settings: Settings, project: Path = DBT_PROJECT, variables: Mapping[str, object] | None = None
) -> Iterator[Dbt]:
    """Give what runs a dbt project on the database of some settings; it raises if a model or a test of it fails."""
    chosen = dict(variables or {})
    with pytest.MonkeyPatch.context() as patch:
        folders = {"DBT_PROJECT_DIR": str(project), "DBT_PROFILES_DIR": str(project)}
        for name, value in {**dbt_environment(settings), **folders}.items():
            patch.setenv(name, value)
        manifest = dbtRunner().invoke([*_QUICK, "--quiet", "parse", "--vars", json.dumps(chosen)]).result

        def run(*arguments: str, variables: Mapping[str, object] | None = None, touched: bool = False) -> None:
            patch.setenv("PGOPTIONS", "-c tapehouse.look=touched" if touched else "")
            # A run with other variables has to parse again.
            runner = dbtRunner(manifest=None if variables else manifest)
            given = ("--vars", json.dumps({**chosen, **(variables or {})}))
            outcome = runner.invoke([*_QUICK, "--quiet", "--no-use-colors", *arguments, *given])
            results = getattr(outcome.result, "results", [])
            failed = [result for result in results if result.status not in {"success", "pass", "warn"}]
            assert outcome.success, outcome.exception or [(result.node.name, result.message) for result in failed]

        yield run
