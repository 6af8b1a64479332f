"""PostgreSQL DDL from the declared tables: pure text, nothing is executed here."""

import re
from collections.abc import Mapping
from typing import Final

from market.alert_tables import ALERT_OUTBOX, ALERTS
from market.tables import (
    PG_BAR_SESSIONS,
    PG_BARS,
    PG_FEED_COVERAGE,
    PG_QUOTES_1M,
    PG_STREAM_BATCHES,
    PG_VENDOR_BAR_SESSIONS,
    PG_VENDOR_BARS,
    Column,
    DataType,
    Table,
)

COLUMN_TYPES: Final[Mapping[DataType, str]] = {
    DataType.TEXT: "text",
    DataType.INTEGER: "integer",
    DataType.BIGINT: "bigint",
    DataType.PRICE: "numeric(18,6)",
    DataType.NOTIONAL: "numeric(38,6)",
    DataType.TIMESTAMP: "timestamp with time zone",
    DataType.DATE: "date",
    DataType.BOOLEAN: "boolean",
    DataType.BINARY: "bytea",
    DataType.SPANS: "tstzmultirange",
    DataType.DOUBLE: "double precision",
    DataType.TEXTS: "text[]",
    DataType.UUID: "uuid",
    DataType.JSON: "jsonb",
}
"""The PostgreSQL type of each declared type, spelled as ``format_type`` spells it."""

INDEXES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    PG_BARS.qualified_name: (("session_date", "symbol"),),
    PG_VENDOR_BARS.qualified_name: (("interval", "session_date"),),
    PG_BAR_SESSIONS.qualified_name: (("symbol", "session_date"), ("source", "session_date")),
    PG_FEED_COVERAGE.qualified_name: (("source", "session_date"),),
    PG_VENDOR_BAR_SESSIONS.qualified_name: (("symbol", "session_date"),),
    PG_QUOTES_1M.qualified_name: (("session_date", "symbol"), ("source", "bar_at")),
    PG_STREAM_BATCHES.qualified_name: (("published_at",),),
    ALERTS.qualified_name: (("symbol", "interval", "bar_at"), ("refers_to",), ("recorded_at",)),
    ALERT_OUTBOX.qualified_name: (("status", "next_attempt_at"), ("alert_id",)),
}
"""Secondary indexes by table: the columns of each. Every index slows the stream down, so each one names its reader:
the bars of a session (dbt), the vendor's daily bars (dbt), what there is of a session, and of a source's newest one (dbt, of what
changed), the newest heartbeats of a source (dbt), what vendors have of a session (dbt), the quotes of a session (the
deep path) and of a source's newest minute (rules), the newest batch (status).
Of alerts: those of bars that changed, the retraction of one, the newest ones (evaluation, history); what is to be sent, and
what became of an alert (relay)."""

_NAME: Final = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")


def quote_name(name: str) -> str:
    """Return ``name`` as a quoted identifier: some columns are reserved words.

    Raises
    ------
    ValueError
        If it is not lower-case snake case.
    """
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is not a name: use lower-case letters, digits and underscores."
        raise ValueError(msg)
    return f'"{name}"'


def quote_literal(text: str) -> str:
    """Return ``text`` as a string literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_table(table: Table) -> str:
    """Return the table's name with its schema, quoted."""
    return f"{quote_name(table.layer)}.{quote_name(table.name)}"


def quote_names(names: tuple[str, ...]) -> str:
    """Return the names quoted, separated by commas."""
    return ", ".join(quote_name(name) for name in names)


def column_ddl(column: Column) -> str:
    """Return the column's definition: name, type and nullability."""
    suffix = "" if column.nullable else " not null"
    return f"{quote_name(column.name)} {COLUMN_TYPES[column.type]}{suffix}"


def create_table(table: Table) -> str:
    """Return the statement that creates the table with its primary key."""
    lines = [f"    {column_ddl(column)}," for column in table.columns]
    body = "\n".join([*lines, f"    primary key ({quote_names(table.key)})"])
    return f"create table {quote_table(table)} (\n{body}\n)"


def add_column(table: Table, column: Column) -> str:
    """Return the statement that adds the column."""
    return f"alter table {quote_table(table)} add column {column_ddl(column)}"


def index_name(table: Table, columns: tuple[str, ...]) -> str:
    """Return the name of the index on these columns: the name says the definition."""
    return f"{table.name}_{'_'.join(columns)}_idx"


def create_indexes(table: Table) -> list[str]:
    """Return the statements that create the table's secondary indexes where they are missing."""
    return [
        f"create index if not exists {quote_name(index_name(table, columns))} "
        f"on {quote_table(table)} ({quote_names(columns)})"
        for columns in INDEXES.get(table.qualified_name, ())
    ]


def table_comment(table: Table) -> str:
    """Return what is written on the table: its grain, as a sentence."""
    grain = table.grain[:1].upper() + table.grain[1:] + "."
    return grain if table.retention_days is None else f"{grain} Kept for {table.retention_days} days."


def comment_statements(table: Table) -> list[str]:
    """Return the statements that write the grain and the columns' meanings on the table."""
    name = quote_table(table)
    return [
        f"comment on table {name} is {quote_literal(table_comment(table))}",
        *(
            f"comment on column {name}.{quote_name(column.name)} is {quote_literal(column.description)}"
            for column in table.columns
        ),
    ]
