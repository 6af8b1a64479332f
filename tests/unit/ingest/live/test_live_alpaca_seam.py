"""The seam between Alpaca's stream and its history, through the vendor's own clients, on servers that cut the connection."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.history.source import SourceBusyError, SourceError
from ingest.live.source import Filled, Hole
from market.records import Cancel, Record
from tests.unit.ingest.history.alpaca_server import AlpacaServer, cut_short, refusal
from tests.unit.ingest.live.alpaca_play import SYMBOLS, Play, live_at, row, tape_trade
from tests.unit.ingest.live.small_world import START, assert_heartbeats_are_true, at, covered_seconds, micros

WHOLE = set(range(12 * 60))


@pytest.fixture
def history() -> Iterator[AlpacaServer]:
    with AlpacaServer() as server:
        yield server


@pytest.fixture
def play(tmp_path: Path, history: AlpacaServer) -> Play:
    return Play(tmp_path / "live-alpaca.json", history)


def test_stream_and_history_join_without_a_seam(play: Play, history: AlpacaServer) -> None:
    play.cuts = [START + timedelta(seconds=200), START + timedelta(seconds=400)]
    history.replies.append(refusal(503, "later"))
    history.page_bars = 7
    play.run()
    world = play.world
    assert not play.cuts
    by_id = {trade.trade_id: trade for trade in world.trades}
    assert len(world.trades) > len(by_id), "some came both ways"
    assert all(by_id[trade.trade_id] == trade for trade in world.trades), "and were the same record both times"
    assert sorted(by_id.values(), key=lambda t: t.sequence or 0) == world.tape
    assert_heartbeats_are_true(world)
    assert covered_seconds(world, "SPY") == covered_seconds(world, "IBM") == WHOLE


def test_a_hole_that_the_history_cannot_fill_is_never_covered(
    play: Play, history: AlpacaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    play.cuts = [START + timedelta(seconds=200)]
    play.world.at(195, lambda: history.replies.extend([cut_short] * 10_000))
    monkeypatch.setattr("ingest.live.keeper.FILLS_FOR", timedelta(minutes=1))
    play.run()
    assert_heartbeats_are_true(play.world)
    missing = WHOLE - covered_seconds(play.world, "SPY")
    assert missing >= set(range(195, 210))
    assert covered_seconds(play.world, "SPY") >= set(range(300, 600))


def test_a_cancel_that_came_while_the_stream_was_away_is_found_though_its_trade_is_from_before(
    play: Play, history: AlpacaServer
) -> None:
    play.cuts = [START + timedelta(seconds=300)]
    broken = next(trade for trade in play.world.tape if trade.symbol == "SPY" and trade.ts >= at(100))

    def cancel() -> None:
        rows = [
            row(trade, u="canceled") if trade == broken else row(trade)
            for trade in play.world.tape
            if trade.symbol == "SPY"
        ]
        history.trades["SPY"] = rows

    play.world.at(301, cancel)
    play.run()
    cancels = [record for record in play.world.published if isinstance(record, Cancel)]
    assert {(found.symbol, found.ref_id) for found in cancels} == {("SPY", broken.trade_id)}
    assert len([trade for trade in play.world.trades if trade == broken]) == 1, (
        "the trade itself is not published again"
    )
    assert_heartbeats_are_true(play.world)
    assert covered_seconds(play.world, "SPY") == WHOLE


def test_of_the_time_before_a_hole_only_what_became_of_trades_is_handed_over(history: AlpacaServer) -> None:
    known, gone, wrong, odd = (tape_trade("SPY", seconds, seconds) for seconds in (301, 302, 303, 305))
    right, missed, early = (
        tape_trade("SPY", seconds, number) for seconds, number in ((303, 304), (310, 310), (100, 100))
    )
    history.trades["SPY"] = [
        row(early, u="canceled"),
        row(known),
        row(gone, u="canceled"),
        row(wrong, u="incorrect"),
        row(right, u="corrected"),
        row(odd, u="canceled", p="25"),
        row(missed),
    ]
    records: list[Record] = []
    source = live_at(history, "ws://127.0.0.1:1", lambda: START)
    hole = Hole(("SPY",), at(310), at(600), amended_since=at(300))
    assert source.fill(hole, lambda: None, records.extend) == Filled()
    assert records == [
        Cancel("alpaca", "SPY", micros(START), gone.trade_id),
        Cancel("alpaca", "SPY", micros(START), wrong.trade_id),
        right,
        missed,
    ]


def filled(history: AlpacaServer, symbols: tuple[str, ...] = SYMBOLS) -> tuple[Filled, list[Record]]:
    records: list[Record] = []
    source = live_at(history, "ws://127.0.0.1:1", lambda: START)
    outcome = source.fill(Hole(symbols, at(0), at(600)), lambda: None, records.extend)
    return outcome, records


def test_a_row_that_holds_no_longer_is_a_trade_and_its_cancel(history: AlpacaServer) -> None:
    good, wrong, gone = (tape_trade("SPY", seconds, seconds) for seconds in (1, 2, 3))
    history.trades["SPY"] = [row(good, u="corrected"), row(wrong, u="incorrect"), row(gone, u="canceled")]
    outcome, records = filled(history)
    assert outcome == Filled()
    assert records == [
        good,
        wrong,
        Cancel("alpaca", "SPY", micros(START), wrong.trade_id),
        gone,
        Cancel("alpaca", "SPY", micros(START), gone.trade_id),
    ]


def test_a_row_that_cannot_be_read_leaves_its_symbol_unfilled(history: AlpacaServer) -> None:
    good, bad = tape_trade("IBM", 1, 1), tape_trade("SPY", 2, 2)
    history.trades |= {"IBM": [row(good)], "SPY": [row(bad, p="25")]}
    assert filled(history) == (Filled(frozenset({"SPY"}), "unreadable trades"), [good])


def test_a_symbol_that_alpaca_does_not_know_leaves_the_others_alone(history: AlpacaServer) -> None:
    good = tape_trade("SPY", 1, 1)
    history.trades["SPY"] = [row(good)]
    history.invalid = ["NOPE"]
    assert filled(history, ("NOPE", "SPY")) == (Filled(frozenset({"NOPE"}), "unknown"), [good])


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(429, "slow down"), SourceBusyError),
        (refusal(500, "oops"), SourceBusyError),
        (cut_short, SourceBusyError),
        (refusal(403, "forbidden."), SourceError),
        (refusal(403, "subscription does not permit querying recent SIP data"), SourceError),
    ],
)
def test_a_history_that_does_not_answer_raises(history: AlpacaServer, reply: Any, error: type[Exception]) -> None:
    history.replies.append(reply)
    with pytest.raises(error) as caught:
        filled(history)
    assert type(caught.value) is error


def test_a_history_that_refuses_the_request_says_why(history: AlpacaServer) -> None:
    history.replies.append(refusal(422, "bad range"))
    outcome, records = filled(history)
    assert outcome.unfilled == set(SYMBOLS)
    assert "bad range" in outcome.reason
    assert not records
