"""Folders of a home for what a process sets aside while it works; those of processes that were killed are removed."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from market.settings import Settings

_LOCK = "lock"


@contextmanager
def scratch_folder(settings: Settings, name: str) -> Iterator[Path]:
    """Make an empty folder below the home, and remove it afterwards.

    The system's folder for temporary files may be a small file system in memory; the home is where large things are. Each folder
    has a lock, which ends with its process, however that ends: folders whose lock is free are removed first.

    Parameters
    ----------
    settings
        The home.
    name
        What it is for: folders of one name are those of processes of one kind.
    """
    root = settings.home / "scratch"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / f"{name}.{_LOCK}").open("a") as guard:
        fcntl.flock(
            guard, fcntl.LOCK_EX
        )  # a folder whose process has not locked it yet looks like one that was left behind
        for left in root.glob(f"{name}-*"):
            _remove_if_left(left)
        folder = Path(mkdtemp(prefix=f"{name}-", dir=root))
        own = (folder / _LOCK).open("a")
        fcntl.flock(own, fcntl.LOCK_EX)
    try:
        files = folder / "files"
        files.mkdir()
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        own.close()


def _remove_if_left(folder: Path) -> None:
    """Remove a folder if nobody holds its lock."""
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)
