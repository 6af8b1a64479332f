"""What values may be: said of columns that there are, for every price and count, and once for a name."""

import re

import pytest
import yaml

from market import domains
from market.columns import DataType
from market.domains import GREATEST, domain_of, orders_of, spoken_of
from market.indicators import indicators
from market.tables import TABLES
from warehouse.dbt import DBT_PROJECT, dbt_variables

_PAGES = "\n".join(path.read_text() for path in (DBT_PROJECT / "models").rglob("*.yml"))
_MARTS = {
    model["name"]: {column["name"]: column.get("data_type") for column in model["columns"]}
    for folder in ("models", "snapshots")
    for path in (DBT_PROJECT / folder / "marts").rglob("*.yml")
    for page in (yaml.safe_load(path.read_text()),)
    for model in (*page.get("models", ()), *page.get("snapshots", ()))
}
_ANY_FINITE_NUMBER = {
    **dict.fromkeys(("log_return_1", "macd", "macd_signal", "macd_hist", "obv"), "rises and falls without a bound"),
    **dict.fromkeys(("bb_upper", "bb_lower"), "held against bb_middle; the lower one may be below zero"),
    "bb_percent_b": "a close may lie outside of its bands",
    "advance_decline_line": "a sum of what rose less what fell",
    "change": "a difference of prices",
    "spread": "below zero where a market is crossed",
    **{
        f"{price}_difference{unit}": "a difference of prices"
        for price in ("open", "high", "low", "close")
        for unit in ("", "_bps")
    },
    "announced_ratio": "below zero for a dividend above the price, which is shown as suspicious",
    **dict.fromkeys(("z", "value", "median"), "logarithms of ratios, or volumes"),
}
"""The columns of marts with numbers of which every one is possible, and why."""
COLUMNS = {column.name for table in TABLES for column in table.columns} | set(re.findall(r"- name: (\w+)", _PAGES))


def test_nothing_is_said_of_a_column_that_there_is_not() -> None:
    said = {
        *domains._BY_NAME,
        *(name for _, name in domains._OF_TABLE),
        *(name for pair in domains._ORDERS for name in pair),
    }
    assert sorted(said - COLUMNS) == []
    tables = {table.qualified_name for table in TABLES}
    assert (
        sorted(table for table, _ in domains._OF_TABLE if table not in tables and not table.startswith("marts.")) == []
    )
    shapes = [shape for shape, _ in domains._BY_SHAPE]
    names = [
        one.name for is_daily in (True, False) for one in indicators(dbt_variables()["indicators"], daily=is_daily)
    ]
    assert [shape.pattern for shape in shapes if not any(shape.fullmatch(name) for name in names)] == []


def test_something_is_said_of_every_price_and_of_every_number_of_shares() -> None:
    silent = [
        f"{table.qualified_name}.{column.name}"
        for table in TABLES
        for column in table.columns
        if (column.type in {DataType.PRICE, DataType.NOTIONAL} or re.fullmatch(r"(\w+_)?size|volume", column.name))
        and domain_of(table.qualified_name, column.name) is None
    ]
    assert silent == []


def test_something_is_said_of_every_number_of_every_mart_or_why_it_may_be_any() -> None:
    numbers = {
        (mart, column)
        for mart, columns in _MARTS.items()
        for column, type_ in columns.items()
        if re.match("numeric|double|bigint|integer", type_ or "")
    }
    assert len(numbers) > 300, "no mart is left out"
    silent = {(mart, column) for mart, column in numbers if column not in spoken_of(f"marts.{mart}", _MARTS[mart])}
    assert sorted(silent) == []
    unbounded = {column for mart, column in numbers if _is_any_finite_number(f"marts.{mart}", column)}
    assert sorted(unbounded ^ set(_ANY_FINITE_NUMBER)) == []


def _is_any_finite_number(table: str, column: str) -> bool:
    domain = domain_of(table, column)
    return domain is not None and (domain.least, domain.most) == (-GREATEST, GREATEST)


def test_no_mart_is_without_a_suite() -> None:
    assert len(_MARTS) > 15
    assert [mart for mart, columns in _MARTS.items() if not spoken_of(f"marts.{mart}", columns)] == []


@pytest.mark.parametrize(
    ("table", "column", "least", "excluded", "most"),
    [
        ("lake.bars_1m", "low", 0, True, None),
        ("lake.bars_1m", "volume", 0, False, None),
        ("silver.trades", "size", 1, False, None),
        ("marts.daily_analytics", "rsi_14", -1e-9, False, 100 + 1e-9),
        ("marts.daily_analytics", "stoch_k_5_1_3", -1e-9, False, 100 + 1e-9),
        ("marts.daily_analytics_raw", "sma_200", 0, True, None),
        ("marts.daily_analytics", "sma_200", 0, False, None),
        ("marts.daily_analytics", "close", 0, False, None),
        ("marts.daily_analytics_total_return", "low_52w", 0, False, None),
        ("marts.daily_analytics", "high_52w_distance", None, False, 1e-9),
        ("marts.daily_analytics", "return_1", -1 - 1e-9, False, None),
        ("marts.daily_analytics", "roc_10", -100 - 1e-9, False, None),
        ("marts.correlations", "correlation", -1 - 1e-9, False, 1 + 1e-9),
        ("marts.market_breadth", "share_above_average_50", -1e-9, False, 1 + 1e-9),
        ("marts.market_breadth", "advancing", 0, False, None),
        ("marts.data_quality", "coverage", -1e-9, False, 1 + 1e-9),
        ("marts.data_quality", "halted_minutes", 0, False, 1440),
    ],
)
def test_numbers_have_bounds(table: str, column: str, least: float, excluded: bool, most: float) -> None:
    domain = domain_of(table, column)
    assert domain is not None
    assert (domain.least, domain.excludes_least, domain.most) == (least, excluded, most)


def test_a_name_may_have_other_values_in_a_table() -> None:
    kinds = [domain_of(table, "kind") for table in ("silver.amendments", "lake.trading_halts", "lake.bars_1m")]
    assert [kind.values if kind else None for kind in kinds] == [("cancel", "correction"), ("halt", "resume"), None]
    everywhere, daily = domain_of("lake.vendor_bars", "interval"), domain_of("marts.historical_ohlcv", "interval")
    assert everywhere is not None
    assert daily is not None
    assert (len(everywhere.values), daily.values) == (5, ("1d",))


def test_of_a_column_without_a_domain_only_its_order_is_said() -> None:
    assert domain_of("lake.sessions", "open_at") is None
    assert domain_of("marts.daily_analytics", "built_from") is None
    assert orders_of(["close_at", "open_at", "session_date"]) == [("open_at", "close_at")]
    assert orders_of(["low"]) == []
    assert spoken_of("lake.sessions", ["session_date", "open_at", "close_at"]) == ["open_at", "close_at"]
