"""``./run check``: format, lint, types, architecture, SQL and scripts of this checkout.

Every step runs, even after one failed. A step whose tool is missing fails: a check never passes by not looking.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from market.settings import CHECKOUT

_BROKEN: Final = 1
_SQL_FOLDERS: Final = ("dbt_project/models", "docs/questions")
_TOOLS: Final = Path(sys.prefix) / "bin"
_NO_DATABASE: Final = "postgresql://check:check@127.0.0.1:1/check"
"""dbt wants an address to parse the models; it does not connect."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a name, what it says, and a function that returns whether it passed, printing what is wrong."""

    name: str
    says: str
    run: Callable[[], bool]


def check(
    steps: Annotated[list[str] | None, typer.Argument(help="Steps to run; all of them without any.")] = None,
) -> None:
    """Check format, lint, types, architecture and SQL of this checkout; exits 1 if something does not hold."""
    chosen = _choose(steps or [])
    outcomes: list[tuple[Step, bool, float]] = []
    for step in chosen:
        typer.secho(f"── {step.name}: {step.says}", bold=True)
        started = time.monotonic()
        passed = step.run()
        outcomes.append((step, passed, time.monotonic() - started))
    typer.echo()
    for step, passed, seconds in outcomes:
        verdict = typer.style("passed", fg="green") if passed else typer.style("FAILED", fg="red", bold=True)
        typer.echo(f"{step.name:<14} {verdict} in {seconds:.1f} s")
    failed = [step.name for step, passed, _ in outcomes if not passed]
    if failed:
        typer.secho(f"{len(failed)} of {len(outcomes)} checks failed: {', '.join(failed)}", fg="red")
        raise typer.Exit(_BROKEN)
    typer.secho(f"all {len(outcomes)} checks passed", fg="green")


def _choose(names: list[str]) -> list[Step]:
    from market.errors import UsageError

    known = {step.name: step for step in STEPS}
    for name in names:
        if name not in known:
            msg = f"{name!r} is not a check. The checks are: {', '.join(known)}."
            raise UsageError(msg)
    return [known[name] for name in names] or list(STEPS)


def _tool(name: str, *arguments: str) -> Callable[[], bool]:
    """Return a step that runs a program of the environment in the checkout."""
    return lambda: run_program([str(_TOOLS / name), *arguments])


def run_program(command: list[str], environment: Mapping[str, str] | None = None) -> bool:
    """Run a program in the checkout and return whether it succeeded; one that is missing did not."""
    try:
        done = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **(environment or {})}, check=False)
    except FileNotFoundError:
        typer.echo(f"{Path(command[0]).name} is missing. Remove .venv and run ./run again to set it up.", err=True)
        return False
    return done.returncode == 0


def _parse_models() -> bool:
    from pydantic import SecretStr

    from market.settings import load_settings
    from warehouse.dbt import dbt_environment

    settings = load_settings().model_copy(update={"database_url": SecretStr(_NO_DATABASE)})
    with tempfile.TemporaryDirectory(prefix="tapehouse-check-") as folder:
        places = {"DBT_TARGET_PATH": f"{folder}/target", "DBT_LOG_PATH": f"{folder}/logs"}
        environment = {**dbt_environment(settings), **places}
        return run_program([str(_TOOLS / "dbt"), "--quiet", "--warn-error", "parse"], environment)


def _compare_sources() -> bool:
    from warehouse.dbt_sources import SOURCES_FILE, render_sources

    if SOURCES_FILE.read_text() == render_sources():
        return True
    typer.echo(
        f"{SOURCES_FILE.relative_to(CHECKOUT)} is not what market/tables.py declares. "
        "Rewrite it: .venv/bin/python -m warehouse.dbt_sources",
        err=True,
    )
    return False


def _parse_scripts() -> bool:
    results = [run_program(["bash", "-n", script]) for script in ("run", ".ci/run")]
    return all(results)


STEPS: Final = (
    Step("format", "ruff format", _tool("ruff", "format", "--check", "--quiet", ".")),
    Step("lint", "ruff", _tool("ruff", "check", "--quiet", ".")),
    Step("types", "mypy, strict", _tool("mypy", "--no-error-summary")),
    Step("architecture", "import-linter", _tool("lint-imports", "--no-logo")),
    Step("sql", "sqlfluff", _tool("sqlfluff", "lint", "--nocolor", "--disable-progress-bar", *_SQL_FOLDERS)),
    Step("models", "dbt parse", _parse_models),
    Step("sources", "dbt's sources are the declared tables", _compare_sources),
    Step("scripts", "bash -n", _parse_scripts),
)
