"""What counts as drift between a stored table and its declaration, and how it is said."""

from dataclasses import replace
from pathlib import Path

import pytest

from market.errors import SchemaDriftError
from market.tables import Column, DataType, Store, Table
from warehouse.schema import StoredColumn, StoredTable, find_drift, read_migrations

TABLE = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="example",
    grain="one row per symbol",
    key=("symbol",),
    columns=(
        Column("symbol", DataType.TEXT, "Ticker."),
        Column("price", DataType.PRICE, "Price.", nullable=True),
    ),
)
SYMBOL = StoredColumn("symbol", "text", nullable=False)
PRICE = StoredColumn("price", "numeric(18,6)", nullable=True)
STORED = StoredTable(kind="r", columns=(SYMBOL, PRICE), key=("symbol",), has_rows=True)


def test_a_table_as_declared_has_no_drift_in_any_column_order() -> None:
    assert find_drift(TABLE, STORED) == []
    assert find_drift(TABLE, replace(STORED, columns=(PRICE, SYMBOL))) == []


def test_a_missing_nullable_column_is_no_drift() -> None:
    assert find_drift(TABLE, replace(STORED, columns=(SYMBOL,))) == []


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (
            replace(STORED, columns=(SYMBOL, replace(PRICE, type="double precision"))),
            "lake.example.price is declared numeric(18,6), found double precision",
        ),
        (
            replace(STORED, columns=(replace(SYMBOL, nullable=True), PRICE)),
            "lake.example.symbol is declared not null, found nullable",
        ),
        (
            replace(STORED, columns=(SYMBOL, PRICE, StoredColumn("extra", "integer", nullable=True))),
            "lake.example has a column extra (integer) that is not declared",
        ),
        (
            replace(STORED, columns=(PRICE,)),
            "lake.example.symbol is new and not nullable, but lake.example already has rows",
        ),
        (replace(STORED, key=()), "lake.example is declared with the key (symbol), found ()"),
        (
            replace(STORED, kind="v"),
            "lake.example is declared as a table, but the database has something else under that name",
        ),
    ],
)
def test_every_other_difference_is_named_with_both_sides(stored: StoredTable, problem: str) -> None:
    assert find_drift(TABLE, stored) == [problem]


@pytest.mark.parametrize("names", [["first.sql"], ["0001_.sql"], ["0001_a.sql", "0001_b.sql"]])
def test_a_migration_without_a_number_of_its_own_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("select 1;")
    with pytest.raises(SchemaDriftError):
        read_migrations(tmp_path)


def test_migrations_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("0010_ten.sql", "0002_two.sql"):
        (tmp_path / name).write_text("select 1;")
    assert [(m.number, m.name) for m in read_migrations(tmp_path)] == [(2, "two"), (10, "ten")]
