import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS, main
from market.settings import CHECKOUT, load_settings

HEAVY = {
    "dagster",
    "pyspark",
    "polars",
    "pandas",
    "psycopg",
    "confluent_kafka",
    "structlog",
    "pydantic",
    "exchange_calendars",
}


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["./run", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TAPEHOUSE_HOME", str(tmp_path / "home"))
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        monkeypatch.setenv(name, "")
    return tmp_path / "home"


def test_every_command_is_listed_without_importing_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = "import sys, cli.main; print(*sys.modules)"
    environment = load_settings().child_environment()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(monkeypatch, name, "--help") == 0
    assert f"Usage: ./run {name}" in capsys.readouterr().out


def test_the_version_is_the_declared_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(monkeypatch, "--version") == 0
    number = capsys.readouterr().out.removeprefix("tapehouse ").strip()
    assert f'version = "{number}"' in (CHECKOUT / "pyproject.toml").read_text()


def test_an_unknown_command_exits_2_and_points_to_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(monkeypatch, "stauts") == 2
    said = capsys.readouterr().err
    assert "No such command 'stauts'" in said
    assert "./run --help" in said


def test_an_unknown_setting_is_one_plain_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPEHOUSE_SYMBOL", "SPY")
    assert run_cli(monkeypatch, "status") == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: Unknown setting TAPEHOUSE_SYMBOL.")
    assert "Traceback" not in said


def test_a_defect_ends_in_a_plain_message_after_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.figures.gather", lambda *_: 1 / 0)
    assert run_cli(monkeypatch, "status") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("Error: this should not happen (ZeroDivisionError).")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--feed", "lean"], "'lean' cannot feed a platform that keeps running"),
        (["up", "--symbols", "a/b"], "'A/B' is not a symbol"),
        (["up", "--speed", "0"], "The speed 0 is not above zero"),
        (["up", "--start", "2013-10-07"], "--start does not go with"),
        (["up", "--feed", "alpaca"], "Alpaca needs APCA_API_KEY_ID and APCA_API_SECRET_KEY"),
        (["up", "--feed", "yahoo", "--speed", "10"], "--speed does not go with --feed yahoo"),
        (
            ["up", "--feed", "yahoo", "--closed", "wait"],
            "--closed does not go with --feed yahoo, only with --feed auto",
        ),
        (["up", "--once", "--speed", "10"], "--speed does not go with --once"),
        (["up", "--once", "--feed", "nope"], "There is no feed 'nope'"),
        (["up", "--once", "--start", "2024-02-05", "--end", "2024-02-01"], "The end 2024-02-01 lies before the start"),
        (["up", "--once", "--start", "yesterday"], "--start 'yesterday' is not a date"),
        (
            ["up", "--once", "--feed", "lean", "--symbols", "spy", "--path", "/absent", "--start", "2013-10-07"],
            "/absent",
        ),
    ],
)
def test_a_wrong_request_exits_2_before_anything_starts(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    empty_home: Path,
) -> None:
    assert run_cli(monkeypatch, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not empty_home.exists()


def test_down_says_when_there_is_nothing_to_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    assert run_cli(monkeypatch, "down") == 0
    assert capsys.readouterr().out == f"Nothing runs on {empty_home}.\n"
    assert not empty_home.exists()
