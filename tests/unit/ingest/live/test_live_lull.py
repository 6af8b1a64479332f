"""A connection that says nothing for a while and goes on with what is new: what happened meanwhile it never says."""

from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.feeds.yahoo.live import YahooLive
from ingest.live.coverage import MINUTE
from ingest.live.lull import Lulls
from ingest.live.source import Delivery
from ingest.live.spans import Spans
from tests.unit.ingest.history.alpaca_server import AlpacaServer
from tests.unit.ingest.live.alpaca_play import Play
from tests.unit.ingest.live.small_world import (
    SECOND,
    SESSION,
    START,
    WHOLE,
    KilledError,
    Source,
    World,
    assert_heartbeats_are_true,
    at,
    covered_seconds,
    every,
    ids,
    micros,
    trade,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(every(2.0), tmp_path / "live-alpaca.json")


def assert_whole(world: World) -> None:
    assert_heartbeats_are_true(world)
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == covered_seconds(world, "SPY") == WHOLE


@pytest.mark.parametrize("seconds", [23, 45, 58, 100, 150])
def test_what_a_connection_drops_while_it_is_mute_is_fetched_from_the_history(world: World, seconds: int) -> None:
    world.lapses(300, 300 + seconds)
    world.keep()
    assert_whole(world)
    assert (len(world.lines) == 1) is (seconds < 60), "a longer silence is looked up, and the connection left"


@pytest.mark.parametrize("waits", [3, 18, 19, 38])
def test_what_a_new_connection_drops_before_the_first_that_it_brings_is_fetched(world: World, waits: int) -> None:
    world.at(300, world.breaks)
    world.lapses(299, 303 + waits)
    world.keep()
    assert_whole(world)


def test_what_is_dropped_before_the_open_and_after_the_close_is_fetched_if_it_is_a_minute(world: World) -> None:
    world.lapses(30, 95)
    world.lapses(620, 685)
    world.keep()
    assert_whole(world)


def test_a_lull_that_the_history_does_not_answer_for_is_claimed_by_nobody_until_it_does(world: World) -> None:
    world.lapses(300, 420)
    world.at(290, lambda: setattr(world, "history_fails", True))
    claimed: list[set[int]] = []
    world.at(590, lambda: claimed.append(covered_seconds(world, "SPY")))
    world.at(600, lambda: setattr(world, "history_fails", False))
    world.keep()
    assert not claimed[0] & set(range(300, 420))
    assert claimed[0] >= set(range(440, 530)), "what came after it counts"
    assert_whole(world)


def test_a_lull_that_the_history_never_answers_for_is_never_claimed(world: World) -> None:
    world.lapses(300, 345)
    world.at(290, lambda: setattr(world, "history_fails", True))
    world.keep()
    assert_heartbeats_are_true(world)
    assert not covered_seconds(world, "SPY") & set(range(300, 345))


@pytest.mark.parametrize("step", [21.0, 25.0, 40.0])
def test_a_list_that_is_quiet_again_and_again_is_asked_for_about_once_a_minute(tmp_path: Path, step: float) -> None:
    world = World(every(step), tmp_path / "live-alpaca.json")
    world.keep()
    assert_whole(world)
    assert len(world.lines) == 1
    in_time = [(moment, hole) for moment, hole in world.asked if moment < SESSION.close_at]
    recent = Counter(moment.minute for moment, hole in in_time if hole.until > micros(moment) - 2 * MINUTE)
    assert max(recent.values()) == 1
    assert len(in_time) <= 10 + 2, "and once more when it has settled"
    assert max(hole.until for _, hole in in_time) >= at(480), "it is not put off"


@pytest.mark.parametrize("step", [21.0, 25.0, 40.0])
def test_a_quiet_list_of_a_source_that_takes_a_symbol_at_a_time_is_asked_for_once_in_five_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    monkeypatch.setattr(Source, "history_lag_seconds", YahooLive.history_lag_seconds)
    monkeypatch.setattr(Source, "history_settles_seconds", YahooLive.history_settles_seconds)
    monkeypatch.setattr(Source, "hole_size", YahooLive.hole_size)
    symbols = tuple(f"S{number}" for number in range(30))
    tape = [trade(symbols[number % 30], number * step + 0.5) for number in range(int(720 / step))]
    world = World(tape, tmp_path / "live-yahoo.json", symbols=symbols, has_every_trade=False)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert len(world.lines) == 1
    asked = Counter(hole.symbols for moment, hole in world.asked if SESSION.open_at <= moment < SESSION.close_at)
    assert set(asked) == {(symbol,) for symbol in symbols}
    # Five of the eight regular minutes can be asked for before the close; what was before the connection spoke is the other hole.
    assert max(asked.values()) <= 2
    requests = 2 * sum(asked.values()) / 8
    assert requests <= YahooLive.limit.requests / 3, "a minute, two for each symbol"


@pytest.mark.parametrize(("lag", "seconds"), [(15, 45), (70, 45), (70, 115)])
def test_a_source_of_samples_is_asked_for_a_lull_of_regular_hours(
    world: World, monkeypatch: pytest.MonkeyPatch, lag: int, seconds: int
) -> None:
    monkeypatch.setattr(Source, "history_lag_seconds", lag)
    world.has_every_trade = False
    world.lapses(300, 300 + seconds)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert not world.heartbeats
    in_time = Spans((hole.since, hole.until) for moment, hole in world.asked if moment < SESSION.close_at)
    assert not Spans([(at(299), at(300 + seconds))]) - in_time
    assert not Spans([(at(320 + seconds), at(590))]) & in_time


def test_a_connection_that_only_says_what_was_known_is_as_mute_as_one_that_says_nothing(world: World) -> None:
    world.is_mute = True
    world.mumbles = [Delivery([world.tape[0]], is_old=True), Delivery(passed_over={"other_session": 1}, is_old=True)]
    world.keep()
    after = [line.begun_at - START for line in world.lines]
    assert timedelta(minutes=3) <= after[1] <= timedelta(minutes=4)
    assert ids(world.trades) == ids(world.tape)
    assert_heartbeats_are_true(world)


def test_a_busy_list_is_not_asked_for_beyond_what_was_before_its_connection(world: World) -> None:
    world.keep()
    assert all(hole.until <= at(30) or hole.since >= at(690) for _, hole in world.asked)


@pytest.mark.parametrize("seconds", [24, 45, 58])
def test_what_alpacas_stream_drops_its_history_has(tmp_path: Path, seconds: int) -> None:
    with AlpacaServer() as history:
        play = Play(tmp_path / "live-alpaca.json", history)
        play.dropped = Spans([(at(300), at(300 + seconds))])
        play.run()
    assert_whole(play.world)


@settings(max_examples=40, deadline=None)
@example(lapses=[(432, 25), (413, 25), (439, 25)], events=[], history_fails=False, step=2.0)
@given(
    lapses=st.lists(st.tuples(st.integers(120, 570), st.integers(25, 150)), min_size=1, max_size=3),
    events=st.lists(st.tuples(st.integers(1, 719), st.sampled_from(["breaks", "loses", "dies"])), max_size=4),
    history_fails=st.booleans(),
    step=st.sampled_from([2.0, 7.0, 45.0]),
)
def test_whatever_breaks_while_it_drops_no_heartbeat_is_false_and_in_the_end_nothing_is_missing(
    tmp_path_factory: pytest.TempPathFactory,
    lapses: list[tuple[int, int]],
    events: list[tuple[int, str]],
    history_fails: bool,
    step: float,
) -> None:
    world = World(every(step), tmp_path_factory.mktemp("world") / "live.json", history_fails=history_fails)
    # Of lapses that overlap the first that ends would let the connection speak for a moment: a pause too short to be doubted.
    for since, until in Spans((since, min(since + seconds, 600)) for since, seconds in lapses):
        world.lapses(since, until)
    for moment, event in events:
        world.at(moment, partial(_do, world, event))
    world.at(719, lambda: setattr(world, "history_fails", False))
    while True:
        try:
            world.keep()
        except KilledError:
            continue
        break
    assert_whole(world)


def _do(world: World, event: str) -> None:
    if (event != "breaks" or world.lines) and (event != "loses" or world.outlets):
        getattr(world, event)()


BEFORE, REGULAR, AFTER = at(10), at(200), at(610)


@pytest.mark.parametrize(
    ("ready", "counts_outside", "seconds", "expected"),
    [
        (REGULAR, False, 20, 0),
        (REGULAR, False, 21, 21),
        (BEFORE, True, 60, 0),
        (BEFORE, True, 61, 61),
        (BEFORE, False, 61, 0),
        (AFTER, True, 60, 0),
        (AFTER, True, 61, 61),
        (AFTER, False, 61, 0),
        (at(100), False, 40, 0),
        (at(100), False, 41, 41),
        (at(570), False, 51, 51),
        (at(590), False, 51, 0),
    ],
)
def test_a_lull_is_long_after_twenty_seconds_of_regular_hours_or_a_minute(
    ready: int, counts_outside: bool, seconds: int, expected: int
) -> None:
    lulls = Lulls(SESSION, ready, counts_outside=counts_outside)
    now = ready + seconds * SECOND
    assert lulls.longest([now], now) == expected * SECOND
    assert lulls.longest([now], now + SECOND) == 0


def test_a_late_trade_does_not_shorten_a_lull() -> None:
    lulls = Lulls(SESSION, REGULAR, counts_outside=True)
    assert lulls.longest([REGULAR + 16 * SECOND], REGULAR + 25 * SECOND) == 25 * SECOND


def test_a_lull_is_seen_in_what_is_taken_at_once() -> None:
    lulls = Lulls(SESSION, REGULAR, counts_outside=True)
    now = REGULAR + 19 * SECOND
    lulls.longest([REGULAR], now)
    stated = [REGULAR + seconds * SECOND for seconds in (45, 5, 10, 46)]
    assert lulls.longest(stated, REGULAR + 39 * SECOND) == 29 * SECOND, "times that have not come count as now"
    assert lulls.longest(stated, REGULAR + 39 * SECOND) == 0


def test_times_of_before_change_nothing() -> None:
    lulls = Lulls(SESSION, REGULAR, counts_outside=True)
    assert lulls.longest([BEFORE], REGULAR + SECOND) == 0
    assert lulls.longest([REGULAR + 19 * SECOND], REGULAR + 20 * SECOND) == 0
