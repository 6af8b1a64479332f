"""The database is brought to the declared state, and drift is refused with nothing changed."""

import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from market.errors import SchemaDriftError
from market.settings import Settings
from market.tables import PG_BARS, PG_SESSIONS, PG_VENDOR_BARS, POSTGRES_TABLES, Column, DataType
from warehouse.connection import connect
from warehouse.schema import MIGRATIONS_FOLDER, migrate

pytestmark = pytest.mark.integration

APPLIED = [(int(path.stem.split("_")[0]),) for path in sorted(MIGRATIONS_FOLDER.glob("*.sql"))]


@pytest.fixture
def connection(settings_with_database: Settings) -> Iterator[psycopg.Connection[Any]]:
    migrate(settings_with_database)
    with connect(settings_with_database) as connection:
        connection.autocommit = True
        yield connection


def rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def test_two_processes_may_migrate_an_empty_database_at_once(settings_with_database: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrate, [settings_with_database] * 2))
    with connect(settings_with_database) as connection:
        assert rows(connection, "select number from app.schema_migrations order by number") == APPLIED


def test_tables_have_the_declared_columns_and_meanings(connection: psycopg.Connection[Any]) -> None:
    stored = rows(
        connection,
        "select table_schema || '.' || table_name, column_name, col_description((table_schema || '.' || table_name)::regclass, "
        "ordinal_position), is_nullable = 'YES' from information_schema.columns where table_schema = 'lake' "
        "order by 1, ordinal_position",
    )
    declared = [
        (table.qualified_name, column.name, column.description, column.nullable)
        for table in sorted(POSTGRES_TABLES, key=lambda table: table.qualified_name)
        for column in table.columns
    ]
    assert stored == declared
    schemas = {name for (name,) in rows(connection, "select nspname from pg_namespace")}
    assert schemas >= {"lake", "marts", "staging", "app", "dagster"}


def test_sessions_are_those_of_the_exchange(connection: psycopg.Connection[Any]) -> None:
    def utc(hour: int, minute: int = 0) -> datetime:
        return datetime(2013, 11, 29, hour, minute, tzinfo=UTC)

    assert rows(connection, "select * from lake.sessions where session_date between '2013-11-28' and '2013-11-30'") == [
        (date(2013, 11, 29), utc(9), utc(14, 30), utc(18), utc(22), True)
    ]


def test_a_wrong_stale_or_missing_session_is_mended_and_the_others_left_alone(
    connection: psycopg.Connection[Any], settings_with_database: Settings
) -> None:
    before = rows(connection, "select * from lake.sessions order by 1")
    connection.execute(
        "update lake.sessions set close_at = close_at - interval '1 hour' where session_date = '2013-10-07'"
    )
    connection.execute("delete from lake.sessions where session_date = '2013-10-08'")
    connection.execute(
        "insert into lake.sessions select '2013-10-06', pre_open_at, open_at, close_at, post_close_at, false "
        "from lake.sessions where session_date = '2013-10-07'"
    )
    untouched = rows(connection, "select xmin, session_date from lake.sessions where session_date = '2013-10-09'")
    migrate(settings_with_database)
    assert rows(connection, "select * from lake.sessions order by 1") == before
    assert (
        rows(connection, "select xmin, session_date from lake.sessions where session_date = '2013-10-09'") == untouched
    )


def test_a_new_column_is_added_beside_the_rows(
    connection: psycopg.Connection[Any], settings_with_database: Settings
) -> None:
    note = Column("note", DataType.TEXT, "A new field.", nullable=True)
    table = replace(PG_SESSIONS, columns=(*PG_SESSIONS.columns, note))
    migrate(settings_with_database, tables=[table])
    assert rows(connection, "select count(*), count(note) from lake.sessions")[0][1] == 0
    connection.execute("alter table lake.sessions drop column note")
    migrate(settings_with_database)


def test_when_sessions_changed_is_worked_out_of_what_is_there(
    connection: psycopg.Connection[Any], settings_with_database: Settings
) -> None:
    connection.execute("truncate lake.bars_1m, lake.bar_sessions")
    connection.execute(
        f"insert into lake.bars_1m ({', '.join(PG_BARS.column_names)}) "
        "select 'lean', 'IBM', t, '2013-10-07', 'regular', 1, 1, 1, 1, 1, 1, 1, 1, 0, null, 0, 0, 1, t + interval '1 day' "
        "from generate_series('2013-10-07 14:00+00'::timestamptz, '2013-10-07 14:05+00', '1 minute') t"
    )
    connection.execute("alter table lake.bar_sessions drop column revised_at")
    connection.execute("delete from app.schema_migrations where number = 7")
    migrate(settings_with_database)
    assert rows(connection, "select revised_at from lake.bar_sessions") == [(datetime(2013, 10, 8, 14, 5, tzinfo=UTC),)]


def test_drift_is_refused_and_nothing_is_changed(
    connection: psycopg.Connection[Any], settings_with_database: Settings
) -> None:
    connection.execute("alter table lake.bars_1m alter column open type double precision")
    connection.execute("alter table lake.vendor_bars drop column revision")
    with pytest.raises(
        SchemaDriftError, match=r"lake\.bars_1m\.open is declared numeric\(18,6\), found double precision"
    ):
        migrate(settings_with_database)
    revisions = (
        "select column_name from information_schema.columns where column_name = 'revision' and table_schema = 'lake'"
    )
    assert rows(connection, revisions) == [("revision",)], (
        "of bars_1m alone: the transaction that would have added the other was rolled back"
    )
    connection.execute("alter table lake.bars_1m alter column open type numeric(18, 6)")
    migrate(settings_with_database)


def test_a_changed_or_missing_applied_migration_is_refused(
    connection: psycopg.Connection[Any], settings_with_database: Settings, tmp_path: Path
) -> None:
    assert rows(connection, "select number from app.schema_migrations order by number") == APPLIED
    with pytest.raises(
        SchemaDriftError, match="0001_create_schemas was applied to this database, but its file is missing"
    ):
        migrate(settings_with_database, migrations_folder=tmp_path)
    shutil.copytree(MIGRATIONS_FOLDER, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "0001_create_schemas.sql").open("a") as migration:
        migration.write("-- changed\n")
    with pytest.raises(SchemaDriftError, match="0001_create_schemas was changed after it was applied"):
        migrate(settings_with_database, migrations_folder=tmp_path)


def test_a_failing_migration_leaves_no_trace(
    connection: psycopg.Connection[Any], settings_with_database: Settings, tmp_path: Path
) -> None:
    shutil.copytree(MIGRATIONS_FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "9999_half.sql").write_text("create table app.half (n integer); select 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(settings_with_database, migrations_folder=tmp_path)
    assert rows(connection, "select to_regclass('app.half')::text") == [(None,)]


def test_bar_sessions_stay_true_whoever_changes_the_bars(connection: psycopg.Connection[Any]) -> None:
    seed = 7
    chance = random.Random(seed)
    columns = ", ".join(PG_BARS.column_names)
    seen: set[int] = set()
    for step in range(40):
        symbol, minute = chance.choice(["IBM", "SPY"]), chance.randrange(30)
        before = dict(rows(connection, "select (symbol, session_date)::text, change_number from lake.bar_sessions"))
        action = chance.choice(["insert", "insert", "update", "delete", "truncate" if step == 20 else "update"])
        if action == "insert":
            connection.execute(
                f"insert into lake.bars_1m ({columns}) select 'lean', %s, t, t::date, 'regular', "
                "1, 1, 1, 1, 1, 1, 1, 1, 0, null, 0, 0, 1, now() "
                "from generate_series(%s::timestamptz, %s::timestamptz, '1 minute') t "
                "on conflict (source, symbol, bar_at) do update set revision = bars_1m.revision + 1",
                [symbol, f"2013-10-07 23:{minute:02}+00", "2013-10-08 00:05+00"],
            )
        elif action == "update":
            connection.execute(
                "update lake.bars_1m set revision = revision + 1, revised_at = clock_timestamp() where symbol = %s",
                [symbol],
            )
        elif action == "delete":
            connection.execute("delete from lake.bars_1m where symbol = %s and bar_at::date = '2013-10-08'", [symbol])
        else:
            connection.execute("truncate lake.bars_1m")
        actual = rows(
            connection,
            "select source, symbol, session_date, count(*), max(bar_at), max(revised_at) from lake.bars_1m "
            "group by 1, 2, 3 order by 1, 2, 3",
        )
        noted = rows(
            connection,
            "select source, symbol, session_date, bar_count, newest_bar_at, revised_at from lake.bar_sessions "
            "where bar_count > 0 order by 1, 2, 3",
        )
        assert noted == actual, f"seed {seed}, step {step}, {action}"
        after = dict(rows(connection, "select (symbol, session_date)::text, change_number from lake.bar_sessions"))
        changed = {number for key, number in after.items() if before.get(key) != number}
        assert not changed & seen, "a change number came twice"
        seen |= changed


def test_vendor_bar_sessions_stay_true_whoever_changes_the_bars(connection: psycopg.Connection[Any]) -> None:
    seed = 11
    chance = random.Random(seed)
    columns = ", ".join(f'"{name}"' for name in PG_VENDOR_BARS.column_names)
    numbers = "select (symbol, interval, session_date)::text, change_number from lake.vendor_bar_sessions"
    seen: set[int] = set()
    for step in range(40):
        symbol, minute = chance.choice(["IBM", "SPY"]), chance.randrange(30)
        before = dict(rows(connection, numbers))
        action = chance.choice(["insert", "insert", "update", "delete", "truncate" if step == 20 else "update"])
        if action == "insert":
            connection.execute(
                f"insert into lake.vendor_bars ({columns}) select 'yahoo', %s, i, t, t::date, 1, 1, 1, 1, 1, 't', 0, 0, now(), 1 "
                "from generate_series(%s::timestamptz, %s::timestamptz, '1 minute') t, unnest(array['1d', '5m', '1m']) i "
                "on conflict (source, symbol, interval, bar_at) do update set revision = vendor_bars.revision + 1 "
                "where excluded.interval <> '5m'",
                [symbol, f"2013-10-07 23:{minute:02}+00", "2013-10-08 00:05+00"],
            )
        elif action == "update":
            connection.execute(
                "update lake.vendor_bars set revision = revision + 1, ingested_at = clock_timestamp() where symbol = %s",
                [symbol],
            )
        elif action == "delete":
            connection.execute(
                "delete from lake.vendor_bars where symbol = %s and session_date = '2013-10-08'", [symbol]
            )
        else:
            connection.execute("truncate lake.vendor_bars")
        actual = rows(
            connection,
            "select source, symbol, interval, session_date, count(*), max(ingested_at) from lake.vendor_bars "
            "where interval <> '1d' group by 1, 2, 3, 4 order by 1, 2, 3, 4",
        )
        noted = rows(
            connection,
            "select source, symbol, interval, session_date, bar_count, revised_at from lake.vendor_bar_sessions "
            "where bar_count > 0 order by 1, 2, 3, 4",
        )
        assert noted == actual, f"seed {seed}, step {step}, {action}"
        after = dict(rows(connection, numbers))
        changed = {number for key, number in after.items() if before.get(key) != number}
        assert not changed & seen, "a change number came twice"
        seen |= changed
    with pytest.raises(psycopg.errors.RaiseException, match="keeps its source"):
        connection.execute("update lake.vendor_bars set session_date = session_date + 1")


def test_vendor_bars_from_before_their_sessions_were_kept_are_counted(
    connection: psycopg.Connection[Any], settings_with_database: Settings
) -> None:
    columns = ", ".join(f'"{name}"' for name in PG_VENDOR_BARS.column_names)
    connection.execute("truncate lake.vendor_bars")
    connection.execute("truncate lake.vendor_bar_sessions")
    connection.execute("set session_replication_role = replica")
    connection.execute(
        f"insert into lake.vendor_bars ({columns}) select 'yahoo', 'IBM', '5m', t, t::date, 1, 1, 1, 1, 1, 't', 0, 0, now(), 1 "
        "from generate_series('2013-10-07 14:00+00'::timestamptz, '2013-10-07 14:20+00', '5 minutes') t"
    )
    connection.execute("reset session_replication_role")
    for _ in range(2):
        migrate(settings_with_database)
        noted = (
            "select source, symbol, interval, session_date, bar_count, revised_at is null from lake.vendor_bar_sessions"
        )
        assert rows(connection, noted) == [("yahoo", "IBM", "5m", date(2013, 10, 7), 5, False)]


def test_a_bar_cannot_be_moved_to_another_minute(connection: psycopg.Connection[Any]) -> None:
    connection.execute("truncate lake.bars_1m")
    connection.execute(
        f"insert into lake.bars_1m ({', '.join(PG_BARS.column_names)}) "
        "values ('lean', 'IBM', now(), now()::date, 'regular', 1, 1, 1, 1, 1, 1, 1, 1, 0, null, 0, 0, 1, now())"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="keeps its source"):
        connection.execute("update lake.bars_1m set bar_at = bar_at + interval '1 minute'")
