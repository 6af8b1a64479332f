"""Runs that start as forks: what they need is there before they begin, and what cannot be imported is left to them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from market.settings import CHECKOUT

pytestmark = pytest.mark.integration

SCRIPT = """
import os, sys
from orchestration.warm_runs import start_runs_warm

def tell(queue):
    there = [name for name in {names!r} if name in sys.modules]
    queue.put((os.getpid(), os.getppid(), there))

if __name__ == "__main__":
    start_runs_warm()
    from dagster._grpc import server
    way = server.multiprocessing.get_context("spawn")
    found = []
    for _ in range(2):
        queue = way.Queue()
        process = way.Process(target=tell, args=[queue])
        process.start()
        found.append(queue.get(timeout=120))
        process.join()
    (first, parent, there), (second, other_parent, _) = found
    assert len({{first, second, parent, os.getpid()}}) == 4, "each run is a process of its own, and no child of the server"
    assert parent == other_parent
    print(*there)
"""
NAMES = ("orchestration.definitions", "dbt.cli.main", "quality.suites", "great_expectations")


def warm(folder: Path, **environment: str) -> list[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(names=NAMES))
    home = {"TAPEHOUSE_HOME": str(folder / "home"), "PYTHONPATH": str(CHECKOUT), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**home, **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_run_finds_everything_imported(tmp_path: Path) -> None:
    assert warm(tmp_path) == list(NAMES)


def test_what_cannot_be_imported_is_left_to_the_run(tmp_path: Path) -> None:
    assert warm(tmp_path, TAPEHOUSE_LOG_LEVEL="nonsense") == [
        name for name in NAMES if name != "orchestration.definitions"
    ]
