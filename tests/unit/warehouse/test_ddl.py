"""The DDL of a declared table."""

import pytest

from market.app_tables import APP_TABLES
from market.tables import POSTGRES_TABLES, Column, DataType, Store, Table
from warehouse import ddl

TABLE = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="example",
    grain="one row per symbol's day",
    key=("symbol", "offset"),
    columns=(
        Column("symbol", DataType.TEXT, "Ticker."),
        Column("offset", DataType.BIGINT, "A reserved word."),
        Column("price", DataType.PRICE, "It's a price.", nullable=True),
        Column("notional", DataType.NOTIONAL, "Sum."),
        Column("seen_at", DataType.TIMESTAMP, "Time."),
    ),
    retention_days=30,
)


def test_a_table_has_exact_decimals_zoned_times_and_its_key() -> None:
    assert ddl.create_table(TABLE) == (
        'create table "lake"."example" (\n'
        '    "symbol" text not null,\n'
        '    "offset" bigint not null,\n'
        '    "price" numeric(18,6),\n'
        '    "notional" numeric(38,6) not null,\n'
        '    "seen_at" timestamp with time zone not null,\n'
        '    primary key ("symbol", "offset")\n'
        ")"
    )


def test_comments_carry_grain_retention_and_meaning_with_quotes_doubled() -> None:
    statements = ddl.comment_statements(TABLE)
    assert statements[0] == "comment on table \"lake\".\"example\" is 'One row per symbol''s day. Kept for 30 days.'"
    assert 'comment on column "lake"."example"."price" is \'It\'\'s a price.\'' in statements


@pytest.mark.parametrize("name", ['x"; drop table y', "Upper", "", "a" * 64, "1st"])
def test_a_name_that_is_not_snake_case_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        ddl.quote_name(name)


def test_every_declared_table_has_a_key_and_indexes_of_its_own_columns() -> None:
    declared = {table.qualified_name: table for table in (*POSTGRES_TABLES, *APP_TABLES)}
    assert set(ddl.INDEXES) <= set(declared)
    for name, table in declared.items():
        assert table.key
        assert set(table.key) <= set(table.column_names)
        for columns in ddl.INDEXES.get(name, ()):
            assert set(columns) <= set(table.column_names)
