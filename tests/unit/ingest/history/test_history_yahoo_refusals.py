"""What Yahoo's history makes of rows and answers that are no good, through yfinance itself, against a server on this machine."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path

import pytest

from ingest.feeds.yahoo.history import YahooHistory
from ingest.history.source import Answer, SourceBusyError, SourceError
from market.settings import Settings
from tests.unit.ingest.history.asks import Pace, ask_for, at
from tests.unit.ingest.history.yahoo_server import (
    Reply,
    Row,
    Share,
    Silence,
    YahooServer,
    chart,
    cut_short,
    hang_up,
    refusal,
    running_yahoo,
    source_of,
)

NOTHING = Answer((), (), frozenset())
ROW: Row = ("2024-06-10 09:30", 10.0, 11.0, 9.0, 10.5, 100)


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with running_yahoo() as running:
        yield running


@pytest.fixture
def source(server: YahooServer) -> YahooHistory:
    return source_of(server)


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


@pytest.mark.parametrize(
    ("interval", "row", "said"),
    [
        ("1d", ("2024-06-11 09:30", 10.0, 11.0, 9.0, math.nan, 100), "close is nan at 2024-06-11"),
        ("1d", ("2024-06-11 09:30", 10.0, math.inf, None, 10.5, 100), "high is inf, no low at 2024-06-11"),
        (
            "1d",
            ("2024-06-11 09:30", *[math.nan] * 5),
            "open is nan, high is nan, low is nan, close is nan, volume is nan",
        ),
        ("1h", ("2024-06-11 10:30", 10.0, 11.0, 9.0, 10.5, -math.inf), "volume is -inf at 2024-06-11 10:30"),
    ],
)
def test_a_value_that_is_no_number_costs_its_row_only_though_such_an_answer_is_no_json(
    server: YahooServer, source: YahooHistory, interval: str, row: Row, said: str
) -> None:
    server.shares["IBM"] = Share({interval: [ROW, row]}, splits=[("2024-06-11 09:30", 2, 1)])
    answer = source.fetch(ask_for("IBM", interval, "2024-06-10", "2024-06-11"), Pace())
    assert [(b.ts, b.open) for b in answer.bars] == [(at("2024-06-10 13:30"), Decimal(20))]
    assert [(p.symbol, p.code) for p in answer.problems] == [("IBM", "not_a_number")]
    assert said in answer.problems[0].detail


def test_a_split_that_is_no_number_is_said(server: YahooServer, source: YahooHistory) -> None:
    server.shares["IBM"] = Share({"1d": [ROW]}, splits=[("2024-06-11 09:30", math.nan, 1)])
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10", "2024-06-11"), Pace())
    assert [(p.code, p.detail) for p in answer.problems] == [("wrong_split", "nan for 1 on 2024-06-11 is not a split")]


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ((0.0, 11.0, 0.0, 10.5, 100), "open 0, high 11, low 0, close 10.5, volume 100"),
        ((10.0, 11.0, -9.0, 10.5, 100), "low -9"),
        ((10.0, 1e300, 9.0, 10.5, 100), "high 1e+300"),
        ((10.0, 11.0, 1e-300, 10.5, 100), "low 1e-300"),
        ((10.0, 11.0, 9.0, 10.5, -1), "volume -1"),
        ((10.0, 11.0, 9.0, 10.5, 1e16), "volume 1e+16"),
        ((10.0, 11.0, 9.0, 10.5, 1e20), "volume 1e+20"),
    ],
)
def test_a_value_that_cannot_be_is_a_problem_and_no_bar(
    server: YahooServer, source: YahooHistory, values: tuple[float, float, float, float, float], detail: str
) -> None:
    server.shares["IBM"] = Share({"1d": [("2024-06-10 09:30", *values)]})
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert list(answer.bars) == []
    assert [p.code for p in answer.problems] == ["impossible_value"]
    assert detail in answer.problems[0].detail


@pytest.mark.parametrize("interval", ["1d", "1h", "1m"])
def test_a_symbol_that_yahoo_does_not_know_is_unknown_after_one_request_and_nothing_is_logged(
    server: YahooServer, source: YahooHistory, interval: str, caplog: pytest.LogCaptureFixture
) -> None:
    pace = Pace()
    answer = source.fetch(ask_for("GONE", interval, "2024-06-10"), pace)
    assert answer == Answer((), (), frozenset({"GONE"}))
    assert caplog.records == []
    assert pace.requests == len(server.requests) == 1


def empty_result() -> Reply:
    meta = b'{"currency":"USD","exchangeTimezoneName":"America/New_York"}'
    result = b'{"meta":' + meta + b',"indicators":{"quote":[{}]}}'
    return 200, {}, b'{"chart":{"result":[' + result + b'],"error":null}}'


def test_an_answer_without_timestamps_is_no_bar_and_no_problem(server: YahooServer, source: YahooHistory) -> None:
    server.replies = [empty_result()]
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert answer == NOTHING


@pytest.mark.parametrize("interval", ["1d", "1m"])
def test_a_range_without_rows_is_no_bar_and_no_problem(
    server: YahooServer, source: YahooHistory, interval: str
) -> None:
    server.shares["IBM"] = Share({interval: [("2024-06-13 09:30", 1.0, 1.0, 1.0, 1.0, 1)]})
    now = datetime(2024, 6, 12, tzinfo=UTC)
    source = YahooHistory(Settings(_env_file=None, TAPEHOUSE_YAHOO_URL=server.url), now=lambda: now)
    answer = source.fetch(ask_for("IBM", interval, "2024-06-10"), Pace())
    assert answer == NOTHING


@pytest.mark.parametrize(
    ("share", "code", "detail"),
    [
        (Share({"1d": [ROW]}, zone="Europe/London"), "wrong_time_zone", "Europe/London"),
        (Share({"1d": [ROW]}, zone="Mars/Phobos"), "wrong_time_zone", "Mars/Phobos"),
        (Share({"1d": [ROW]}, currency="GBp"), "wrong_currency", "GBp"),
        (Share({"1d": [ROW]}, says_to_be="IBMX"), "other_symbol", "about IBMX, not about IBM"),
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


@pytest.mark.parametrize("said", ["BRK-B", "BRK.B", "brk-b"])
def test_the_vendors_way_to_write_a_symbol_is_no_other_symbol(
    server: YahooServer, source: YahooHistory, said: str
) -> None:
    server.shares["BRK-B"] = Share({"1d": [ROW]}, says_to_be=said)
    answer = source.fetch(ask_for("BRK.B", "1d", "2024-06-10"), Pace())
    assert ([b.symbol for b in answer.bars], list(answer.problems)) == (["BRK.B"], [])


def test_splits_of_another_symbol_leave_its_minutes_out(server: YahooServer, source: YahooHistory) -> None:
    server.shares["IBM"] = Share({"1m": [ROW], "1d": [ROW]}, says_to_be="IBM")
    good = source.fetch(ask_for("IBM", "1m", "2024-06-10"), Pace())
    assert len(good.bars) == 1
    minutes = server.answer(server.requests[0])
    server.shares["IBM"].says_to_be = "OTHER"
    server.replies = [minutes]
    answer = source.fetch(ask_for("IBM", "1m", "2024-06-10"), Pace())
    assert (list(answer.bars), [p.code for p in answer.problems]) == ([], ["other_symbol"])


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
        (408, {}, b"<html>too slow</html>"),
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


def test_a_date_until_which_the_vendor_asks_to_wait_is_passed_on(server: YahooServer, source: YahooHistory) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    server.replies = [(429, {"retry-after": until}, b"")]
    with pytest.raises(SourceBusyError) as caught:
        source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert caught.value.after_seconds is not None
    assert 20 < caught.value.after_seconds <= 40


@pytest.mark.parametrize("status", [400, 404, 410, 451])
def test_a_refusal_without_a_reason_is_final(server: YahooServer, source: YahooHistory, status: int) -> None:
    server.replies = [(status, {}, b"<html>no</html>")]
    answer = source.fetch(ask_for("IBM", "1d", "2024-06-10"), Pace())
    assert [(p.symbol, p.code) for p in answer.problems] == [("IBM", "refused")]
    assert f"HTTP {status}" in answer.problems[0].detail


GOOD = (10.0, 11.0, 9.0, 10.5, 100)
OTHER = (10.0, 11.0, 9.0, 10.6, 100)


@pytest.mark.parametrize(
    ("interval", "rows", "expected"),
    [
        pytest.param("1d", ["06-10 20:00", "06-11 20:00"], ("wrong_time", []), id="midnight of UTC"),
        pytest.param("1d", ["06-07 00:00", "06-10 03:00", "06-11 00:00"], ("wrong_time", [7, 11]), id="London's open"),
        pytest.param("1d", ["06-07 00:00", "06-09 23:00", "06-11 00:00"], ("wrong_time", [7, 11]), id="an hour early"),
        pytest.param("1d", ["06-07 09:30", "06-10 10:30", "06-11 09:30"], ("wrong_time", [7, 11]), id="an hour late"),
        pytest.param("1d", ["06-07 09:30", "06-10 19:00"], ("wrong_time", [7]), id="the last, long after the close"),
        pytest.param("1d", ["06-07 09:30", "06-08 09:30", "06-10 09:30"], ("no_session", [7, 10]), id="a Saturday"),
        pytest.param("5m", ["06-07 09:30", "06-08 09:30", "06-10 09:30"], ("no_session", [7, 10]), id="its minutes"),
        pytest.param(
            "1d", ["06-07 09:30", "06-07 09:30 other", "06-10 09:30"], ("contradicts_itself", [10]), id="twice"
        ),
        pytest.param("1d", ["06-07 09:30", "06-10 09:30", "06-10 09:30 other"], ("contradicts_itself", [7]), id="last"),
        pytest.param(
            "1d", ["06-07 00:00", "06-07 09:30 other", "06-10 00:00"], ("contradicts_itself", [10]), id="both"
        ),
        pytest.param("5m", ["06-07 09:30", "06-07 09:30 other", "06-10 09:30"], ("contradicts_itself", [10]), id="5m"),
        pytest.param("1d", ["06-07 09:30", "06-07 09:30", "06-10 09:30"], (None, [7, 10]), id="the same twice"),
        pytest.param("1d", ["06-07 00:00", "06-10 00:00"], (None, [7, 10]), id="midnight"),
        pytest.param("1d", ["06-07 09:30", "06-10 16:00 other"], (None, [7, 10]), id="the latest price alone"),
        pytest.param("1d", ["06-07 09:30", "06-10 09:30", "06-10 16:00 other"], (None, [7, 10]), id="the latest price"),
        pytest.param(
            "1d", ["06-07 09:30", "06-11 09:30", "06-15 09:30"], (None, [7, 11]), id="a Saturday not asked for"
        ),
    ],
)
def test_rows_of_times_that_cannot_be_or_that_differ_are_problems_and_their_neighbours_bars(
    server: YahooServer, source: YahooHistory, interval: str, rows: list[str], expected: tuple[str | None, list[int]]
) -> None:
    code, days = expected
    sent: list[Row] = [(f"2024-{row[:11]}", *(OTHER if "other" in row else GOOD)) for row in rows]
    server.replies = [chart("IBM", Share({interval: sent}), sent, {})]
    answer = source.fetch(ask_for("IBM", interval, "2024-06-07", "2024-06-11"), Pace())
    assert {(p.symbol, p.code) for p in answer.problems} == (set() if code is None else {("IBM", code)})
    assert [b.ts for b in answer.bars] == [at(f"2024-06-{day:02} 13:30") for day in days]


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
