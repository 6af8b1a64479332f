"""The dbt project follows from the declarations, and every model has its page."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from market.alert_tables import ALERTS
from market.app_tables import WATCHLIST
from market.errors import SettingsError
from market.settings import load_settings
from market.tables import POSTGRES_TABLES
from warehouse.dbt import DBT_PROJECT, dbt_environment
from warehouse.dbt_sources import SOURCES_FILE, render_sources

MODELS = sorted((DBT_PROJECT / "models").rglob("*.sql"))
BAR_COLUMNS = {
    *("symbol", "interval", "bar_at", "open", "high", "low", "close", "volume", "vwap", "trade_count"),
    *("session_date", "segment", "is_final", "revision", "origin"),
}


def model_page(path: Path) -> dict[str, Any]:
    (page,) = yaml.safe_load(path.with_suffix(".yml").read_text())["models"]
    return dict(page)


def test_the_sources_file_is_the_one_that_the_declarations_give() -> None:
    assert SOURCES_FILE.read_text() == render_sources(), "run: python -m warehouse.dbt_sources"


def test_the_sources_file_names_every_table_and_column() -> None:
    sources = yaml.safe_load(SOURCES_FILE.read_text())["sources"]
    found = {
        (source["schema"], table["name"]): [column["name"] for column in table["columns"]]
        for source in sources
        for table in source["tables"]
    }
    assert found == {
        (table.layer, table.name): list(table.column_names) for table in (*POSTGRES_TABLES, WATCHLIST, ALERTS)
    }


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_model_states_its_grain_and_describes_its_columns(path: Path) -> None:
    page = model_page(path)
    assert page["name"] == path.stem
    assert page["description"].startswith("One row per ")
    assert all(column["description"].strip() for column in page["columns"])


@pytest.mark.parametrize("name", ["intraday_ohlcv", "historical_ohlcv"])
def test_a_bar_mart_has_the_columns_of_the_contract_and_a_tested_key(name: str) -> None:
    page = model_page(DBT_PROJECT / "models" / "marts" / "prices" / f"{name}.sql")
    columns = {column["name"]: column["data_type"] for column in page["columns"]}
    assert set(columns) >= BAR_COLUMNS
    assert {columns[price] for price in ("open", "high", "low", "close", "vwap")} == {"numeric(18,6)"}
    keys = [
        test["unique_combination"]["arguments"]["columns"]
        for test in page["data_tests"]
        if "unique_combination" in test
    ]
    assert ["symbol", "interval", "bar_at"] in keys
    assert "bar_identities" in page["data_tests"]


def test_dbt_gets_the_connection_in_parts_and_the_password_under_its_secret_prefix(tmp_path: Path) -> None:
    settings = load_settings().model_copy(
        update={
            "home": tmp_path,
            "database_url": SecretStr("postgresql://me:p%40ss@db.example:6432/market?sslmode=require"),
        }
    )
    environment = dbt_environment(settings)
    assert environment["DBT_TAPEHOUSE_HOST"] == "db.example"
    assert environment["DBT_TAPEHOUSE_PORT"] == "6432"
    assert environment["DBT_TAPEHOUSE_USER"] == "me"
    assert environment["DBT_TAPEHOUSE_DATABASE"] == "market"
    assert environment["DBT_TAPEHOUSE_SSLMODE"] == "require"
    assert environment["DBT_TARGET_PATH"] == str(tmp_path / "dbt" / "target")
    assert [name for name, value in environment.items() if "p@ss" in value] == ["DBT_ENV_SECRET_TAPEHOUSE_PASSWORD"]


def test_a_url_without_a_user_is_refused() -> None:
    settings = load_settings().model_copy(update={"database_url": SecretStr("postgresql://db.example/market")})
    with pytest.raises(SettingsError, match="names no user"):
        dbt_environment(settings)
