"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from market.errors import ServiceError
from market.settings import CHECKOUT
from orchestration.locks import exclusive

HOLD = """
import sys
from pathlib import Path
from orchestration.locks import exclusive
with exclusive(Path(sys.argv[1]), timeout_seconds=5, purpose="holding"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


def test_a_lock_is_free_again_after_its_block(path: Path) -> None:
    for _ in range(2):
        with exclusive(path, timeout_seconds=0, purpose="testing"):
            assert path.exists()


def test_a_lock_that_another_process_holds_is_an_error_that_says_for_what(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=CHECKOUT
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ServiceError, match="counting sheep"),
            exclusive(path, timeout_seconds=0.2, purpose="counting sheep"),
        ):
            pass
        holder.kill()
        holder.wait(10)
    with exclusive(path, timeout_seconds=5, purpose="testing"):
        pass
