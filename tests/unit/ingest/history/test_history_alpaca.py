"""Alpaca's history: what is asked for and how it comes, by the vendor's own library from a server that speaks as it does."""

import json
import math
import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.feeds.alpaca.history import AlpacaHistory
from ingest.history.check import believe
from ingest.history.fetch import fetch_all
from ingest.history.source import Limit, Problem, SourceBusyError, StoppedError
from market.records import Bar
from market.sessions import find_session
from tests.unit.ingest.history.alpaca_case import (
    GOOD,
    GOOD_BAR,
    HALF_DAY,
    NEW_YEAR,
    TEN_OCLOCK,
    Paces,
    ask_for,
    history_at,
)
from tests.unit.ingest.history.alpaca_server import AlpacaServer, body, raw_bar, refusal


def test_daily_bars_stand_at_the_open_of_their_session_in_winter_and_in_summer(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.bars["SPY", "1Day"] = [
        raw_bar("2024-01-02T05:00:00Z", 472.16, 473.67, 470.49, 472.65, 123_623_704),
        raw_bar("2024-07-03T04:00:00Z", 548.69, 551.83, 548.65, 551.46, 32_789_874),
    ]
    ask = ask_for("SPY", interval="1d", end=HALF_DAY)
    answer = alpaca_history.fetch(ask, pace)
    winter, summer = answer.bars
    assert winter.ts == 1_704_205_800_000_000  # 14:30Z
    assert summer.ts == 1_720_013_400_000_000  # 13:30Z
    assert (winter.interval, winter.close, winter.volume) == ("1d", Decimal("472.65"), 123_623_704)
    assert list(believe(ask, answer.bars).bars) == [winter, summer]


def test_a_bar_within_the_day_has_its_own_start_and_the_prices_that_were_written(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.bars["SPY", "1Min"] = [GOOD]
    answer = alpaca_history.fetch(ask_for("SPY"), pace)
    assert list(answer.bars) == [GOOD_BAR]
    assert not answer.problems
    assert not answer.unknown


@pytest.mark.parametrize(
    ("interval", "time_frame", "start", "end"),
    [
        ("1d", "1Day", "2024-07-02T04:00:00Z", "2024-07-03T16:59:59Z"),
        ("15m", "15Min", "2024-07-02T13:30:00Z", "2024-07-03T16:59:59Z"),
        ("5m", "5Min", "2024-07-02T13:30:00Z", "2024-07-03T16:59:59Z"),
        ("1m", "1Min", "2024-07-02T13:30:00Z", "2024-07-03T16:59:59Z"),
    ],
)
def test_exactly_the_sessions_are_asked_for_as_traded_up_to_the_second_before_the_last_close(
    alpaca: AlpacaServer,
    alpaca_history: AlpacaHistory,
    pace: Paces,
    *,
    interval: str,
    time_frame: str,
    start: str,
    end: str,
) -> None:
    alpaca_history.fetch(ask_for("SPY", "IBM", interval=interval, start=date(2024, 7, 2), end=HALF_DAY), pace)
    (asked,) = alpaca.asked
    query = dict(asked.query)
    assert datetime.fromisoformat(query.pop("start")) == datetime.fromisoformat(start)
    assert datetime.fromisoformat(query.pop("end")) == datetime.fromisoformat(end)
    assert query == {
        "symbols": "SPY,IBM",
        "timeframe": time_frame,
        "adjustment": "raw",
        "feed": "iex",
        "limit": "10000",
    }
    assert asked.path == "/v2/stocks/bars"


def test_the_bar_that_begins_with_the_close_does_not_come_and_the_last_before_it_does(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    times = ("14:29:00", "14:30:00", "20:59:00", "21:00:00")
    alpaca.bars["SPY", "1Min"] = [raw_bar(f"2024-01-02T{at}Z", 1, 1, 1, 1, 1) for at in times]
    answer = alpaca_history.fetch(ask_for("SPY"), pace)
    assert [at(bar) for bar in answer.bars] == ["14:30:00", "20:59:00"]


def at(bar: Bar) -> str:
    return f"{datetime.fromtimestamp(bar.ts / 1e6, UTC):%H:%M:%S}"


def test_the_data_feed_of_the_settings_is_asked_for(alpaca: AlpacaServer, pace: Paces) -> None:
    history_at(alpaca.url, data_feed="delayed_sip").fetch(ask_for("SPY"), pace)
    assert [asked.query["feed"] for asked in alpaca.asked] == ["delayed_sip"]


def test_it_offers_days_and_minutes_within_the_limit_of_the_free_plan() -> None:
    history = history_at("http://127.0.0.1:1")
    assert set(history.offers) == {"1d", "15m", "5m", "1m"}
    assert {(offer.symbols_per_ask, offer.bars_per_request) for offer in history.offers.values()} == {(50, 10_000)}
    assert history.limit == Limit(200, 60)
    assert history.at_once == 4


def test_an_hour_is_not_offered_because_alpacas_begin_at_the_full_hour() -> None:
    session = find_session(NEW_YEAR)
    assert session is not None
    assert all(start.minute == 30 for start in session.expected_bars(3600))
    assert "1h" not in history_at("http://127.0.0.1:1").offers


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=4), page_bars=st.integers(1, 40))
def test_wherever_a_page_ends_the_same_bars_come_each_once_with_a_paced_request_a_page(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, counts: list[int], page_bars: int
) -> None:
    symbols = ["AAPL", "IBM", "MSFT", "SPY"][: len(counts)]
    alpaca.page_bars = page_bars
    alpaca.asked.clear()
    alpaca.bars = {
        (symbol, "1Min"): [raw_bar(f"2024-01-02T15:0{minute}:00Z", 1, 1, 1, 1, minute) for minute in range(count)]
        for symbol, count in zip(symbols, counts, strict=True)
    }
    pace = Paces()
    answer = alpaca_history.fetch(ask_for(*symbols), pace)
    expected = [
        (symbol, TEN_OCLOCK + minute * 60_000_000, minute)
        for symbol, count in zip(symbols, counts, strict=True)
        for minute in range(count)
    ]
    assert sorted((bar.symbol, bar.ts, bar.volume) for bar in answer.bars) == expected
    assert not answer.problems
    assert pace.count == len(alpaca.asked) == max(1, math.ceil(sum(counts) / page_bars))


@pytest.mark.parametrize("tokens", [["a", "a"], ["a", "b", "a"]])
def test_pages_that_go_in_circles_end_as_an_answer_that_may_come_another_time(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, tokens: list[str]
) -> None:
    alpaca.replies.extend(body(json.dumps({"bars": {}, "next_page_token": token})) for token in tokens)
    with pytest.raises(SourceBusyError, match="its pages have no end"):
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert len(alpaca.asked) == len(tokens)


def test_a_page_that_fails_fails_the_ask_and_asked_again_it_gives_everything(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.bars["SPY", "1Min"] = [raw_bar(f"2024-01-02T15:0{i}:00Z", 1, 1, 1, 1, i) for i in range(4)]
    alpaca.page_bars = 2
    alpaca.replies.append(lambda handler: handler._answer("/v2/stocks/bars", alpaca.asked[-1].query))
    alpaca.replies.append(refusal(503))
    with pytest.raises(SourceBusyError):
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert [bar.volume for bar in alpaca_history.fetch(ask_for("SPY"), pace).bars] == [0, 1, 2, 3]


def test_a_stop_while_waiting_for_a_request_ends_the_ask_without_it(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory
) -> None:
    def stopped() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        alpaca_history.fetch(ask_for("SPY"), stopped)
    assert not alpaca.asked


def test_several_asks_at_once_are_each_answered_with_their_own_bars(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    symbols = [f"S{number}" for number in range(12)]
    alpaca.page_bars = 1
    alpaca.bars = {
        (symbol, "1Min"): [raw_bar(f"2024-01-02T15:0{i}:00Z", 1, 1, 1, 1, number * 10 + i) for i in range(3)]
        for number, symbol in enumerate(symbols)
    }
    fetched = list(fetch_all(alpaca_history, [ask_for(symbol) for symbol in symbols], pace, threading.Event()))
    got = {(one.ask.symbols, *(bar.volume for bar in one.answer.bars)) for one in fetched if one.answer is not None}
    assert got == {((symbol,), n * 10, n * 10 + 1, n * 10 + 2) for n, symbol in enumerate(symbols)}


@pytest.mark.parametrize("words", ["invalid symbol: {}", "code=400, message=invalid symbol: {}"])
@pytest.mark.parametrize("status", [400, 422])
def test_symbols_that_are_refused_are_unknown_and_the_others_are_answered(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, words: str, status: int
) -> None:
    alpaca.bars["SPY", "1Min"] = [GOOD]
    alpaca.invalid, alpaca.invalid_words, alpaca.invalid_status = ["BRK-B", "ACP.PA"], words, status
    answer = alpaca_history.fetch(ask_for("BRK-B", "SPY", "ACP.PA"), pace)
    assert answer.unknown == {"BRK-B", "ACP.PA"}
    assert list(answer.bars) == [GOOD_BAR]
    assert not answer.problems
    assert [asked.query["symbols"] for asked in alpaca.asked] == ["BRK-B,SPY,ACP.PA", "SPY,ACP.PA", "SPY"]


def test_if_every_symbol_is_refused_nothing_is_left_to_ask_for(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.invalid = ["BRK-B"]
    answer = alpaca_history.fetch(ask_for("BRK-B"), pace)
    assert answer.unknown == {"BRK-B"}
    assert not answer.bars


def test_a_symbol_without_bars_is_answered_with_none(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.bars["SPY", "1Min"] = [GOOD]
    answer = alpaca_history.fetch(ask_for("NOSUCH", "SPY"), pace)
    assert list(answer.bars) == [GOOD_BAR]
    assert not answer.unknown
    assert not answer.problems


@pytest.mark.parametrize("text", ['{"bars": null}', '{"bars": {"SPY": null}, "next_page_token": ""}', '{"bars": {}}'])
def test_no_bars_in_whatever_words_are_no_bars(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, text: str
) -> None:
    alpaca.replies.append(body(text))
    answer = alpaca_history.fetch(ask_for("SPY"), pace)
    assert (answer.bars, answer.problems, answer.unknown) == ([], [], frozenset())


def test_a_request_that_is_refused_for_another_reason_is_a_problem_of_each_symbol_in_the_vendors_words(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.replies.append(refusal(400, "invalid feed: delayed_sip"))
    answer = alpaca_history.fetch(ask_for("SPY", "IBM"), pace)
    words = 'Alpaca refuses this (400: "invalid feed: delayed_sip")'
    assert list(answer.problems) == [Problem("SPY", "refused", words), Problem("IBM", "refused", words)]
    assert not answer.unknown


def test_what_was_not_asked_for_is_passed_over_whatever_it_is(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.replies.append(body(json.dumps({"bars": {"SPY": [GOOD], "IBM": ["garbage"]}, "next_page_token": None})))
    answer = alpaca_history.fetch(ask_for("SPY"), pace)
    assert list(answer.bars) == [GOOD_BAR]
    assert not answer.problems
