"""What ``./run backfill`` says and exits with when nobody has to be asked, and of files."""

import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cli import backfill
from ingest.history import door, files, order
from ingest.history.turn import turn
from tests.unit.cli.conftest import CallCommand
from warehouse import history
from warehouse.stored_values import STORED_SCHEMA

HEADER = "symbol,timestamp,open,high,low,close,volume\n"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(call_command: CallCommand, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs it on a lake that lacks nothing of a vendor, and was never given a bar of NEW in two sessions."""

    def nothing(*_place: Any, **_range: Any) -> dict[str, list[tuple[int, int]]]:
        return {}

    def two_of_new(*place: Any, **_range: Any) -> dict[str, tuple[int, date, date]]:
        return {symbol: (2, date(2013, 10, 8), date(2013, 10, 10)) for symbol in place[3] if symbol == "NEW"}

    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")

    def nope(*place: Any, **_range: Any) -> list[str]:
        return [symbol for symbol in place[3] if symbol == "NOPE"]

    monkeypatch.setattr(order, "missing_sessions", nothing)
    monkeypatch.setattr(order, "unknown_symbols", nope)
    monkeypatch.setattr(order, "withheld_sessions", nothing)
    monkeypatch.setattr(history, "without_bars", two_of_new)

    def run(*arguments: str) -> tuple[int, str, str]:
        return call_command("backfill", *arguments, "--start", "2013-10-07", "--end", "2013-10-11")

    return run


@pytest.fixture
def read(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs it on a file with some rows, of which the lake has SPY's bar of 7 October."""
    import polars as pl

    def stored(*_place: Any, **_range: Any) -> pl.DataFrame:
        opened = 1_381_152_600_000_000
        return pl.DataFrame([("SPY", opened, 1, 1, 1, 1, 1)], schema=STORED_SCHEMA, orient="row")

    def no_closes(*_place: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(files, "stored_values", stored)
    monkeypatch.setattr(door, "known_closes", no_closes)

    def run(rows: str, *arguments: str) -> tuple[int, str, str]:
        (tmp_path / "bars.csv").write_text(HEADER + rows)
        return call("--feed", "csv", "--path", str(tmp_path / "bars.csv"), "--dry-run", *arguments)

    return run


def test_nothing_is_missing_says_what_had_no_bar_and_how_to_ask_again(call: Call) -> None:
    code, out, _ = call("--feed", "yahoo", "--symbols", "SPY,NEW")
    assert code == 0
    assert out.splitlines() == [
        "Nothing is missing of 5 sessions of 2 symbols. Nobody was asked.",
        "NEW: yahoo had no bar of 2 sessions (2013-10-08 … 2013-10-10); --again asks once more.",
    ]


def test_a_symbol_that_the_source_did_not_know_is_said_again_and_fails_again(call: Call) -> None:
    code, out, err = call("--feed", "yahoo", "--symbols", "SPY,NOPE")
    assert code == 1
    assert out == "Nothing is missing of 5 sessions of 2 symbols. Nobody was asked.\n"
    assert err == "NOPE: the source does not know it; --again asks once more.\n"


def test_what_is_for_other_plans_only_is_said_again_and_fails_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "withheld_sessions", lambda *_place, **_range: {"SPY": 3, "IBM": 2})
    code, out, _ = call("--feed", "yahoo", "--symbols", "SPY,IBM")
    assert code == 0
    beyond = "that the source may have (5 are for other plans only; --again asks once more)"
    assert out == f"Nothing is missing of 5 sessions of 2 symbols {beyond}. Nobody was asked.\n"


def test_where_the_source_has_none_of_it_nobody_is_told_that_nothing_is_missing(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "withheld_sessions", lambda *_place, **_range: {"SPY": 5, "IBM": 5})
    _, out, _ = call("--feed", "yahoo", "--symbols", "SPY,IBM")
    said = "10 are for other plans only; --again asks once more"
    assert out == f"The source has none of 5 sessions of 2 symbols: {said}. Nobody was asked.\n"


def test_a_dry_run_of_asking_again_says_what_that_would_ask_for_and_forgets_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_place: Any, again: bool, **_range: Any) -> dict[str, list[tuple[int, int]]]:
        return {"SPY": [(0, 5)]} if again else {}

    monkeypatch.setattr(order, "missing_sessions", missing)
    asked = ("--feed", "yahoo", "--symbols", "SPY", "--dry-run")
    assert "Nothing is missing" in call(*asked)[1]
    code, out, _ = call(*asked, "--again")
    assert code == 0
    assert "1 requests for 5 sessions of 1 symbols" in out


def test_a_dry_run_of_a_file_says_what_would_be_published_and_what_is_wrong(read: Call) -> None:
    rows = "SPY,2013-10-07,1,1,1,1,1\nSPY,2013-10-08,1,1,1,1,1\nIBM,2013-10-08,1,1,1,x,1\n"
    code, out, _ = read(rows)
    assert code == 1
    assert "2 bars read, 1 of them in the lake already with the same values; 1 would be published. Nothing was." in out
    assert "bars.csv, line 4: close 'x'" in out
    _, out, _ = read(rows, "--json")
    first = next(found for found in map(json.loads, out.splitlines()) if found["symbol"] == "SPY")
    assert (first["read"], first["there"], first["bars"], first["problems"]) == (2, 1, 1, {})


def test_a_file_of_which_the_lake_has_everything_publishes_nothing_and_is_a_success(read: Call) -> None:
    code, out, _ = read("SPY,2013-10-07,1,1,1,1,1\n")
    assert code == 0
    assert "1 bars read, 1 of them in the lake already with the same values; 0 would be published. Nothing was." in out


def test_what_cannot_be_a_symbol_is_said_and_fails_also_if_nothing_is_new(read: Call) -> None:
    code, out, _ = read("SPY,2013-10-07,1,1,1,1,1\nC D,2013-10-07,1,1,1,1,1\n")
    assert code == 1
    assert "bars.csv, line 3: symbol 'C D'" in " ".join(out.split())


def test_files_wait_for_another_backfill_of_files_and_a_look_at_them_does_not(
    read: Call, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("TAPEHOUSE_HOME", str(home))
    say = backfill.say_that_it_waits

    def say_and_stop(source: str) -> None:
        say(source)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(backfill, "say_that_it_waits", say_and_stop)
    with turn(home, "csv", "1d", threading.Event(), lambda: None):
        assert read("SPY,2013-10-07,1,1,1,1,1\n")[0] == 0
        code, _, err = call("--feed", "csv", "--path", str(tmp_path / "bars.csv"))
    assert code == 128 + signal.SIGINT
    assert err.splitlines() == [
        "Another backfill of csv is under way; this one goes on when that has ended.",
        "Stopped; nothing was read.",
    ]


def test_a_path_for_a_vendor_is_a_mistake(call: Call, tmp_path: Path) -> None:
    code, _, err = call("--feed", "yahoo", "--path", str(tmp_path), "--symbols", "SPY")
    assert code == 2
    assert "The source yahoo reads no files" in err
