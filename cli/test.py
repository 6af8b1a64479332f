"""``./run test``: the tests, several files at a time."""

import os
import subprocess
import sys
from typing import Annotated, Final

import typer

from market.errors import UsageError
from market.settings import CHECKOUT

TIERS: Final = ("unit", "integration", "faults")
"""Each is a folder of ``tests``."""

_PYTEST_USAGE_ERROR: Final = 4
_WITH_ENGINES_AT_ONCE: Final = 3
"""Tests with engines wait half of the time, for starts, deadlines and each other."""
_BY_FILE: Final = ("--dist", "loadfile", "--no-loadscope-reorder")
"""The tests of a file stay together: they share what is costly to make. The files keep the order that they are given in."""

CONTEXT_SETTINGS: Final = {"ignore_unknown_options": True}
"""For the command line: options that are not known here are pytest's."""


def test(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TIER] [PYTEST ARGUMENT]…", help=f"{', '.join(TIERS)}, and arguments of pytest."),
    ] = None,  # noqa: PT028 - a command, not a test
) -> None:
    """Run the tests: all tiers, or the ones named; exits 1 if one fails."""
    command = [sys.executable, "-m", "pytest", *pytest_arguments(arguments or [])]
    code = subprocess.run(command, cwd=CHECKOUT, env=tests_environment(), check=False).returncode
    raise typer.Exit(UsageError.exit_code if code == _PYTEST_USAGE_ERROR else code)


def pytest_arguments(arguments: list[str]) -> list[str]:
    """Return what pytest is called with: the folders of the tiers, how many files at a time, and the other arguments.

    What takes longest begins first; the unit tests fill what is left of the cores.

    Raises
    ------
    UsageError
        If a tier that was named has no tests.
    """
    named = [tier for tier in TIERS if tier in arguments]
    others = [argument for argument in arguments if argument not in TIERS]
    for tier in named:
        if not (CHECKOUT / "tests" / tier).is_dir():
            msg = f"There are no tests in the tier {tier!r}."
            raise UsageError(msg)
    if not named and any((CHECKOUT / other.split("::", maxsplit=1)[0]).exists() for other in others):
        return others
    tiers = [tier for tier in reversed(TIERS) if tier in (named or TIERS) and (CHECKOUT / "tests" / tier).is_dir()]
    at_once = "logical" if tiers == ["unit"] else str(_WITH_ENGINES_AT_ONCE)
    return [*(f"tests/{tier}" for tier in tiers), "--numprocesses", at_once, *_BY_FILE, *others]


def tests_environment() -> dict[str, str]:
    """Return the environment without the settings of a platform that may be in use: tests have their own."""
    from market.settings import Settings

    settings = {str(field.validation_alias) for field in Settings.model_fields.values()}
    return {name: value for name, value in os.environ.items() if name not in settings}
