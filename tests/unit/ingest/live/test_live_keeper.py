from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ingest.history.source import QuotaUsedUpError, SourceBusyError, SourceError
from ingest.live import backoff
from ingest.live.covered_file import load_covered
from ingest.live.spans import Spans
from market.errors import FeedError
from market.records import Trade
from market.sessions import Session
from tests.unit.ingest.live.small_world import (
    DAY,
    END,
    SESSION,
    START,
    WHOLE,
    KilledError,
    World,
    assert_heartbeats_are_true,
    at,
    covered_seconds,
    every,
    ids,
    micros,
)

MONDAY = date(2026, 11, 23)
OF_SESSION = (SESSION.pre_open_at, SESSION.open_at, SESSION.close_at, SESSION.post_close_at)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(every(2.0), tmp_path / "live-alpaca.json")


def test_a_quiet_day_is_published_whole_and_covered_whole(world: World) -> None:
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == covered_seconds(world, "SPY") == WHOLE
    assert_heartbeats_are_true(world)
    assert len(world.lines) == 1


def test_the_hole_of_an_outage_is_filled_and_only_then_covered(world: World) -> None:
    world.at(200, world.breaks)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "SPY") == WHOLE
    assert_heartbeats_are_true(world)
    assert len(world.lines) == 2
    assert any(hole.since < at(200) < hole.until for _, hole in world.asked)
    broken = "the connection broke"
    assert world.told == [("connecting", ""), ("live", ""), ("disconnected", broken), ("live", "")]


def test_a_hole_that_cannot_be_filled_is_never_covered(world: World) -> None:
    world.at(200, world.breaks)
    world.at(195, lambda: setattr(world, "history_fails", True))
    world.keep()
    assert_heartbeats_are_true(world)
    uncovered = WHOLE - covered_seconds(world, "SPY")
    assert {second for second in uncovered if second > 60} >= set(range(190, 215))
    assert covered_seconds(world, "SPY") >= set(range(240, 600))


def test_nothing_is_covered_while_the_connection_is_silent(world: World) -> None:
    world.at(150, lambda: setattr(world, "is_mute", True))
    world.at(150, lambda: setattr(world, "history_fails", True))
    world.keep()
    assert_heartbeats_are_true(world)
    assert not {second for second in covered_seconds(world, "SPY") if second > 150}


def test_a_list_that_hardly_trades_is_not_mute(tmp_path: Path) -> None:
    world = World(every(200.0), tmp_path / "live-alpaca.json")
    world.keep()
    assert len(world.lines) == 1, "the history says that nothing happened"
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "SPY") == WHOLE


def test_a_silent_connection_is_left_after_five_minutes_if_the_history_does_not_answer_either(world: World) -> None:
    world.is_mute = world.history_fails = True
    world.history_is_late_by = timedelta(days=1)
    world.keep()
    begun = [line.begun_at - START for line in world.lines]
    assert timedelta(minutes=7) <= begun[1] <= timedelta(minutes=8)


def test_a_key_that_is_revoked_is_seen_by_the_first_look_at_a_silence(world: World) -> None:
    """The connection that stands says nothing of it: the next one does, and it is refused for good."""

    def revoke() -> None:
        world.is_mute, world.refusal = True, SourceError("The keys are refused.")
        world.history_refusal = SourceError("403")

    world.at(190, revoke)
    with pytest.raises(SourceError, match="The keys are refused"):
        world.keep()
    assert world.clock.now() - START <= timedelta(seconds=190 + 75)


@pytest.mark.parametrize("cause", [QuotaUsedUpError("used up", None), SourceBusyError("no answer")])
def test_a_history_that_only_does_not_answer_now_leaves_a_silent_connection_alone(
    world: World, cause: FeedError
) -> None:
    world.is_mute, world.history_refusal = True, cause
    world.keep()
    begun = [line.begun_at - START for line in world.lines]
    assert timedelta(minutes=7) <= begun[1] <= timedelta(minutes=8)


def test_what_the_history_has_later_is_there_before_its_time_is_covered(world: World) -> None:
    world.history_is_late_by = timedelta(minutes=3)
    world.at(200, world.breaks)
    world.at(400, world.breaks)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "SPY") == WHOLE
    assert_heartbeats_are_true(world)


def test_a_mute_connection_is_left_after_a_minute_of_regular_hours_only(world: World) -> None:
    world.is_mute = True
    world.keep()
    after = [line.begun_at - START for line in world.lines]
    assert after[0] == timedelta(0)
    assert timedelta(minutes=3) <= after[1] <= timedelta(minutes=4)
    assert max(after) < SESSION.close_at - START + timedelta(minutes=1)
    assert ids(world.trades) == ids(world.tape), "the history has what the connection did not say"
    assert_heartbeats_are_true(world)


def test_an_outage_of_some_minutes_is_over_half_a_minute_after_its_end(world: World) -> None:
    world.refusal = SourceBusyError("connection limit exceeded")
    world.at(300, lambda: setattr(world, "refusal", None))
    world.keep()
    begun = [(line.begun_at - START).total_seconds() for line in world.lines]
    assert all(later - earlier <= 32 for earlier, later in pairwise(begun))
    assert max(later - earlier for earlier, later in pairwise(begun)) > 2, "pauses grow"
    assert 300 <= begun[-1] <= 332
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == WHOLE


def test_a_long_outage_opens_the_circuit_for_single_trials_and_a_record_closes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "OPENS_AFTER_SECONDS", 150.0)
    monkeypatch.setattr(backoff, "OPEN_SECONDS", 120.0)
    world.refusal = SourceBusyError("connection limit exceeded")
    world.at(400, lambda: setattr(world, "refusal", None))
    world.at(560, world.breaks)  # soon after the return
    world.keep()
    begun = [(line.begun_at - START).total_seconds() for line in world.lines]
    outage = [seconds for seconds in begun if seconds < 400]
    opened = [second - first for first, second in pairwise(outage) if first >= 152]
    assert opened
    assert all(120 <= pause <= 122 for pause in opened)
    back = [seconds for seconds in begun if seconds >= 400]
    assert len(back) == 2
    assert back[1] <= 592, "the old outage does not count any more"
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == WHOLE


def test_a_connection_that_comes_and_goes_is_tried_every_half_minute_at_most(world: World) -> None:
    for second in range(0, 590, 2):
        world.at(second, world.breaks)
    world.keep()
    begun = [(line.begun_at - START).total_seconds() for line in world.lines]
    assert 12 <= len(begun) <= 120, "each connection brought something, and none of them lasted"
    assert all(later - earlier <= 35 for earlier, later in pairwise(begun))
    assert ids(world.trades) == ids(world.tape)
    assert_heartbeats_are_true(world)


def test_a_refused_key_ends_it_at_once(world: World) -> None:
    world.refusal = SourceError("the keys are wrong")
    with pytest.raises(SourceError, match="the keys are wrong"):
        world.keep()
    assert len(world.lines) == 1
    assert world.told[-1] == ("refused", "the keys are wrong")


def test_a_subscription_that_nobody_acknowledges_is_a_failure(world: World) -> None:
    world.delay = timedelta(days=1)
    world.at(0.5, lambda: setattr(world.lines[0], "begun_at", END))
    world.keep()
    assert (world.lines[1].begun_at - START) >= timedelta(seconds=30)


def test_what_the_broker_loses_is_asked_for_again(world: World) -> None:
    world.at(300, world.loses)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "SPY") == WHOLE
    assert_heartbeats_are_true(world)
    assert len(world.outlets) == 2


def test_a_hole_that_was_filled_and_lost_by_the_broker_is_filled_again(world: World) -> None:
    world.is_lost_after_filling = True
    world.at(300, lambda: setattr(world, "is_lost_after_filling", False))
    world.keep()
    assert len(world.outlets) > 2
    assert ids(world.trades) == ids(world.tape)
    assert_heartbeats_are_true(world)


def test_a_broker_that_is_away_is_waited_for(world: World) -> None:
    world.broker_is_away = True
    world.at(120, lambda: setattr(world, "broker_is_away", False))
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert_heartbeats_are_true(world)


def test_a_broker_that_comes_back_long_after_the_session_still_gets_it(world: World) -> None:
    world.at(100, world.loses)
    world.at(100, lambda: setattr(world, "broker_is_away", True))
    world.at(3 * 3600, lambda: setattr(world, "broker_is_away", False))
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == WHOLE


def test_a_broker_that_is_away_for_long_does_not_keep_the_next_session_waiting(world: World) -> None:
    world.at(100, world.loses)
    world.at(100, lambda: setattr(world, "broker_is_away", True))
    world.at(3 * 3600, lambda: setattr(world, "broker_is_away", False))
    next_at = END + timedelta(hours=1)
    world.keep(until=next_at)
    assert world.clock.now() <= next_at + timedelta(seconds=3)
    pre, opens, closes, post = (moment + timedelta(days=3) for moment in OF_SESSION)
    tomorrow = Session(MONDAY, pre, opens, closes, post, is_half_day=False)
    world.clock.time = tomorrow.post_close_at
    world.keep(tomorrow)
    assert world.keeper().has_unfinished(SESSION), "another session does not make it forgotten"
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == WHOLE
    assert not world.keeper().has_unfinished(SESSION)


def test_the_holes_of_a_session_are_left_when_the_next_one_begins(world: World) -> None:
    world.history_fails = True
    world.at(200, world.breaks)
    world.keep(until=END + timedelta(minutes=12))
    assert world.clock.now() <= END + timedelta(minutes=12, seconds=3)


def test_a_killed_process_fills_its_hole_when_it_is_started_again(world: World) -> None:
    world.at(250, world.dies)
    with pytest.raises(KilledError):
        world.keep()
    world.clock.time = START + timedelta(seconds=400)
    before, saved = len(world.asked), load_covered(world.path, DAY)
    assert saved is not None
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == WHOLE
    assert_heartbeats_are_true(world)
    again = Spans((hole.since, hole.until) for _, hole in world.asked[before:])
    assert not again & saved.spans["IBM"], "what was acknowledged is not asked for again"


def test_a_session_that_is_over_is_finished_without_a_connection(world: World) -> None:
    world.at(250, world.dies)
    with pytest.raises(KilledError):
        world.keep()
    world.clock.time = END + timedelta(hours=2)
    assert world.keeper().has_unfinished(SESSION)
    world.keep()
    assert len(world.lines) == 1
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == WHOLE
    assert not world.keeper().has_unfinished(SESSION)


def test_a_process_that_was_killed_before_it_published_anything_is_made_up_for(world: World) -> None:
    world.broker_is_away = True
    world.at(300, world.dies)
    with pytest.raises(KilledError):
        world.keep()
    world.broker_is_away = False
    world.clock.time = END + timedelta(hours=1)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "IBM") == WHOLE


def test_a_first_start_in_mid_session_fetches_what_was_before(world: World) -> None:
    world.clock.time = START + timedelta(minutes=7)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "SPY") == WHOLE


def test_a_source_without_every_trade_never_claims_anything(world: World) -> None:
    world.has_every_trade = False
    world.at(200, world.breaks)
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert not world.heartbeats


def test_an_unreadable_trade_is_fetched_from_the_history_before_its_time_is_covered(world: World) -> None:
    world.unreadable = [trade for trade in world.tape if trade.ts == at(300.5) and trade.symbol == "SPY"]
    world.keep()
    assert ids(world.trades) == ids(world.tape)
    assert covered_seconds(world, "SPY") == WHOLE
    assert_heartbeats_are_true(world)
    assert {hole.symbols for _, hole in world.asked if hole.since > at(60) and hole.until < at(600)} == {("SPY",)}


def test_a_symbol_that_the_history_does_not_know_is_not_asked_for_again(world: World) -> None:
    world.unknown = frozenset({"SPY"})
    world.at(200, world.breaks)
    world.keep()
    assert_heartbeats_are_true(world)
    assert covered_seconds(world, "IBM") == WHOLE
    assert WHOLE - covered_seconds(world, "SPY") >= set(range(195, 210))
    asked_for_spy = Spans((hole.since, hole.until) for _, hole in world.asked if "SPY" in hole.symbols)
    total = sum(hole.until - hole.since for _, hole in world.asked if "SPY" in hole.symbols)
    assert total == sum(until - since for since, until in asked_for_spy)


def test_a_message_from_the_future_proves_nothing(world: World) -> None:
    world.is_mute = world.history_fails = True
    odd = Trade("alpaca", "SPY", at(650), world.tape[0].price, 1, "odd")
    world.at(30, lambda: world.lines[-1].brings.append(odd))
    world.keep()
    assert "odd" in ids(world.trades)
    assert not {second for second in covered_seconds(world, "SPY") if second >= 30}


def test_what_is_saved_is_what_the_broker_acknowledged(world: World) -> None:
    world.at(300, world.dies)
    with pytest.raises(KilledError):
        world.keep()
    saved = load_covered(world.path, DAY)
    assert saved is not None
    claimed = Spans((beat.since, beat.ts) for beat in world.heartbeats if beat.symbol == "SPY")
    assert saved.spans["SPY"] - claimed == Spans()


def test_a_stopped_keeper_ends_soon_and_saves(world: World) -> None:
    world.at(300, world.stop.set)
    world.keep()
    assert world.clock.now() <= START + timedelta(seconds=303)
    assert load_covered(world.path, DAY) is not None
    assert world.lines[-1].is_closed


def test_a_stop_in_the_middle_of_a_burst_claims_nothing_of_it(world: World) -> None:
    world.broker_is_away = True
    world.at(3, lambda: setattr(world, "broker_is_away", False))
    world.at(10, world.loses)
    world.at(10, lambda: setattr(world, "broker_is_away", True))
    world.at(300, lambda: setattr(world, "broker_is_away", False))
    world.at(299, lambda: setattr(world, "is_stopped_after", 20))
    world.keep()
    assert len(world.trades) < 40
    assert_heartbeats_are_true(world)


def test_the_world_is_twelve_minutes_long() -> None:
    assert (micros(END) - micros(START)) // 1_000_000 == len(WHOLE)
    assert isinstance(START, datetime)
