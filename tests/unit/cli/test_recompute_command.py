"""The command of the deep path: what it asks for, what it prints, and its exit code; the deep path is played by the test."""

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import psutil
import pytest

from market.errors import ServiceError
from market.settings import CHECKOUT, Settings, load_settings
from spark_jobs.report import Differences, RecomputeRequest, SessionReport
from tests.unit.cli.conftest import CallCommand

Call = Callable[..., tuple[int, str, str]]
MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
FOUND = {"silver/trades": Differences(missing=1_234, unexpected=2, different=3)}


class PlayedDeepPath:
    """Reports a session that differs, unless everything is right."""

    def __init__(self) -> None:
        self.asked: list[RecomputeRequest] = []
        self.differences = FOUND
        self.fails = False
        self.trades = 5_000

    def __call__(
        self, settings: Settings, request: RecomputeRequest, *, prefix: Sequence[str]
    ) -> Iterator[SessionReport]:
        self.asked.append(request)
        assert settings.home.is_dir()
        assert "--pdeathsig" in prefix
        yield SessionReport(None, 0, 2, 0, 0, {}, is_repaired=False, seconds=0.1)
        repaired = bool(self.differences) and not request.dry_run
        yield SessionReport(MONDAY, self.trades, 0, 30, 20, self.differences, is_repaired=repaired, seconds=1.2)
        if self.fails:
            msg = "The lake cannot be read."
            raise ServiceError(msg)


@pytest.fixture
def deep_path(monkeypatch: pytest.MonkeyPatch) -> PlayedDeepPath:
    played = PlayedDeepPath()
    monkeypatch.setattr("spark_jobs.report.recompute", played)
    return played


@pytest.fixture(autouse=True)
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs of Dagster that were run."""
    run: list[str] = []
    monkeypatch.setattr("orchestration.run.run_jobs", lambda _settings, names: run.extend(names))
    return run


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    """Runs the command; returns the exit code and what it printed."""
    return functools.partial(call_command, "recompute")


def test_what_differed_and_was_repaired_is_shown(call: Call, deep_path: PlayedDeepPath) -> None:
    code, out, _ = call("--start", "2013-10-07", "--end", "2013-10-08", "--symbols", "spy,IBM")
    assert code == 0
    assert deep_path.asked == [RecomputeRequest(MONDAY, TUESDAY, ("SPY", "IBM"))]
    assert "silver/trades: 1,234 missing, 2 unexpected, 3 different" in out
    assert "beside the sessions" in out
    assert "5,000" in out


def test_the_marts_are_built_after_a_repair_and_only_then(
    call: Call, deep_path: PlayedDeepPath, jobs: list[str]
) -> None:
    call("--start", "2013-10-07", "--dry-run")
    assert jobs == []
    assert call("--start", "2013-10-07", "--json")[0] == 0
    assert jobs == ["marts"]
    deep_path.differences = {}
    call("--start", "2013-10-07")
    assert jobs == ["marts"]


def test_a_dry_run_that_finds_something_exits_1(call: Call, deep_path: PlayedDeepPath) -> None:
    code, out, _ = call("--start", "2013-10-07", "--dry-run", "--json")
    assert code == 1
    assert deep_path.asked == [RecomputeRequest(MONDAY, MONDAY, dry_run=True)]
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["session_date"], line["differing"], line["is_repaired"]) for line in lines] == [
        (None, 0, False),
        ("2013-10-07", 1_239, False),
    ]
    deep_path.differences = {}
    assert call("--start", "2013-10-07", "--dry-run")[0] == 0


def test_a_symbol_or_a_range_without_trades_is_named(call: Call, deep_path: PlayedDeepPath) -> None:
    deep_path.trades, deep_path.differences = 0, {}
    code, _, err = call("--start", "2013-10-07", "--end", "2013-10-08", "--symbols", "nosuch,ibm")
    assert code == 2
    assert "There are no trades, quotes or vendor bars of NOSUCH, IBM from 2013-10-07 to 2013-10-08" in err
    code, out, err = call("--start", "2013-10-07", "--json", "--dry-run")
    assert code == 2
    assert "There are no trades, quotes or vendor bars on 2013-10-07" in err
    assert len(out.splitlines()) == 2
    deep_path.differences = FOUND  # rows that nothing in bronze accounts for
    assert call("--start", "2013-10-07")[0] == 0


def test_a_failure_is_one_plain_message_and_what_was_repaired_before_is_in_the_marts(
    call: Call, deep_path: PlayedDeepPath, jobs: list[str]
) -> None:
    deep_path.fails = True
    code, _, err = call("--start", "2013-10-07")
    assert code == 1
    assert "Error: The lake cannot be read." in err
    assert "Traceback" not in err
    assert jobs == ["marts"]


@pytest.mark.parametrize(
    "arguments", [(), ("--start", "yesterday"), ("--start", "2013-10-07", "--symbols", "a/b"), ("--end", "2013-10-07")]
)
def test_wrong_usage_exits_2(call: Call, deep_path: PlayedDeepPath, arguments: tuple[str, ...]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert deep_path.asked == []


CALLED_WITH_ANOTHER_PROGRAM = """
import sys
sys.executable = sys.argv.pop(1)
from cli.main import main
main()
"""


def test_the_process_of_the_deep_path_ends_with_the_command_even_if_that_is_killed(tmp_path: Path) -> None:
    program, pid_file = tmp_path / "program", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60\n")
    program.chmod(0o700)
    command = [sys.executable, "-c", CALLED_WITH_ANOTHER_PROGRAM, str(program), "recompute", "--start", "2013-10-07"]
    environment = load_settings().child_environment() | {"TAPEHOUSE_HOME": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, cwd=CHECKOUT)
    try:
        wait_until(pid_file.exists)
    finally:
        process.kill()
        process.wait()
    child = int(pid_file.read_text())
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
