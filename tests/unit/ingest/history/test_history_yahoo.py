"""What bars Yahoo's history gives, through yfinance itself, against a server on this machine."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from ingest.feeds.yahoo.history import YahooHistory
from ingest.history.check import believe
from ingest.history.source import UnreadableAnswerError
from market.records import Bar
from market.settings import Settings
from tests.unit.ingest.history.asks import Pace, ask_for, at
from tests.unit.ingest.history.yahoo_server import (
    NOW,
    Row,
    Share,
    YahooServer,
    chart,
    running_yahoo,
    source_of,
)

ROW: Row = ("2024-06-10 09:30", 10.0, 11.0, 9.0, 10.5, 100)


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with running_yahoo() as running:
        yield running


@pytest.fixture
def source(server: YahooServer) -> YahooHistory:
    return source_of(server)


def bar(symbol: str, interval: str, utc: str, prices: str, volume: int) -> Bar:
    opened, high, low, close = map(Decimal, prices.split())
    return Bar("yahoo", symbol, interval, at(utc), opened, high, low, close, volume)


def test_the_default_address_is_the_vendors() -> None:
    assert Settings.model_fields["yahoo_url"].default == "https://query2.finance.yahoo.com"


def test_prices_that_went_through_single_precision_come_back_as_they_were(
    server: YahooServer, source: YahooHistory
) -> None:
    row: Row = ("2024-06-10 09:30", 182.00999450683594, 12345.6796875, 0.1234560012817383, 9876.5400390625, 12_345)
    server.shares["IBM"] = Share({"1d": [row]})
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("IBM", "1d", "2024-06-10 13:30", "182.01 12345.68 0.123456 9876.54", 12_345)]
    assert [str(price) for price in (answer.bars[0].open, answer.bars[0].close)] == ["182.01", "9876.54"]


def test_prices_are_of_four_decimals_at_most_and_of_six_below_a_dollar(
    server: YahooServer, source: YahooHistory
) -> None:
    row: Row = ("2024-06-10 09:30", 1.2345678, 1.9999999, 0.12345678, 1.0, 1)
    server.shares["IBM"] = Share({"1d": [row]})
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("IBM", "1d", "2024-06-10 13:30", "1.2346 2 0.123457 1", 1)]


def test_two_splits_after_a_bar_are_both_undone_and_one_on_its_day_is_not(
    server: YahooServer, source: YahooHistory
) -> None:
    # As the vendor has Apple: 645.57 on 2014-06-06, then 7 for 1 and 4 for 1, is 23.056072 today.
    rows: list[Row] = [
        (
            "2014-06-06 09:30",
            23.210714340209961,
            23.259286880493164,
            23.016786575317383,
            23.05607223510742,
            349_938_400,
        ),
        ("2014-06-09 09:30", 23.174999237060547, 23.469999313354492, 22.9375, 23.424999237060547, 301_660_000),
        (
            "2020-08-28 09:30",
            126.01249694824219,
            126.44249725341797,
            124.57749938964844,
            124.80750274658203,
            187_630_000,
        ),
        ("2020-08-31 09:30", 127.58000183105469, 131.0, 126.0, 129.03999328613281, 225_702_700),
    ]
    server.shares["AAPL"] = Share({"1d": rows}, splits=[("2020-08-31 09:30", 4, 1), ("2014-06-09 09:30", 7, 1)])
    answer = source.fetch(ask_for("AAPL", "1d", "2014-06-06", "2020-08-31"), Pace())
    assert list(answer.bars) == [
        bar("AAPL", "1d", "2014-06-06 13:30", "649.9 651.26 644.47 645.57", 12_497_800),
        bar("AAPL", "1d", "2014-06-09 13:30", "92.7 93.88 91.75 93.7", 75_415_000),
        bar("AAPL", "1d", "2020-08-28 13:30", "504.05 505.77 498.31 499.23", 46_907_500),
        bar("AAPL", "1d", "2020-08-31 13:30", "127.58 131 126 129.04", 225_702_700),
    ]


def test_a_reverse_split_after_what_was_asked_for_is_undone(server: YahooServer, source: YahooHistory) -> None:
    rows: list[Row] = [("2024-06-10 09:30", 7.5, 8.0, 7.0, 7.799999713897705, 1_000)]
    server.shares["SNDL"] = Share({"1d": rows}, splits=[("2024-06-12 09:30", 1, 10)])
    answer = source.fetch(ask_for("SNDL", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("SNDL", "1d", "2024-06-10 13:30", "0.75 0.8 0.7 0.78", 10_000)]


def test_a_split_of_three_for_two_gives_whole_shares(server: YahooServer, source: YahooHistory) -> None:
    server.shares["X"] = Share(
        {"1d": [("2024-06-10 09:30", 20.0, 22.0, 18.0, 21.0, 1_000)]}, [("2024-06-12 09:30", 3, 2)]
    )
    answer = source.fetch(ask_for("X", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("X", "1d", "2024-06-10 13:30", "30 33 27 31.5", 667)]


def test_minutes_before_a_split_are_undone_though_their_own_answer_ends_before_it(
    server: YahooServer, source: YahooHistory
) -> None:
    minutes: list[Row] = [("2024-06-07 09:30", 120.5, 121.0, 120.0, 120.75, 5_000)]
    days: list[Row] = [("2024-06-07 09:30", 119.8, 121.7, 118.0, 120.9, 4_100_000)]
    server.shares["NVDA"] = Share({"1m": minutes, "1d": days}, splits=[("2024-06-10 09:30", 10, 1)])
    pace = Pace()
    answer = source.fetch(ask_for("NVDA", "1m", "2024-06-07"), pace)
    assert list(answer.bars) == [bar("NVDA", "1m", "2024-06-07 13:30", "1205 1210 1200 1207.5", 500)]
    assert [request.parameters["interval"] for request in server.requests] == ["1m", "1d"]
    assert pace.requests == 2
    minutes_request, splits_request = (request.parameters for request in server.requests)
    assert int(minutes_request["period2"]) - int(minutes_request["period1"]) == 16 * 3600
    assert int(splits_request["period2"]) == NOW.timestamp()


@pytest.mark.parametrize("interval", ["5m", "15m", "1h"])
def test_one_request_until_now_brings_bars_and_splits(server: YahooServer, source: YahooHistory, interval: str) -> None:
    rows: list[Row] = [
        ("2024-06-07 09:30", 120.5, 121.0, 120.0, 120.75, 5_000),
        ("2024-06-10 09:30", 122.0, 123.0, 121.0, 122.5, 70_000),
    ]
    server.shares["NVDA"] = Share({interval: rows}, splits=[("2024-06-10 09:30", 10, 1)])
    pace = Pace()
    answer = source.fetch(ask_for("NVDA", interval, "2024-06-07"), pace)
    assert list(answer.bars) == [bar("NVDA", interval, "2024-06-07 13:30", "1205 1210 1200 1207.5", 500)]
    assert pace.requests == len(server.requests) == 1


@pytest.mark.parametrize("interval", ["1d", "1h", "1m"])
def test_dividends_change_nothing_not_even_on_a_day_without_a_row(
    server: YahooServer, source: YahooHistory, interval: str
) -> None:
    rows: list[Row] = [ROW, ("2024-06-12 09:30", 10.0, 11.0, 9.0, 10.5, 100)]
    dividends = [("2024-06-11 09:30", 5.0), ("2024-06-12 09:30", 5.0)]
    server.shares["IBM"] = Share({interval: rows, "1d": rows}, dividends=dividends)
    answer = source.fetch(ask_for("IBM", interval, "2024-06-10", "2024-06-12"), Pace())
    assert list(answer.bars) == [
        bar("IBM", interval, "2024-06-10 13:30", "10 11 9 10.5", 100),
        bar("IBM", interval, "2024-06-12 13:30", "10 11 9 10.5", 100),
    ]


def test_days_around_the_change_of_the_clocks_begin_at_their_own_open(
    server: YahooServer, source: YahooHistory
) -> None:
    days = ("2024-03-08", "2024-03-11", "2023-11-03", "2023-11-06")
    server.shares["IBM"] = Share({"1d": [(f"{day} 09:30", 10.0, 11.0, 9.0, 10.5, 100) for day in sorted(days)]})
    answer = source.fetch(ask_for("IBM", "1d", "2023-11-03", "2024-03-11"), Pace())
    assert [b.ts for b in answer.bars] == [
        at("2023-11-03 13:30"),
        at("2023-11-06 14:30"),
        at("2024-03-08 14:30"),
        at("2024-03-11 13:30"),
    ]


def test_intraday_bars_around_the_change_of_the_clocks_keep_their_moment(
    server: YahooServer, source: YahooHistory
) -> None:
    rows: list[Row] = [(f"{day} 15:30", 10.0, 11.0, 9.0, 10.5, 100) for day in ("2024-03-08", "2024-03-11")]
    server.shares["IBM"] = Share({"1h": rows})
    answer = source.fetch(ask_for("IBM", "1h", "2024-03-08", "2024-03-11"), Pace())
    assert [b.ts for b in answer.bars] == [at("2024-03-08 20:30"), at("2024-03-11 19:30")]


def test_a_class_of_shares_is_asked_for_with_a_hyphen_and_keeps_its_name(
    server: YahooServer, source: YahooHistory
) -> None:
    server.shares["BRK-B"] = Share({"1d": [ROW]})
    answer = source.fetch(ask_for("BRK.B", "1d", "2024-06-10"), Pace())
    assert [b.symbol for b in answer.bars] == ["BRK.B"]
    assert [request.ticker for request in server.requests] == ["BRK-B"]


def test_the_running_session_and_the_latest_price_are_left_out(server: YahooServer, source: YahooHistory) -> None:
    daily: list[Row] = [
        ROW,
        ("2024-06-14 09:30", 12.0, 12.0, 12.0, 12.0, 5),
        ("2024-06-14 15:12", 13.0, 13.0, 13.0, 13.0, 6),
    ]
    hours: list[Row] = [
        ("2024-06-10 15:30", 10.0, 11.0, 9.0, 10.5, 100),
        ("2024-06-10 16:00", 10.5, 10.5, 10.5, 10.5, 0),
    ]
    server.shares["IBM"] = Share({"1d": daily, "1h": hours})
    found = source.fetch(ask_for("IBM", "1d", "2024-06-10", "2024-06-13"), Pace())
    assert [b.ts for b in found.bars] == [at("2024-06-10 13:30")]
    found = source.fetch(ask_for("IBM", "1h", "2024-06-10"), Pace())
    assert [b.ts for b in found.bars] == [at("2024-06-10 19:30")]


def test_a_latest_price_of_a_day_that_was_asked_for_adds_no_second_bar(
    server: YahooServer, source: YahooHistory
) -> None:
    daily: list[Row] = [ROW, ("2024-06-10 16:00", 10.0, 11.0, 9.0, 10.5, 101)]
    server.shares["IBM"] = Share({"1d": daily})
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("IBM", "1d", "2024-06-10 13:30", "10 11 9 10.5", 101)]
    assert believe(ask_for("IBM", "1d", "2024-06-10"), answer.bars).problems == []


def test_nothing_after_the_close_of_a_half_day_is_taken(server: YahooServer, source: YahooHistory) -> None:
    rows: list[Row] = [(f"2023-11-24 {time}", 10.0, 11.0, 9.0, 10.5, 100) for time in ("12:30", "13:30")]
    server.shares["IBM"] = Share({"1h": rows})
    answer = source.fetch(ask_for("IBM", "1h", "2023-11-24"), Pace())
    assert [b.ts for b in answer.bars] == [at("2023-11-24 17:30")]


def test_minutes_without_a_daily_row_since_have_no_split_to_undo(server: YahooServer, source: YahooHistory) -> None:
    server.shares["IBM"] = Share({"1m": [ROW]})
    answer = source.fetch(ask_for("IBM", "1m", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("IBM", "1m", "2024-06-10 13:30", "10 11 9 10.5", 100)]


def test_minutes_are_asked_for_a_week_at_a_time_and_nothing_is_asked_for_at_the_edge_of_what_there_is() -> None:
    offers = YahooHistory.offers
    assert {name: offer.days_back for name, offer in offers.items()} == {
        "1d": None,
        "1h": 729,
        "15m": 59,
        "5m": 59,
        "1m": 29,
    }
    assert offers["1m"].sessions_per_ask == 5
    assert {offer.symbols_per_ask for offer in offers.values()} == {1}


@pytest.mark.parametrize("place", ["timestamp", "splits"])
def test_a_moment_that_no_clock_can_hold_makes_an_answer_unreadable(
    server: YahooServer, source: YahooHistory, place: str
) -> None:
    status, headers, body = chart("IBM", Share(), [ROW], {})
    answer = json.loads(body)
    if place == "timestamp":
        answer["chart"]["result"][0]["timestamp"] = [10**18]
    else:
        answer["chart"]["result"][0]["events"] = {"splits": {"1": {"date": 10**18, "numerator": 2, "denominator": 1}}}
    server.replies.append((status, headers, json.dumps(answer).encode()))
    with pytest.raises(UnreadableAnswerError):
        source.fetch(ask_for("IBM", "1d", "2024-06-10", "2024-06-13"), Pace())


def test_a_split_beyond_every_ratio_is_a_problem_of_its_symbol(server: YahooServer, source: YahooHistory) -> None:
    server.shares["IBM"] = Share({"1d": [ROW]}, splits=[("2024-06-12 09:30", 1, 10_000_000)])
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10", "2024-06-13"), Pace())
    assert [(problem.symbol, problem.code) for problem in answer.problems] == [("IBM", "wrong_split")]
