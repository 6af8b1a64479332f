"""Builds of the marts of indicators: two at once, killed half-way, and with other periods."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import talib

from market.errors import ModelsFailedError
from market.sessions import sessions_between
from market.settings import CHECKOUT, Settings
from orchestration.dbt import Dbt as DbtInDagster
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.indicator_oracle import column
from tests.integration.indicator_rows import INTRADAY, RUN, Day, differences, fill, put_days, walk
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import DAYS, put_bar
from verify.indicator_marts import indicator_marts
from verify.indicators import prove_mart
from verify.published import open_snapshot
from verify.results import Findings
from warehouse.connection import connect
from warehouse.dbt import dbt_environment, dbt_variables
from warehouse.dbt_indicators import copy_project
from warehouse.marts import Rebuild, forget_builds

pytestmark = pytest.mark.integration

MINUTES = "select * from marts.intraday_analytics where interval = '1m' order by bar_at"


def build_apart(settings: Settings) -> "subprocess.Popen[bytes]":
    """Start a build in a process of its own, which no lock of ours holds back."""
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "run", "--select", "intraday_analytics"]
    target = ["--target-path", str(settings.home / "apart" / str(time.monotonic_ns()))]
    return subprocess.Popen([*command, *target], cwd=CHECKOUT, env={"PATH": "", **dbt_environment(settings)})


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_as_a_full_refresh(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    found = read(connection, INTRADAY)
    assert found
    dbt("run", "--full-refresh", "--select", "intraday_analytics")
    assert differences(read(connection, INTRADAY), found) == []


def revise_the_first_bar(connection: psycopg.Connection[Any], chance: random.Random) -> None:
    put_bar(connection, "lean", "IBM", session_of(DAYS[0]).open_at, walk(chance, 90.0), revision=7)


def test_two_builds_at_once_leave_the_mart_right(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    chance = random.Random(3)
    fill(connection, chance, "IBM", 0.5)
    dbt(*RUN)
    revise_the_first_bar(connection, chance)
    dbt("run", "--select", "intraday_ohlcv")
    builds = [build_apart(settings) for _ in range(2)]
    assert 0 in [build.wait(timeout=120) for build in builds]  # the other finds nothing to do, or gives way
    dbt("run", "--select", "intraday_analytics")
    assert_as_a_full_refresh(connection, dbt)


def test_a_build_that_is_killed_leaves_the_mart_as_it_was(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    chance = random.Random(4)
    fill(connection, chance, "IBM", 0.5)
    dbt(*RUN)
    before = read(connection, INTRADAY)
    revise_the_first_bar(connection, chance)
    dbt("run", "--select", "intraday_ohlcv")
    waiting = "select pid from pg_locks where not granted and relation = 'marts.intraday_analytics'::regclass"
    with connect(settings) as other:
        other.execute("lock table marts.intraday_analytics in share mode")  # holds the build at its first change
        build = build_apart(settings)
        wait_until(lambda: read(connection, waiting))
        build.kill()
        build.wait(timeout=30)
        connection.execute(f"select pg_terminate_backend(pid) from ({waiting}) as held".encode())
    assert read(connection, INTRADAY) == before
    dbt("run", "--select", "intraday_analytics")
    assert read(connection, INTRADAY) != before
    assert_as_a_full_refresh(connection, dbt)


def test_sessions_that_are_forgotten_are_built_again(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    fill(connection, random.Random(5), "IBM", 0.3)
    dbt(*RUN)
    before = read(connection, INTRADAY)
    with connection.transaction():  # as what no trigger saw
        connection.execute("set local tapehouse.is_building = 'on'")
        connection.execute(f"update marts.intraday_analytics set ema_12 = 1 where session_date = '{DAYS[1]}'".encode())
    dbt(*RUN)
    assert read(connection, INTRADAY) != before
    forget_builds(settings, Rebuild(DAYS[1], DAYS[1], ("IBM",)))
    dbt(*RUN)
    assert differences(before, read(connection, INTRADAY)) == []


def test_periods_are_added_and_taken_away_by_configuration_alone(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt, tmp_path: Path
) -> None:
    fill(connection, random.Random(5), "IBM", 0.6)
    dbt(*RUN)
    chosen = {
        **dbt_variables()["indicators"],
        "rsi": [14, 7, 1],
        "sma": [20, 50],
        "ema": [1, 12],
        "atr": [1],
        "adx": [3, 1],
        "bollinger": [[20, 2], [10, 1.5]],
        "macd": [[12, 26, 9], [1, 2, 1]],
        "stochastic": [[14, 3, 3], [3, 160, 250]],  # the last is what is stable last
    }
    project = copy_project(chosen, tmp_path)
    with dbt_runs(settings, project) as run_with_other_periods:
        run_with_other_periods(*RUN)
    findings = Findings()
    with open_snapshot(settings) as snapshot:
        prove_mart(findings, snapshot, indicator_marts()[0], chosen)
    assert findings.result(3, "").offending == []
    rows = read(connection, MINUTES)
    close = column(rows, "close")
    bands = talib.BBANDS(close, 10, 1.5, 1.5)
    assert np.allclose(column(rows, "rsi_7"), talib.RSI(close, 7), rtol=1e-12, equal_nan=True)
    assert np.allclose(column(rows, "bb_upper_10_1_5"), bands[0], rtol=1e-12, equal_nan=True)
    assert "sma_200" not in rows[0]
    assert next(row["bar_number"] for row in rows if row["is_stable"]) == 411
    dbt(*RUN)
    rows = read(connection, MINUTES)
    assert "rsi_7" not in rows[0]
    assert np.allclose(column(rows, "sma_200"), talib.SMA(close, 200), rtol=1e-12, equal_nan=True)


MOVERS = ("int_daily_bars", "historical_ohlcv", "daily_analytics", "market_breadth", "top_movers")
CROSSED = "select share_above_average_50, symbols_50, symbols_200 from marts.market_breadth order by session_date desc limit 1"


def columns_of_days(connection: psycopg.Connection[Any]) -> set[str]:
    names = "select attname::text as name from pg_attribute where attrelid = 'marts.daily_analytics'::regclass"
    return {row["name"] for row in read(connection, f"{names} and attnum > 0 and not attisdropped")}


def put_a_year(connection: psycopg.Connection[Any]) -> None:
    chance, price = random.Random(6), 50.0
    days: list[Day] = []
    for session in sessions_between(date(2012, 10, 1), date(2013, 10, 11)):
        price *= 1 + chance.gauss(0.001, 0.01)
        days.append((session.session_date, *(f"{price + more:.2f}" for more in (0, 1, -1, 0.5)), 1_000 + len(days)))
    put_days(connection, "IBM", days)


def test_a_period_that_our_views_and_tests_know_is_taken_away_and_users_views_on_them_stay(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt, tmp_path: Path
) -> None:
    put_a_year(connection)
    dbt("run", "--select", *MOVERS)
    connection.execute("create view public.mine as select symbol, volume_ratio from marts.top_movers")
    assert None not in {row["volume_ratio"] for row in read(connection, "select volume_ratio from public.mine")}
    (before,) = read(connection, CROSSED)
    chosen = {**dbt_variables()["indicators"], "relative_volume": [30], "sma": [20, 200]}
    with dbt_runs(settings, copy_project(chosen, tmp_path)) as run_without:
        run_without("build", "--exclude-resource-type", "unit_test", "--select", *MOVERS)
        assert {"relative_volume_20", "sma_50"}.isdisjoint(columns_of_days(connection))
        assert "relative_volume_30" in columns_of_days(connection)
        assert {row["volume_ratio"] for row in read(connection, "select volume_ratio from public.mine")} == {None}
        (after,) = read(connection, CROSSED)
        assert after == {**before, "share_above_average_50": None, "symbols_50": None}
        assert after["symbols_200"] == 1
    dbt("build", "--exclude-resource-type", "unit_test", "--select", *MOVERS)
    assert [before] == read(connection, CROSSED)
    assert "relative_volume_30" not in columns_of_days(connection)
    connection.execute("drop view public.mine")


def test_a_users_view_on_a_column_that_goes_is_named_before_anything_is_built(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt, tmp_path: Path
) -> None:
    put_a_year(connection)
    dbt("run", "--select", *MOVERS)
    connection.execute("create view public.mine as select symbol, sma_200, sma_50 from marts.daily_analytics")
    names = columns_of_days(connection)
    rows = read(connection, "select * from marts.daily_analytics order by bar_at")
    chosen = {**dbt_variables()["indicators"], "sma": [20], "rsi": [7]}
    project = copy_project(chosen, tmp_path)
    with pytest.raises(ModelsFailedError) as caught:
        DbtInDagster(settings, project).build(["--select", *MOVERS, "exposure:*"], lambda _: None)
    assert "Nothing was built. mine reads sma_200, sma_50 of marts.daily_analytics: not among" in str(caught.value)
    assert columns_of_days(connection) == names
    assert read(connection, "select * from marts.daily_analytics order by bar_at") == rows
    connection.execute("drop view public.mine")
    DbtInDagster(settings, project).build(["--select", *MOVERS], lambda _: None)
    assert {"sma_200", "sma_50", "rsi_14"}.isdisjoint(columns_of_days(connection))
    dbt("run", "--select", *MOVERS)
