"""The commands check, test, faults and bench: what they run, and that they never pass by not looking."""

import importlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer

from benchmarks.figures import Figure
from cli import bench as bench_command
from cli import check as check_command
from cli.bench import HEADER, as_line, bench, benchmark_names, benchmark_parts
from cli.check import STEPS, Step, check, run_program
from cli.faults import fault_names, faults
from cli.faults import pytest_arguments as fault_arguments
from cli.test import TIERS, pytest_arguments
from cli.test import test as run_tests
from market.errors import UsageError
from market.settings import CHECKOUT, Settings


def steps(*outcomes: bool) -> tuple[tuple[Step, ...], list[str]]:
    """Return steps with these outcomes, and the list in which each writes its name when it runs."""
    ran: list[str] = []

    def run(name: str, *, passes: bool) -> bool:
        ran.append(name)
        return passes

    made = [
        Step(f"step{number}", "a test", lambda number=number, passes=passes: run(f"step{number}", passes=passes))  # type: ignore[misc]
        for number, passes in enumerate(outcomes)
    ]
    return tuple(made), ran


def test_every_check_runs_even_after_one_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, ran = steps(True, False, True)
    monkeypatch.setattr(check_command, "STEPS", made)
    with pytest.raises(typer.Exit) as caught:
        check()
    assert caught.value.exit_code == 1
    assert ran == ["step0", "step1", "step2"]
    assert "1 of 3 checks failed: step1" in capsys.readouterr().out


def test_checks_that_all_pass_end_without_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = steps(True, True)
    monkeypatch.setattr(check_command, "STEPS", made)
    check()
    assert "all 2 checks passed" in capsys.readouterr().out


def test_single_checks_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made, ran = steps(True, False, True)
    monkeypatch.setattr(check_command, "STEPS", made)
    check(["step2"])
    assert ran == ["step2"]


def test_an_unknown_check_is_refused_with_the_names() -> None:
    with pytest.raises(UsageError, match=r"'spelling' is not a check.*format, lint, types"):
        check(["spelling"])


def test_a_missing_tool_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert not run_program([str(CHECKOUT / ".venv" / "bin" / "no-such-tool")])
    assert "no-such-tool is missing" in capsys.readouterr().err


def test_the_commit_hooks_run_only_checks_that_exist() -> None:
    lines = (CHECKOUT / ".pre-commit-config.yaml").read_text().splitlines()
    entries = [line.split("./run check ", maxsplit=1)[1].split() for line in lines if "entry: ./run check " in line]
    named = {name for entry in entries for name in entry}
    assert named == {step.name for step in STEPS}


BY_FILE = ["--dist", "loadfile", "--no-loadscope-reorder"]


def test_what_takes_longest_begins_first() -> None:
    folders = [f"tests/{tier}" for tier in ("faults", "integration", "unit")]
    assert set(folders) == {f"tests/{tier}" for tier in TIERS}
    assert pytest_arguments([]) == [*folders, "--numprocesses", "3", *BY_FILE]
    assert pytest_arguments(["unit", "integration"])[:2] == folders[1:]


def test_the_unit_tests_alone_run_on_all_cores() -> None:
    assert pytest_arguments(["unit", "-k", "bars", "-x"]) == [
        *("tests/unit", "--numprocesses", "logical"),
        *BY_FILE,
        *("-k", "bars", "-x"),
    ]


def test_a_file_or_a_test_stands_for_itself() -> None:
    one = "tests/unit/test_architecture.py::test_imports_keep_the_declared_direction"
    assert pytest_arguments([one, "-v"]) == [one, "-v"]


def test_a_tier_without_tests_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cli.test.CHECKOUT", tmp_path)
    with pytest.raises(UsageError, match="faults"):
        pytest_arguments(["faults"])


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 2), (4, 2), (5, 5)])
def test_the_exit_code_is_that_of_pytest_but_for_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, code: int, expected: int
) -> None:
    monkeypatch.setattr("cli.test.subprocess.run", lambda command, **_: subprocess.CompletedProcess(command, code))
    with pytest.raises(typer.Exit) as exited:
        run_tests([])
    assert exited.value.exit_code == expected


def test_the_long_form_runs_every_fault_so_many_rounds() -> None:
    files = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "tests" / "faults").glob("test_*.py")}
    *paths, quiet, option, number = fault_arguments(50, None, None)
    assert set(paths) == files
    assert (quiet, option, number) == ("-q", "--fault-rounds", "50")


def test_one_fault_is_chosen_by_name_and_a_seed_is_passed_on() -> None:
    wanted = ["tests/faults/test_disk_full.py", "-q", "--fault-rounds", "3", "--fault-seed", "7"]
    assert fault_arguments(3, "disk_full", 7) == wanted


def test_an_unknown_fault_is_refused_with_the_names() -> None:
    with pytest.raises(UsageError, match=r"'earthquake' is not a fault.*disk_full"):
        fault_arguments(1, "earthquake", None)


def test_the_faults_are_listed_with_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    faults(show_list=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(fault_names()) >= 10
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


@pytest.mark.parametrize(("ended", "code"), [(0, 0), (1, 1), (2, 130), (4, 4)])
def test_the_end_of_the_suite_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, ended: int, code: int) -> None:
    done: subprocess.CompletedProcess[bytes] = subprocess.CompletedProcess([], ended)
    monkeypatch.setattr("cli.faults.subprocess.run", lambda *_arguments, **_options: done)
    with pytest.raises(typer.Exit) as caught:
        faults()
    assert caught.value.exit_code == code


FIGURE = Figure(
    figure="publisher, encoding included",
    value=123456.7,
    unit="messages/s",
    peer="bare loop, ready bytes",
    peer_value=200000.0,
    ratio=0.617283,
    goal="ratio >= 0.5",
    holds=True,
    spread=0.0312,
)
ALONE = Figure("wall time", 91.25, "s", None, None, None, "< 90 s", holds=False, spread=0.0)


def test_a_figure_is_one_line_with_the_fields_of_the_header() -> None:
    line = as_line(FIGURE)
    expected = "publisher; encoding included, 123457, messages/s, bare loop; ready bytes, 200000, 0.6173, ratio >= 0.5, yes, 3.1%"
    assert line == expected
    assert len(line.split(", ")) == len(HEADER.split(", "))


def test_a_figure_without_a_peer_that_does_not_hold_is_a_line_like_the_others() -> None:
    assert as_line(ALONE) == "wall time, 91.25, s, -, -, -, < 90 s, no, 0.0%"


@pytest.fixture
def one_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A benchmark ``fake`` that yields two figures, on a home where nothing runs."""
    module = ModuleType("benchmarks.fake")

    def run(settings: Settings) -> Iterator[Figure]:
        assert settings.home == tmp_path
        yield FIGURE
        yield ALONE

    vars(module)["run"] = run
    monkeypatch.setenv("TAPEHOUSE_HOME", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "benchmarks.fake", module)
    monkeypatch.setattr(bench_command, "benchmark_names", lambda: ["fake"])
    monkeypatch.setattr(
        "cli.logs.configure_logging", lambda **_: None
    )  # it would hold on to the captured standard error


@pytest.mark.usefixtures("one_benchmark")
def test_bench_prints_a_line_for_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    bench()
    assert capsys.readouterr().out.splitlines() == [HEADER, as_line(FIGURE), as_line(ALONE)]


@pytest.mark.usefixtures("one_benchmark")
def test_bench_prints_a_json_object_for_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    bench("fake", json_output=True)
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["peer_value"] == 200000.0
    assert second["ratio"] is None
    assert second["holds"] is False


def test_an_unknown_benchmark_is_refused_with_the_names() -> None:
    with pytest.raises(UsageError, match=r"'nothing' is not a benchmark.*publisher"):
        bench("nothing")


def test_the_benchmarks_are_the_modules_that_measure() -> None:
    assert {"publisher", "lake"} <= set(benchmark_names())
    assert not {"figures", "progress", "peers"} & set(benchmark_names())


def test_every_part_of_a_benchmark_can_be_run_alone() -> None:
    parts = benchmark_parts()
    assert "lake.live" in parts
    for part in parts:
        assert callable(importlib.import_module(f"benchmarks.{part}").run)
