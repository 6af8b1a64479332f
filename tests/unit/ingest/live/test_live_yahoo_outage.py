"""An outage of Yahoo's stream: what its history is asked meanwhile, how far behind that is, and that nothing stays missing."""

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ingest.feeds.yahoo.live import YahooLive
from ingest.history.source import SourceBusyError
from ingest.live.spans import Spans
from tests.unit.ingest.live.chart_world import (
    CLOSE,
    OPEN,
    REQUESTS_AN_ASK,
    SESSION,
    ChartWorld,
    SteppingClock,
    tape_of,
)
from tests.unit.ingest.live.small_world import START, Source, World, at, every, ids

LIST = tuple(f"S{number:02}" for number in range(30))
AWAY, BACK = OPEN + 10 * 60, OPEN + 70 * 60
STEP = 5 * 60
BEHIND = STEP + YahooLive.history_lag_seconds
ROUND = 60
"""Thirty symbols of two requests each, at sixty requests a minute."""


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> ChartWorld:
    path = tmp_path_factory.mktemp("hour") / "live-yahoo.json"
    clock = SteppingClock(SESSION.open_at - timedelta(seconds=30), 2.0)
    world = ChartWorld(tape_of(LIST, OPEN, BACK + 1800, 20.0), path, clock, LIST)
    world.is_away(AWAY, BACK)
    world.run(BACK + 1500, looks_every=1800)
    return world


def test_an_hour_without_the_stream_costs_two_requests_a_symbol_and_five_minutes(hour: ChartWorld) -> None:
    assert YahooLive.limit.requests / YahooLive.limit.seconds * ROUND == REQUESTS_AN_ASK * len(LIST)
    away = [seconds for seconds in hour.request_seconds() if AWAY + 30 <= seconds < BACK]
    assert len(away) <= REQUESTS_AN_ASK * len(LIST) * 3600 / STEP
    assert len(away) * 60 / 3600 <= YahooLive.limit.requests / 5, "a minute: the rest is for the scheduled history"
    assert {len(hour.asks(symbol, AWAY + 30, BACK)) for symbol in LIST} == {3600 // STEP}


def test_without_the_stream_a_symbol_is_six_minutes_behind_and_one_more_for_its_turn(hour: ChartWorld) -> None:
    for symbol in LIST:
        asked = [(moment, hole) for moment, hole in hour.asked if hole.symbols == (symbol,)]
        away = [(moment, hole) for moment, hole in asked if AWAY <= (moment - START).total_seconds() < BACK]
        for (_, before), (moment, _) in pairwise(away):
            assert at((moment - START).total_seconds()) - before.until <= (BEHIND + ROUND + 10) * 1_000_000


def test_when_the_stream_is_back_the_end_of_the_outage_is_filled_within_minutes(hour: ChartWorld) -> None:
    back = next(
        (line.begun_at - START).total_seconds()
        for line in hour.lines
        if line.begun_at > START + timedelta(seconds=BACK)
    )
    for symbol in LIST:
        asked = [hole for moment, hole in hour.asked if symbol in hole.symbols]
        assert len(hour.asks(symbol, back, back + 1500)) <= 2, (
            "the last whole step, and what lies between it and the stream"
        )
        assert max(hole.until for hole in asked) > at(back)
    assert max(hour.request_seconds()) <= back + 60 + YahooLive.history_lag_seconds + ROUND
    hour.assert_whole(back + 600)


def test_an_outage_until_after_the_close_is_filled_until_the_close(tmp_path: Path) -> None:
    symbols = LIST[:3]
    clock = SteppingClock(START + timedelta(seconds=CLOSE - 1800), 2.0)
    world = ChartWorld(tape_of(symbols, CLOSE - 3600, CLOSE, 20.0), tmp_path / "live-yahoo.json", clock, symbols)
    world.is_away(CLOSE - 900, CLOSE + 7200)
    world.run(CLOSE + 1800, looks_every=1800)
    world.assert_whole(CLOSE)
    after = Counter(symbol for symbol in symbols for _ in world.asks(symbol, CLOSE, CLOSE + 1800))
    assert max(after.values()) <= 30 * 60 / STEP + 1
    assert max(world.request_seconds()) <= CLOSE + 2 * STEP + 90, "after that no bar of regular hours is missing"


@pytest.mark.parametrize("step_minutes", [0, 5, 7])
def test_an_outage_until_the_end_of_a_session_is_filled_until_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_minutes: int
) -> None:
    size = type(Source.hole_size)(symbols=1, hours=24, joins_minutes=step_minutes)
    monkeypatch.setattr(Source, "hole_size", size)
    world = World(every(2.0), tmp_path / "live.json", has_every_trade=False)
    world.at(200, lambda: setattr(world, "refusal", SourceBusyError("away")))
    world.at(200, world.breaks)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    asked = Spans((hole.since, hole.until) for _, hole in world.asked if "SPY" in hole.symbols)
    assert not Spans([(at(200), at(720))]) - asked
