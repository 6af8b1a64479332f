"""Builds that look at what is queued alone: they leave what a full refresh leaves, whatever happens meanwhile."""

import random
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest

from market.settings import CHECKOUT, Settings
from orchestration.assets.marts import TAKE_THE_LAKE_UP
from orchestration.progress import are_built
from tests.integration.dbt_runs import Dbt
from tests.integration.indicator_rows import INTRADAY, differences, fill, some_moment, walk
from tests.integration.mart_oracle import Row, expected_marts, read, session_of
from tests.integration.mart_rows import (
    BAR_COLUMNS,
    DAYS,
    SOURCES,
    SYMBOLS,
    change_something,
    in_order,
    put_bar,
    put_vendor_bar,
    put_vendor_bars,
)
from tests.integration.test_indicator_builds import wait_until
from tests.integration.test_origins_proof import breaks
from warehouse.connection import connect
from warehouse.dbt import dbt_environment

pytestmark = pytest.mark.integration

MARTS: Final = (
    "run",
    "--select",
    *("intraday_ohlcv", "intraday_analytics", "int_daily_bars", "historical_ohlcv", "daily_analytics"),
)
TOUCHED: Final = {"PGOPTIONS": "-c tapehouse.look=touched"}
OHLCV: Final = "select * from marts.intraday_ohlcv order by symbol, interval, bar_at"
DAILY: Final = "select * from marts.historical_ohlcv order by symbol, session_date"
DAILY_INDICATORS: Final = "select * from marts.daily_analytics order by symbol, session_date"
QUERIES: Final = (OHLCV, INTRADAY, DAILY, DAILY_INDICATORS)
WRITTEN: Final = "select interval, bar_at, xmin::text from marts.intraday_ohlcv order by interval, bar_at"


def build_apart(settings: Settings, name: str, *arguments: str, look: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a build in a process of its own, which no lock of ours holds back."""
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", *arguments]
    target = ["--target-path", str(settings.home / "apart" / name)]
    return subprocess.Popen([*command, *target], cwd=CHECKOUT, env={"PATH": "", **dbt_environment(settings), **look})


def shown(connection: psycopg.Connection[Any]) -> list[list[Row]]:
    return [read(connection, query) for query in QUERIES]


def assert_as_expected(connection: psycopg.Connection[Any], where: str) -> None:
    intraday, historical = expected_marts(connection)
    assert in_order(read(connection, OHLCV), BAR_COLUMNS) == in_order(intraday, BAR_COLUMNS), where
    assert in_order(read(connection, DAILY), BAR_COLUMNS) == in_order(historical, BAR_COLUMNS), where


def assert_as_a_full_refresh(connection: psycopg.Connection[Any], dbt: Dbt, where: str = "") -> None:
    found = shown(connection)
    dbt("run", "--full-refresh", "--select", "intraday_ohlcv+", "int_daily_bars+")  # the views on them go with them
    for expected, rows in zip(shown(connection), found, strict=True):
        assert differences(expected, rows) == [], where


@pytest.mark.usefixtures("dbt")
def test_what_builds_of_the_queue_wait_for_is_there_once_all_was_built(settings: Settings) -> None:
    """With the variables that the project has: of the models that can look at the queue some are disabled."""
    assert are_built(settings, sorted(TAKE_THE_LAKE_UP))
    assert not are_built(settings, [*TAKE_THE_LAKE_UP, "daily_analytics_raw"])


@pytest.fixture
def minutes(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    """Most minutes of three sessions of two symbols, in all marts."""
    chance = random.Random(2)
    for symbol in SYMBOLS:
        fill(connection, chance, symbol, 0.8)
    dbt(*MARTS)


def test_touched_sessions_alone_leave_what_an_independent_computation_gives(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    dbt(*MARTS)
    for step in range(12):
        for _ in range(chance.randrange(1, 6)):
            change_something(connection, chance)
        dbt(*MARTS, touched=True)
        assert_as_expected(connection, f"seed {seed}, step {step}")
    before = read(connection, "select array_agg(xmin::text) from marts.intraday_ohlcv")
    dbt(*MARTS)
    assert read(connection, "select array_agg(xmin::text) from marts.intraday_ohlcv") == before, "all was there"
    assert_as_a_full_refresh(connection, dbt, f"seed {seed}")


def test_what_touched_sessions_leave_is_what_verify_makes_of_the_lake(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    dbt("run")
    for step in range(5):
        for _ in range(chance.randrange(1, 4)):
            change_something(connection, chance)
        dbt(*MARTS, touched=True)
        wrong = [offence for offence in breaks(settings) if "reconciliation" not in offence["problem"]]
        assert wrong == [], f"seed {seed}, step {step}"


@pytest.mark.usefixtures("minutes")
def test_single_minutes_that_come_are_revised_or_go_leave_what_a_full_refresh_gives(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    for step in range(12):
        for _ in range(chance.randrange(1, 4)):
            symbol, source, at = chance.choice(SYMBOLS), chance.choice(("lean",) * 8 + SOURCES), some_moment(chance)
            kind = chance.randrange(5)
            if kind == 0:
                connection.execute("delete from lake.bars_1m where symbol = %s and bar_at = %s", [symbol, at])
            elif kind == 1:
                put_bar(connection, source, symbol, at, None, volume=0, revision=chance.randrange(2, 99))
            elif kind == 2 and chance.random() < 0.3:
                put_vendor_bars(connection, chance, "yahoo", symbol, chance.choice(DAYS))
            else:
                put_bar(connection, source, symbol, at, walk(chance, 100.0), revision=chance.randrange(2, 99))
        dbt(*MARTS, touched=True)
        assert_as_expected(connection, f"seed {seed}, step {step}")
    assert_as_a_full_refresh(connection, dbt, f"seed {seed}")


@pytest.mark.usefixtures("minutes")
def test_a_new_minute_has_only_the_bars_written_that_it_lies_in(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    last = session_of(DAYS[-1])
    put_bar(connection, "lean", "IBM", last.close_at - timedelta(minutes=2), (Decimal(7),) * 4, revision=9)
    before = {tuple(row.values()) for row in read(connection, WRITTEN)}
    dbt(*MARTS, touched=True)
    written = {tuple(row.values()) for row in read(connection, WRITTEN)} - before
    assert {(interval, bar_at) for interval, bar_at, _ in written} <= {
        ("1m", last.close_at - timedelta(minutes=2)),
        ("1m", last.close_at - timedelta(minutes=1)),
        ("5m", last.close_at - timedelta(minutes=5)),
        ("15m", last.close_at - timedelta(minutes=15)),
        ("1h", last.close_at - timedelta(minutes=30)),
    }
    assert len(written) >= 4


@pytest.mark.usefixtures("minutes")
def test_nothing_new_writes_no_row(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    tables = ("marts.intraday_ohlcv", "marts.intraday_analytics", "marts.historical_ohlcv", "marts.daily_analytics")
    before = [read(connection, f"select array_agg(xmin::text) as rows from {table}") for table in tables]
    assert all(rows[0]["rows"] for rows in before)
    dbt(*MARTS, touched=True)
    assert [read(connection, f"select array_agg(xmin::text) as rows from {table}") for table in tables] == before


@pytest.mark.usefixtures("minutes")
def test_a_session_turns_final_when_another_symbols_bar_passes_its_end(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    connection.execute("delete from lake.bars_1m where bar_at >= %s", [session_of(DAYS[-1]).close_at])
    dbt(*MARTS, touched=True)
    final = "select bool_or(is_final) as is_final from marts.{} where symbol = 'IBM' and session_date = '{}'".format
    assert read(connection, final("intraday_ohlcv", DAYS[-1])) == [{"is_final": False}]
    put_bar(connection, "lean", "SPY", session_of(DAYS[-1]).close_at, (Decimal(7),) * 4)
    dbt(*MARTS, touched=True)
    for mart in ("intraday_ohlcv", "historical_ohlcv", "intraday_analytics", "daily_analytics"):
        assert read(connection, final(mart, DAYS[-1])) == [{"is_final": True}], mart
    assert_as_a_full_refresh(connection, dbt)


def test_made_up_sessions_go_with_the_first_real_bar_of_their_symbol_and_come_back_with_its_end(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    for day in DAYS:
        put_bar(connection, "simulated", "IBM", session_of(day).open_at, (Decimal(2),) * 4)
    dbt(*MARTS)
    put_bar(connection, "lean", "IBM", session_of(DAYS[2]).open_at, (Decimal(3),) * 4)
    dbt(*MARTS, touched=True)
    assert_as_expected(connection, "a real bar")
    assert {row["session_date"] for row in read(connection, OHLCV)} == {DAYS[2]}
    connection.execute("delete from lake.bars_1m where source = 'lean'")
    dbt(*MARTS, touched=True)
    assert_as_expected(connection, "none any more")
    put_vendor_bar(connection, "yahoo", "IBM", DAYS[0], Decimal(5))
    dbt(*MARTS, touched=True)
    assert_as_expected(connection, "a real day")
    put_vendor_bar(connection, "yahoo", "IBM", DAYS[1], Decimal(5), interval="5m", bar_at=session_of(DAYS[1]).open_at)
    dbt(*MARTS, touched=True)
    assert_as_expected(connection, "a real shorter bar")


@pytest.mark.usefixtures("minutes")
def test_a_lake_that_was_emptied_is_looked_at_whole(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    connection.execute("truncate lake.bars_1m")
    at = session_of(DAYS[1]).open_at + timedelta(minutes=90)
    put_bar(connection, "lean", "IBM", at, (Decimal(7),) * 4)
    dbt(*MARTS, touched=True)
    assert_as_expected(connection, "emptied")
    assert len(read(connection, OHLCV)) == 4


@pytest.mark.usefixtures("minutes")
def test_a_writer_does_not_wait_for_a_build_and_what_it_writes_meanwhile_comes_with_the_next(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    first, second = (session_of(DAYS[1]).open_at + timedelta(minutes=minute) for minute in (10, 3))
    put_bar(connection, "lean", "IBM", first, (Decimal(7),) * 4, revision=9)
    with ThreadPoolExecutor(max_workers=1) as pool, connect(settings) as other:
        other.execute("lock table marts.intraday_ohlcv in share mode")  # holds the build after it took the session
        build = pool.submit(dbt, *MARTS, touched=True)
        waiting = "select pid from pg_locks where not granted and relation = 'marts.intraday_ohlcv'::regclass"
        wait_until(lambda: read(connection, waiting))
        connection.execute("set lock_timeout = '5s'")
        began = time.monotonic()
        put_bar(connection, "lean", "IBM", second, (Decimal(8),) * 4, revision=9)
        put_bar(connection, "lean", "IBM", first, (Decimal(9),) * 4, revision=10)
        assert time.monotonic() - began < 2
        other.rollback()
        build.result(timeout=120)
    dbt(*MARTS, touched=True)
    assert_as_expected(connection, "both")
    assert_as_a_full_refresh(connection, dbt)


@pytest.mark.usefixtures("minutes")
def test_a_writer_that_found_its_session_queued_is_waited_for(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    """It wrote no row of its own into the queue: the build that takes the other's has to see what it wrote."""
    at = session_of(DAYS[1]).open_at
    put_bar(connection, "lean", "IBM", at, (Decimal(7),) * 4, revision=9)
    with ThreadPoolExecutor(max_workers=1) as pool, connect(settings) as writer:
        put_bar(writer, "lean", "IBM", at + timedelta(minutes=3), (Decimal(8),) * 4, revision=9)
        queued = read(connection, "select count(*) from staging.pending_sessions where mart = 'intraday_ohlcv'")
        build = pool.submit(dbt, *MARTS, touched=True)
        wait_until(
            lambda: read(
                connection, "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%taken%'"
            )
        )
        writer.commit()
        build.result(timeout=120)
    assert queued == [{"count": 1}]
    assert_as_expected(connection, "both")


@pytest.mark.usefixtures("minutes")
@pytest.mark.parametrize("held", ["staging.built_offsets", "marts.intraday_ohlcv"])
def test_a_build_says_of_no_message_that_it_has_read_what_it_has_not(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt, held: str
) -> None:
    first, second = (session_of(DAYS[1]).open_at + timedelta(minutes=minute) for minute in (10, 3))
    has_second = f"select true from marts.intraday_ohlcv where interval = '1m' and bar_at = '{second}' and close = 8"
    offsets = "select next_offset from staging.built_offsets where mart = 'intraday_ohlcv'"
    put_bar(connection, "lean", "IBM", first, (Decimal(7),) * 4, revision=9)
    connection.execute("truncate lake.stream_offsets")
    connection.execute("insert into lake.stream_offsets values ('t', 0, 5)")
    with ThreadPoolExecutor(max_workers=1) as pool, connect(settings) as other:
        other.execute(f"lock table {held} in share mode".encode())
        build = pool.submit(dbt, *MARTS, touched=True)
        waiting = f"select pid from pg_locks where not granted and relation = '{held}'::regclass"
        wait_until(lambda: read(connection, waiting))
        with connection.transaction():  # as the stream publishes
            put_bar(connection, "lean", "IBM", second, (Decimal(8),) * 4, revision=9)
            connection.execute("update lake.stream_offsets set next_offset = 6")
        other.rollback()
        build.result(timeout=120)
    ((built,),) = (row.values() for row in read(connection, offsets))
    assert built == 5 or read(connection, has_second)
    dbt(*MARTS, touched=True)
    assert read(connection, has_second)
    assert read(connection, f"{offsets} or mart = 'intraday_analytics'") == [{"next_offset": 6}] * 2
    connection.execute("truncate lake.stream_offsets")
    dbt(*MARTS, touched=True)
    assert read(connection, "select from staging.built_offsets") == []


@pytest.mark.usefixtures("minutes")
def test_a_build_of_touched_sessions_that_is_killed_loses_nothing(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    before = shown(connection)
    put_bar(connection, "lean", "IBM", session_of(DAYS[1]).open_at, (Decimal(7),) * 4, revision=9)
    for model, query in (("intraday_ohlcv", OHLCV), ("intraday_analytics", INTRADAY)):
        waiting = f"select pid from pg_locks where not granted and relation = 'marts.{model}'::regclass"
        with connect(settings) as other:
            other.execute(f"lock table marts.{model} in share mode".encode())
            build = build_apart(settings, model, "run", "--select", model, look=TOUCHED)
            wait_until(lambda: read(connection, waiting))  # noqa: B023 - it is over within the round
            build.kill()
            build.wait(timeout=30)
            connection.execute(f"select pg_terminate_backend(pid) from ({waiting}) as held".encode())
        assert read(connection, query) == before[QUERIES.index(query)]
        dbt("run", "--select", model, touched=True)
    dbt(*MARTS, touched=True)
    assert shown(connection) != before
    assert_as_a_full_refresh(connection, dbt)


@pytest.mark.usefixtures("minutes")
def test_two_builds_of_touched_sessions_at_once_leave_the_marts_right(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    put_bar(connection, "lean", "IBM", session_of(DAYS[1]).open_at, (Decimal(7),) * 4, revision=9)
    looks: tuple[Mapping[str, str], ...] = (TOUCHED, {})  # one of them at everything
    builds = [build_apart(settings, str(number), *MARTS, look=look) for number, look in enumerate(looks)]
    assert [build.wait(timeout=180) for build in builds] == [0, 0], "each waits for its turn"
    assert_as_expected(connection, "both")
    assert_as_a_full_refresh(connection, dbt)


@pytest.mark.usefixtures("minutes")
def test_what_is_queued_does_not_grow_while_nothing_is_built(connection: psycopg.Connection[Any]) -> None:
    rows = "select mart, symbol, session_date, from_at from staging.pending_sessions order by 1, 2, 3, 4"
    at = session_of(DAYS[1]).open_at
    connection.execute("truncate staging.pending_sessions")
    for revision in range(10, 30):
        put_bar(connection, "lean", "IBM", at + timedelta(minutes=revision), (Decimal(7),) * 4, revision=revision)
    assert [tuple(row.values()) for row in read(connection, rows)] == [
        ("int_daily_bars", "IBM", DAYS[1], None),
        ("intraday_ohlcv", "IBM", DAYS[1], at + timedelta(minutes=10)),
    ]
