"""The textbook's indicators: equal to TA-Lib where that has them, and to exact arithmetic where it has not or is coarse."""

import math
import random
import statistics
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.indicators import indicators
from market.records import INTERVALS
from tests.integration.indicator_oracle import OTHER_START, expected_values
from verify.averages import MILLION, directional_index, exponential_average, wilder_average, wilder_sum, window_sums
from verify.indicator_marts import bars_per_year
from verify.textbook import (
    Bars,
    deviations_of_returns,
    extremes_of_a_year,
    log_returns,
    on_balance_volume,
    session_sums,
    textbook,
)
from warehouse.dbt import dbt_variables

OTHER_PERIODS: dict[str, Any] = {
    "sma": [1, 3],
    "ema": [1, 4],
    "rsi": [1, 5],
    "macd": [[2, 5, 3], [1, 2, 1]],
    "bollinger": [[2, 2], [7, 1.5]],
    "atr": [1, 3],
    "stochastic": [[5, 3, 3], [2, 6, 4]],
    "adx": [1, 4],
    "roc": [1, 2],
    "realised_volatility": [2, 6],
    "relative_volume": [1, 3],
}


def walk(seed: int, count: int, price: float, step: float = 0.01, volume: int = 10_000) -> Bars:
    """A random walk: prices of six decimals, two bars a session, some without a price of their own."""
    chance = random.Random(seed)
    highs, lows, closes = [], [], []
    for _ in range(count):
        price = max(price * (1 + chance.gauss(0, step)), 0.5)
        first, last = price, price * (1 + chance.gauss(0, step))
        highs.append(round(max(first, last) * (1 + chance.random() * step) * MILLION))
        lows.append(round(min(first, last) * (1 - chance.random() * step) * MILLION))
        closes.append(round(last * MILLION))
    volumes = [chance.randrange(1, volume) for _ in range(count)]
    vwaps = [None if chance.random() < 0.3 else (high + low) // 2 for high, low in zip(highs, lows, strict=True)]
    return Bars([number // 2 for number in range(count)], highs, lows, closes, volumes, vwaps)


def as_rows(bars: Bars) -> list[dict[str, object]]:
    names = ("high", "low", "close", "volume")
    prices = zip(bars.highs, bars.lows, bars.closes, bars.volumes, strict=True)
    return [
        {name: value / (1 if name == "volume" else MILLION) for name, value in zip(names, row, strict=True)}
        for row in prices
    ]


def usual(bars: Bars, *, daily: bool = True) -> dict[str, list[float]]:
    found = textbook(bars, dbt_variables()["indicators"], bars_per_year=1, daily=daily)
    return {name: own.values.tolist() for name, own in found.items()}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(30, 700), st.sampled_from([2.0, 100.0, 40_000.0]), st.sampled_from([0.002, 0.05])
)
def test_every_indicator_of_talib_is_the_same(seed: int, count: int, price: float, step: float) -> None:
    bars = walk(seed, count, price, step)
    found = usual(bars)
    for name, expected in expected_values(as_rows(bars)).items():
        own, theirs = np.array(found[name]), np.array(expected)
        own, theirs = own[OTHER_START.get(name, 0) :], theirs[OTHER_START.get(name, 0) :]
        both = ~np.isnan(theirs)  # it gives %K no sooner than %D; the next test says where each begins
        scale = np.maximum(np.abs(theirs), np.nanstd(theirs) if both.any() else 1.0)
        assert np.all(np.abs(own - theirs)[both] <= 1e-9 * scale[both]), name


@pytest.mark.parametrize("daily", [False, True])
@pytest.mark.parametrize("chosen", [OTHER_PERIODS, dbt_variables()["indicators"]])
def test_there_are_the_columns_of_any_periods_and_each_begins_where_it_is_defined(
    chosen: dict[str, Any], daily: bool
) -> None:
    found = textbook(walk(5, 800, 100.0), chosen, bars_per_year=252, daily=daily)
    listed = {column.name: column for column in indicators(chosen, daily=daily)}
    assert found.keys() == listed.keys()
    for name, column in listed.items():
        if column.defined_from is not None and not (daily and name == "vwap"):  # no column of recursions
            values = found[name].values
            assert np.flatnonzero(~np.isnan(values))[0] == column.defined_from - 1, name


@pytest.mark.parametrize("count", [1, 2, 13, 27])
def test_a_short_series_has_what_is_defined_by_then_and_nothing_fails(count: int) -> None:
    bars = walk(1, count, 100.0)
    for daily in (False, True):
        for column in indicators(dbt_variables()["indicators"], daily=daily):
            values = usual(bars, daily=daily)[column.name]
            assert len(values) == count
            is_due = column.defined_from is not None and column.defined_from <= count
            assert is_due or all(map(math.isnan, values)), column.name
    assert usual(bars)["obv"][0] == bars.volumes[0]


def test_where_nothing_moves_nothing_is_divided_by_zero() -> None:
    price = 5 * MILLION
    days = list(range(320))
    last = {
        name: values[-1]
        for name, values in usual(
            Bars(days, [price] * 320, [price] * 320, [price] * 320, [0] * 320, [None] * 320)
        ).items()
    }
    undefined = {name for name, value in last.items() if math.isnan(value)}
    assert undefined == {
        *("rsi_14", "bb_percent_b", "stoch_fast_k", "stoch_k", "stoch_d", "plus_di_14", "minus_di_14"),
        *("relative_volume_20", "vwap", "high_52w", "low_52w", "high_52w_distance", "low_52w_distance"),
    }
    assert (last["sma_200"], last["ema_26"], last["bb_upper"], last["bb_bandwidth"]) == (5, 5, 5, 0)
    assert (last["adx_14"], last["atr_14"], last["obv"], last["realised_volatility_20"]) == (0, 0, 0, 0)


def test_huge_and_tiny_prices_side_by_side_lose_no_digit() -> None:
    closes = [1 if number % 2 else 99_999_999_999_500_000 for number in range(300)]
    closes[250:] = [3, 1] * 25
    bars = Bars(list(range(300)), closes, closes, closes, [10**15] * 300, [None] * 300)
    found = usual(bars)
    for at in (199, 249, 260, 299):
        window = [Fraction(close, MILLION) for close in closes[at - 19 : at + 1]]
        middle, deviation = statistics.fmean(window), statistics.pstdev(window)
        assert found["bb_middle"][at] == pytest.approx(float(sum(window) / 20), rel=1e-15)
        assert found["bb_upper"][at] - middle == pytest.approx(2 * float(deviation), rel=1e-9)
        assert found["sma_200"][at] == pytest.approx(
            float(Fraction(sum(closes[at - 199 : at + 1]), 200 * MILLION)), rel=1e-15
        )
    assert found["bb_percent_b"][299] == pytest.approx(0.25, rel=1e-15)  # -1 deviation of 2
    with localcontext() as context:
        context.prec = 60
        average = Decimal(sum(closes[:26])) / 26
        for close in closes[26:]:
            average += (close - average) * 2 / 27
    assert found["ema_26"][299] == pytest.approx(float(average / MILLION), rel=1e-12)


def test_returns_of_any_two_prices_have_all_their_digits() -> None:
    prices = [1, 99_999_999_999_999_999, 99_999_999_999_999_998, 1, 0, 1]
    with localcontext() as context:
        context.prec = 40
        expected = [float((Decimal(now) / before).ln()) for before, now in pairwise(prices[:4])]
    found = log_returns(prices)
    assert found[:3] == pytest.approx(expected, rel=1e-15)
    assert all(map(math.isnan, found[3:]))
    returns = [0.01, math.nan, -0.02, 1e-9]
    spread = [statistics.stdev([0.01, 0, -0.02]), statistics.stdev([0, -0.02, 1e-9])]
    assert deviations_of_returns(returns, 3) == pytest.approx(spread, rel=1e-14)


def test_windows_and_recursions_worked_out_by_hand() -> None:
    assert window_sums([1, 2, 3, 4], 3) == [6, 9]
    assert window_sums([1, 2], 3) == []
    assert exponential_average([1.0, 3.0, 8.0], 2) == [2.0, 6.0]
    assert wilder_average([1.0, 3.0, 8.0], 2) == [2.0, 5.0]
    assert wilder_sum([4.0, 6.0, 8.0], 2) == [8.0, 12.0]
    assert directional_index([3.0, 0.0, 1.0], [1.0, 0.0, 1.0], 1) == [50.0, 50.0, 0.0]
    assert on_balance_volume([5, 6, 6, 4], [10, 1, 2, 3]) == [10, 11, 11, 8]


def test_a_year_has_52_weeks_by_the_calendar_and_starts_when_the_series_is_that_long() -> None:
    found = list(extremes_of_a_year([0, 1, 364, 365, 366], [7.0, 9.0, 1.0, 2.0, 3.0]))
    assert math.isnan(found[0])
    assert math.isnan(found[1])
    assert found[2:] == [9.0, 9.0, 3.0]


def test_a_session_begins_anew_and_a_bar_without_an_average_price_counts_with_its_typical_one() -> None:
    bars = Bars([1, 1, 2], [4, 9, 5], [1, 3, 5], [3, 5, 5], [10, 1, 2], [None, 7, None])
    assert session_sums(bars) == ([10, 11, 2], [30, 37, 10])  # 8 / 3 is 3 millionths


def test_a_year_has_252_sessions_of_390_minutes() -> None:
    assert [bars_per_year(interval, INTERVALS) for interval in ("1m", "5m", "1h", "1d")] == [98280, 19656, 1638, 252]
