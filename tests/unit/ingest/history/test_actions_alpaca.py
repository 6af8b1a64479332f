"""What actions Alpaca lists, through its own library, against a server on this machine."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import pytest
from pydantic import SecretStr

from ingest.actions.source import NAMELESS, Listing, Range, start_of
from ingest.feeds.alpaca.actions import AlpacaActions
from ingest.feeds.alpaca.client import Timeouts
from ingest.history.source import SourceBusyError, SourceError
from market.records import Dividend, Split
from market.settings import load_settings
from tests.unit.ingest.history.alpaca_case import Paces
from tests.unit.ingest.history.alpaca_server import (
    KEY_ID,
    SECRET_KEY,
    AlpacaServer,
    Reply,
    body,
    cut_short,
    hang_up,
    refusal,
)

YEAR = Range(date(2020, 1, 2), date(2020, 12, 31))


def source_at(url: str, key_id: str | None = KEY_ID) -> AlpacaActions:
    keys = {"alpaca_key_id": SecretStr(key_id) if key_id else None, "alpaca_secret_key": SecretStr(SECRET_KEY)}
    settings = load_settings().model_copy(update={**keys, "alpaca_url": url})
    return AlpacaActions(settings, Timeouts(5, 5))


def page(lists: Mapping[str, object], token: str | None = None) -> Reply:
    return body(json.dumps({"corporate_actions": lists, "next_page_token": token}))


def test_splits_stock_dividends_and_cash_of_all_pages_are_listed(alpaca: AlpacaServer, pace: Paces) -> None:
    forward = {"symbol": "AAPL", "new_rate": 4, "old_rate": 1, "ex_date": "2020-08-31", "process_date": "2020-08-31"}
    reverse = {"symbol": "GE", "new_rate": 1, "old_rate": 8, "ex_date": "2020-08-02"}
    stock = {"symbol": "GE", "rate": 0.05, "ex_date": "2020-03-02"}
    cash = {"symbol": "AAPL", "rate": 0.205, "special": False, "foreign": False, "ex_date": "2020-11-06"}
    alpaca.replies += [
        page({"forward_splits": [forward], "cash_dividends": [cash]}, "more"),
        page({"reverse_splits": [reverse], "stock_dividends": [stock], "cash_dividends": [{**cash, "rate": 1.5}]}),
    ]
    listing = source_at(alpaca.url).fetch(["AAPL", "GE"], YEAR, pace)

    def base(symbol: str, day: str) -> tuple[str, str, int, str]:
        return "alpaca", symbol, start_of(date.fromisoformat(day)), day

    assert [item.action for item in listing.actions] == [
        Split(*base("AAPL", "2020-08-31"), Decimal(4), Decimal(1)),
        Split(*base("GE", "2020-08-02"), Decimal(1), Decimal(8)),
        Split(*base("GE", "2020-03-02"), Decimal("1.05"), Decimal(1)),
        Dividend(*base("AAPL", "2020-11-06"), Decimal("1.705")),
    ]
    first, second = alpaca.asked
    assert first.path == "/v1/corporate-actions"
    assert first.query["symbols"] == "AAPL,GE"
    assert (first.query["start"], first.query["end"]) == ("2020-01-02", "2020-12-31")
    assert second.query["page_token"] == "more"
    assert first.headers["APCA-API-KEY-ID"] == KEY_ID


def test_an_element_that_comes_twice_counts_once(alpaca: AlpacaServer, pace: Paces) -> None:
    """Pages overlap when something is added between two requests; special and regular cash of a day have ids of their own."""
    regular = {"id": "r", "symbol": "AAPL", "rate": 0.25, "ex_date": "2020-11-06"}
    special = {**regular, "id": "s"}
    nameless = {"symbol": "AAPL", "rate": 0.1, "ex_date": "2020-02-07"}
    alpaca.replies += [
        page({"cash_dividends": [regular, special, regular, nameless]}, "more"),
        page({"cash_dividends": [special, nameless, {**regular, "process_date": "2020-11-12"}]}),
    ]
    listing = source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)
    assert [(item.action.effective_date, item.action.cash) for item in listing.actions] == [  # type: ignore[union-attr]
        ("2020-11-06", Decimal("0.5")),
        ("2020-02-07", Decimal("0.1")),
    ]
    assert not listing.problems


def test_two_elements_of_one_id_that_differ_are_named_and_no_cash_of_their_day_counts(
    alpaca: AlpacaServer, pace: Paces
) -> None:
    first = {"id": "one", "symbol": "AAPL", "rate": 0.25, "ex_date": "2020-11-06"}
    special = {**first, "id": "two", "rate": 1}
    earlier = {**first, "id": "three", "ex_date": "2020-08-07"}
    split = {"id": "one", "symbol": "AAPL", "new_rate": 4, "old_rate": 1, "ex_date": "2020-11-06"}
    lists = {"cash_dividends": [first, special, earlier], "forward_splits": [split]}
    alpaca.replies += [page(lists, "more"), page({"cash_dividends": [{**first, "rate": 0.26}]})]
    listing = source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)
    assert [(type(item.action), item.action.effective_date) for item in listing.actions] == [
        (Split, "2020-11-06"),
        (Dividend, "2020-08-07"),
    ]
    (problem,) = listing.problems
    assert (problem.symbol, problem.code) == ("AAPL", "contradicts_itself")
    assert "id one" in problem.detail


@pytest.mark.parametrize("raw", [{"rate": 1, "ex_date": "2020-11-06"}, {"symbol": None, "rate": 7.25}, "7.25 of whom"])
def test_an_element_without_a_symbol_is_told(alpaca: AlpacaServer, pace: Paces, raw: object) -> None:
    good = {"symbol": "AAPL", "rate": 0.5, "ex_date": "2020-02-07"}
    alpaca.replies.append(page({"cash_dividends": [raw, good]}))
    listing = source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)
    assert [item.action.effective_date for item in listing.actions] == ["2020-02-07"]
    assert [(problem.symbol, problem.code) for problem in listing.problems] == [(NAMELESS, "unplaced_row")]
    assert repr(raw) in listing.problems[0].detail


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": "AAPL", "rate": 0, "ex_date": "2020-11-06"},
        {"symbol": "AAPL", "rate": -1, "ex_date": "2020-11-06"},
        {"symbol": "AAPL", "rate": "1", "ex_date": "2020-11-06"},
        {"symbol": "AAPL", "ex_date": "2020-11-06"},
        {"symbol": "AAPL", "rate": 1, "ex_date": "6.11.2020"},
        {"symbol": "AAPL", "rate": 1},
        {"symbol": "AAPL", "rate": float("nan"), "ex_date": "2020-11-06"},
    ],
)
def test_what_is_no_action_is_a_problem_and_its_neighbours_are_listed(
    alpaca: AlpacaServer, pace: Paces, wrong: Mapping[str, object]
) -> None:
    good = {"symbol": "AAPL", "rate": 0.5, "ex_date": "2020-02-07"}
    alpaca.replies.append(page({"cash_dividends": [wrong, good]}))
    listing = source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)
    assert [item.action.effective_date for item in listing.actions] == ["2020-02-07"]
    assert [(problem.symbol, problem.code) for problem in listing.problems] == [("AAPL", "bad_action")]


@pytest.mark.parametrize(("new", "old"), [(1, 10_000_000), (10_000_000, 1), (0.000001, 999_999_999_999)])
def test_a_split_beyond_every_ratio_is_a_problem(alpaca: AlpacaServer, pace: Paces, new: float, old: float) -> None:
    split = {"symbol": "AAPL", "new_rate": new, "old_rate": old, "ex_date": "2020-08-31"}
    alpaca.replies.append(page({"reverse_splits": [split]}))
    listing = source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)
    assert not listing.actions
    assert [(problem.symbol, problem.code) for problem in listing.problems] == [("AAPL", "bad_action")]


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (refusal(429, "too many requests", {"Retry-After": "7"}), SourceBusyError, "429"),
        (refusal(500), SourceBusyError, "500"),
        (refusal(403, "forbidden"), SourceError, "APCA_API_KEY_ID"),
        (refusal(422, f"bad {SECRET_KEY}"), SourceError, r"bad \*\*\*"),
        (body("[]"), SourceBusyError, "not a page"),
        (body('{"corporate_actions": {"cash_dividends": 1}}'), SourceBusyError, "not a page"),
        (body("<html>"), SourceBusyError, "not a page"),
        (cut_short, SourceBusyError, "Alpaca"),
        (hang_up, SourceBusyError, "did not answer"),
    ],
)
def test_each_failure_is_told_apart_and_shows_no_key(
    alpaca: AlpacaServer, pace: Paces, reply: Reply, error: type[Exception], text: str
) -> None:
    alpaca.replies.append(reply)
    with pytest.raises(error, match=text) as raised:
        source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)
    assert type(raised.value) is error
    assert SECRET_KEY not in str(raised.value)


def test_a_symbol_that_is_refused_is_unknown_and_the_others_are_asked_for_without_it(
    alpaca: AlpacaServer, pace: Paces
) -> None:
    good = {"symbol": "AAPL", "rate": 0.5, "ex_date": "2020-02-07"}
    alpaca.replies += [refusal(400, "invalid symbol: BRK-B"), page({"cash_dividends": [good]})]
    listing = source_at(alpaca.url).fetch(["AAPL", "BRK-B"], YEAR, pace)
    assert [item.action.effective_date for item in listing.actions] == ["2020-02-07"]
    assert listing.unknown == {"BRK-B"}
    assert not listing.problems
    assert [asked.query["symbols"] for asked in alpaca.asked] == ["AAPL,BRK-B", "AAPL"]
    alpaca.replies += [refusal(400, "invalid symbols: BRK-B, X-Y")]
    assert source_at(alpaca.url).fetch(["BRK-B", "X-Y"], YEAR, pace) == Listing((), (), frozenset({"BRK-B", "X-Y"}))


def test_pages_in_a_circle_end(alpaca: AlpacaServer, pace: Paces) -> None:
    alpaca.replies += [page({}, "again"), page({}, "again")]
    with pytest.raises(SourceBusyError, match="no end"):
        source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)


@pytest.mark.parametrize("token", [["a"], {"a": 1}, 7, True])
def test_a_page_that_names_no_page_as_the_next_one_is_half_a_page(
    alpaca: AlpacaServer, pace: Paces, token: object
) -> None:
    alpaca.replies.append(body(json.dumps({"corporate_actions": {}, "next_page_token": token})))
    with pytest.raises(SourceBusyError, match="not a page"):
        source_at(alpaca.url).fetch(["AAPL"], YEAR, pace)


def test_without_keys_it_says_which_and_where_to_get_them() -> None:
    with pytest.raises(SourceError, match="APCA_API_KEY_ID is not set"):
        source_at("http://127.0.0.1:1", None).check()
