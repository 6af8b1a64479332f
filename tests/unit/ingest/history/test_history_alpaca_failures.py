"""Alpaca's history when something is wrong: keys, throttling, silence, half a page; no error shows a key."""

import json
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from ingest.feeds.alpaca.history import AlpacaHistory
from ingest.history.source import Ask, SourceBusyError, SourceError
from ingest.history.waiting import wait_seconds
from tests.unit.ingest.history.alpaca_case import GOOD, GOOD_BAR, TEN_OCLOCK, Paces, ask_for, everything_in, history_at
from tests.unit.ingest.history.alpaca_server import (
    KEY_ID,
    SECRET_KEY,
    AlpacaServer,
    Reply,
    as_usual,
    body,
    cut_short,
    hang_up,
    moved,
    refusal,
    silence,
)


@pytest.mark.parametrize(
    ("key_id", "secret_key", "missing"),
    [
        (None, SECRET_KEY, "APCA_API_KEY_ID is not set"),
        (KEY_ID, None, "APCA_API_SECRET_KEY is not set"),
        (" \n", SECRET_KEY, "APCA_API_KEY_ID is not set"),
    ],
)
def test_without_keys_nothing_is_asked_and_it_is_said_where_to_get_them(
    alpaca: AlpacaServer, pace: Paces, key_id: str | None, secret_key: str | None, missing: str
) -> None:
    history = history_at(alpaca.url, key_id, secret_key)
    calls: list[Callable[[], object]] = [history.check, lambda: history.fetch(ask_for("SPY"), pace)]
    for call in calls:
        with pytest.raises(SourceError, match="needs APCA_API_KEY_ID and APCA_API_SECRET_KEY") as caught:
            call()
        assert missing in str(caught.value)
        assert "https://alpaca.markets" in str(caught.value)
        assert SECRET_KEY not in everything_in(caught.value)


def test_with_both_keys_it_can_be_asked() -> None:
    assert history_at("http://127.0.0.1:1").check() is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("character", ["\n", "\u2019", " ", "\x7f"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(
    alpaca: AlpacaServer, pace: Paces, character: str
) -> None:
    history = history_at(alpaca.url, secret_key=f"abcdef{character}ghijkl")
    with pytest.raises(SourceError, match="APCA_API_SECRET_KEY holds a character") as caught:
        history.fetch(ask_for("SPY"), pace)
    assert "ghijkl" not in everything_in(caught.value)


def test_a_line_break_after_a_key_does_not_matter(alpaca: AlpacaServer, pace: Paces) -> None:
    alpaca.bars["SPY", "1Min"] = [GOOD]
    answer = history_at(alpaca.url, f"{KEY_ID}\n", f"{SECRET_KEY}\r\n").fetch(ask_for("SPY"), pace)
    assert list(answer.bars) == [GOOD_BAR]


def test_wrong_keys_refuse_every_request_and_the_variables_are_named(alpaca: AlpacaServer, pace: Paces) -> None:
    wrong = SECRET_KEY[::-1]
    with pytest.raises(SourceError, match=r"403: .forbidden") as caught:
        history_at(alpaca.url, secret_key=wrong).fetch(ask_for("SPY"), pace)
    assert "APCA_API_KEY_ID and APCA_API_SECRET_KEY" in str(caught.value)
    assert wrong not in everything_in(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_no_error_shows_a_key_even_if_the_answer_does(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, status: int
) -> None:
    echo = "x" * 180 + f" key {KEY_ID} secret {SECRET_KEY}"
    alpaca.replies.append(refusal(status, echo))
    if status == 400:
        (problem,) = alpaca_history.fetch(ask_for("SPY"), pace).problems
        shown = problem.detail
    else:
        with pytest.raises((SourceError, SourceBusyError)) as caught:
            alpaca_history.fetch(ask_for("SPY"), pace)
        shown = everything_in(caught.value)
        assert ("APCA_API_SECRET_KEY" in shown) == (status in {401, 403})
    assert "xxx" in shown
    for beginning in (KEY_ID[:6], SECRET_KEY[:6]):
        assert beginning not in shown


def test_no_text_of_a_malformed_page_shows_a_key(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.replies.append(body(json.dumps({"you": KEY_ID, "and": SECRET_KEY})))
    with pytest.raises(SourceBusyError) as caught:
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert KEY_ID not in everything_in(caught.value)
    assert SECRET_KEY not in everything_in(caught.value)


def test_the_last_minutes_of_sip_without_a_paid_plan_are_refused_with_what_to_do(
    alpaca: AlpacaServer, pace: Paces
) -> None:
    alpaca.now = datetime.fromisoformat("2024-01-02T21:10:00Z")
    history = history_at(alpaca.url, data_feed="sip")
    with pytest.raises(SourceError, match="last 15 minutes: ask again later, or set TAPEHOUSE_ALPACA_DATA_FEED=iex"):
        history.fetch(ask_for("SPY", interval="1d"), pace)
    alpaca.now += timedelta(minutes=5)
    assert not history.fetch(ask_for("SPY", interval="1d"), pace).problems


def test_an_address_without_the_service_names_its_setting(alpaca: AlpacaServer, pace: Paces) -> None:
    with pytest.raises(SourceError, match=r"404.*TAPEHOUSE_ALPACA_URL"):
        history_at(f"{alpaca.url}/elsewhere/").fetch(ask_for("SPY"), pace)
    assert alpaca.asked[0].path == "/elsewhere/v2/stocks/bars"


def test_an_address_that_cannot_be_one_names_its_setting() -> None:
    with pytest.raises(SourceError, match="TAPEHOUSE_ALPACA_URL"):
        history_at("http://127.0.0.1:99999999").fetch(ask_for("SPY"), Paces())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({}, None), ({"Retry-After": "7", "X-RateLimit-Reset": "99999999999"}, 7.0)],
)
def test_a_throttled_request_is_not_repeated_by_the_library_but_says_when_to_come_back(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, headers: dict[str, str], seconds: float | None
) -> None:
    alpaca.replies.append(refusal(429, "too many requests.", headers))
    with pytest.raises(SourceBusyError, match="too many requests") as caught:
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert caught.value.after_seconds == seconds
    assert len(alpaca.asked) == 1


def test_the_reset_of_the_limit_says_when_to_come_back(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    alpaca.replies.append(refusal(429, "too many requests.", {"X-RateLimit-Reset": str(int(time.time()) + 40)}))
    with pytest.raises(SourceBusyError) as caught:
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert caught.value.after_seconds is not None
    assert 20 < caught.value.after_seconds <= 40


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": " 30 "}, 30.0),
        ({"Retry-After": "0"}, 1.0),
        ({"Retry-After": "Sun, 09 Sep 2001 01:47:10 GMT"}, 30.0),
        ({"X-RateLimit-Reset": "1000000030"}, 30.0),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "1000000030"}, 30.0),
        ({"X-RateLimit-Reset": "999999999"}, 1.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan", "X-RateLimit-Reset": "inf"}, None),
        ({}, None),
    ],
)
def test_what_the_headers_say_of_a_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_seconds(headers, now=1_000_000_000.0) == seconds


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_an_error_of_the_server_may_be_gone_another_time_and_is_not_repeated_by_the_library(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, status: int
) -> None:
    alpaca.replies.append(refusal(status, "out of order"))
    with pytest.raises(SourceBusyError, match=f'{status}: "out of order"'):
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert len(alpaca.asked) == 1


@pytest.mark.parametrize("reply", [hang_up, cut_short, moved], ids=lambda reply: reply.__name__)
def test_an_answer_that_does_not_come_whole_may_come_another_time(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, reply: Reply
) -> None:
    alpaca.bars["SPY", "1Min"] = [GOOD]
    alpaca.replies.append(reply)
    with pytest.raises(SourceBusyError):
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert list(alpaca_history.fetch(ask_for("SPY"), pace).bars) == [GOOD_BAR]


def five_pages(alpaca: AlpacaServer) -> Ask:
    """Have a page hold one bar, and return an ask that takes five pages, of three symbols of which one is none."""
    alpaca.page_bars, alpaca.invalid = 1, ["NOPE"]
    for symbol, minutes in (("IBM", (0, 1, 2)), ("SPY", (0, 1))):
        alpaca.bars[symbol, "1Min"] = [{**GOOD, "t": f"2024-01-02T15:0{minute}:00Z"} for minute in minutes]
    return ask_for("IBM", "NOPE", "SPY")


def test_the_same_ask_goes_on_behind_the_pages_that_came(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    ask = five_pages(alpaca)
    alpaca.replies.extend([as_usual, as_usual, as_usual, refusal(500, "out of order"), as_usual, hang_up])
    alpaca.replies.append(refusal(500, "out of order"))
    for is_further in (True, True, False):
        with pytest.raises(SourceBusyError) as caught:
            alpaca_history.fetch(ask, pace)
        assert caught.value.is_further is is_further
    answer = alpaca_history.fetch(ask, pace)
    assert [(found.symbol, (found.ts - TEN_OCLOCK) // 60_000_000) for found in answer.bars] == [
        *(("IBM", 0), ("IBM", 1), ("IBM", 2)),
        *(("SPY", 0), ("SPY", 1)),
    ]
    assert answer.unknown == {"NOPE"}
    assert len(alpaca.asked) == 1 + 5 + 3, "the refused request, the pages, and those that failed"
    assert len(alpaca_history.fetch(ask, pace).bars) == 5, "nothing is kept of an ask that was answered"


def test_an_ask_whose_next_page_is_refused_begins_anew(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces
) -> None:
    ask = five_pages(alpaca)
    alpaca.replies.extend([as_usual, as_usual, refusal(500, "out of order"), refusal(422, "no such page")])
    with pytest.raises(SourceBusyError):
        alpaca_history.fetch(ask, pace)
    answer = alpaca_history.fetch(ask, pace)
    assert len(answer.bars) == 5
    assert answer.unknown == frozenset({"NOPE"})
    assert not answer.problems


def test_silence_is_given_up_after_the_timeout(alpaca: AlpacaServer, pace: Paces) -> None:
    alpaca.replies.append(silence)
    started = time.monotonic()
    with pytest.raises(SourceBusyError, match=r"read timeout=0\.3"):
        history_at(alpaca.url, read_seconds=0.3).fetch(ask_for("SPY"), pace)
    assert time.monotonic() - started < 10  # the server would be silent for a minute


def test_a_refused_connection_may_be_accepted_another_time() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and connections are refused
        history = history_at(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(SourceBusyError, match=r"did not answer: .*Connection refused") as caught:
            history.fetch(ask_for("SPY"), Paces())
    assert SECRET_KEY not in everything_in(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"bars": {"SPY": [{"t": "2024-01-02T15:00:00Z", "o": 472.16,',
        "<html>come back later</html>",
        '{"message": "partial outage"}',
        '{"bars": [1, 2]}',
        '{"bars": {"SPY": {"t": "2024-01-02T15:00:00Z"}}}',
        '{"bars": {"SPY": "none"}}',
        '{"bars": {}, "next_page_token": 7}',
        '{"bars": {"SPY": [{"v": ' + "9" * 5000 + "}]}}",
        '{"bars": ' + "[" * 100_000,
    ],
    ids=range(13),
)
def test_half_a_page_is_never_taken_for_a_page(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, text: str
) -> None:
    alpaca.replies.append(body(text))
    with pytest.raises(SourceBusyError, match="not a page") as caught:
        alpaca_history.fetch(ask_for("SPY"), pace)
    assert len(str(caught.value)) < 500
