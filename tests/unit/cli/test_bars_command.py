"""Bars by activity as the command shows them, from a lake that is written out by hand."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import CallCommand
from tests.unit.verify.tiny_lake import TinyLake, fill_trades

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    """Runs the command on the lake in ``tmp_path``; returns the exit code and what it printed."""
    return functools.partial(call_command, "bars")


@pytest.fixture
def filled(tmp_path: Path) -> None:
    """A lake with four trades of SPY: 200 shares, 300 and 100 (a sweep) at the same moment, and 1."""
    lake = TinyLake(tmp_path / "lake")
    fill_trades(lake)
    lake.write()


@pytest.mark.usefixtures("filled")
def test_bars_are_printed_with_their_prices(call: Call) -> None:
    code, out, err = call("spy", "--by", "volume", "--size", "500", "--json")
    assert (code, err) == (0, "")
    shown = [json.loads(line) for line in out.splitlines()]
    names = ("bar_number", "open", "high", "close", "volume", "trade_count", "is_full")
    assert [tuple(bar[name] for name in names) for bar in shown] == [
        (0, 99.5, 100.01, 100.01, 500, 2, True),
        (1, 99.999999, 99.999999, 99.999999, 101, 2, False),
    ]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("IBM", "--by", "tick", "--size", "5"), "no trades of IBM."),
        (("SPY", "--by", "tick", "--size", "5", "--source", "csv"), "no trades of SPY of the feed csv."),
        (("SPY", "--by", "tick", "--size", "5", "--start", "2013-10-08"), "no trades of SPY from 2013-10-08"),
        (("SPY", "--by", "tick", "--size", "5", "--start", "2013-10-08", "--end", "2013-10-07"), "Swap them"),
        (("SPY", "--by", "tick", "--size", "5", "--start", "tomorrow"), "'tomorrow' is not a date"),
        (("SPY", "--by", "tick", "--size", "0"), "--size"),
        (("SPY", "--by", "time", "--size", "5"), "--by"),
        (("SPY", "--by", "tick", "--size", "5", "--csv", "--json"), "not both"),
    ],
)
def test_a_wrong_question_is_refused_with_what_is_wrong(call: Call, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_a_home_without_a_lake_says_how_trades_come_in(call: Call) -> None:
    code, _, err = call("SPY", "--by", "tick", "--size", "5")
    assert code == 2
    assert "./run replay" in err
