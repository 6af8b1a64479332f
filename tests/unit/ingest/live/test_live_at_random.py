"""Whatever breaks, in whatever order: a world of twelve minutes, many times over."""

from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ingest.live.small_world import (
    END,
    WHOLE,
    KilledError,
    World,
    assert_heartbeats_are_true,
    covered_seconds,
    every,
    ids,
)

EVENTS = st.sampled_from(["breaks", "mute", "speaks", "loses", "history", "answers", "dies", "away", "back"])


def _do(world: World, event: str) -> None:
    if event in {"breaks", "loses", "dies"}:
        if (event == "breaks" and not world.lines) or (event == "loses" and not world.outlets):
            return
        getattr(world, event)()
    elif event in {"mute", "speaks"}:
        world.is_mute = event == "mute"
    elif event in {"history", "answers"}:
        world.history_fails = event == "history"
    else:
        world.broker_is_away = event == "away"


@settings(max_examples=50, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(1, 719), EVENTS), max_size=8),
    recovers=st.booleans(),
    step=st.sampled_from([2.0, 7.0, 45.0]),
)
def test_whatever_breaks_no_heartbeat_is_false_and_in_the_end_nothing_is_missing(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str]], recovers: bool, step: float
) -> None:
    world = World(every(step), tmp_path_factory.mktemp("world") / "live.json")
    for seconds, event in events:
        world.at(seconds, partial(_do, world, event))
    if recovers:
        for event in ("speaks", "answers", "back"):
            world.at(719, partial(_do, world, event))
    latest = END + timedelta(hours=2)
    world.clock.due.append((latest, lambda: setattr(world, "broker_is_away", False)))
    while True:
        try:
            world.keep()
        except KilledError:
            continue
        break
    assert_heartbeats_are_true(world)
    assert ids(world.trades) <= ids(world.tape)
    if recovers:
        assert ids(world.trades) == ids(world.tape)
        assert covered_seconds(world, "IBM") == covered_seconds(world, "SPY") == WHOLE
