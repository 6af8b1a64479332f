"""Brings the database to the declared state: migrations, tables, routines, comments, trading sessions.

A table follows from its declaration in :mod:`market.tables`: it is created, and new columns are added. Whatever cannot be
derived that way is a numbered file in ``migrations/``, applied once, before the tables. ``routines/`` holds functions and
triggers, written so that they can be applied every time, after the tables.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from psycopg import Connection

from market.app_tables import APP_TABLES
from market.errors import SchemaDriftError
from market.sessions import all_sessions
from market.settings import Settings
from market.tables import PG_SESSIONS, PG_STREAM_BATCHES, POSTGRES_TABLES, Column, Table
from warehouse import ddl
from warehouse.connection import connect

_log = structlog.get_logger(__name__)

MIGRATIONS_FOLDER: Final = Path(__file__).parent / "migrations"
ROUTINES_FOLDER: Final = Path(__file__).parent / "routines"

_LOCK: Final = 0x7461_7065  # the letters "tape": any constant that no other program uses in this database
_JOURNAL: Final = """
create schema if not exists app;
create table if not exists app.schema_migrations (
    number integer not null primary key,
    name text not null,
    checksum text not null,
    applied_at timestamp with time zone not null default now()
);
comment on table app.schema_migrations is 'One row per migration that was applied.';
comment on column app.schema_migrations.number is 'Number of the migration.';
comment on column app.schema_migrations.name is 'Name of its file, without number and ending.';
comment on column app.schema_migrations.checksum is 'Checksum of its text: an applied one must not change.';
comment on column app.schema_migrations.applied_at is 'When it was applied.';
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file ``NNNN_name.sql``: its number, name, text and the SHA-256 of the text."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One column as the database has it; ``type`` is spelled as ``format_type`` spells it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One relation as the database has it; ``kind`` is ``r`` for an ordinary table."""

    kind: str
    columns: tuple[StoredColumn, ...]
    key: tuple[str, ...]
    has_rows: bool


def migrate(
    settings: Settings,
    *,
    tables: Sequence[Table] = (*POSTGRES_TABLES, *APP_TABLES),
    migrations_folder: Path = MIGRATIONS_FOLDER,
) -> None:
    """Bring the database to the declared state, in one transaction, one process at a time; repeating it changes nothing.

    Raises
    ------
    SchemaDriftError
        If an applied migration was changed or removed, or a table differs from its declaration in more than missing
        columns. Nothing is changed then.
    ServiceError
        If the database cannot be reached.
    """
    migrations = read_migrations(migrations_folder)
    with connect(settings, application_name="tapehouse migrate") as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute("set local client_min_messages = warning")
        connection.execute(_JOURNAL)
        _apply_migrations(connection, migrations)
        _bring_tables(connection, tables)
        for path in sorted(ROUTINES_FOLDER.glob("*.sql")):
            connection.execute(path.read_text())
        _load_sessions(connection)
        _forget_old_batches(connection)


def read_migrations(folder: Path) -> list[Migration]:
    """Return the migrations of a folder in order.

    Raises
    ------
    SchemaDriftError
        If a file is not named ``NNNN_name.sql`` or a number is used twice.
    """
    migrations: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        number, _, name = path.stem.partition("_")
        if not (number.isdecimal() and name):
            msg = f"The migration {path.name} is not named NNNN_name.sql. Rename it."
            raise SchemaDriftError(msg)
        if int(number) in migrations:
            msg = f"Two migrations have the number {number}: {migrations[int(number)].name} and {name}. Renumber the new one."
            raise SchemaDriftError(msg)
        migrations[int(number)] = Migration(int(number), name, path.read_text())
    return [migrations[number] for number in sorted(migrations)]


def find_drift(table: Table, stored: StoredTable) -> list[str]:
    """Return in plain words what cannot be mended by adding columns; empty when there is nothing."""
    name = table.qualified_name
    if stored.kind != "r":
        return [f"{name} is declared as a table, but the database has something else under that name"]
    found = {column.name: column for column in stored.columns}
    problems = [
        f"{name} has a column {column.name} ({column.type}) that is not declared"
        for column in stored.columns
        if column.name not in table.column_names
    ]
    for column in table.columns:
        stored_column = found.get(column.name)
        if stored_column is not None:
            problems += _column_drift(f"{name}.{column.name}", column, stored_column)
        elif not column.nullable and stored.has_rows:
            problems.append(f"{name}.{column.name} is new and not nullable, but {name} already has rows")
    if stored.key != table.key:
        problems.append(f"{name} is declared with the key ({', '.join(table.key)}), found ({', '.join(stored.key)})")
    return problems


def _column_drift(name: str, declared: Column, stored: StoredColumn) -> list[str]:
    problems = []
    declared_type = ddl.COLUMN_TYPES[declared.type]
    if stored.type != declared_type:
        problems.append(f"{name} is declared {declared_type}, found {stored.type}")
    if stored.nullable != declared.nullable:
        wanted, is_so = ("nullable", "not null") if declared.nullable else ("not null", "nullable")
        problems.append(f"{name} is declared {wanted}, found {is_so}")
    return problems


def read_table(connection: Connection[Any], table: Table) -> StoredTable | None:
    """Return what the database has under the table's name, or ``None``."""
    row = connection.execute(
        "select c.oid, c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relname = %s",
        [table.layer, table.name],
    ).fetchone()
    if row is None:
        return None
    oid, kind = row
    columns = connection.execute(
        "select attname, format_type(atttypid, atttypmod), not attnotnull from pg_attribute "
        "where attrelid = %s and attnum > 0 and not attisdropped order by attnum",
        [oid],
    ).fetchall()
    key = connection.execute(
        "select a.attname from pg_index i cross join unnest(i.indkey::int2[]) with ordinality k (attnum, position) "
        "join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum "
        "where i.indrelid = %s and i.indisprimary order by k.position",
        [oid],
    ).fetchall()
    has_rows = kind == "r" and bool(
        connection.execute(f"select exists (select from {ddl.quote_table(table)})").fetchone()[0]  # type: ignore[index]  # noqa: S608 - quoted name
    )
    return StoredTable(kind, tuple(StoredColumn(*column) for column in columns), tuple(k for (k,) in key), has_rows)


def _apply_migrations(connection: Connection[Any], migrations: Sequence[Migration]) -> None:
    applied: dict[int, tuple[str, str]] = {
        number: (name, checksum)
        for number, name, checksum in connection.execute("select number, name, checksum from app.schema_migrations")
    }
    by_number = {migration.number: migration for migration in migrations}
    for number, (name, checksum) in sorted(applied.items()):
        migration = by_number.get(number)
        if migration is None:
            msg = (
                f"The migration {number:04d}_{name} was applied to this database, but its file is missing. "
                "Restore the file, or use a newer Tapehouse."
            )
            raise SchemaDriftError(msg)
        if migration.checksum != checksum:
            msg = (
                f"The migration {number:04d}_{name} was changed after it was applied to this database. "
                "Restore the file, and put the change into a new migration."
            )
            raise SchemaDriftError(msg)
    for migration in migrations:
        if migration.number not in applied:
            connection.execute(migration.text)
            connection.execute(
                "insert into app.schema_migrations (number, name, checksum) values (%s, %s, %s)",
                [migration.number, migration.name, migration.checksum],
            )
            _log.info("migration_applied", number=migration.number, name=migration.name)


def _bring_tables(connection: Connection[Any], tables: Sequence[Table]) -> None:
    stored = {table.qualified_name: read_table(connection, table) for table in tables}
    problems = [
        problem
        for table in tables
        if (found := stored[table.qualified_name]) is not None
        for problem in find_drift(table, found)
    ]
    if problems:
        msg = (
            f"The database differs from its declaration: {'; '.join(problems)}. "
            "Write a migration into warehouse/migrations that brings it there, or correct market/tables.py."
        )
        raise SchemaDriftError(msg)
    for table in tables:
        found = stored[table.qualified_name]
        if found is None:
            connection.execute(ddl.create_table(table))
            _log.info("table_created", table=table.qualified_name)
        else:
            known = {column.name for column in found.columns}
            for column in table.columns:
                if column.name not in known:
                    connection.execute(ddl.add_column(table, column))
                    _log.info("column_added", table=table.qualified_name, column=column.name)
        for statement in (*ddl.create_indexes(table), *ddl.comment_statements(table)):
            connection.execute(statement)


def _load_sessions(connection: Connection[Any]) -> None:
    """Make ``lake.sessions`` equal to the calendar, touching only the rows that differ."""
    names = PG_SESSIONS.column_names
    columns, values = ddl.quote_names(names), ddl.quote_names(names[1:])
    connection.execute("create temporary table calendar (like lake.sessions) on commit drop")
    with connection.cursor().copy(f"copy calendar ({columns}) from stdin") as copy:
        for session in all_sessions():
            copy.write_row([getattr(session, name) for name in names])
    connection.execute("delete from lake.sessions where session_date not in (select session_date from calendar)")
    connection.execute(
        f"insert into lake.sessions as stored ({columns}) select {columns} from calendar "  # noqa: S608 - declared names
        f"on conflict (session_date) do update set ({values}) = "
        f"row ({', '.join(f'excluded.{ddl.quote_name(name)}' for name in names[1:])}) "
        f"where ({', '.join(f'stored.{ddl.quote_name(name)}' for name in names[1:])}) is distinct from "
        f"({', '.join(f'excluded.{ddl.quote_name(name)}' for name in names[1:])})"
    )


def _forget_old_batches(connection: Connection[Any]) -> None:
    """Delete the batches past their retention, but never the newest of a query: it tells a repeated batch."""
    connection.execute(
        "delete from lake.stream_batches as b where b.published_at < now() - make_interval(days => %s) and b.batch_id < "
        "(select max(n.batch_id) from lake.stream_batches as n where n.query_id = b.query_id)",
        [PG_STREAM_BATCHES.retention_days],
    )
