"""What actions Yahoo lists, through yfinance itself, against a server on this machine."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from ingest.actions.source import Listing, Range, start_of
from ingest.feeds.yahoo.actions import YahooActions
from ingest.history.source import SourceBusyError
from market.records import Dividend, Split
from market.settings import Settings
from tests.unit.ingest.history.asks import Pace
from tests.unit.ingest.history.yahoo_server import NOW, Row, Share, YahooServer, refusal, running_yahoo

ROW: Row = ("2024-06-10 09:30", 10.0, 11.0, 9.0, 10.5, 100)
YEARS = Range(date(2020, 1, 2), date(2030, 1, 1))


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with running_yahoo() as running:
        yield running


def fetch(server: YahooServer, *symbols: str, within: Range = YEARS) -> Listing:
    settings = Settings(_env_file=None).model_copy(update={"yahoo_url": server.url})
    return YahooActions(settings, lambda: NOW).fetch(symbols, within, Pace())


def split(day: str, new: str, old: str) -> Split:
    return Split("yahoo", "NVDA", start_of(date.fromisoformat(day)), day, Decimal(new), Decimal(old))


def dividend(day: str, cash: str) -> Dividend:
    return Dividend("yahoo", "NVDA", start_of(date.fromisoformat(day)), day, Decimal(cash))


def test_dividends_are_as_they_were_paid_before_the_splits_since(server: YahooServer) -> None:
    """NVIDIA paid 0.04 in March 2024, and split 10 for 1 in June: the API says 0.004."""
    server.shares["NVDA"] = Share(
        {"1d": [ROW]},
        splits=[("2021-07-20 09:30", 4, 1), ("2024-06-10 09:30", 10, 1)],
        dividends=[("2021-06-09 09:30", 0.004), ("2024-03-05 09:30", 0.004), ("2024-06-11 09:30", 0.01)],
    )
    assert [item.action for item in fetch(server, "NVDA").actions] == [
        split("2021-07-20", "4", "1"),
        split("2024-06-10", "10", "1"),
        dividend("2021-06-09", "0.16"),
        dividend("2024-03-05", "0.04"),
        dividend("2024-06-11", "0.01"),
    ]


def test_two_dividends_of_a_day_are_one_and_a_range_cuts(server: YahooServer) -> None:
    server.shares["NVDA"] = Share(
        {"1d": [ROW]},
        splits=[("2024-06-10 09:30", 2, 1)],
        dividends=[("2024-03-05 09:30", 0.5), ("2024-03-05 09:31", 0.25), ("2024-06-11 09:30", 0.1)],
    )
    listing = fetch(server, "NVDA", within=Range(date(2024, 1, 2), date(2024, 6, 1)))
    assert [item.action for item in listing.actions] == [dividend("2024-03-05", "1.5")]


def test_a_reverse_split_has_fewer_new_shares(server: YahooServer) -> None:
    server.shares["NVDA"] = Share({"1d": [ROW]}, splits=[("2024-06-10 09:30", 1, 20)])
    assert [item.action for item in fetch(server, "NVDA").actions] == [split("2024-06-10", "1", "20")]


@pytest.mark.parametrize(
    ("share", "code"),
    [
        (Share({"1d": [ROW]}, splits=[("2024-06-10 09:30", 4, 0)]), "wrong_split"),
        (Share({"1d": [ROW]}, dividends=[("2024-06-10 09:30", -1)]), "wrong_dividend"),
        (Share({"1d": [ROW]}, dividends=[("2024-06-10 09:30", 0)]), "wrong_dividend"),
        (Share({"1d": [ROW]}, currency="EUR"), "wrong_currency"),
    ],
)
def test_what_cannot_be_is_a_problem_of_its_symbol_and_the_others_are_done(
    server: YahooServer, share: Share, code: str
) -> None:
    server.shares |= {"BAD": share, "NVDA": Share({"1d": [ROW]}, splits=[("2024-06-10 09:30", 10, 1)])}
    listing = fetch(server, "BAD", "NONE", "NVDA")
    assert [(problem.symbol, problem.code) for problem in listing.problems] == [("BAD", code)]
    assert listing.unknown == {"NONE"}
    assert [item.action for item in listing.actions] == [split("2024-06-10", "10", "1")]


def test_an_empty_range_is_no_action_and_a_busy_vendor_is_said(server: YahooServer) -> None:
    server.shares["NVDA"] = Share()
    assert fetch(server, "NVDA") == Listing([], [], frozenset())
    server.replies.append(refusal(429, "Too Many Requests", "slow down"))
    with pytest.raises(SourceBusyError, match="429"):
        fetch(server, "NVDA")
