"""dbt's sources from the declared tables: ``python -m warehouse.dbt_sources`` rewrites the file that dbt reads."""

from pathlib import Path
from typing import Final

import structlog

from market.alert_tables import ALERTS
from market.app_tables import WATCHLIST
from market.tables import POSTGRES_TABLES, Column, Table
from warehouse.dbt import DBT_PROJECT
from warehouse.ddl import COLUMN_TYPES, table_comment

SOURCES_FILE: Final[Path] = DBT_PROJECT / "models" / "staging" / "_sources.yml"

_HEAD: Final = """\
# Generated from market/tables.py and app_tables.py by `python -m warehouse.dbt_sources`: change the declarations, not this file.
version: 2

sources:
"""

SOURCE_TABLES: Final[tuple[Table, ...]] = (*POSTGRES_TABLES, WATCHLIST, ALERTS)
"""The tables that models read."""
_DESCRIPTIONS: Final = {
    "lake": "What the stream writes into PostgreSQL, one transaction per micro-batch.",
    "app": "What users chose, and what came of it.",
}
"""The schemas that models read, in the order of the file."""


def render_sources() -> str:
    """Return the text of dbt's sources file: every declared table that models read, with its grain and columns."""
    return _HEAD + "".join(_render_schema(schema, description) for schema, description in _DESCRIPTIONS.items())


def main() -> None:
    """Rewrite the sources file."""
    SOURCES_FILE.write_text(render_sources())
    structlog.get_logger(__name__).info("dbt_sources_written", path=str(SOURCES_FILE))


def _render_schema(schema: str, description: str) -> str:
    lines = [
        f"  - name: {schema}",
        f"    schema: {schema}",
        f"    description: {description}",
        "    tables:",
    ]
    tables = (table for table in SOURCE_TABLES if table.layer == schema)
    return "\n".join(lines) + "\n" + "".join(_render_table(table) for table in tables)


def _render_table(table: Table) -> str:
    lines = [
        f"      - name: {table.name}",
        f"        description: {_quote(table_comment(table))}",
        "        config:",
        "          meta:",
        "            dagster:",
        f'              asset_key: ["postgres", "{table.name}"]',
        "        columns:",
    ]
    return "\n".join([*lines, *(_render_column(column) for column in table.columns)]) + "\n"


def _render_column(column: Column) -> str:
    return "\n".join(
        [
            f"          - name: {column.name}",
            f"            data_type: {COLUMN_TYPES[column.type]}",
            f"            description: {_quote(column.description)}",
        ]
    )


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


if __name__ == "__main__":
    main()
