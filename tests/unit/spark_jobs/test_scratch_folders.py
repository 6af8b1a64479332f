"""Folders for what a process sets aside: below the home, removed afterwards, and after a crash by the next process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from market.settings import CHECKOUT, Settings, load_settings
from spark_jobs.jobs.scratch import scratch_folder

_HOLDS = """
import sys, time
from pathlib import Path
from market.settings import load_settings
from spark_jobs.jobs.scratch import scratch_folder
settings = load_settings().model_copy(update={"home": Path(sys.argv[1])})
with scratch_folder(settings, "recompute") as folder:
    (folder / "rows").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings().model_copy(update={"home": tmp_path / "home"})


def left(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.home / "scratch").iterdir() if path.is_dir())


def test_a_folder_is_empty_below_the_home_and_removed_afterwards(settings: Settings) -> None:
    with scratch_folder(settings, "recompute") as folder:
        assert list(folder.iterdir()) == []
        assert settings.home in folder.parents
        (folder / "rows").write_text("x")
    assert left(settings) == []
    with pytest.raises(KeyError), scratch_folder(settings, "recompute"):
        raise KeyError
    assert left(settings) == []


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next_and_that_of_a_living_one_stays(
    settings: Settings,
) -> None:
    def hold() -> tuple["subprocess.Popen[str]", Path]:
        command = [sys.executable, "-c", _HOLDS, str(settings.home)]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    living, kept = hold()
    killed, lost = hold()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (lost / "rows").exists()
        with scratch_folder(settings, "recompute"):
            assert not lost.exists()
            assert (kept / "rows").exists()
        with scratch_folder(settings, "another"):
            assert (kept / "rows").exists()
    finally:
        living.kill()
        living.wait()
        killed.kill()
