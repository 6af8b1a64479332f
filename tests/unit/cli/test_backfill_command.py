"""What ``./run backfill`` says and exits with when nobody has to be asked."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ingest.history import order
from tests.unit.cli.conftest import CallCommand
from warehouse import history

HEADER = "symbol,timestamp,open,high,low,close,volume\n"
Call = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def call(call_command: CallCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs it on a file with some rows, in a lake that lacks nothing and was never given a bar of NEW in two sessions."""

    def nothing(*_place: Any, **_range: Any) -> dict[str, list[tuple[int, int]]]:
        return {}

    def two_of_new(*place: Any, **_range: Any) -> dict[str, tuple[int, date, date]]:
        return {symbol: (2, date(2013, 10, 8), date(2013, 10, 10)) for symbol in place[3] if symbol == "NEW"}

    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")

    def nope(*place: Any, **_range: Any) -> list[str]:
        return [symbol for symbol in place[3] if symbol == "NOPE"]

    monkeypatch.setattr(order, "missing_sessions", nothing)
    monkeypatch.setattr(order, "unknown_symbols", nope)
    monkeypatch.setattr(history, "without_bars", two_of_new)

    def run(rows: str) -> tuple[int, str, str]:
        (tmp_path / "bars.csv").write_text(HEADER + rows)
        where = ("--path", str(tmp_path / "bars.csv"), "--start", "2013-10-07", "--end", "2013-10-11")
        return call_command("backfill", "--feed", "csv", *where)

    return run


def test_nothing_is_missing_says_what_had_no_bar_and_how_to_ask_again(call: Call) -> None:
    code, out, _ = call("SPY,2013-10-07,1,1,1,1,1\nNEW,2013-10-07,1,1,1,1,1\n")
    assert code == 0
    assert out.splitlines() == [
        "Nothing is missing of 5 sessions of 2 symbols. Nobody was asked.",
        "NEW: csv had no bar of 2 sessions (2013-10-08 … 2013-10-10); --again asks once more.",
    ]


def test_a_symbol_that_the_source_did_not_know_is_said_again_and_fails_again(call: Call) -> None:
    code, out, err = call("SPY,2013-10-07,1,1,1,1,1\nNOPE,2013-10-07,1,1,1,1,1\n")
    assert code == 1
    assert out == "Nothing is missing of 5 sessions of 2 symbols. Nobody was asked.\n"
    assert err == "NOPE: the source does not know it; --again asks once more.\n"


def test_a_dry_run_of_asking_again_says_what_that_would_ask_for_and_forgets_nothing(
    call_command: CallCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_place: Any, again: bool, **_range: Any) -> dict[str, list[tuple[int, int]]]:
        return {"SPY": [(0, 5)]} if again else {}

    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setattr(order, "missing_sessions", missing)
    monkeypatch.setattr(order, "unknown_symbols", lambda *_place, **_range: [])
    (tmp_path / "bars.csv").write_text(f"{HEADER}SPY,2013-10-07,1,1,1,1,1\n")
    where = ("--path", str(tmp_path / "bars.csv"), "--start", "2013-10-07", "--end", "2013-10-11", "--dry-run")
    assert "Nothing is missing" in call_command("backfill", "--feed", "csv", *where)[1]
    code, out, _ = call_command("backfill", "--feed", "csv", *where, "--again")
    assert code == 0
    assert "1 requests for 5 sessions of 1 symbols" in out


def test_what_cannot_be_a_symbol_is_said_and_fails_also_if_nothing_is_missing(call: Call) -> None:
    code, out, err = call("SPY,2013-10-07,1,1,1,1,1\nC D,2013-10-07,1,1,1,1,1\n")
    assert code == 1
    assert out == "Nothing is missing of 5 sessions of 1 symbols. Nobody was asked.\n"
    assert err.startswith("bars.csv, line 3: symbol 'C D': a symbol is a letter")
