"""What was built step by step against what a full refresh makes: equal, or the rows that are not are shown and mended."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import psycopg
import pytest

from market.settings import Settings
from orchestration.build import build_definitions
from tests.integration.action_rows import Lake
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import DAYS, put_bar, put_vendor_bar
from warehouse.full_refresh import differences, kept_copies

pytestmark = pytest.mark.integration

PRICES = (Decimal(10), Decimal(11), Decimal(9), Decimal(10))
UNSEEN = "set local tapehouse.is_building = 'on'"
"""As dbt does it: what is changed so is not noted to be built again."""


def put_sessions(connection: psycopg.Connection[Any]) -> None:
    for symbol in ("IBM", "SPY"):
        for day in DAYS:
            for minute in range(3):
                put_bar(connection, "lean", symbol, session_of(day).open_at + minute * timedelta(minutes=1), PRICES)


def check(settings: Settings) -> dg.AssetCheckEvaluation:
    result = build_definitions(settings=settings).resolve_job_def("full_refresh").execute_in_process()
    (found,) = result.get_asset_check_evaluations()
    return found


def test_a_row_that_a_full_refresh_makes_otherwise_is_shown_and_mended(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    put_sessions(connection)
    put_vendor_bar(connection, "sample", "MSFT", DAYS[0], Decimal(5))
    dbt("run")
    assert check(settings).passed
    with connection.transaction():
        connection.execute(UNSEEN)
        connection.execute(
            "update marts.intraday_ohlcv set volume = volume + 1 "
            "where symbol = 'IBM' and interval = '1h' and session_date = %s",
            [DAYS[1]],
        )
        # Of a symbol that has a vendor's days alone; and of what views of marts stand on.
        connection.execute("update marts.daily_analytics set close = 4, obv = 77 where symbol = 'MSFT'")
        connection.execute("update staging.int_session_gaps set bar_count = 9 where symbol = 'SPY'")
    found = check(settings)
    assert not found.passed
    differing = found.metadata["differing"]
    assert isinstance(differing, dg.TableMetadataValue)
    rows = {
        (str(record.data["mart"]), bool(record.data["is_new"])): str(record.data["row"]) for record in differing.records
    }
    assert {mart for mart, _ in rows} == {"intraday_ohlcv", "daily_analytics", "int_session_gaps"}
    assert "volume 300," in rows["intraday_ohlcv", True]
    assert "volume 301," in rows["intraday_ohlcv", False]
    assert "obv 77" in rows["daily_analytics", False]
    assert "2 differ" in str(found.metadata["intraday_ohlcv"].value)
    assert "2 differ" in str(found.metadata["daily_analytics"].value)
    assert check(settings).passed, "the new rows stay"
    assert read(connection, "select 1 from pg_namespace where nspname = 'before_full_refresh'") == []


def test_a_batch_before_it_and_an_action_during_it_are_no_differences(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    put_sessions(connection)
    for day in DAYS:
        put_vendor_bar(connection, "sample", "MSFT", day, Decimal(5))
    dbt("run")
    connection.execute(
        "insert into lake.stream_batches (query_id, batch_id, ingested_at, published_at, duration_ms, messages, trades, "
        "amendments, statuses, quotes, vendor_bars, corporate_actions, quarantined, duplicates, bars) "
        "select 'aaaa', 1, '2026-05-01', '2026-05-01', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1"
    )
    assert check(settings).passed
    with kept_copies(settings):
        Lake(connection).split("MSFT", 1, "2")
        dbt("run")
        assert [one.mart for one in differences(settings) if one.gone or one.new] == []
    connection.execute("delete from lake.stream_batches")


def test_what_changed_meanwhile_is_no_difference(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    put_sessions(connection)
    dbt("run")
    with kept_copies(settings):
        put_bar(connection, "lean", "IBM", session_of(DAYS[1]).open_at, PRICES, volume=7, revision=2)
        put_vendor_bar(connection, "sample", "SPY", DAYS[2], Decimal(5))
        dbt("run")
        assert [one.mart for one in differences(settings) if one.gone or one.new] == []
        with connection.transaction():
            connection.execute(UNSEEN)
            connection.execute(
                "delete from marts.daily_analytics where symbol = 'SPY' and session_date = %s", [DAYS[1]]
            )
            connection.execute("update marts.daily_analytics set sma_20 = 1 where symbol = 'IBM'")
        (one,) = [one for one in differences(settings) if one.gone or one.new]
        assert (one.mart, one.new, one.gone) == ("daily_analytics", 1, 2)
