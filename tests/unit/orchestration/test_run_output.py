"""What steps print is kept and shown, without any process beside the run."""

import array
import fcntl
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO

import pytest

from market.settings import CHECKOUT

RUN = """
import os, subprocess, sys, time
from pathlib import Path
import psutil
from orchestration.run_output import RunOutput

output = RunOutput(base_dir=sys.argv[1])
key = ["run", "compute_logs", "step"]
print("before", flush=True)
with output.capture_logs(key):
    print("by Python")
    subprocess.run(["echo", "by a child"], check=True)
    print("to the other one", file=sys.stderr)
    assert psutil.Process().children() == []
    if sys.argv[2] == "fails":
        raise SystemExit(3)
print("after")
assert output.is_capture_complete(key)
data = output.get_log_data(key)
assert data.stdout == b"by Python\\nby a child\\n" or data.stdout == b"by a child\\nby Python\\n", data.stdout
assert data.stderr == b"to the other one\\n", data.stderr
"""


MUCH = """
import os, sys
from orchestration import run_output

os.set_blocking(1, sys.argv[2] == "blocking")
run_output.SHOWN_WITHIN_SECONDS = float(sys.argv[3])
with run_output.RunOutput(base_dir=sys.argv[1]).capture_logs(["run", "compute_logs", "step"]):
    print("x" * 1_000_000)
print("the run goes on", file=sys.stderr)
"""


def run(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(folder), how]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)


def test_output_is_in_the_files_of_the_step_and_where_it_went_before(tmp_path: Path) -> None:
    done = run(tmp_path, "ends")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], sorted(lines[1:3]), lines[3:]) == ("before", ["by Python", "by a child"], ["after"])
    assert done.stderr == "to the other one\n"


def test_what_was_printed_before_a_failure_is_kept_and_shown(tmp_path: Path) -> None:
    done = run(tmp_path, "fails")
    assert done.returncode == 3
    assert set(done.stdout.splitlines()) == {"before", "by Python", "by a child"}
    assert done.stderr == "to the other one\n"
    assert (tmp_path / "run/compute_logs/step.err").read_text() == "to the other one\n"


def print_much(folder: Path, how: str, within_seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MUCH, str(folder), how, str(within_seconds)]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def unread_bytes(pipe: IO[str]) -> int:
    number = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, number)
    return number[0]


@pytest.mark.parametrize("how", ["blocking", "non-blocking"])
def test_a_terminal_that_nobody_reads_does_not_hold_up_the_end_and_the_file_says_what_it_lacks(
    tmp_path: Path, how: str
) -> None:
    with print_much(tmp_path, how, 0.5) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.wait(60) == 0, "its output is a pipe that is full"
        finally:
            process.kill()
        assert process.stderr.read() == "the run goes on\n"
        shown = len(process.stdout.read())
    whole, _, said = (tmp_path / "run/compute_logs/step.out").read_text().partition("\n")
    assert whole == "x" * 1_000_000
    assert 0 < shown < 1_000_001
    left = 1_000_001 - shown
    assert said == (
        f"tapehouse: the last {left:,} bytes are in this file only. Where the run was started nobody read them within 0.5 s.\n"
    )


@pytest.mark.parametrize("how", ["blocking", "non-blocking"])
def test_a_terminal_that_is_read_late_gets_all_of_it(tmp_path: Path, how: str) -> None:
    with print_much(tmp_path, how, 60) as process:
        assert process.stdout is not None
        try:
            full = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ)
            deadline = time.monotonic() + 60
            while unread_bytes(process.stdout) < full:
                assert time.monotonic() < deadline, "its output is not filled"
                time.sleep(0.02)
            assert process.stdout.read() == "x" * 1_000_000 + "\n"
        finally:
            process.kill()
    assert (tmp_path / "run/compute_logs/step.out").read_text() == "x" * 1_000_000 + "\n"
