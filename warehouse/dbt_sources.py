"""dbt's sources from the declared tables: ``python -m warehouse.dbt_sources`` rewrites the file that dbt reads."""

from pathlib import Path
from typing import Final

import structlog

from market.tables import POSTGRES_TABLES, Column, Table
from warehouse.dbt import DBT_PROJECT
from warehouse.ddl import COLUMN_TYPES, table_comment

SOURCES_FILE: Final[Path] = DBT_PROJECT / "models" / "staging" / "_sources.yml"

_HEAD: Final = """\
# Generated from market/tables.py by `python -m warehouse.dbt_sources`: change the declaration, not this file.
version: 2

sources:
  - name: lake
    schema: lake
    description: What the stream writes into PostgreSQL, one transaction per micro-batch.
    tables:
"""


def render_sources() -> str:
    """Return the text of dbt's sources file: every declared PostgreSQL table with its grain and columns."""
    return _HEAD + "".join(_render_table(table) for table in POSTGRES_TABLES)


def main() -> None:
    """Rewrite the sources file."""
    SOURCES_FILE.write_text(render_sources())
    structlog.get_logger(__name__).info("dbt_sources_written", path=str(SOURCES_FILE))


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
