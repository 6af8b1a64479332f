"""The house rules that a program can check: who imports whom, how long a module is, that it says what belongs in it."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from market.settings import CHECKOUT

PACKAGES = (
    "alerts",
    "benchmarks",
    "cli",
    "infra",
    "ingest",
    "market",
    "orchestration",
    "quality",
    "spark_jobs",
    "verify",
    "warehouse",
)
MAX_LINES = 400
PROJECT_MODULES = sorted(path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))
EVERY_MODULE = PROJECT_MODULES + sorted((CHECKOUT / "tests").rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def test_imports_keep_the_declared_direction() -> None:
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / "lint-imports"), "--no-logo", "--no-cache"],
        cwd=CHECKOUT,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 broken." in done.stdout


def test_every_package_is_under_the_contracts() -> None:
    packages = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}
    assert packages <= set(PACKAGES)


@pytest.mark.parametrize("path", EVERY_MODULE, ids=named)
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", EVERY_MODULE, ids=named)
def test_a_module_is_named_for_what_it_does(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "misc", "common"}


def test_no_two_test_modules_have_the_same_name() -> None:
    """pytest takes a second module of one name for the first, and runs nothing of it."""
    names = Counter(path.stem for path in (CHECKOUT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", PROJECT_MODULES, ids=named)
def test_a_module_says_what_belongs_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", [path for path in PROJECT_MODULES if named(path).split("/")[0] != "cli"], ids=named)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


READS_THE_ENVIRONMENT = {
    "market/settings.py",  # the one place for settings
    "orchestration/dbt.py",  # lends dbt its variables for a run and puts back what was there
    "benchmarks/peers/stock_dagster.py",  # loaded by Dagster's own command, which has no other way to be told
}


@pytest.mark.parametrize(
    "path", [path for path in PROJECT_MODULES if named(path) not in READS_THE_ENVIRONMENT], ids=named
)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    """A child process may be given the parent's environment whole (``{**os.environ, …}``, ``os.environ.items()``)."""
    tree = ast.parse(path.read_text())
    reads = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Subscript) and is_environ(node.value))
        or (isinstance(node, ast.Attribute) and node.attr in {"get", "setdefault", "pop"} and is_environ(node.value))
        or (isinstance(node, ast.Attribute) and node.attr == "getenv")
    ]
    assert not reads


def is_environ(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"
