"""What Alpha Vantage's answers say of themselves: whose they are, by which clock, and one day twice."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ingest.feeds.alphavantage.history import AlphaVantageHistory
from ingest.history.check import believe
from ingest.history.source import QuotaUsedUpError
from market.settings import Settings
from tests.unit.ingest.history.alphavantage_server import (
    KEY,
    USED_UP,
    AlphaVantageServer,
    running_alphavantage,
    said,
)
from tests.unit.ingest.history.asks import Pace, ask_for

NOW = datetime(2024, 6, 14, 21, 0, tzinfo=UTC)
DAILY_REQUEST = {"function": "TIME_SERIES_DAILY", "outputsize": "compact"}
PRICES = ("10.0000", "11.0000", "9.0000", "10.5000", "100")


@pytest.fixture
def server() -> Iterator[AlphaVantageServer]:
    with running_alphavantage() as running:
        yield running


@pytest.fixture
def source(server: AlphaVantageServer) -> AlphaVantageHistory:
    settings = Settings(_env_file=None, TAPEHOUSE_ALPHAVANTAGE_URL=server.url, ALPHAVANTAGE_API_KEY=KEY)
    return AlphaVantageHistory(settings, now=lambda: NOW, least_seconds=0)


@pytest.mark.parametrize("interval", ["1d", "5m"])
def test_another_time_zone_is_a_problem_and_gives_no_bars(
    server: AlphaVantageServer, source: AlphaVantageHistory, interval: str
) -> None:
    server.rows["IBM", "daily"] = [("2024-06-10", *PRICES)]
    server.rows["IBM", "5min"] = [("2024-06-10 09:30:00", *PRICES)]
    server.zone = "UTC"
    answer = source.fetch(ask_for("IBM", interval, "2024-06-10"), Pace())
    assert list(answer.bars) == []
    assert [(p.symbol, p.code) for p in answer.problems] == [("IBM", "wrong_time_zone")]
    assert "UTC" in answer.problems[0].detail


@pytest.mark.parametrize("interval", ["1d", "5m"])
def test_an_answer_about_another_symbol_is_a_problem_and_gives_no_bars(
    server: AlphaVantageServer, source: AlphaVantageHistory, interval: str
) -> None:
    server.rows["IBM", "daily"] = [("2024-06-10", *PRICES)]
    server.rows["IBM", "5min"] = [("2024-06-10 09:30:00", *PRICES)]
    server.says_to_be = "IBMX"
    answer = source.fetch(ask_for("IBM", interval, "2024-06-10"), Pace())
    assert list(answer.bars) == []
    assert [(p.symbol, p.code) for p in answer.problems] == [("IBM", "other_symbol")]
    month = "" if interval == "1d" else "2024-06: "
    assert answer.problems[0].detail == f"{month}Alpha Vantage's answer is about IBMX, not about IBM"


@pytest.mark.parametrize("said", ["BRK-B", "BRK.B", "brk-b"])
def test_the_vendors_way_to_write_a_symbol_is_no_other_symbol(
    server: AlphaVantageServer, source: AlphaVantageHistory, said: str
) -> None:
    server.rows["BRK-B", "daily"] = [("2024-06-10", *PRICES)]
    server.says_to_be = said
    answer = source.fetch(ask_for("BRK.B", "1d", "2024-06-10"), Pace())
    assert ([b.symbol for b in answer.bars], list(answer.problems)) == (["BRK.B"], [])


@pytest.mark.parametrize(("second", "is_same"), [("10.6000", False), ("10.5000", True), ("10.5", True)])
def test_two_rows_of_one_day_in_one_object_contradict_each_other_unless_they_say_the_same(
    server: AlphaVantageServer, source: AlphaVantageHistory, second: str, is_same: bool
) -> None:
    server.rows["IBM", "daily"] = [("2024-06-11", *PRICES), ("2024-06-12", *PRICES)]
    status, body = server.answer("/query", {**DAILY_REQUEST, "symbol": "IBM", "apikey": KEY})
    for last in (False, True):  # whichever of the two comes last
        once, twice = (PRICES[3], second) if last else (second, PRICES[3])
        rows = body.replace(b"2024-06-12", b"2024-06-11").replace(b'"4. close": "10.5000"', b'"4. close": "%b"')
        server.replies = [(status, rows % (once.encode(), twice.encode()))]
        ask = ask_for("IBM", "1d", "2024-06-11")
        answer = source.fetch(ask, Pace())
        believed = believe(ask, answer.bars)
        assert [b.close for b in believed.bars] == ([Decimal("10.5")] if is_same else [])
        assert [(p.symbol, p.code) for p in believed.problems] == ([] if is_same else [("IBM", "contradicts_itself")])


def test_a_month_of_no_use_is_named_and_the_other_months_are_kept(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.rows["IBM", "5min"] = [(f"2024-0{month}-10 09:30:00", *PRICES) for month in (6, 5, 4)]
    good = server.answer("/query", request_for("2024-04"))
    server.says_to_be = "IBMX"
    bad = server.answer("/query", request_for("2024-05"))
    server.says_to_be = None
    server.replies = [good, bad]
    pace = Pace()
    answer = source.fetch(ask_for("IBM", "5m", "2024-04-01", "2024-06-11"), pace)
    assert [f"{datetime.fromtimestamp(b.ts / 1e6, UTC):%Y-%m}" for b in answer.bars] == ["2024-04", "2024-06"]
    detail = "2024-05: Alpha Vantage's answer is about IBMX, not about IBM"
    assert [(p.symbol, p.code, p.detail) for p in answer.problems] == [("IBM", "other_symbol", detail)]
    assert not answer.unknown
    assert pace.requests == 3


def test_a_month_of_no_use_before_the_quota_was_used_up_is_named_too(
    server: AlphaVantageServer, source: AlphaVantageHistory
) -> None:
    server.rows["IBM", "5min"] = [(f"2024-0{month}-10 09:30:00", *PRICES) for month in (5, 4)]
    good = server.answer("/query", request_for("2024-04"))
    server.zone = "UTC"
    bad = server.answer("/query", request_for("2024-05"))
    server.replies = [good, bad, said("Information", USED_UP)]
    with pytest.raises(QuotaUsedUpError) as caught:
        source.fetch(ask_for("IBM", "5m", "2024-04-01", "2024-06-28"), Pace())
    assert caught.value.part is not None
    part, answer = caught.value.part
    assert (part.last, len(answer.bars), answer.unknown) == (date(2024, 5, 31), 1, frozenset())
    assert [(p.code, p.months) for p in answer.problems] == [("wrong_time_zone", ("2024-05",))], "it is asked for again"


def test_a_first_month_of_no_use_costs_one_request(server: AlphaVantageServer, source: AlphaVantageHistory) -> None:
    server.rows["IBM", "5min"] = [("2024-04-10 09:30:00", *PRICES)]
    server.zone = "UTC"
    pace = Pace()
    answer = source.fetch(ask_for("IBM", "5m", "2024-01-02", "2024-06-28"), pace)
    assert pace.requests == 1, "of a day's few: what is wrong with one month is so with the others, as a rule"
    assert [(p.code, p.months) for p in answer.problems] == [("wrong_time_zone", ())], "all is asked for again"


def request_for(month: str) -> dict[str, str]:
    whole = {"adjusted": "false", "extended_hours": "false", "outputsize": "full"}
    return {
        "function": "TIME_SERIES_INTRADAY",
        "symbol": "IBM",
        "interval": "5min",
        "month": month,
        "apikey": KEY,
        **whole,
    }
