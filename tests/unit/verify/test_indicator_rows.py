"""Law 3 on a few bars: right rows keep it, each way to break it is seen, and what is queued is behind."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from market.indicators import indicators
from tests.unit.verify.fake_indicators import SYMBOL, FakeIndicators
from tests.unit.verify.fake_published import FakePublished
from verify.averages import MILLION
from verify.indicator_marts import bars_per_year, indicator_marts
from verify.indicators import _differ, prove_indicators, prove_mart
from verify.results import Findings, LawResult
from verify.textbook import Bars, Values, textbook

PERIODS: dict[str, Any] = {
    **{name: [2] for name in ("sma", "ema", "rsi", "atr", "adx", "roc", "realised_volatility", "relative_volume")},
    "macd": [[2, 3, 2]],
    "bollinger": [[2, 2]],
    "stochastic": [[2, 1, 1]],
}
STABLE = 64  # of adx_2: 2 * 2 + 2 * ceil(ln 1e-9 / ln 1/2)
COUNT = 70
INTRADAY, DAYS = indicator_marts()[:2]


def closes() -> list[int]:
    return [(100 + (number * 7) % 11) * MILLION for number in range(COUNT)]


def bars(mart: Any) -> pl.DataFrame:
    moments = [datetime(2013, 10, 7, 14, tzinfo=UTC) + timedelta(minutes=5 * number) for number in range(COUNT)]
    row = {"symbol": SYMBOL, "interval": "5m", "segment": "regular", "is_final": True, "revision": 1, "origin": "lean"}
    row |= {"is_vendor_bar": False, "revised_at": moments[-1], "company": SYMBOL, "current_symbol": SYMBOL, "volume": 9}
    rows = [
        {
            **row,
            "bar_at": moment,
            "session_date": date(2013, 10, 7) + timedelta(days=number // 50),
            "open": close,
            "high": close + MILLION,
            "low": close - MILLION,
            "close": close,
            "bar_vwap": close,
        }
        for number, (moment, close) in enumerate(zip(moments, closes(), strict=True))
    ]
    return pl.DataFrame(rows, schema_overrides=mart.schema).select(pl.col(n).cast(t) for n, t in mart.schema.items())


@pytest.fixture(params=[INTRADAY, DAYS], ids=["bars", "days"])
def mart(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def published(mart: Any) -> FakePublished:
    """One series whose rows are right."""
    own = bars(mart)
    numbers = list(range(1, COUNT + 1))
    days = own["session_date"].to_physical().to_list()
    highs, lows, prices, volumes, vwaps = (
        own[name].to_list() for name in ("high", "low", "close", "volume", "bar_vwap")
    )
    series = Bars(days, highs, lows, prices, volumes, vwaps)
    values = textbook(
        series, PERIODS, bars_per_year=bars_per_year("1d" if mart.daily else "5m", {"5m": 300}), daily=mart.daily
    )
    columns = [pl.Series(name, value.values, nan_to_null=True) for name, value in values.items()]
    stable = pl.Series("is_stable", [number >= STABLE for number in numbers])
    found = FakePublished()
    found.bars_of[mart.name] = own
    found.rows_of[mart.name] = own.with_columns(pl.Series("bar_number", numbers), stable, *columns)
    return found


def prove(published: FakeIndicators, mart: Any) -> LawResult:
    findings = Findings()
    prove_mart(findings, published, mart, PERIODS)  # type: ignore[arg-type]
    return findings.result(3, "")


def set_value(published: FakePublished, mart: Any, number: int, column: str, value: object) -> None:
    rows = published.rows_of[mart.name]
    values = rows[column].to_list()
    values[number - 1] = value
    published.rows_of[mart.name] = rows.with_columns(pl.Series(column, values, rows[column].dtype))


def test_right_rows_keep_the_law(published: FakePublished, mart: Any) -> None:
    result = prove(published, mart)
    assert (result.holds, result.note, result.counts) == (True, "", {"mart_indicator_rows": COUNT}), result.offending


def test_where_no_mart_is_built_nothing_is_broken() -> None:
    result = prove_indicators(FakePublished())
    assert (result.law, result.holds, result.counts) == (3, True, {})


@pytest.mark.parametrize(
    ("column", "number", "value"),
    [
        ("sma_2", 30, 1.0),
        ("rsi_2", 30, None),
        ("rsi_2", 30, float("nan")),
        ("ema_3", 1, 100.0),
        ("macd_hist", 70, float("inf")),
        ("obv", 70, 0.0),
        ("is_stable", STABLE, False),
        ("is_stable", STABLE - 1, True),
        ("is_stable", 70, None),
        ("bar_number", 2, 3),
    ],
)
def test_a_value_that_is_another_one_is_seen_with_its_bar_and_column(
    published: FakePublished, mart: Any, column: str, number: int, value: object
) -> None:
    right = published.rows_of[mart.name][column][number - 1]
    set_value(published, mart, number, column, value)
    result = prove(published, mart)
    assert result.problems == {f"indicators differ in {mart.name}": 1}
    (row,) = result.offending
    assert (row["symbol"], row["bar_at"]) == (SYMBOL, bars(mart)["bar_at"][number - 1])
    assert list(row["differs"]) == [column]
    assert str(row["differs"][column]) == str({"expected": right, "found": value})


def test_a_billionth_is_the_bound(published: FakePublished, mart: Any) -> None:
    right = published.rows_of[mart.name]["sma_2"][29]
    set_value(published, mart, 30, "sma_2", right * (1 + 0.9e-9))
    assert prove(published, mart).holds
    set_value(published, mart, 30, "sma_2", right * (1 + 1.1e-9))
    assert not prove(published, mart).holds


def test_every_indicator_is_compared(published: FakePublished, mart: Any) -> None:
    for column in indicators(PERIODS, daily=mart.daily):
        right = published.rows_of[mart.name][column.name][COUNT - 1]
        set_value(published, mart, COUNT, column.name, 1.0 if right is None else right + 0.001)
        (row,) = prove(published, mart).offending
        assert list(row["differs"]) == [column.name]
        set_value(published, mart, COUNT, column.name, right)


def test_a_row_too_few_or_too_many_or_of_another_bar_is_seen(published: FakePublished, mart: Any) -> None:
    published.rows_of[mart.name] = published.rows_of[mart.name][1:]
    assert prove(published, mart).problems == {f"bar is missing in {mart.name}": 1}
    published.bars_of[mart.name] = published.bars_of[mart.name][2:]
    problems = prove(published, mart).problems
    assert problems[f"bar should not be in {mart.name}"] == 1
    assert problems[f"indicators differ in {mart.name}"] == COUNT - 2


def test_a_copied_column_that_differs_is_seen(published: FakePublished, mart: Any) -> None:
    for name in mart.schema:
        if name not in mart.key:
            right = published.rows_of[mart.name][name][9]
            set_value(published, mart, 10, name, None)
            (row,) = prove(published, mart).offending
            assert row["problem"] == f"bar differs in {mart.name}"
            assert list(row["differs"]) == [name]
            set_value(published, mart, 10, name, right)
    set_value(published, mart, 10, "bar_vwap", 1)
    (row,) = prove(published, mart).offending
    assert str(row["differs"]["bar_vwap"]["found"]) == "0.000001"


def test_a_column_that_is_configured_and_not_there_is_seen(published: FakePublished, mart: Any) -> None:
    published.rows_of[mart.name] = published.rows_of[mart.name].drop("adx_2")
    assert prove(published, mart).offending == [{"problem": f"column is missing in {mart.name}", "column": "adx_2"}]


def test_what_is_queued_is_behind_and_what_is_before_it_is_still_compared(published: FakePublished, mart: Any) -> None:
    set_value(published, mart, 60, "sma_2", 1.0)
    published.rows_of[mart.name] = published.rows_of[mart.name][:-3]
    published.pending = {SYMBOL: date(2013, 10, 8)}
    result = prove(published, mart)
    assert (result.holds, result.counts) == (True, {"mart_indicator_rows": 50, "mart_indicator_rows_behind": 20})
    assert result.note == f"{mart.name} is behind by 20 bars; the next run of the models brings them."
    set_value(published, mart, 50, "sma_2", 1.0)
    assert prove(published, mart).problems == {f"indicators differ in {mart.name}": 1}
    published.pending = {"IBM": date(2013, 10, 7)}
    assert prove(published, mart).problems == {
        f"bar is missing in {mart.name}": 3,
        f"indicators differ in {mart.name}": 2,
    }


def test_where_everything_is_queued_everything_is_behind(published: FakePublished, mart: Any) -> None:
    set_value(published, mart, 1, "obv", 1.0)
    published.pending = {"*": date(1, 1, 2)}
    result = prove(published, mart)
    assert (result.holds, result.counts) == (True, {"mart_indicator_rows_behind": COUNT})


def test_a_value_that_is_gone_is_seen_where_it_was_zero_too() -> None:
    own = Values(np.array([0.0, math.nan, 0.0]), 1.0)
    found = pl.Series([None, 0.0, 0.0], dtype=pl.Float64)
    assert _differ(own, found, np.arange(3)).tolist() == [True, True, False]
