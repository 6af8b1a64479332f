"""Sessions that are to be built again, while a build goes on."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from market.settings import Settings
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import HALF_DAY, put_bar
from tests.integration.test_dbt_marts import RUN_MARTS
from warehouse import marts
from warehouse.marts import Rebuild, forget_builds

pytestmark = pytest.mark.integration


def test_sessions_are_forgotten_when_no_build_goes_on(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build removes the rows that it saw: of those that changed meanwhile it would remove none, and add them once more."""
    put_bar(connection, "lean", "IBM", session_of(HALF_DAY).open_at, (Decimal(2),) * 4)
    dbt(*RUN_MARTS)
    built_from = "select distinct built_from from marts.intraday_ohlcv"
    before = read(connection, built_from)
    with ThreadPoolExecutor(1) as thread, psycopg.connect(settings.require_database()) as build:
        build.execute("select pg_advisory_xact_lock(hashtext('marts.intraday_ohlcv'))")
        waited: list[str] = []
        said = threading.Event()

        def say(mart: str, _seconds: float) -> None:
            waited.append(mart)
            said.set()

        monkeypatch.setattr(marts, "FIRST_WORD_SECONDS", 0.2)
        forgotten = thread.submit(forget_builds, settings, Rebuild(symbols=("IBM",)), say)
        waits = "select from pg_locks where locktype = 'advisory' and not granted"
        while not read(connection, waits):
            assert not forgotten.done(), "it did not wait"
            time.sleep(0.02)
        assert said.wait(20)
        assert waited == ["marts.intraday_ohlcv"]
        assert read(connection, built_from) == before
        build.rollback()
        forgotten.result()
    assert read(connection, built_from) != before
    dbt(*RUN_MARTS)
    assert read(connection, built_from) == before
