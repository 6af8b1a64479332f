"""``./run faults``: the long form of the fault suite, in one run of pytest."""

import ast
import subprocess
import sys
from typing import Annotated, Final

import typer

from cli.test import tests_environment
from market.errors import UsageError
from market.settings import CHECKOUT

FOLDER: Final = CHECKOUT / "tests" / "faults"
_PREFIX: Final = "test_"
_BROKEN: Final = 1
_PYTEST_FOUND_FAILURES: Final = 1
_PYTEST_INTERRUPTED: Final = 2
_INTERRUPTED: Final = 130


def faults(
    *,
    rounds: Annotated[
        int, typer.Option(min=1, help="Random kills; each named point gets a fifth of them, the others one in 25.")
    ] = 1,
    only: Annotated[str | None, typer.Option(metavar="NAME", help="One fault; all of them without it.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of tapes and moments; random, and printed, without it.")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show the faults and exit.")] = False,
) -> None:
    """Try every fault, a line a round, and sum up which ones the laws survived; exits 1 if a law broke."""
    if show_list:
        for name, says in fault_names().items():
            typer.echo(f"{name:<24} {says}")
        return
    command = [sys.executable, "-m", "pytest", *pytest_arguments(rounds, only, seed)]
    code = subprocess.run(command, cwd=CHECKOUT, env=tests_environment(), check=False).returncode
    if code == _PYTEST_INTERRUPTED:
        raise typer.Exit(_INTERRUPTED)
    raise typer.Exit(_BROKEN if code == _PYTEST_FOUND_FAILURES else code)


def pytest_arguments(rounds: int, only: str | None, seed: int | None) -> list[str]:
    """Return what pytest is called with.

    Raises
    ------
    UsageError
        If there is no such fault.
    """
    names = fault_names()
    if only is not None and only not in names:
        msg = f"{only!r} is not a fault. The faults are: {', '.join(names)}."
        raise UsageError(msg)
    chosen = [only] if only else list(names)
    files = [f"{FOLDER.relative_to(CHECKOUT)}/{_PREFIX}{name}.py" for name in chosen]
    seeds = [] if seed is None else ["--fault-seed", str(seed)]
    return [*files, "-q", "--fault-rounds", str(rounds), *seeds]


def fault_names() -> dict[str, str]:
    """Return each fault with the first line of what its tests say: the modules of the suite."""
    modules = sorted(FOLDER.glob(f"{_PREFIX}*.py"))
    said = {path: ast.get_docstring(ast.parse(path.read_text())) or "" for path in modules}
    return {path.stem.removeprefix(_PREFIX): text.partition("\n")[0] for path, text in said.items()}
