from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ingest.feeds import Feed, FeedRequest, get_feed
from ingest.feeds.sample.parse import parse_bars
from market.errors import FeedError
from market.records import Bar
from tests.unit.ingest.feed_contract import FeedContract, assert_valid


class TestSampleFeed(FeedContract):
    @pytest.fixture
    def feed(self) -> Feed:
        return get_feed("sample")

    @pytest.fixture
    def request_small(self) -> FeedRequest:
        return FeedRequest(("AAPL", "IBM"), date(2012, 11, 19), date(2012, 12, 3))

    @pytest.fixture
    def unknown_symbol(self) -> str:
        return "QQQ"


def test_a_bar_is_as_traded_and_at_the_open_of_its_session() -> None:
    (bar,) = get_feed("sample").read(FeedRequest(("AAPL",), date(2013, 3, 1), date(2013, 3, 1)))
    opening = datetime(2013, 3, 1, 14, 30, tzinfo=UTC)
    assert bar == Bar(
        source="sample",
        symbol="AAPL",
        interval="1d",
        ts=int(opening.timestamp()) * 1_000_000,
        open=Decimal("438.0"),
        high=Decimal("438.18"),
        low=Decimal("429.98"),
        close=Decimal("430.47"),
        volume=19730300,
    )


def test_without_symbols_and_days_it_gives_all_it_has() -> None:
    records = list(get_feed("sample").read(FeedRequest()))
    assert len(records) == 3270 * 3 + 2148 + 196
    assert {record.symbol for record in records} == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}
    for record in records:
        assert_valid(record)


def test_a_day_without_a_session_is_passed_on_as_it_stands() -> None:
    text = "Date,Open,High,Low,Close,Volume,Adj Close\n2013-02-17,2,1,3,2,5,9\n"
    (bar,) = parse_bars(text, "X", "sample", "X.csv")
    assert bar.ts == int(datetime(2013, 2, 17, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert (bar.high, bar.low) == (Decimal(1), Decimal(3))


@pytest.mark.parametrize("row", ["2013-02-30,1,1,1,1,1,1", "2013-02-15,x,1,1,1,1,1", "2013-02-15,1,1", "rubbish"])
def test_a_row_that_does_not_parse_fails_with_its_line(row: str) -> None:
    text = f"Date,Open,High,Low,Close,Volume,Adj Close\n2013-02-15,1,1,1,1,1,1\n{row}\n"
    with pytest.raises(FeedError, match=r"X\.csv is damaged: line 3"):
        list(parse_bars(text, "X", "sample", "X.csv"))


def test_a_feed_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(FeedError, match=r"'quandl'.*lean, sample, simulated"):
        get_feed("quandl")
