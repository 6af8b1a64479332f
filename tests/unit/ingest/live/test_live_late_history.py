"""A chart of Yahoo's that is late, and symbols that are quiet: one looks like the other until it has had time enough."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.feeds.yahoo.live import YahooLive
from ingest.live.reach import Reach
from ingest.live.silence import Silence, Verdict
from market.records import Trade
from tests.unit.ingest.live.chart_world import OPEN, SESSION, ChartWorld, SteppingClock, tape_of
from tests.unit.ingest.live.small_world import at, ids, micros

AWAY = OPEN + 8 * 60
STEP = 5 * 60
LAG = YahooLive.history_lag_seconds
SETTLES = YahooLive.history_settles_seconds


def world_of(tape: Sequence[Trade], path: Path, *symbols: str, step: float = 2.0) -> ChartWorld:
    clock = SteppingClock(SESSION.open_at - timedelta(seconds=30), step)
    return ChartWorld(list(tape), path / "live-yahoo.json", clock, symbols)


def lateness_of(world: ChartWorld, minutes: float) -> None:
    world.chart.late = timedelta(minutes=minutes)


@pytest.mark.parametrize("late", [0, 0.5, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("step", [20.0, 150.0])
def test_a_minute_that_the_chart_has_late_is_filled_and_not_covered_before(
    tmp_path: Path, late: float, step: float
) -> None:
    tape = sorted(
        [*tape_of(("BUSY",), OPEN, OPEN + 3600, 5.0), *tape_of(("SPY",), OPEN, OPEN + 3600, step)], key=_moment
    )
    world = world_of(tape, tmp_path, "BUSY", "SPY")
    lateness_of(world, late)
    world.is_away(AWAY, AWAY + 100)
    world.run(AWAY + 2000)
    world.assert_whole(AWAY + 1000)
    assert len(world.asks("SPY", AWAY, AWAY + 2000)) <= 2 + 2, "the whole step, the end, and twice more"


@settings(max_examples=20, deadline=None)
@given(
    late=st.lists(st.tuples(st.integers(0, 1500), st.floats(0, 5)), max_size=5),
    outages=st.lists(st.tuples(st.integers(60, 1400), st.integers(5, 700)), min_size=1, max_size=3),
    traded=st.lists(st.integers(0, 2400), max_size=30, unique=True),
)
def test_however_late_the_chart_is_every_traded_minute_is_filled_and_none_is_covered_before(
    tmp_path_factory: pytest.TempPathFactory,
    late: list[tuple[int, float]],
    outages: list[tuple[int, int]],
    traded: list[int],
) -> None:
    path = tmp_path_factory.mktemp("late")
    quiet = [trade for second in traded for trade in tape_of(("SPY",), OPEN + second + 0.5, OPEN + second + 1.5, 1.0)]
    busy = tape_of(("BUSY",), OPEN, OPEN + 3600, 10.0)
    world = world_of(sorted([*busy, *quiet], key=_moment), path, "BUSY", "SPY", step=5.0)
    for since, length in outages:
        world.is_away(OPEN + since, OPEN + since + length)
    for since, minutes in late:
        world.at(OPEN + since, partial(lateness_of, world, minutes))
    world.run(OPEN + 3600)
    world.assert_whole(OPEN + 2400)


@pytest.mark.parametrize("length", [20, 60, 100, 290])
def test_a_quiet_symbol_costs_two_asks_more_after_an_outage_and_then_counts_as_quiet(
    tmp_path: Path, length: int
) -> None:
    hourly = tape_of(("QUIET",), OPEN + 240, OPEN + 2 * 3600, 3600.0)
    world = world_of(
        sorted([*tape_of(("BUSY",), OPEN, OPEN + 7200, 5.0), *hourly], key=_moment), tmp_path, "BUSY", "QUIET"
    )
    world.is_away(AWAY, AWAY + length)
    world.run(OPEN + 5000)
    world.assert_whole(OPEN + 4600)
    end = max(hole.until for _, hole in world.asked)
    last = [(moment, hole.symbols) for moment, hole in world.asked if hole.until == end]
    asked = {symbol: [micros(moment) for moment, symbols in last if symbols == (symbol,)] for symbol in world.symbols}
    assert [moment >= end + SETTLES * 1_000_000 for moment in asked["QUIET"]] in ([False, True], [False, False, True])
    assert asked["QUIET"][1] <= end + (2 * STEP + LAG + 10) * 1_000_000, "with the next step, in case it was late"
    assert len(asked["BUSY"]) == 1, "what the chart shows needs no time"
    assert max(moment for moment, _ in world.asked) <= SESSION.open_at + timedelta(
        seconds=8 * 60 + length + 2 * SETTLES
    )
    assert ids(hourly) <= ids(world.trades)


def test_a_quiet_symbol_is_asked_for_once_a_step_while_the_stream_is_away(tmp_path: Path) -> None:
    hourly = tape_of(("QUIET",), OPEN + 240, OPEN + 2 * 3600, 3600.0)
    world = world_of([*hourly], tmp_path, "QUIET", step=5.0)
    world.is_away(AWAY, OPEN + 7200)
    world.run(OPEN + 5400)
    times = world.asks("QUIET", AWAY + LAG, OPEN + 5400)
    assert all(STEP - 5 <= later - earlier <= STEP + 10 for earlier, later in pairwise(times))
    world.assert_whole(OPEN + 5400 - SETTLES - STEP - LAG)
    assert len(times) <= 5400 / STEP


def test_a_quiet_list_whose_answers_reach_nowhere_is_quiet_and_not_unknown(tmp_path: Path) -> None:
    world = world_of(tape_of(("SPY",), OPEN, OPEN + 60, 20.0), tmp_path, "SPY")
    world.clock.time = SESSION.open_at + timedelta(minutes=9)
    silence = Silence(Reach(None, world.fills, None, None))  # type: ignore[arg-type]
    silence.ask(("SPY",), at(OPEN + 5 * 60), at(OPEN + 7 * 60))
    world.clock.wait(5)
    assert silence.take() == []
    assert silence.conclude() is Verdict.QUIET


@pytest.mark.parametrize(("step", "seconds"), [(200.0, 1800), (1000.0, 5400)])
def test_a_quiet_list_is_not_mute_for_the_last_trade_that_it_said_itself(
    tmp_path: Path, step: float, seconds: int
) -> None:
    world = world_of(tape_of(("SPY",), OPEN, OPEN + seconds, step), tmp_path, "SPY")
    world.run(OPEN + seconds)
    assert len(world.lines) == 1


def _moment(trade: Trade) -> int:
    return trade.ts
