"""What values may be: said of columns that there are, for every price and count, and once for a name."""

import re

import pytest

from market import domains
from market.columns import DataType
from market.domains import domain_of, orders_of, spoken_of
from market.indicators import indicators
from market.tables import TABLES
from warehouse.dbt import DBT_PROJECT, dbt_variables

_PAGES = "\n".join(path.read_text() for path in (DBT_PROJECT / "models").rglob("*.yml"))
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


@pytest.mark.parametrize(
    ("table", "column", "least", "excluded", "most"),
    [
        ("lake.bars_1m", "low", 0, True, None),
        ("lake.bars_1m", "volume", 0, False, None),
        ("silver.trades", "size", 1, False, None),
        ("marts.daily_analytics", "rsi_14", -1e-9, False, 100 + 1e-9),
        ("marts.daily_analytics", "stoch_k_5_1_3", -1e-9, False, 100 + 1e-9),
        ("marts.daily_analytics", "sma_200", 0, True, None),
        ("marts.daily_analytics", "high_52w_distance", None, False, 1e-9),
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
    assert domain_of("marts.daily_analytics", "macd_hist") is None
    assert orders_of(["close_at", "open_at", "session_date"]) == [("open_at", "close_at")]
    assert orders_of(["low"]) == []
    assert spoken_of("lake.sessions", ["session_date", "open_at", "close_at"]) == ["open_at", "close_at"]
