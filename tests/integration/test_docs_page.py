"""The documentation of the marts: one page with every model, column and line of descent, and nothing secret in it."""

import json
import re
import stat
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest

from cli.docs import page_server
from market.settings import Settings
from orchestration.dbt import Dbt
from tests.integration.dbt_runs import dbt_runs
from warehouse.dbt import dbt_environment
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

_EMBEDDED = ("manifest", "catalog")


@pytest.fixture(scope="module")
def page(settings_with_database: Settings) -> Path:
    migrate(settings_with_database)
    with dbt_runs(settings_with_database) as dbt:
        dbt("run")
    return Dbt(settings_with_database).write_page()


def test_the_page_is_alone_in_its_folder_and_needs_no_other_file(page: Path) -> None:
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    loads = r'<(?:script|link|img)\b[^>]*?(?:src|href)=["\']?(?:https?:)?//[^>]*'
    assert re.findall(loads, page.read_text()) == []


def test_it_has_the_columns_that_the_database_has_and_where_each_mart_comes_from(page: Path) -> None:
    text = page.read_text()
    decode = json.JSONDecoder().raw_decode
    manifest, catalog = (decode(text, text.index(f'{name}:{{"metadata"') + len(f"{name}:"))[0] for name in _EMBEDDED)
    columns = catalog["nodes"]["model.tapehouse.historical_ohlcv"]["columns"]
    assert columns["close"]["type"] == "numeric(18,6)"
    assert columns["close"]["comment"].startswith("Price of the last such trade")
    parents = manifest["parent_map"]["model.tapehouse.realtime_prices"]
    assert "model.tapehouse.stg_latest_quotes" in parents


def test_no_password_is_in_it(page: Path, settings_with_database: Settings) -> None:
    password = dbt_environment(settings_with_database)["DBT_ENV_SECRET_TAPEHOUSE_PASSWORD"]
    assert password
    assert password not in page.read_text()


def test_it_is_served_on_this_machine_only(page: Path) -> None:
    with page_server(page, 0) as server:
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urlopen(f"http://127.0.0.1:{port}/index.html", timeout=10) as answer:
            assert answer.read() == page.read_bytes()
        server.shutdown()
    assert stat.S_ISREG(page.stat().st_mode)
