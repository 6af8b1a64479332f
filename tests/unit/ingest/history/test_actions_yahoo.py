"""What actions Yahoo lists, through yfinance itself, against a server on this machine."""

import json
import math
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest.actions.missing import missing_of
from ingest.actions.source import Key, Listed, Listing, Range, key_of, start_of
from ingest.feeds.yahoo.actions import YahooActions, cash_of, margin_of
from ingest.feeds.yahoo.answer import DividendEvent
from ingest.feeds.yahoo.parse import Split as YahooSplit
from ingest.history.source import SourceBusyError, UnreadableAnswerError
from market.records import CorporateAction, Dividend, Split
from market.settings import Settings
from tests.unit.ingest.history.asks import Pace
from tests.unit.ingest.history.yahoo_server import (
    NOW,
    Reply,
    Row,
    Share,
    YahooServer,
    chart,
    refusal,
    running_yahoo,
    seconds,
)

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


@pytest.mark.parametrize(
    ("said", "paid"), [(0.094643, "2.65"), (0.108929, "3.05"), (0.117500, "3.29"), (0.117321, "3.285")]
)
def test_what_yahoo_rounded_is_the_amount_with_the_fewest_decimals(server: YahooServer, said: float, paid: str) -> None:
    """As Apple's before it split 7 for 1 and 4 for 1."""
    server.shares["NVDA"] = Share(
        {"1d": [ROW]},
        splits=[("2021-07-20 09:30", 7, 1), ("2024-06-10 09:30", 4, 1)],
        dividends=[("2021-06-09 09:30", said)],
    )
    assert [item.action for item in fetch(server, "NVDA").actions][2:] == [dividend("2021-06-09", paid)]


@hypothesis_settings(deadline=None)
@given(
    cents=st.integers(1, 100_000),
    ratios=st.lists(st.sampled_from([(2, 1), (3, 2), (7, 1), (20, 1), (1, 8), (1001, 1000)]), min_size=1, max_size=4),
)
def test_a_dividend_that_is_derived_again_after_a_later_split_is_not_restated(
    cents: int, ratios: list[tuple[int, int]]
) -> None:
    splits = [
        YahooSplit(date(2021, 1, 4) + timedelta(days=number), Fraction(*ratio)) for number, ratio in enumerate(ratios)
    ]
    day = date(2020, 6, 9)
    stored: dict[Key, list[CorporateAction]] = {}
    for number in range(len(splits) + 1):
        known = splits[:number]
        said = round(cents / 10_000 / float(math.prod((split.ratio for split in known), start=Fraction(1))), 6)
        if not said:
            return
        cash = cash_of(DividendEvent(date=int(start_of(day) / 10**6) + 34_200, amount=said), known)
        listed = Listed(dividend(day.isoformat(), str(cash)), cash_margin=margin_of(day, known))
        new = missing_of([listed], stored, asked={"NVDA"}, within=YEARS, today=date(2026, 1, 5)).actions
        assert len(new) == (number == 0), f"{said} after {number} splits"
        stored |= {key_of(action): [action] for action in new}


def test_what_differs_by_rounding_from_what_is_stored_is_not_missing(server: YahooServer) -> None:
    stored = dividend("2021-06-09", "0.123457")
    server.shares["NVDA"] = Share(
        {"1d": [ROW]}, splits=[("2024-06-10 09:30", 20, 1)], dividends=[("2021-06-09 09:30", 0.006173)]
    )
    listed = fetch(server, "NVDA").actions
    assert listed[1].action == dividend("2021-06-09", "0.12346")
    found = missing_of(listed, {key_of(stored): [stored]}, asked={"NVDA"}, within=YEARS, today=date(2026, 1, 5))
    assert [action.effective_date for action in found.actions] == ["2024-06-10"]


def test_an_amount_that_yahoo_corrects_is_restated(server: YahooServer) -> None:
    server.shares["NVDA"] = Share({"1d": [ROW]}, dividends=[("2021-06-09 09:30", 0.16)])
    (listed,) = fetch(server, "NVDA").actions
    before = dividend("2021-06-09", "0.17")
    found = missing_of([listed], {key_of(before): [before]}, asked={"NVDA"}, within=YEARS, today=date(2026, 1, 5))
    assert [action.cash for action in found.actions if isinstance(action, Dividend)] == [Decimal("0.16")]


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
        (Share({"1d": [ROW]}, splits=[("2024-06-10 09:30", 1, 10_000_000)]), "wrong_split"),
        (Share({"1d": [ROW]}, splits=[("2024-06-10 09:30", 1_000_001, 1)]), "wrong_split"),
        (Share({"1d": [ROW]}, splits=[("2024-06-10 09:30", 1e308, 1e-308)]), "wrong_split"),
        (Share({"1d": [ROW]}, dividends=[("2024-06-10 09:30", 1e-9)]), "wrong_dividend"),
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


def test_a_dividend_that_is_none_costs_its_day_and_what_else_there_is_of_the_symbol_is_listed(
    server: YahooServer,
) -> None:
    server.shares["NVDA"] = Share(
        {"1d": [ROW]},
        splits=[("2024-06-10 09:30", 10, 1)],
        dividends=[
            ("2024-03-05 09:30", 0.004),
            ("2024-06-11 09:30", 0.0),
            ("2024-06-11 09:31", 0.01),
            ("2024-09-12 09:30", 0.01),
        ],
    )
    listing = fetch(server, "NVDA")
    assert [item.action for item in listing.actions] == [
        split("2024-06-10", "10", "1"),
        dividend("2024-03-05", "0.04"),
        dividend("2024-09-12", "0.01"),
    ]
    assert [(problem.symbol, problem.code, problem.detail) for problem in listing.problems] == [
        ("NVDA", "wrong_dividend", "0 on 2024-06-11 is not a dividend")
    ]


def test_splits_at_their_bounds_one_after_the_other_are_undone(server: YahooServer) -> None:
    """The dividend before them was a billionth of a dollar, if they were true: that is none, and the splits are."""
    most: list[tuple[str, float, float]] = [(f"2024-06-{day} 09:30", 1, 1_000_000) for day in (10, 11, 12, 13)]
    server.shares["NVDA"] = Share({"1d": [ROW]}, splits=most, dividends=[("2024-03-05 09:30", 1.0)])
    server.shares["SPY"] = Share({"1d": [ROW]}, splits=[(at, new, old) for at, old, new in most])
    listing = fetch(server, "NVDA", "SPY")
    assert len(listing.actions) == 8
    assert [(problem.symbol, problem.code) for problem in listing.problems] == [("NVDA", "wrong_dividend")]
    ratios = [YahooSplit(date(2024, 6, day), Fraction(1_000_000)) for day in (10, 11, 12, 13)]
    assert margin_of(date(2024, 3, 5), ratios) == 10**12


@pytest.mark.parametrize("moment", [10**13, 1_718_000_000_000_000, 10**18, 10**30, -(10**12)])
@pytest.mark.parametrize("kind", ["splits", "dividends"])
def test_a_date_that_no_clock_can_hold_makes_an_answer_unreadable(server: YahooServer, kind: str, moment: int) -> None:
    status, headers, body = chart("NVDA", Share(), [ROW], {})
    answer = json.loads(body)
    event = {"date": moment, "amount": 1.0, "numerator": 2, "denominator": 1}
    answer["chart"]["result"][0]["events"] = {kind: {"1": event}}
    server.replies.append((status, headers, json.dumps(answer).encode()))
    with pytest.raises(UnreadableAnswerError):
        fetch(server, "NVDA")


def with_events(**events: list[tuple[str, float, str | None]]) -> Reply:
    """An answer with dividends or capital gains, as (New York's time, amount, currency)."""
    status, headers, body = chart("NVDA", Share(), [ROW], {})
    answer = json.loads(body)
    answer["chart"]["result"][0]["events"] = {
        kind: {
            at: {"date": seconds(at), "amount": amount} | ({} if currency is None else {"currency": currency})
            for at, amount, currency in of_kind
        }
        for kind, of_kind in events.items()
    }
    return status, headers, json.dumps(answer).encode()


def test_a_dividend_in_another_currency_is_a_problem_and_those_in_dollars_are_listed(server: YahooServer) -> None:
    events: list[tuple[str, float, str | None]] = [
        ("2024-03-05 09:30", 5.0, "CAD"),
        ("2024-04-05 09:30", 1.0, "USD"),
        ("2024-05-06 09:30", 2.0, ""),
        ("2024-06-06 09:30", 3.0, None),
    ]
    server.replies.append(with_events(dividends=events))
    listing = fetch(server, "NVDA")
    assert [item.action.effective_date for item in listing.actions] == ["2024-04-05", "2024-05-06", "2024-06-06"]
    assert [(problem.symbol, problem.code, problem.detail) for problem in listing.problems] == [
        ("NVDA", "wrong_currency", "5 on 2024-03-05 is in CAD, not in USD")
    ]


def test_a_capital_gain_is_cash_of_its_day(server: YahooServer) -> None:
    gains: list[tuple[str, float, str | None]] = [("2024-03-05 09:30", 2.0, None), ("2024-04-05 09:30", 1.5, None)]
    server.replies.append(with_events(dividends=[("2024-03-05 09:30", 0.5, None)], capitalGains=gains))
    listing = fetch(server, "NVDA")
    assert [item.action for item in listing.actions] == [dividend("2024-03-05", "2.5"), dividend("2024-04-05", "1.5")]
    assert not listing.problems


def test_a_capital_gain_that_the_dividend_beside_it_may_hold_already_leaves_the_day_in_doubt(
    server: YahooServer,
) -> None:
    """As of VWILX on 2025-12-17: the dividend of 7.857 was the 1.437 that was paid and the gain."""
    dividends: list[tuple[str, float, str | None]] = [
        ("2024-03-05 09:30", 7.857, None),
        ("2024-04-05 09:30", 1.0, None),
    ]
    server.replies.append(with_events(dividends=dividends, capitalGains=[("2024-03-05 09:30", 6.42, None)]))
    listing = fetch(server, "NVDA")
    assert [item.action for item in listing.actions] == [dividend("2024-04-05", "1")]
    assert [(problem.symbol, problem.code) for problem in listing.problems] == [("NVDA", "gain_in_doubt")]


def test_an_empty_range_is_no_action_and_a_busy_vendor_is_said(server: YahooServer) -> None:
    server.shares["NVDA"] = Share()
    assert fetch(server, "NVDA") == Listing([], [], frozenset())
    server.replies.append(refusal(429, "Too Many Requests", "slow down"))
    with pytest.raises(SourceBusyError, match="429"):
        fetch(server, "NVDA")
