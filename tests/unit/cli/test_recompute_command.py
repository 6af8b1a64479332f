"""The command of the deep path: what it asks for, what it prints, and its exit code; the deep path is played by the test."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from cli.main import main
from market.errors import ServiceError
from market.settings import Settings
from spark_jobs.report import Differences, RecomputeRequest, SessionReport

Call = Callable[..., tuple[int, str, str]]
MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
FOUND = {"silver/trades": Differences(missing=1_234, unexpected=2, different=3)}


class PlayedDeepPath:
    """Reports a session that differs, unless everything is right."""

    def __init__(self) -> None:
        self.asked: list[RecomputeRequest] = []
        self.differences = FOUND
        self.fails = False

    def __call__(self, settings: Settings, request: RecomputeRequest) -> Iterator[SessionReport]:
        self.asked.append(request)
        assert settings.home.name == "home"
        yield SessionReport(None, 0, 2, 0, 0, {}, is_repaired=False, seconds=0.1)
        repaired = bool(self.differences) and not request.dry_run
        yield SessionReport(MONDAY, 5_000, 0, 30, 20, self.differences, is_repaired=repaired, seconds=1.2)
        if self.fails:
            msg = "The lake cannot be read."
            raise ServiceError(msg)


@pytest.fixture
def deep_path(monkeypatch: pytest.MonkeyPatch) -> PlayedDeepPath:
    played = PlayedDeepPath()
    monkeypatch.setattr("spark_jobs.report.recompute", played)
    return played


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("TAPEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["run", "recompute", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_what_differed_and_was_repaired_is_shown(call: Call, deep_path: PlayedDeepPath) -> None:
    code, out, _ = call("--start", "2013-10-07", "--end", "2013-10-08", "--symbols", "spy,IBM")
    assert code == 0
    assert deep_path.asked == [RecomputeRequest(MONDAY, TUESDAY, ("SPY", "IBM"))]
    assert "silver/trades: 1,234 missing, 2 unexpected, 3 different" in out
    assert "cancels and corrections" in out
    assert "5,000" in out


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


def test_a_failure_is_one_plain_message(call: Call, deep_path: PlayedDeepPath) -> None:
    deep_path.fails = True
    code, _, err = call("--start", "2013-10-07")
    assert code == 1
    assert "Error: The lake cannot be read." in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [(), ("--start", "yesterday"), ("--start", "2013-10-07", "--symbols", "a/b"), ("--end", "2013-10-07")]
)
def test_wrong_usage_exits_2(call: Call, deep_path: PlayedDeepPath, arguments: tuple[str, ...]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert deep_path.asked == []
