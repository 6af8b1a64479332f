"""What is generated of the configured periods is what they give."""

import yaml

from market.indicators import indicators
from warehouse.dbt import dbt_variables
from warehouse.dbt_indicators import DEFINITIONS, FOLDER, TABLE_STARTS, render_pages, render_table

CHOSEN = dbt_variables()["indicators"]


def test_the_pages_and_definitions_are_those_that_the_periods_give() -> None:
    for path, text in render_pages(CHOSEN).items():
        assert path.read_text() == text, "run: python -m warehouse.dbt_indicators"


def test_the_documented_table_is_the_one_that_the_periods_give() -> None:
    assert DEFINITIONS.read_text().endswith(TABLE_STARTS + render_table(CHOSEN)), (
        "run: python -m warehouse.dbt_indicators"
    )


def test_every_column_of_a_page_is_described_once() -> None:
    for path in FOLDER.glob("*.yml"):
        (model,) = yaml.safe_load(path.read_text())["models"]
        columns = [column["name"] for column in model["columns"]]
        assert len(columns) == len(set(columns))
        assert all(column["description"].endswith((".", "?")) for column in model["columns"]), path


def test_what_never_is_stable_is_said_beside_the_column_and_in_the_text() -> None:
    never = [value.name for value in indicators(CHOSEN, daily=True) if value.stable_from is None]
    text, _, _ = DEFINITIONS.read_text().partition(TABLE_STARTS)
    assert "every value of the row but " + ", ".join(f"`{name}`" for name in never) in text
    for path in FOLDER.glob("*_analytics*.yml"):
        (model,) = yaml.safe_load(path.read_text())["models"]
        (says,) = [column["description"] for column in model["columns"] if column["name"] == "is_stable"]
        assert f"no value of the row but {', '.join(never)} depends" in says


def test_other_periods_give_other_pages() -> None:
    pages = render_pages({**CHOSEN, "rsi": [7]})
    assert "rsi_7" in pages[FOLDER / "intraday_analytics.yml"]
    assert "rsi_14" not in pages[FOLDER / "daily_analytics.yml"]
