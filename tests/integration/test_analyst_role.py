"""The role analyst on a real server: it reads every mart, those to come included, and can do nothing else."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from market.settings import Settings
from tests.integration.action_rows import Lake
from tests.integration.dbt_runs import Dbt, dbt_runs
from warehouse.analyst import admit_analyst, look_at_analyst
from warehouse.connection import login_refusal
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

PASSWORD = "a word of the analyst"
OTHER_SCHEMAS = ("lake", "staging", "app", "dagster")
RELATIONS = (
    "select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
    "where n.nspname = %s and c.relkind in ('r', 'v', 'm') order by c.relname"
)
WRITES = (
    "delete from marts.historical_ohlcv",
    "update marts.historical_ohlcv set close = 1",
    "insert into marts.historical_ohlcv select * from marts.historical_ohlcv",
    "truncate marts.intraday_ohlcv",
    "drop view marts.realtime_prices",
    "comment on table marts.intraday_ohlcv is 'mine'",
    "create table marts.mine (x integer)",
    "create table public.mine (x integer)",
    "create temporary table mine (x integer)",
    "create schema mine",
    "create function marts.mine() returns integer language sql return 1",
    "create role mine",
    "alter role analyst createrole",
    "select lo_create(0)",
    "select lo_from_bytea(0, 'x')",
    "select nextval('lake.bar_change_number')",
    "select pg_advisory_lock(hashtext('marts.daily_analytics'))",
    "select pg_try_advisory_xact_lock(1, 2)",
    "select pg_logical_emit_message(false, 'mine', repeat('x', 1000))",
    "select pg_logical_emit_message(true, 'mine', 'x'::bytea)",
    "do $$ begin lock table marts.historical_ohlcv in exclusive mode; end $$",
    "copy (select 1) to program 'true'",
    "select pg_read_file('/etc/passwd')",
    "alter system set work_mem = '1GB'",
)


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with dbt_runs(settings) as run:
        yield run


@pytest.fixture(scope="module")
def admitted(settings: Settings, dbt: Dbt) -> Settings:
    """A database that had marts before it had the role: three days of AAPL, with a split before the last."""
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        lake = Lake(connection)
        lake.closes("AAPL", 0, "70", "70", "10")
        lake.split("AAPL", 2, "7")
    dbt("run")
    dbt("snapshot")
    assert admit_analyst(settings, lambda: PASSWORD, owns_server=True).is_well
    return settings


def as_role(settings: Settings, role: str, password: str, database: str | None = None) -> psycopg.Connection[Any]:
    parts = urlsplit(settings.require_database())
    url = parts._replace(netloc=f"{role}:{password.replace(' ', '%20')}@{parts.hostname}:{parts.port}")
    return psycopg.connect(urlunsplit(url._replace(path=f"/{database}") if database else url), autocommit=True)


@pytest.fixture
def owner(admitted: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(admitted.require_database(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def analyst(admitted: Settings) -> Iterator[psycopg.Connection[Any]]:
    with as_role(admitted, "analyst", PASSWORD) as connection:
        yield connection


def relations(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    return [name for (name,) in connection.execute(RELATIONS, [schema])]


def assert_it_reads_all(analyst: psycopg.Connection[Any], owner: psycopg.Connection[Any]) -> None:
    names = relations(owner, "marts")
    assert {"realtime_prices", "intraday_ohlcv", "historical_ohlcv", "market_breadth", "dim_instrument"} <= set(names)
    for name in names:
        analyst.execute(SQL("select * from marts.{} limit 1").format(Identifier(name)))
        analyst.execute(SQL("select * from {} limit 1").format(Identifier(name)))  # without the schema, too


def test_it_reads_every_mart_also_after_dbt_made_them_anew(
    analyst: psycopg.Connection[Any], owner: psycopg.Connection[Any], dbt: Dbt
) -> None:
    assert_it_reads_all(analyst, owner)
    dbt("run", "--full-refresh")
    assert_it_reads_all(analyst, owner)
    owner.execute("drop view marts.realtime_prices, marts.bar_gaps")
    owner.execute("drop table marts.bar_reconciliation cascade")  # with the view that stands on it
    dbt("run")
    assert_it_reads_all(analyst, owner)


def test_every_mart_column_and_function_says_in_the_database_what_it_is(owner: psycopg.Connection[Any]) -> None:
    silent = owner.execute(
        "select c.relname, a.attname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
        "where n.nspname = 'marts' and c.relkind in ('r', 'v', 'm') and coalesce(col_description(c.oid, a.attnum), '') = '' "
        "union all select c.relname, null from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname = 'marts' and c.relkind in ('r', 'v', 'm') and coalesce(obj_description(c.oid, 'pg_class'), '') = '' "
        "union all select p.proname, null from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace "
        "where n.nspname = 'marts' and coalesce(obj_description(p.oid, 'pg_proc'), '') = ''"
    ).fetchall()
    assert silent == []


def test_no_two_rows_of_a_mart_that_is_a_table_share_its_key(owner: psycopg.Connection[Any]) -> None:
    """A unique index, which BI tools and joins can rely on."""
    keyless = owner.execute(
        "select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname = 'marts' and c.relkind = 'r' "
        "and not exists (select from pg_index as i where i.indrelid = c.oid and i.indisunique and i.indpred is null)"
    ).fetchall()
    assert keyless == []


def test_a_session_at_one_length_has_an_index_and_the_narrow_one_of_before_goes(
    owner: psycopg.Connection[Any], dbt: Dbt
) -> None:
    def indexes() -> list[str]:
        query = "select indexdef from pg_indexes where schemaname = 'marts' and tablename = 'intraday_ohlcv' order by indexdef"
        return [definition.partition(" USING btree ")[2] for (definition,) in owner.execute(query)]

    assert sorted(indexes()) == ['(symbol, "interval", bar_at)', '(symbol, session_date, "interval")']
    owner.execute("drop index marts.intraday_ohlcv_session")
    owner.execute("create index on marts.intraday_ohlcv (symbol, session_date)")
    dbt("run", "--select", "intraday_ohlcv")
    assert sorted(indexes()) == ['(symbol, "interval", bar_at)', '(symbol, session_date, "interval")']


def test_it_calls_every_function_of_the_marts_and_gets_what_the_owner_gets(
    analyst: psycopg.Connection[Any], owner: psycopg.Connection[Any]
) -> None:
    (names,) = owner.execute(
        "select array_agg(p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' order by p.proname) "
        "from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname = 'marts'"
    ).fetchone() or (None,)
    assert sorted(names or []) == [
        "historical_ohlcv_as_known(day date)",
        "historical_ohlcv_as_known(day date, symbols text[])",
        "rolling_correlation(symbol text, other_symbol text, sessions integer)",
    ], "call the new function here, too"
    pair = b"select session_date, sessions_used from marts.rolling_correlation('AAPL', 'aapl', 2)"
    assert [used for _, used in analyst.execute(pair)] == [1, 2]
    assert analyst.execute(pair).fetchall() == owner.execute(pair).fetchall()
    for day, closes in (("2013-10-08", ["70", "70"]), ("2013-10-09", ["10", "10", "10"])):
        question = f"select * from marts.historical_ohlcv_as_known('{day}') order by bar_at"
        of_symbols = question.replace("')", "', (select array_agg(distinct symbol) from marts.historical_ohlcv))")
        assert analyst.execute(of_symbols.encode()).fetchall() == owner.execute(question.encode()).fetchall()
        assert analyst.execute(question.encode()).fetchall() == owner.execute(question.encode()).fetchall()
        adjusted = f"select split_adjusted_close from marts.historical_ohlcv_as_known('{day}') order by bar_at"
        assert [close for (close,) in analyst.execute(adjusted.encode())] == [Decimal(close) for close in closes]


def test_a_search_path_of_the_callers_changes_nothing_of_the_function(analyst: psycopg.Connection[Any]) -> None:
    analyst.execute("set search_path = pg_temp, public")
    (days,) = analyst.execute("select count(*) from marts.historical_ohlcv_as_known('2013-10-08')").fetchone() or (0,)
    assert days == 2


@pytest.mark.parametrize("schema", OTHER_SCHEMAS)
def test_it_sees_nothing_of_the_other_schemas(
    schema: str, analyst: psycopg.Connection[Any], owner: psycopg.Connection[Any]
) -> None:
    for name in relations(owner, schema) or ["runs"]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute(SQL("select from {} limit 1").format(Identifier(schema, name)))
    seen = analyst.execute("select distinct table_schema from information_schema.tables").fetchall()
    assert {name for (name,) in seen} <= {"marts", "pg_catalog", "information_schema"}


@pytest.mark.parametrize("statement", WRITES)
def test_it_cannot_write_even_where_it_asks_for_transactions_that_may(
    statement: str, analyst: psycopg.Connection[Any]
) -> None:
    with pytest.raises((psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)):
        analyst.execute(statement.encode())
    analyst.execute("set default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute(statement.encode())


def test_its_transactions_are_read_only_and_its_questions_end(analyst: psycopg.Connection[Any]) -> None:
    shown = [
        analyst.execute(f"show {name}".encode()).fetchone() for name in ("transaction_read_only", "statement_timeout")
    ]
    assert shown == [("on",), ("1min",)]
    analyst.execute("set statement_timeout = '50ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        analyst.execute("select pg_sleep(5)")


def test_it_cannot_enter_another_database(admitted: Settings) -> None:
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            as_role(admitted, "analyst", PASSWORD, database)


def test_repeating_it_changes_nothing_but_a_lost_password(admitted: Settings) -> None:
    assert admit_analyst(admitted, lambda: "another", owns_server=True).is_well
    with as_role(admitted, "analyst", "another"):
        pass
    assert admit_analyst(admitted, lambda: PASSWORD, owns_server=True).is_well


def test_what_somebody_gave_it_beyond_the_marts_is_found(admitted: Settings, owner: psycopg.Connection[Any]) -> None:
    own = f"alter role analyst in database {owner.info.dbname}"
    given = {
        f"{own} set statement_timeout = 0": "its questions have no time limit",
        f"{own} set search_path = 'public, marts'": "its sessions find other tables",
        "grant usage on schema lake to analyst": "it may use the schema lake",
        "grant update on marts.historical_ohlcv to analyst": "it may write marts.historical_ohlcv",
        "grant pg_read_all_data to analyst": "the role has the rights of pg_read_all_data",
        "alter role analyst createdb": "the role is a superuser",
        "revoke select on marts.bar_gaps from analyst": "it may not read marts.bar_gaps",
    }
    taken = (
        "revoke usage on schema lake from analyst; revoke update on marts.historical_ohlcv from analyst; "
        "revoke pg_read_all_data from analyst; alter role analyst nocreatedb; grant select on marts.bar_gaps to analyst; "
        f"{own} set statement_timeout = '60s'; {own} set search_path = 'marts'"
    )
    for statement, said in given.items():
        owner.execute(statement.encode())
        standing = look_at_analyst(admitted)
        assert any(text.startswith(said) for text in standing.shortcomings), (statement, standing.shortcomings)
        assert standing.remedy
        owner.execute(taken.encode())
    assert look_at_analyst(admitted).is_well


@pytest.fixture
def own_server(postgres: str, admitted: Settings) -> Iterator[Settings]:
    """Settings of a user who owns a database and may not make roles, on a server with a role analyst of somebody else's."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("alter role analyst rename to analyst_aside")
        connection.execute("create role platform login password 'x'")
        connection.execute("create database firm owner platform")
    url = urlsplit(postgres)
    settings = admitted.model_copy(
        update={"database_url": SecretStr(f"postgresql://platform:x@{url.hostname}:{url.port}/firm")}
    )
    migrate(settings)
    yield settings
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("drop database firm with (force)")
        connection.execute("drop role if exists platform, analyst")
        connection.execute("alter role analyst_aside rename to analyst")


def no_password() -> str:
    pytest.fail("a role that is not made here needs no password")


def test_where_it_may_not_be_made_the_statements_are_said_that_a_superuser_may_run(
    own_server: Settings, postgres: str
) -> None:
    standing = admit_analyst(own_server, lambda: PASSWORD, owns_server=False)
    assert not standing.exists
    assert not standing.is_well
    with psycopg.connect(urlunsplit(urlsplit(postgres)._replace(path="/firm")), autocommit=True) as superuser:
        for statement in standing.remedy:
            superuser.execute(statement.encode())
    assert look_at_analyst(own_server).is_well
    with psycopg.connect(own_server.require_database(), autocommit=True) as connection:
        connection.execute("create table marts.later as select 1 as one")
    assert admit_analyst(own_server, no_password, owns_server=False).is_well
    with as_role(own_server, "analyst", "choose a long one") as connection:
        assert connection.execute("select * from later").fetchall() == [(1,)]


def test_a_role_of_that_name_that_is_not_ours_gets_nothing(own_server: Settings, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as superuser:
        superuser.execute("create role analyst login password 'theirs'")
    standing = admit_analyst(own_server, no_password, owns_server=False)
    assert not standing.exists
    with as_role(own_server, "analyst", "theirs") as connection:
        (may,) = connection.execute("select has_schema_privilege('marts', 'usage')").fetchone() or (None,)
    assert may is False


def test_where_the_user_may_make_roles_it_is_made_and_other_roles_keep_what_they_have(
    own_server: Settings, postgres: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as superuser:
        superuser.execute("alter role platform createrole")
    standing = admit_analyst(own_server, lambda: PASSWORD, owns_server=False)
    assert standing.exists
    assert standing.shortcomings == ("it may make temporary tables",)  # everybody may there: for its owner to decide
    with as_role(own_server, "analyst", PASSWORD) as connection:
        assert connection.execute("show default_transaction_read_only").fetchone() == ("on",)
    with psycopg.connect(postgres, autocommit=True) as superuser:
        superuser.execute("drop owned by analyst")
        superuser.execute("alter role platform nocreaterole")


def test_a_password_and_defaults_that_the_role_changed_are_noticed_and_mended_by_the_next_start(
    admitted: Settings, analyst: psycopg.Connection[Any]
) -> None:
    assert login_refusal(admitted, "analyst", PASSWORD) is None
    analyst.execute("set default_transaction_read_only = off")
    analyst.execute("alter role analyst password 'zzz'")
    analyst.execute(
        SQL("alter role analyst in database {} set search_path = app").format(Identifier(analyst.info.dbname))
    )
    refusal = login_refusal(admitted, "analyst", PASSWORD)
    assert refusal is not None
    assert "password authentication failed" in refusal
    assert PASSWORD not in refusal
    assert look_at_analyst(admitted).shortcomings == ("its sessions find other tables than those of marts first",)
    assert admit_analyst(admitted, lambda: PASSWORD, owns_server=True).is_well
    assert login_refusal(admitted, "analyst", PASSWORD) is None
