"""The look in one statement says of each value what the suite of Great Expectations says of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from market.settings import Settings
from quality.quick import look
from quality.stored import POSTGRES, Checked
from quality.suites import Suites

pytestmark = pytest.mark.integration

COLUMNS = {
    "symbol": "text",
    "segment": "text",
    "open": "numeric",
    "high": "numeric",
    "low": "numeric",
    "size": "bigint",
    "rsi_14": "double precision",
    "macd": "double precision",
}
RIGHT = {"symbol": "BRK.B", "segment": "pre", "open": 2, "high": 2, "low": 1, "size": 1, "rsi_14": 100, "macd": -1}
NUMBERS = (None, "-Infinity", -1, 0, "0.000001", 1, 2, 3, 100, "100.0000000001", 101, "1e299", "Infinity", "NaN")
VALUES: dict[str, tuple[Any, ...]] = {
    "text": (None, "", "BRK.B", "brk", "BRK'B", "ABC\n", "A" * 16, "É", "pre", "Pre", "lunch"),
    "numeric": NUMBERS,
    "double precision": NUMBERS,
    "bigint": (None, -1, 0, 1, 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class Rows(Checked):
    """Rows that are written out in the query."""

    text: str = ""

    def query(self, since: Any) -> str:  # noqa: ARG002 - they are all of one moment
        return self.text


def rows_of(*rows: dict[str, Any]) -> Rows:
    written = ", ".join(
        "(" + ", ".join(f"{literal(row[name])}::{kind}" for name, kind in COLUMNS.items()) + ")" for row in rows
    )
    text = f"select * from (values {written}) as written ({', '.join(COLUMNS)})"
    return Rows("lake.some", dict.fromkeys(COLUMNS, "says"), ("symbol",), None, text=text)


def literal(value: Any) -> str:
    return "null" if value is None else "'" + str(value).replace("'", "''") + "'"


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Suites:
    return Suites(tmp_path_factory.mktemp("quality"), settings)


def wrong_values() -> Iterator[tuple[str, Any]]:
    for name, kind in COLUMNS.items():
        for value in (None, 1, 3) if name in {"high", "low"} else VALUES[kind]:
            yield name, value


def test_each_value_is_possible_to_both_or_to_none(connection: psycopg.Connection[Any], suites: Suites) -> None:
    said = {}
    for name, value in wrong_values():
        checked = rows_of(RIGHT, {**RIGHT, name: value}, RIGHT)
        outcome, found = suites.hold_query(checked, checked.text, 3), look(connection, checked, None)
        said[name, value] = outcome.holds
        assert (found is not None) is outcome.holds, (name, value)
        if found is not None:
            assert (found.table, found.rows, found.expectations) == ("lake.some", 3, outcome.expectations)
    assert set(said.values()) == {True, False}


def test_no_row_is_no_wrong_one(connection: psycopg.Connection[Any]) -> None:
    none = Rows(
        "lake.some", dict.fromkeys(COLUMNS, "says"), ("symbol",), None, text=rows_of(RIGHT).text + " where false"
    )
    found = look(connection, none, None)
    assert found is not None
    assert found.rows == 0


@pytest.mark.parametrize("checked", POSTGRES, ids=lambda checked: checked.name)
def test_every_table_can_be_looked_at(connection: psycopg.Connection[Any], checked: Checked) -> None:
    assert look(connection, checked, None) is not None
