"""Yahoo's history through yfinance itself, against a server on this machine."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.feeds.yahoo.history import YahooHistory
from ingest.history.check import believe
from ingest.history.source import Answer, Ask, SourceBusyError, SourceError
from market.records import Bar
from market.sessions import sessions_between
from market.settings import Settings
from tests.unit.ingest.history.yahoo_server import (
    Reply,
    Row,
    Share,
    Silence,
    YahooServer,
    cut_short,
    hang_up,
    refusal,
    running_yahoo,
)

NOW = datetime(2024, 6, 14, 21, 0, tzinfo=UTC)
NOTHING = Answer((), (), frozenset())
ROW: Row = ("2024-06-10 09:30", 10.0, 11.0, 9.0, 10.5, 100)


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with running_yahoo() as running:
        yield running


@pytest.fixture
def source(server: YahooServer) -> YahooHistory:
    return source_of(server)


def source_of(server: YahooServer, timeout_seconds: float = 10.0) -> YahooHistory:
    settings = Settings(_env_file=None, TAPEHOUSE_YAHOO_URL=server.url)
    return YahooHistory(settings, now=lambda: NOW, timeout_seconds=timeout_seconds)


class Pace:
    """Counts what it lets pass."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self) -> None:
        self.requests += 1


def ask_for(symbol: str, interval: str, first: str, last: str | None = None) -> Ask:
    days = (date.fromisoformat(first), date.fromisoformat(last or first))
    return Ask((symbol,), interval, tuple(sessions_between(*days)))


def at(utc: str) -> int:
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * 1_000_000


def bar(symbol: str, interval: str, utc: str, prices: str, volume: int) -> Bar:
    opened, high, low, close = map(Decimal, prices.split())
    return Bar("yahoo", symbol, interval, at(utc), opened, high, low, close, volume)


def test_the_default_address_is_the_vendors() -> None:
    assert Settings.model_fields["yahoo_url"].default == "https://query2.finance.yahoo.com"


def test_prices_that_went_through_single_precision_come_back_as_they_were(
    server: YahooServer, source: YahooHistory
) -> None:
    row: Row = ("2024-06-10 09:30", 182.00999450683594, 183.5, 0.1234560012817383, 9876.5400390625, 12_345)
    server.shares["IBM"] = Share({"1d": [row]})
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("IBM", "1d", "2024-06-10 13:30", "182.01 183.5 0.123456 9876.54", 12_345)]
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


def test_a_row_of_nothing_is_no_bar_and_no_problem(server: YahooServer, source: YahooHistory) -> None:
    nothing: Row = ("2024-06-11 09:30", None, None, None, None, None)
    untraded: Row = ("2024-06-12 09:30", None, None, None, None, 0)
    server.shares["IBM"] = Share({"1d": [ROW, nothing, untraded, ("2024-06-13 09:30", 10.0, 11.0, 9.0, 10.5, 7)]})
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10", "2024-06-13"), Pace())
    assert [b.volume for b in answer.bars] == [100, 7]
    assert list(answer.problems) == []


@pytest.mark.parametrize(
    ("interval", "row", "missing"),
    [
        ("1d", ("2024-06-11 09:30", 10.0, 11.0, 9.0, 10.5, None), "volume"),
        ("1d", ("2024-06-11 09:30", 10.0, None, 9.0, 10.5, 100), "high"),
        ("1h", ("2024-06-11 10:30", None, 11.0, 9.0, None, 100), "open, close"),
    ],
)
def test_a_row_with_some_fields_missing_is_a_problem_and_no_bar(
    server: YahooServer, source: YahooHistory, interval: str, row: Row, missing: str
) -> None:
    server.shares["IBM"] = Share({interval: [ROW, row]})
    answer = source.fetch(ask_for("IBM", interval, "2024-06-10", "2024-06-11"), Pace())
    assert [b.ts for b in answer.bars] == [at("2024-06-10 13:30")]
    assert [(p.symbol, p.code) for p in answer.problems] == [("IBM", "not_a_number")]
    assert missing in answer.problems[0].detail
    assert "2024-06-11" in answer.problems[0].detail


def test_a_price_of_zero_is_a_problem(server: YahooServer, source: YahooHistory) -> None:
    server.shares["IBM"] = Share({"1d": [("2024-06-10 09:30", 0.0, 11.0, 0.0, 10.5, 100)]})
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == []
    assert [p.code for p in answer.problems] == ["not_positive"]


@pytest.mark.parametrize("interval", ["1d", "1h", "1m"])
def test_a_symbol_that_yahoo_does_not_know_is_unknown_after_one_request(
    server: YahooServer, source: YahooHistory, interval: str
) -> None:
    pace = Pace()
    answer = source.fetch(ask_for("GONE", interval, "2024-06-10"), pace)
    assert answer == Answer((), (), frozenset({"GONE"}))
    assert pace.requests == len(server.requests) == 1


@pytest.mark.parametrize("interval", ["1d", "1m"])
def test_a_range_without_rows_is_no_bar_and_no_problem(
    server: YahooServer, source: YahooHistory, interval: str
) -> None:
    server.shares["IBM"] = Share({interval: [("2024-06-13 09:30", 1.0, 1.0, 1.0, 1.0, 1)]})
    now = datetime(2024, 6, 12, tzinfo=UTC)
    source = YahooHistory(Settings(_env_file=None, TAPEHOUSE_YAHOO_URL=server.url), now=lambda: now)
    answer = source.fetch(ask_for("IBM", interval, "2024-06-10"), Pace())
    assert answer == NOTHING


def test_minutes_without_a_daily_row_since_have_no_split_to_undo(server: YahooServer, source: YahooHistory) -> None:
    server.shares["IBM"] = Share({"1m": [ROW]})
    answer = source.fetch(ask_for("IBM", "1m", "2024-06-10"), Pace())
    assert list(answer.bars) == [bar("IBM", "1m", "2024-06-10 13:30", "10 11 9 10.5", 100)]


def empty_result() -> Reply:
    meta = b'{"currency":"USD","exchangeTimezoneName":"America/New_York"}'
    result = b'{"meta":' + meta + b',"indicators":{"quote":[{}]}}'
    return 200, {}, b'{"chart":{"result":[' + result + b'],"error":null}}'


def test_an_answer_without_timestamps_is_no_bar_and_no_problem(server: YahooServer, source: YahooHistory) -> None:
    server.replies = [empty_result()]
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert answer == NOTHING


@pytest.mark.parametrize(
    ("share", "code", "detail"),
    [
        (Share({"1d": [ROW]}, zone="Europe/London"), "wrong_time_zone", "Europe/London"),
        (Share({"1d": [ROW]}, zone="Mars/Phobos"), "wrong_time_zone", "Mars/Phobos"),
        (Share({"1d": [ROW]}, currency="GBp"), "wrong_currency", "GBp"),
        (Share({"1d": [ROW]}, currency=None), "wrong_currency", "None"),
        (Share({"1d": [ROW]}, splits=[("2024-06-12 09:30", 4, 0)]), "wrong_split", "4 for 0"),
    ],
)
def test_what_cannot_be_used_of_a_symbol_is_its_problem_and_gives_no_bars(
    server: YahooServer, source: YahooHistory, share: Share, code: str, detail: str
) -> None:
    server.shares["IBM"] = share
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == []
    assert [(p.symbol, p.code) for p in answer.problems] == [("IBM", code)]
    assert detail in answer.problems[0].detail


def test_another_reason_of_the_vendor_is_a_problem_in_its_words(server: YahooServer, source: YahooHistory) -> None:
    reason = "1m data not available for the range. The requested range must be within the last 30 days."
    server.replies = [refusal(422, "Unprocessable Entity", reason)]
    answer = source.fetch(ask_for("IBM", "1m", "2024-06-10"), Pace())
    assert [(p.code, p.detail) for p in answer.problems] == [("refused", f"Yahoo says: {reason}")]


@pytest.mark.parametrize(
    "reply",
    [
        (429, {}, b"Too Many Requests\r\n"),
        (200, {}, b"Too Many Requests\r\n"),
        (500, {}, b'{"chart":{"result":null,"error":{"code":"Internal Server Error","description":""}}}'),
        (502, {}, b"<html>bad gateway</html>"),
        (200, {}, b"<html>Will be right back</html>"),
        (404, {}, b"<html>not found</html>"),
        (200, {}, b'{"chart":{"result":null,"error":null}}'),
        (200, {}, b'{"chart":{"result":[{"meta":{"currency":"USD"'),
        (200, {}, b'{"finance":{}}'),
        cut_short,
        hang_up,
    ],
)
def test_what_is_no_answer_means_that_the_source_is_busy_and_the_next_attempt_asks_anew(
    server: YahooServer, source: YahooHistory, reply: Reply
) -> None:
    server.shares["IBM"] = Share({"1d": [ROW]})
    server.replies = [reply]
    pace = Pace()
    with pytest.raises(SourceBusyError):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), pace)
    assert pace.requests == len(server.requests) == 1
    assert len(source.fetch(ask_for("IBM", "1d", "2024-06-10"), pace).bars) == 1
    assert pace.requests == len(server.requests) == 2


def test_columns_of_another_length_than_the_timestamps_mean_that_the_source_is_busy(
    server: YahooServer, source: YahooHistory
) -> None:
    status, headers, body = empty_result()
    server.replies = [(status, headers, body.replace(b'"indicators"', b'"timestamp":[1718026200],"indicators"'))]
    with pytest.raises(SourceBusyError, match="incomplete"):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())


def test_an_answer_that_yfinance_cannot_read_means_that_the_source_is_busy(
    server: YahooServer, source: YahooHistory
) -> None:
    columns = b'{"open":[1],"high":[1],"low":[1],"close":[1],"volume":[1]}'
    status, headers, body = empty_result()
    body = body.replace(b"{}", columns).replace(b'"indicators"', b'"timestamp":[1718026200],"indicators"')
    server.replies = [(status, headers, body)]
    with pytest.raises(SourceBusyError, match="cannot be read: KeyError: 'instrumentType'"):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())


def test_how_long_the_vendor_asks_to_wait_is_passed_on(server: YahooServer, source: YahooHistory) -> None:
    server.replies = [(429, {"Retry-After": "17"}, b"")]
    with pytest.raises(SourceBusyError) as caught:
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert caught.value.after_seconds == 17


def test_no_answer_in_time_means_that_the_source_is_busy(server: YahooServer) -> None:
    silence = Silence()
    server.replies = [silence]
    try:
        with pytest.raises(SourceBusyError, match="Timeout"):
            source_of(server, timeout_seconds=0.2).fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    finally:
        silence.over.set()


def test_nobody_at_the_address_means_that_the_source_is_busy() -> None:
    with running_yahoo() as gone:
        source = source_of(gone)
    with pytest.raises(SourceBusyError, match="ConnectionError"):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())


@pytest.mark.parametrize(
    "reply", [(401, {}, b""), (403, {}, b"<html></html>"), (302, {"Location": "https://consent.yahoo.com/"}, b"")]
)
def test_a_refusal_of_everything_is_not_tried_again(server: YahooServer, source: YahooHistory, reply: Reply) -> None:
    server.replies = [reply]
    with pytest.raises(SourceError, match=f"HTTP {reply[0]}"):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert len(server.requests) == 1


def test_whoever_stops_the_pace_stops_the_request(server: YahooServer, source: YahooHistory) -> None:
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), stop)
    assert server.requests == []


def test_requests_look_like_a_browsers(server: YahooServer, source: YahooHistory) -> None:
    server.shares["IBM"] = Share({"1d": [ROW]})
    source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert "Chrome" in server.requests[0].user_agent


def test_nothing_is_written_to_the_home_of_the_user(
    server: YahooServer, source: YahooHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.shares["IBM"] = Share({"1d": [ROW]})
    assert len(source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace()).bars) == 1
    assert list(tmp_path.iterdir()) == []


def test_threads_share_a_source_and_each_gets_its_own_answer(server: YahooServer, source: YahooHistory) -> None:
    symbols = [f"S{number}" for number in range(1, 21)]
    for number, symbol in enumerate(symbols, start=1):
        server.shares[symbol] = Share({"1d": [("2024-06-10 09:30", 10.0, 11.0, 9.0, 10.5, number)]})
    with ThreadPoolExecutor(max_workers=source.at_once) as pool:
        answers = list(pool.map(lambda symbol: source.fetch(ask_for(symbol, "1d", "2024-06-10"), Pace()), symbols))
    assert [[(b.symbol, b.volume) for b in a.bars] for a in answers] == [
        [(symbol, number)] for number, symbol in enumerate(symbols, start=1)
    ]


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
