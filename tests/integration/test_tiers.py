"""The tiers of the marts: what is kept no longer goes, comes back when it changes, and the checks see what does not agree."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import psycopg
import pytest

from market.sessions import EXCHANGE_ZONE
from market.settings import Settings
from market.tiers import DAILY, INTRADAY
from orchestration.build import build_definitions
from orchestration.dbt import Dbt
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import emptied_lake, put_bar, put_vendor_bar
from warehouse.collected_history import Collected, remember
from warehouse.tiers import held, move_tiers, uncollected
from warehouse.watchlist import watch

pytestmark = pytest.mark.integration

OLD, OTHER = date(2013, 11, 27), date(2013, 12, 2)
PRICES = (Decimal(2),) * 4
NOW = datetime.now(UTC)
LONG_AGO = NOW - INTRADAY.keeps - timedelta(days=1) if INTRADAY.keeps else NOW


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with emptied_lake(settings) as connection:
        yield connection
        connection.execute("truncate lake.tiers, app.watchlist, app.collected_history, lake.vendor_bars")


def run_the_job(settings: Settings) -> dict[str, dg.AssetCheckEvaluation]:
    job = build_definitions(settings=settings).resolve_job_def("tiers")
    result = job.execute_in_process()
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def sessions(connection: psycopg.Connection[Any], mart: str) -> set[tuple[str, date]]:
    rows = read(connection, f"select distinct symbol, session_date from marts.{mart}")
    return {(row["symbol"], row["session_date"]) for row in rows}


def test_what_is_kept_no_longer_goes_every_night_and_comes_back_with_a_late_change(
    connection: psycopg.Connection[Any], settings: Settings
) -> None:
    at = session_of(OLD).open_at
    put_bar(connection, "lean", "SPY", at, PRICES, revised_at=NOW)  # replayed today
    put_bar(connection, "lean", "IBM", at, PRICES, revised_at=LONG_AGO)
    put_bar(connection, "lean", "IBM", at + timedelta(minutes=1), PRICES, revised_at=LONG_AGO - timedelta(days=1))
    young = (NOW - timedelta(days=300)).date()
    while not read(connection, f"select 1 from lake.sessions where session_date = '{young}'"):
        young += timedelta(days=1)
    put_bar(connection, "lean", "IBM", session_of(young).open_at, PRICES, revised_at=LONG_AGO)
    Dbt(settings).build(["--select", "+intraday_ohlcv", "+historical_ohlcv", "+bar_gaps"], lambda _event: None)
    everything = {("SPY", OLD), ("IBM", OLD), ("IBM", young)}
    assert sessions(connection, "intraday_ohlcv") == everything

    checks = run_the_job(settings)
    assert sessions(connection, "intraday_ohlcv") == everything - {("IBM", OLD)}
    assert sessions(connection, "historical_ohlcv") == everything, "days are kept for ever"
    assert checks["intraday_holds_what_it_keeps"].passed

    put_bar(connection, "lean", "IBM", at, (Decimal(3),) * 4, revision=2, revised_at=NOW)
    Dbt(settings).build(["--select", "intraday_ohlcv"], lambda _event: None)
    assert sessions(connection, "intraday_ohlcv") == everything
    (bar,) = read(
        connection,
        f"select * from marts.intraday_ohlcv where interval = '1h' and session_date = '{OLD}' and symbol = 'IBM'",
    )
    assert (bar["high"], bar["low"], bar["volume"]) == (3, 2, 200), "the whole session is back"

    # With no bound everything is kept, and what was removed is built again.
    run_the_job(settings.model_copy(update={"intraday_days": 0}))
    assert read(connection, "select tier, kept_since_at from lake.tiers order by tier") == [
        {"tier": tier, "kept_since_at": None} for tier in ("daily", "intraday", "realtime")
    ]


def test_a_session_that_ought_to_be_gone_is_seen(connection: psycopg.Connection[Any], settings: Settings) -> None:
    for day, revised_at in ((OLD, LONG_AGO), (OTHER, LONG_AGO + timedelta(hours=1))):
        put_bar(connection, "lean", "IBM", session_of(day).open_at, PRICES, revised_at=revised_at)
    Dbt(settings).build(["--select", "+intraday_ohlcv"], lambda _event: None)
    move_tiers(settings, {INTRADAY.name: None}, NOW)
    assert (held(settings).sessions, held(settings).expired) == (2, 0)
    move_tiers(settings, {INTRADAY.name: LONG_AGO + timedelta(minutes=1)}, NOW)
    assert (held(settings).expired, held(settings).first_expired) == (1, OLD)
    move_tiers(settings, {INTRADAY.name: LONG_AGO + timedelta(hours=2)}, NOW)
    assert (held(settings).sessions, held(settings).expired, held(settings).first_expired) == (2, 2, OLD)
    # Whichever source changes a session keeps it, also one that the mart does not show.
    put_vendor_bar(connection, "yahoo", "IBM", OLD, Decimal(2), interval="1h")
    connection.execute("update lake.vendor_bars set ingested_at = now()")
    assert (held(settings).expired, held(settings).first_expired) == (1, OTHER)


def test_what_the_watchlist_lacks_is_said_by_symbol(connection: psycopg.Connection[Any], settings: Settings) -> None:
    assert uncollected(settings, DAILY, NOW) == []
    watch(settings, ["SPY", "IBM"])
    first = (NOW - timedelta(days=3_653)).date()
    days = [
        row["session_date"]
        for row in read(
            connection,
            f"select session_date from lake.sessions where session_date >= '{first}' and post_close_at <= now() order by 1",
        )
    ]
    assert 2_500 < len(days) < 2_530
    remember(settings, "yahoo", "1d", [Collected("SPY", tuple(session_of(day) for day in days[5:]))])
    put_vendor_bar(connection, "csv", "SPY", days[0], Decimal(2))
    put_bar(connection, "lean", "SPY", session_of(days[1]).open_at, PRICES)
    assert [(one.symbol, one.sessions, one.first_session) for one in uncollected(settings, DAILY, NOW)] == [
        ("IBM", len(days), days[0]),
        ("SPY", 3, days[2]),
    ]
    remember(settings, "yahoo", "5m", [Collected("SPY", tuple(session_of(day) for day in days[-400:]))])
    assert [one.symbol for one in uncollected(settings, INTRADAY, NOW)] == ["IBM"]
    (ibm,) = uncollected(settings, INTRADAY, NOW, days[-5])
    assert (ibm.symbol, ibm.sessions, ibm.first_session) == ("IBM", 5, days[-5])
    assert ibm.too_old == uncollected(settings, INTRADAY, NOW)[0].sessions - 5
    checks = run_the_job(settings)
    assert {name: check.passed for name, check in checks.items() if name.endswith("_is_collected")} == {
        "daily_is_collected": False,
        "intraday_is_collected": False,
    }
    assert checks["daily_is_collected"].severity == dg.AssetCheckSeverity.WARN
    lacking = sum(one.sessions for one in uncollected(settings, DAILY, datetime.now(UTC)))  # midnight may have passed
    assert checks["daily_is_collected"].metadata["sessions"].value == lacking
    assert abs(lacking - (len(days) + 3)) <= 2
    # Yahoo has five minutes of 59 days: what is older will never come, and is no reason to warn.
    reach = (NOW.astimezone(EXCHANGE_ZONE) - timedelta(days=59)).date()
    recent = [day for day in days if day >= reach]
    remember(settings, "yahoo", "5m", [Collected("IBM", tuple(session_of(day) for day in recent))])
    check = run_the_job(settings)["intraday_is_collected"]
    assert check.passed
    assert check.metadata["source"].value == "yahoo"
    assert check.metadata["source_reaches_back_to"].value == reach.isoformat()
    assert check.metadata["sessions_before_that"].value == ibm.too_old + 5 - len(recent)
