"""``./run test``: the tests, tier by tier; those that need no engine run on all cores."""

import os
import subprocess
import sys
from typing import Annotated, Final

import typer

from market.errors import UsageError
from market.settings import CHECKOUT

TIERS: Final = ("unit", "integration", "faults")
"""In the order in which they run: the fast ones first. Each is a folder of ``tests``."""

_PYTEST_OK: Final = 0
_PYTEST_USAGE_ERROR: Final = 4
_PYTEST_NO_TESTS: Final = 5
_ON_ALL_CORES: Final = ("--numprocesses", "logical", "--dist", "loadfile")
"""The tests of a file stay together: they share what is costly to make."""

CONTEXT_SETTINGS: Final = {"ignore_unknown_options": True}
"""For the command line: options that are not known here are pytest's."""


def test(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TIER] [PYTEST ARGUMENT]…", help=f"{', '.join(TIERS)}, and arguments of pytest."),
    ] = None,  # noqa: PT028 - a command, not a test
) -> None:
    """Run the tests: all tiers, or the ones named; exits 1 if one fails."""
    codes = [
        subprocess.run(
            [sys.executable, "-m", "pytest", *run], cwd=CHECKOUT, env=tests_environment(), check=False
        ).returncode
        for run in pytest_runs(arguments or [])
    ]
    failed = [code for code in codes if code not in {_PYTEST_OK, _PYTEST_NO_TESTS}]
    code = next(iter(failed), _PYTEST_OK if _PYTEST_OK in codes else _PYTEST_NO_TESTS)
    raise typer.Exit(UsageError.exit_code if code == _PYTEST_USAGE_ERROR else code)


def pytest_runs(arguments: list[str]) -> list[list[str]]:
    """Return what pytest is called with, one run after the other: the folders of the tiers in order, and the other arguments.

    The unit tests have a run of their own, on all cores; whatever starts engines has the machine for itself.

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
        return [others]
    folders = {tier: f"tests/{tier}" for tier in named or TIERS if (CHECKOUT / "tests" / tier).is_dir()}
    with_engines = [folder for tier, folder in folders.items() if tier != "unit"]
    side_by_side = [[folders["unit"], *_ON_ALL_CORES, *others]] if "unit" in folders else []
    return [*side_by_side, *([[*with_engines, *others]] if with_engines else [])]


def tests_environment() -> dict[str, str]:
    """Return the environment without the settings of a platform that may be in use: tests have their own."""
    from market.settings import Settings

    settings = {str(field.validation_alias) for field in Settings.model_fields.values()}
    return {name: value for name, value in os.environ.items() if name not in settings}
