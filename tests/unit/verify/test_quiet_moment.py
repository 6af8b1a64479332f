"""The moment at which a proof opens the lake."""

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from verify.quiet import quiet_moment


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[IO[str]]:
    """The lock of a home, held as a batch or a repair holds it."""
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "trades.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle


def test_a_home_without_a_stream_is_quiet(tmp_path: Path) -> None:
    with quiet_moment(tmp_path) as is_quiet:
        assert is_quiet
    assert list(tmp_path.iterdir()) == []


def test_it_comes_when_the_batch_or_the_repair_is_over(lock: IO[str], tmp_path: Path) -> None:
    release = threading.Timer(0.05, fcntl.flock, (lock, fcntl.LOCK_UN))
    release.start()
    with quiet_moment(tmp_path) as is_quiet:
        assert is_quiet
        assert release.finished.is_set()
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_wait_has_an_end(lock: IO[str], tmp_path: Path) -> None:
    with quiet_moment(tmp_path, patience_seconds=0.02) as is_quiet:
        assert not is_quiet
    assert not lock.closed


def test_two_proofs_do_not_wait_for_each_other(lock: IO[str], tmp_path: Path) -> None:
    fcntl.flock(lock, fcntl.LOCK_UN)
    with quiet_moment(tmp_path) as first, quiet_moment(tmp_path, patience_seconds=0) as second:
        assert (first, second) == (True, True)
