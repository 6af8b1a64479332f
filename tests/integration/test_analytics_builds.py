"""Builds of the tables of analytics: two at once, killed half-way, too early, and of a session that goes on."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from market.sessions import sessions_between
from market.settings import CHECKOUT, Settings
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.mart_oracle import Row, read, session_of
from tests.integration.mart_rows import emptied_lake, put_bar, put_vendor_bar
from warehouse.connection import connect
from warehouse.dbt import dbt_environment
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

DAYS = ("int_daily_bars", "historical_ohlcv", "daily_analytics")
BUILT = ("market_breadth", "int_robust_scores", "int_correlations")
VIEWS = ("int_finished_sessions", "int_daily_moves", "top_movers", "anomalies", "correlations")
"""They stand on the tables: a full refresh makes those anew, and these with them."""
RUN = ("run", "--select", *DAYS, *BUILT)
TABLES = (
    "select * from marts.market_breadth order by is_simulated, session_date",
    "select * from staging.int_robust_scores order by symbol, session_date",
    "select * from staging.int_correlations order by symbol, other_symbol",
)
SESSIONS = [session.session_date for session in sessions_between(date(2013, 1, 2), date(2013, 4, 30))]
SYMBOLS = ("IBM", "MSFT", "SPY")


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with dbt_runs(settings) as run:
        run("run")
        yield run


@pytest.fixture
def connection(settings: Settings, dbt: Dbt) -> Iterator[psycopg.Connection[Any]]:
    chance = random.Random(11)
    with emptied_lake(settings) as connection:
        for symbol in SYMBOLS:
            close = 100.0
            for session_date in SESSIONS:
                close *= 1 + chance.gauss(0, 0.01)
                put_vendor_bar(
                    connection,
                    "lean",
                    symbol,
                    session_date,
                    Decimal(f"{close:.6f}"),
                    volume=chance.randrange(1000, 9000),
                )
        dbt(*RUN)
        yield connection


def tables(connection: psycopg.Connection[Any]) -> list[list[Row]]:
    return [read(connection, query) for query in TABLES]


def revise_a_day(connection: psycopg.Connection[Any]) -> None:
    put_vendor_bar(connection, "lean", "IBM", SESSIONS[-10], Decimal(300), volume=77, revision=2)


def build_apart(settings: Settings) -> "subprocess.Popen[bytes]":
    """Start a build in a process of its own, which no lock of ours holds back."""
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "run", "--select", *BUILT]
    target = ["--target-path", str(settings.home / "apart" / str(time.monotonic_ns()))]
    return subprocess.Popen([*command, *target], cwd=CHECKOUT, env={"PATH": "", **dbt_environment(settings)})


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_as_a_full_refresh(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    found = tables(connection)
    assert all(found)
    dbt("run", "--full-refresh", "--select", *BUILT, *VIEWS)
    assert tables(connection) == found


def test_two_builds_at_once_leave_the_tables_right(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    before = tables(connection)
    revise_a_day(connection)
    dbt("run", "--select", *DAYS)
    builds = [build_apart(settings) for _ in range(2)]
    assert [build.wait(timeout=240) for build in builds] == [0, 0]
    assert all(found != past for found, past in zip(tables(connection), before, strict=True))
    assert_as_a_full_refresh(connection, dbt)


def test_a_build_that_is_killed_leaves_the_tables_as_they_were(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    before = tables(connection)
    revise_a_day(connection)
    dbt("run", "--select", *DAYS)
    waiting = "select pid from pg_locks where not granted and relation = 'staging.int_robust_scores'::regclass"
    with connect(settings) as other:
        other.execute("lock table staging.int_robust_scores in row exclusive mode")  # holds the build at its beginning
        build = build_apart(settings)
        wait_until(lambda: read(connection, waiting))
        build.kill()
        build.wait(timeout=30)
        connection.execute(f"select pg_terminate_backend(pid) from ({waiting}) as held".encode())
    assert tables(connection)[1] == before[1]
    dbt("run", "--select", *BUILT)
    assert tables(connection)[1] != before[1]
    assert_as_a_full_refresh(connection, dbt)


def test_breadth_waits_for_the_days_that_it_is_made_of(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    before = tables(connection)
    revise_a_day(connection)
    dbt("run", "--select", "int_daily_bars", "historical_ohlcv", "market_breadth")
    assert tables(connection)[0] == before[0]
    dbt(*RUN)
    assert tables(connection)[0] != before[0]
    assert_as_a_full_refresh(connection, dbt)


def test_a_session_that_goes_on_is_counted_but_neither_judged_nor_correlated_before_it_is_over(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    session = session_of(SESSIONS[-1] + timedelta(days=1))
    for symbol in SYMBOLS:
        put_bar(connection, "lean", symbol, session.open_at, (Decimal(50),) * 4)
    dbt(*RUN)
    breadth, scores, pairs = tables(connection)
    newest = breadth[-1]
    assert (newest["session_date"], newest["declining"], newest["is_final"]) == (session.session_date, 3, False)
    for rows in (scores, pairs):
        assert {row["session_date"] for row in rows} <= set(SESSIONS)
    assert {row["session_date"] for row in pairs} == {SESSIONS[-1]}
    put_bar(connection, "lean", "IBM", session.close_at + timedelta(minutes=1), (Decimal(50),) * 4)
    dbt(*RUN)
    breadth, scores, pairs = tables(connection)
    assert breadth[-1]["is_final"]
    assert {row["symbol"] for row in scores if row["session_date"] == session.session_date} == set(SYMBOLS)
    assert len({row["session_date"] for row in scores}) == 20
    assert {row["session_date"] for row in pairs} == {session.session_date}
    assert_as_a_full_refresh(connection, dbt)
