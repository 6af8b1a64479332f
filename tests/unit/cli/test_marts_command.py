"""The command that builds the marts: what it asks for and how it ends; dbt and the database are played by the test."""

import functools
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from market.errors import ImpossibleValuesError, ModelsFailedError, SettingsError, UsageError
from market.settings import Settings
from quality.checks import Quality
from tests.unit.cli.conftest import CallCommand
from warehouse.marts import Rebuild

Call = Callable[..., tuple[int, str, str]]


class Played:
    """Knows three sessions; builds what it is asked to, or fails."""

    def __init__(self) -> None:
        self.forgotten: list[Rebuild] = []
        self.built: list[Sequence[str]] = []
        self.fails = False
        self.failed_checks: list[str] = []
        self.is_possible = True

    def require_possible(self) -> None:
        if not self.is_possible:
            msg = "lake.vendor_bars: low is above 0; not so in 1 row"
            raise ImpossibleValuesError(msg)

    def forget(self, _settings: Settings, rebuild: Rebuild, on_wait: Callable[[str, float], None]) -> int:
        on_wait("marts.intraday_ohlcv", 35.2)
        if rebuild.symbols == ("NOSUCH",):
            msg = f"The marts have no session{rebuild}, nor has the lake."
            raise UsageError(msg)
        self.forgotten.append(rebuild)
        return 3

    def run(self, _settings: Settings, names: Sequence[str]) -> list[str]:
        self.built.append(names)
        if self.fails:
            msg = "The test not_null of bars failed: 2 rows."
            raise ModelsFailedError(msg)
        return self.failed_checks


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr("warehouse.marts.forget_builds", played.forget)
    monkeypatch.setattr("orchestration.run.run_jobs", played.run)
    monkeypatch.setattr(Quality, "require_possible", played.require_possible)
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody@127.0.0.1:1/nowhere")
    return played


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    """Runs the command; returns the exit code and what it printed."""
    return functools.partial(call_command, "marts")


def test_the_marts_are_built(call: Call, played: Played) -> None:
    code, out, _ = call()
    assert (code, played.forgotten, played.built) == (0, [], [["marts"]])
    assert "every test and check holds" in out


def test_sessions_are_built_again_when_asked_for(call: Call, played: Played) -> None:
    code, out, err = call("--rebuild", "--start", "2013-10-07", "--symbols", "spy,IBM")
    assert code == 0
    assert played.forgotten == [Rebuild(date(2013, 10, 7), None, ("SPY", "IBM"))]
    assert out.index("Looking at every row that the marts are made from") < out.index("Building 3 sessions again")
    assert "Waiting for marts.intraday_ohlcv since 35 s" in err
    assert call("--rebuild")[0] == 0
    assert played.forgotten[1] == Rebuild()
    assert len(played.built) == 2


def test_a_failing_test_of_the_marts_is_one_plain_message(call: Call, played: Played) -> None:
    played.fails = True
    code, out, err = call()
    assert code == 1
    assert "Error: The test not_null of bars failed: 2 rows." in err
    assert "holds" not in out


def test_a_check_that_fails_after_the_build_is_no_success(call: Call, played: Played) -> None:
    played.failed_checks = ["possible_values of marts/daily_analytics"]
    code, out, err = call()
    assert code == 1
    assert "possible_values of marts/daily_analytics" in err
    assert "holds" not in out


def test_nothing_is_forgotten_for_values_that_are_not_possible(call: Call, played: Played) -> None:
    played.is_possible = False
    code, _, err = call("--rebuild")
    assert (code, played.forgotten, played.built) == (1, [], [])
    assert "low is above 0; not so in 1 row" in err
    assert call()[0] == 0, "without --rebuild only what is queued is built, and looked at by the run"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--start", "2013-10-07"),
        ("--symbols", "spy"),
        ("--rebuild", "--start", "yesterday"),
        ("--rebuild", "--symbols", "nosuch"),
        ("--rebuild", "--start", "2013-10-08", "--end", "2013-10-07"),
    ],
)
def test_wrong_usage_builds_nothing(call: Call, played: Played, arguments: tuple[str, ...]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert played.built == []


def test_without_a_database_nothing_can_be_built(call: Call, played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    code, _, err = call("--rebuild")
    assert code == 2
    assert "PostgreSQL is not running here" in err
    assert played.forgotten == []


@pytest.mark.parametrize("arguments", [("marts",), ("marts", "--rebuild"), ("up",), ("up", "--once")])
def test_a_choice_that_cannot_be_built_is_refused_before_anything_is_done(
    arguments: tuple[str, ...],
    call_command: CallCommand,
    played: Played,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def refuse() -> None:
        msg = "indicator_segments of dbt_project.yml has 'lunch'."
        raise SettingsError(msg)

    monkeypatch.setattr("warehouse.dbt_indicators.require_buildable", refuse)
    code, _, problem = call_command(*arguments)
    assert (code, problem) == (2, "Error: indicator_segments of dbt_project.yml has 'lunch'.\n")
    assert (played.forgotten, played.built) == ([], [])
    assert not (tmp_path / "postgres").exists()
