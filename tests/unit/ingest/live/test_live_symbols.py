"""Which symbols are live when the list changes, and when it is longer than the source allows."""

from pathlib import Path

import pytest

from ingest.history.source import SourceError
from tests.unit.ingest.live.small_world import WHOLE, World, assert_heartbeats_are_true, at, covered_seconds, every, ids


def test_symbols_that_are_added_become_live_and_whole(tmp_path: Path) -> None:
    world = World(every(2.0), tmp_path / "live-alpaca.json")
    world.symbols = ("IBM",)
    world.at(300, lambda: setattr(world, "symbols", ("IBM", "SPY")))
    world.keep()
    assert len(world.lines) == 1, "and those that are live go on"
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "SPY") == covered_seconds(world, "IBM") == WHOLE
    assert all("IBM" not in hole.symbols for _, hole in world.asked if at(60) < hole.until < at(700))


SIX = ("A", "B", "C", "D", "E", "F")


@pytest.fixture
def limited(tmp_path: Path) -> World:
    """A source that allows four symbols, and six are wanted."""
    return World(every(2.0, SIX), tmp_path / "live-alpaca.json", symbols=SIX, most_symbols=4)


def test_of_too_many_symbols_the_first_are_live_and_the_others_are_said_to_be_left_out(limited: World) -> None:
    beats: list[str] = []
    limited.at(700, lambda: beats.extend(beat.symbol for beat in limited.heartbeats))
    limited.keep()
    assert len(limited.lines) == 1
    assert limited.lines[0].subscriptions[-1] == SIX[:4]
    assert [names for names in limited.warned if names] == [
        "alpaca streams 4 of 6 symbols and leaves out E, F. too many symbols: take some off"
    ]
    assert set(beats) == set(SIX[:4]), "nobody claims what did not come"
    assert covered_seconds(limited, "A") == WHOLE
    assert_heartbeats_are_true(limited)


def test_a_symbol_that_is_one_too_many_costs_those_that_are_live_nothing(limited: World) -> None:
    limited.symbols = ("B", "C", "D", "E")
    limited.at(300, lambda: setattr(limited, "symbols", ("A", "B", "C", "D", "E")))
    limited.at(500, limited.breaks)
    limited.keep()
    assert len(limited.lines) == 2
    assert [line.subscriptions for line in limited.lines] == [[("B", "C", "D", "E")]] * 2
    assert limited.warned[0] == "alpaca streams 4 of 5 symbols and leaves out A. too many symbols: take some off"
    holes = [hole for _, hole in limited.asked if at(60) < hole.since and hole.until < at(480)]
    assert not [hole for hole in holes if "B" in hole.symbols], "no hole where the symbol was asked for"
    assert covered_seconds(limited, "B") == covered_seconds(limited, "E") == WHOLE
    assert_heartbeats_are_true(limited)


def test_a_symbol_that_was_left_out_takes_the_place_of_one_that_is_not_wanted_any_more(limited: World) -> None:
    limited.symbols = SIX[:5]
    limited.at(300, lambda: setattr(limited, "symbols", SIX[1:5]))
    limited.keep()
    assert limited.lines[0].subscriptions[-1] == SIX[1:5]
    assert [bool(text) for text in limited.warned] == [True, False, False], "the last says that all is over"
    assert covered_seconds(limited, "E") == WHOLE


def test_a_source_that_hangs_up_when_symbols_are_too_many_is_live_soon_all_the_same(limited: World) -> None:
    limited.hangs_up_on_too_many = True
    limited.symbols = (*SIX, "G", "H", "I")
    limited.keep()
    assert [line.subscriptions for line in limited.lines] == [[], [SIX[:4]], [SIX[:4]]]
    assert ids(limited.trades) == ids(limited.tape)


def test_a_source_that_allows_no_symbol_refuses(limited: World) -> None:
    limited.most_symbols = 0
    with pytest.raises(SourceError, match="take some off"):
        limited.keep()
    assert limited.told[-1] == ("refused", "too many symbols: take some off")
