"""What of Alpaca's JSON is a bar, to the last decimal, and what is a problem."""

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.feeds.alpaca.history import AlpacaHistory
from ingest.feeds.alpaca.parse import parse_bars
from tests.unit.ingest.history.alpaca_case import GOOD, Paces, ask_for
from tests.unit.ingest.history.alpaca_server import AlpacaServer, body, raw_bar

SHORT = {key: value for key, value in GOOD.items() if key != "c"}


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({**GOOD, "h": math.nan}, "not_a_number", "high is nan"),
        ({**GOOD, "o": math.inf}, "not_a_number", "open is inf"),
        ({**GOOD, "c": None}, "not_a_number", "close is None"),
        ({**GOOD, "l": "470.49"}, "not_a_number", "low is '470.49'"),
        ({**GOOD, "l": True}, "not_a_number", "low is True"),
        ({**GOOD, "v": math.nan}, "not_a_number", "volume is nan"),
        (SHORT, "bad_bar", "without c"),
        ({}, "bad_bar", "without t, o, h, l, c, v"),
        (None, "bad_bar", "None"),
        ([1, 2], "bad_bar", "[1, 2]"),
        ({**GOOD, "c": 0}, "bad_bar", "close is 0"),
        ({**GOOD, "c": -1.5}, "bad_bar", "close is -1.5"),
        ({**GOOD, "c": 1e-9}, "bad_bar", "close is 1e-09"),
        ({**GOOD, "c": 1e300}, "bad_bar", "close is 1e+300"),
        ({**GOOD, "c": 10**12}, "bad_bar", "close is 1000000000000"),
        ({**GOOD, "v": -1}, "bad_bar", "volume is -1"),
        ({**GOOD, "v": 1.5}, "bad_bar", "volume is 1.5"),
        ({**GOOD, "t": "yesterday"}, "bad_bar", "yesterday"),
        ({**GOOD, "t": "2024-01-02T15:00:00"}, "bad_bar", "2024-01-02T15:00:00"),
        ({**GOOD, "t": 1704207600}, "bad_bar", "1704207600"),
    ],
)
def test_what_cannot_be_a_bar_is_a_problem_of_its_symbol_with_the_value_and_the_others_go_on(
    alpaca: AlpacaServer, alpaca_history: AlpacaHistory, pace: Paces, *, wrong: object, code: str, said: str
) -> None:
    bars = {"IBM": [GOOD], "SPY": [wrong, GOOD]}
    alpaca.replies.append(body(json.dumps({"bars": bars, "next_page_token": None})))
    answer = alpaca_history.fetch(ask_for("SPY", "IBM"), pace)
    assert sorted(bar.symbol for bar in answer.bars) == ["IBM", "SPY"]
    (problem,) = answer.problems
    assert (problem.symbol, problem.code) == ("SPY", code)
    assert said in problem.detail


def test_a_daily_bar_at_another_midnight_is_not_put_on_the_wrong_day() -> None:
    bars, problems = parse_bars([raw_bar("2024-01-03T00:00:00Z", 1, 1, 1, 1, 1)], "SPY", "1d")
    assert not bars
    assert [(problem.code, "2024-01-03T00:00:00Z" in problem.detail) for problem in problems] == [("wrong_time", True)]


@given(st.decimals(min_value="0.000001", max_value=10**9, places=6).map(lambda price: price.normalize()))
def test_a_price_comes_out_as_it_was_written(price: Decimal) -> None:
    text = f'{{"t": "2024-01-02T15:00:00Z", "o": {price:f}, "h": {price:f}, "l": {price:f}, "c": {price:f}, "v": 1}}'
    ((bar,), problems) = parse_bars([json.loads(text)], "SPY", "1m")
    assert bar.open == bar.high == bar.low == bar.close == price
    assert not problems


@pytest.mark.parametrize(
    ("written", "price"),
    [
        (10.1234565, "10.123456"),
        (0.30000000000000004, "0.300000"),
        (100, "100"),
        (1e-6, "0.000001"),
        (123456789.12, "123456789.12"),
    ],
)
def test_a_price_has_six_decimals_at_most(written: float, price: str) -> None:
    ((bar,), _) = parse_bars([{**GOOD, "o": written}], "SPY", "1m")
    assert bar.open == Decimal(price)
    assert -int(bar.open.as_tuple().exponent) <= 6


def test_a_volume_that_is_written_as_a_fraction_is_a_whole_number() -> None:
    ((bar,), _) = parse_bars([{**GOOD, "v": 12.0}], "SPY", "1m")
    assert bar.volume == 12
    assert isinstance(bar.volume, int)
