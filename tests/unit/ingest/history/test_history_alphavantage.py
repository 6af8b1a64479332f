"""Alpha Vantage's history against a server on this machine."""

import logging
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler

import pytest
from pydantic import SecretStr

from ingest.feeds.alphavantage.client import AlphaVantageClient
from ingest.feeds.alphavantage.history import AlphaVantageHistory
from ingest.history.source import Answer, Limit, SourceBusyError, SourceError
from market.records import Bar
from market.sessions import sessions_between
from market.settings import Settings
from tests.unit.ingest.history.alphavantage_server import (
    INVALID_KEY,
    KEY,
    PREMIUM,
    TOO_FAST,
    TOO_FAST_ONCE,
    USED_UP,
    AlphaVantageServer,
    Reply,
    Row,
    cut_short,
    hang_up,
    redirect,
    running_alphavantage,
    said,
)
from tests.unit.ingest.history.asks import Pace, ask_for, at

NOW = datetime(2024, 6, 14, 21, 0, tzinfo=UTC)
PRICES = ("10.0000", "11.0000", "9.0000", "10.5000", "100")


@pytest.fixture
def server() -> Iterator[AlphaVantageServer]:
    with running_alphavantage() as running:
        yield running


@pytest.fixture
def source(server: AlphaVantageServer) -> AlphaVantageHistory:
    return source_of(server)


def source_of(server: AlphaVantageServer, key: str = KEY, timeout_seconds: float = 10.0) -> AlphaVantageHistory:
    settings = Settings(_env_file=None, TAPEHOUSE_ALPHAVANTAGE_URL=server.url, ALPHAVANTAGE_API_KEY=key)
    return AlphaVantageHistory(settings, now=lambda: NOW, timeout_seconds=timeout_seconds, least_seconds=0)


def bar(symbol: str, interval: str, utc: str, prices: str, volume: int) -> Bar:
    opened, high, low, close = map(Decimal, prices.split())
    return Bar("alphavantage", symbol, interval, at(utc), opened, high, low, close, volume)


def many_days() -> list[Row]:
    """Return 150 sessions up to 2024-06-14, newest first."""
    sessions = list(sessions_between(date(2023, 11, 1), date(2024, 6, 14)))[-150:]
    return [(session.session_date.isoformat(), *PRICES) for session in reversed(sessions)]


def test_the_default_address_is_the_vendors() -> None:
    assert Settings.model_fields["alphavantage_url"].default == "https://www.alphavantage.co"


def test_daily_bars_begin_at_the_open_of_their_own_day(server: AlphaVantageServer, source: AlphaVantageHistory) -> None:
    server.rows["IBM", "daily"] = [
        ("2024-03-11", "196.0600", "196.3800", "190.6400", "191.7300", "5919448"),
        ("2024-03-08", "196.0100", "197.7700", "194.3800", "195.9500", "3999284"),
    ]
    answer = source.fetch(ask_for("IBM", "1d", "2024-03-08", "2024-03-11"), Pace())
    assert list(answer.bars) == [
        bar("IBM", "1d", "2024-03-11 13:30", "196.06 196.38 190.64 191.73", 5_919_448),
        bar("IBM", "1d", "2024-03-08 14:30", "196.01 197.77 194.38 195.95", 3_999_284),
    ]
    assert list(answer.problems) == []


@pytest.mark.parametrize(("interval", "asked"), [("1m", "1min"), ("5m", "5min"), ("15m", "15min"), ("1h", "60min")])
def test_intraday_bars_keep_their_moment_over_the_change_of_the_clocks(
    server: AlphaVantageServer, source: AlphaVantageHistory, interval: str, asked: str
) -> None:
    server.rows["IBM", asked] = [("2024-03-11 15:30:00", *PRICES), ("2024-03-08 15:30:00", *PRICES)]
    answer = source.fetch(ask_for("IBM", interval, "2024-03-08", "2024-03-11"), Pace())
    assert list(answer.bars) == [
        bar("IBM", interval, "2024-03-11 19:30", "10 11 9 10.5", 100),
        bar("IBM", interval, "2024-03-08 20:30", "10 11 9 10.5", 100),
    ]


def test_each_month_is_one_request_and_each_is_paced(server: AlphaVantageServer, source: AlphaVantageHistory) -> None:
    server.rows["IBM", "5min"] = [(f"2024-0{month}-15 09:30:00", *PRICES) for month in (5, 4, 3, 2)]
    pace = Pace()
    answer = source.fetch(ask_for("IBM", "5m", "2024-03-28", "2024-05-15"), pace)
    assert [b.ts for b in answer.bars] == [at("2024-04-15 13:30"), at("2024-05-15 13:30")]
    assert [request["month"] for request in server.requests] == ["2024-03", "2024-04", "2024-05"]
    assert pace.requests == 3


def test_what_lies_outside_of_the_sessions_that_were_asked_for_is_left_out(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    times = ("2024-06-11 09:30:00", "2024-06-10 16:00:00", "2024-06-10 09:30:00", "2024-06-10 09:25:00")
    server.rows["IBM", "5min"] = [(time, *PRICES) for time in times]
    answer = source.fetch(ask_for("IBM", "5m", "2024-06-10"), Pace())
    assert [b.ts for b in answer.bars] == [at("2024-06-10 13:30")]


def test_a_class_of_shares_is_asked_for_with_a_hyphen_and_keeps_its_name(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.rows["BRK-B", "daily"] = [("2024-06-10", *PRICES)]
    answer = source.fetch(ask_for("BRK.B", "1d", "2024-06-10"), Pace())
    assert [b.symbol for b in answer.bars] == ["BRK.B"]


@pytest.mark.parametrize(("first", "size"), [("2024-01-24", "compact"), ("2024-01-23", "full")])
def test_the_small_answer_is_asked_for_if_its_hundred_days_reach_back_far_enough(
    server: AlphaVantageServer, source: AlphaVantageHistory, first: str, size: str
) -> None:
    server.rows["IBM", "daily"] = many_days()
    answer = source.fetch(ask_for("IBM", "1d", first), Pace())
    assert len(answer.bars) == 1
    assert [request["outputsize"] for request in server.requests] == [size]


def test_without_a_premium_plan_the_last_hundred_days_come_and_what_is_older_is_a_problem(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.rows["IBM", "daily"] = many_days()
    server.has_premium = False
    pace = Pace()
    answer = source.fetch(ask_for("IBM", "1d", "2023-12-01", "2024-06-14"), pace)
    assert (len(answer.bars), list(answer.problems)) == (100, [])
    (withheld,) = answer.withheld
    assert (withheld.symbol, withheld.problem.code) == ("IBM", "premium_only")
    assert "before 2024-01-24" in withheld.problem.detail
    days = [session.session_date.isoformat() for session in withheld.sessions]
    assert (days[0], days[-1], len(days)) == ("2023-12-01", "2024-01-23", 35)
    assert pace.requests == len(server.requests) == 2


def test_what_the_plan_turned_out_not_to_have_is_asked_for_of_one_symbol_only(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.has_premium = False
    for symbol in ("IBM", "SPY"):
        server.rows[symbol, "daily"] = many_days()
        answer = source.fetch(ask_for(symbol, "1d", "2023-12-01", "2024-06-14"), Pace())
        assert [one.symbol for one in answer.withheld] == [symbol]
    sizes = [(request["symbol"], request["outputsize"]) for request in server.requests]
    assert sizes == [("IBM", "full"), ("IBM", "compact"), ("SPY", "compact")]


def test_days_that_the_plan_does_not_have_cost_one_request_of_one_symbol(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.has_premium = False
    for symbol in ("IBM", "SPY"):
        server.rows[symbol, "daily"] = many_days()
        answer = source.fetch(ask_for(symbol, "1d", "2023-12-01", "2024-01-19"), Pace())
        (withheld,) = answer.withheld
        assert (withheld.symbol, len(withheld.sessions)) == (symbol, 33)
        assert "days until 2024-01-19" in withheld.problem.detail
    assert [(request["symbol"], request["outputsize"]) for request in server.requests] == [("IBM", "full")]


def test_without_a_premium_plan_a_share_that_was_listed_lately_is_complete(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.rows["NEW", "daily"] = many_days()[:30]
    server.has_premium = False
    answer = source.fetch(ask_for("NEW", "1d", "2023-12-01", "2024-06-14"), Pace())
    assert (len(answer.bars), list(answer.problems)) == (30, [])


@pytest.mark.parametrize("interval", ["1d", "5m"])
def test_an_invalid_symbol_is_unknown(server: AlphaVantageServer, source: AlphaVantageHistory, interval: str) -> None:
    pace = Pace()
    assert source.fetch(ask_for("GONE", interval, "2024-06-10"), pace) == Answer((), (), frozenset({"GONE"}))
    assert pace.requests == len(server.requests) == 1


def test_a_month_before_the_listing_does_not_make_a_symbol_unknown(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.rows["NEW", "5min"] = [("2024-06-10 09:30:00", *PRICES)]
    server.months_before_listing = {"2024-05"}
    answer = source.fetch(ask_for("NEW", "5m", "2024-05-20", "2024-06-10"), Pace())
    assert [b.ts for b in answer.bars] == [at("2024-06-10 13:30")]
    assert answer.unknown == frozenset()


@pytest.mark.parametrize("body", [b"{}", b'{"Meta Data":{"6. Time Zone":"US/Eastern"},"Time Series (5min)":{}}'])
def test_an_answer_of_nothing_is_no_bar_and_no_problem(
    server: AlphaVantageServer, source: AlphaVantageHistory, body: bytes
) -> None:
    server.replies = [(200, body)]
    assert source.fetch(ask_for("IBM", "5m", "2024-06-10"), Pace()) == Answer((), (), frozenset())


@pytest.mark.parametrize("value", ["NaN", "Infinity", "", "None"])
def test_what_is_no_number_is_a_problem_and_no_bar(
    server: AlphaVantageServer, source: AlphaVantageHistory, value: str
) -> None:
    server.rows["IBM", "daily"] = [("2024-06-11", "10", value, "9", "10", "100"), ("2024-06-10", *PRICES)]
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10", "2024-06-11"), Pace())
    assert [b.ts for b in answer.bars] == [at("2024-06-10 13:30")]
    assert [(p.code, p.detail) for p in answer.problems] == [("not_a_number", "2. high at 2024-06-11")]


@pytest.mark.parametrize(
    "values", [("0", "11", "0", "10", "1"), ("1e300", "1e300", "9", "10", "1"), ("10", "11", "9", "10", "1e300")]
)
def test_a_value_that_cannot_be_is_a_problem_and_no_bar(
    server: AlphaVantageServer, source: AlphaVantageHistory, values: tuple[str, str, str, str, str]
) -> None:
    server.rows["IBM", "daily"] = [("2024-06-10", *values)]
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == []
    assert [p.code for p in answer.problems] == ["impossible_value"]


def test_a_row_without_a_time_is_a_problem(server: AlphaVantageServer, source: AlphaVantageHistory) -> None:
    server.rows["IBM", "daily"] = [("yesterday", *PRICES)]
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert [(p.code, p.detail) for p in answer.problems] == [("wrong_time", "'yesterday' is no time")]


@pytest.mark.parametrize(
    ("reply", "after_seconds"),
    [
        (said("Information", TOO_FAST), 1.0),
        (said("Note", TOO_FAST_ONCE), 60.0),
        (said("Information", "We are closed."), None),
        ((429, b""), None),
        ((503, b"<html></html>"), None),
        ((200, b"<html></html>"), None),
        ((200, b'{"Meta Data": {'), None),
        ((200, b'{"Meta Data": {"5. Time Zone": "US/Eastern"}}'), None),
        ((200, b'{"Time Series (Daily)": "none"}'), None),
        (cut_short, None),
        (hang_up, None),
    ],
)
def test_what_is_no_answer_means_that_the_source_is_busy_and_the_next_attempt_asks_anew(
    server: AlphaVantageServer, source: AlphaVantageHistory, reply: Reply, after_seconds: float | None
) -> None:
    server.rows["IBM", "daily"] = [("2024-06-10", *PRICES)]
    server.replies = [reply]
    with pytest.raises(SourceBusyError) as caught:
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert caught.value.after_seconds == after_seconds
    assert len(source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace()).bars) == 1


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (said("Information", USED_UP), "a day are used up"),
        (said("Error Message", INVALID_KEY), "ALPHAVANTAGE_API_KEY"),
        (said("Information", PREMIUM), "premium plans only"),
        ((403, b""), "HTTP 403"),
        (redirect, "HTTP 302"),
    ],
)
def test_a_refusal_of_everything_is_not_tried_again(
    server: AlphaVantageServer, source: AlphaVantageHistory, reply: Reply, text: str
) -> None:
    server.replies = [reply]
    with pytest.raises(SourceError, match=text):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert len(server.requests) == 1


def test_without_a_key_the_check_names_the_setting_and_nothing_is_asked(server: AlphaVantageServer) -> None:
    source = source_of(server, key="")
    pace = Pace()
    with pytest.raises(SourceError, match="ALPHAVANTAGE_API_KEY"):
        source.check()
    with pytest.raises(SourceError, match="ALPHAVANTAGE_API_KEY"):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), pace)
    assert pace.requests == len(server.requests) == 0


def test_with_a_key_the_check_asks_nothing(server: AlphaVantageServer, source: AlphaVantageHistory) -> None:
    source.check()
    assert server.requests == []


def test_the_key_is_in_no_error_and_in_no_log(
    server: AlphaVantageServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()

    def silence(handler: BaseHTTPRequestHandler) -> None:
        over.wait(30)
        handler.close_connection = True

    def echo(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 " + handler.path.encode() + b"\r\n\r\n")

    caplog.set_level(logging.DEBUG)
    source = source_of(server, timeout_seconds=0.3)
    server.rows["IBM", "daily"] = [("2024-06-10", *PRICES)]
    server.replies = [
        said("Information", USED_UP),
        said("Note", f"{KEY} is not known"),
        (200, f'{{"{KEY}": '.encode()),
        (200, f'{{"Meta Data": 1, "{KEY}": 1}}'.encode()),
        hang_up,
        cut_short,
        echo,
        silence,
    ]
    told = []
    try:
        while server.replies:
            with pytest.raises((SourceBusyError, SourceError)) as caught:
                source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
            told.append("".join(traceback.format_exception(caught.value)))
            assert caught.value.__context__ is None or KEY not in str(caught.value.__context__)
    finally:
        over.set()
    assert len(told) == 8
    assert len(source_of(server).fetch(ask_for("IBM", "1d", "2024-06-10"), Pace()).bars) == 1
    output = capfd.readouterr()
    assert all(KEY not in text for text in (*told, caplog.text, output.out, output.err))
    assert all(request["apikey"] == KEY for request in server.requests)


def test_nobody_at_the_address_means_that_the_source_is_busy() -> None:
    with running_alphavantage() as gone:
        source = source_of(gone)
    with pytest.raises(SourceBusyError, match="ConnectionError") as caught:
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_the_key_is_not_shown_by_the_settings() -> None:
    settings = Settings(_env_file=None, ALPHAVANTAGE_API_KEY=KEY)
    assert KEY not in repr(settings)
    assert settings.environment()["ALPHAVANTAGE_API_KEY"] == KEY


def test_two_requests_are_a_second_apart(server: AlphaVantageServer) -> None:
    server.rows["IBM", "daily"] = [("2024-06-10", *PRICES)]
    moments = [100.0]
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        moments[0] += seconds

    client = AlphaVantageClient(server.url, SecretStr(KEY), least_seconds=1.1, clock=lambda: moments[0], sleep=sleep)
    parameters = {"function": "TIME_SERIES_DAILY", "symbol": "IBM", "outputsize": "compact"}
    client.ask(parameters, Pace())
    moments[0] += 0.5
    client.ask(parameters, Pace())
    moments[0] += 5
    client.ask(parameters, Pace())
    assert slept == [pytest.approx(0.6)]


def test_the_limit_is_the_quota_of_a_free_key() -> None:
    assert AlphaVantageHistory.limit == Limit(25, 86_400)
    assert AlphaVantageHistory.offers["5m"].months_per_ask == 6
    assert AlphaVantageHistory.offers["1d"].bars_per_request is None
