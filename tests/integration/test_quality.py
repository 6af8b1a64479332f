"""Values that are not possible, put past every door of the platform: they are found, shown, and keep the marts as they are."""

import random
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import dagster as dg
import polars as pl
import psycopg
import pytest
from deltalake import write_deltalake

from market.errors import ImpossibleValuesError
from market.sessions import sessions_between
from market.settings import Settings
from market.tables import TRADES, DataType
from orchestration.build import build_definitions
from quality.checks import Quality
from quality.outcomes import Outcome
from quality.site import KEPT_RUNS
from tests.integration.analytics_rows import put_days, walk
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import read, session_of
from tests.integration.mart_rows import DAYS, put_bar, put_vendor_bar

pytestmark = pytest.mark.integration

_MARTS = """
select 'marts.' || relname as relname
from pg_class
where relnamespace = 'marts'::regnamespace and relkind in ('r', 'v')
order by 1
"""

PRICES = (Decimal(10), Decimal(11), Decimal(9), Decimal(10))
MINUTE = timedelta(minutes=1)


@pytest.fixture
def quality(settings: Settings, connection: psycopg.Connection[Any]) -> Quality:
    connection.execute("truncate app.quality_marks")
    return Quality(settings)


def broken(outcomes: list[Outcome]) -> dict[str, list[tuple[str, int]]]:
    return {one.table: [(broken.says, broken.rows) for broken in one.broken] for one in outcomes if not one.holds}


def rows(outcomes: list[Outcome], table: str) -> int:
    return next(one.rows for one in outcomes if one.table == table)


def put_session(connection: psycopg.Connection[Any], symbol: str = "IBM", minutes: int = 30, **values: Any) -> None:
    opening = session_of(DAYS[0]).open_at
    for minute in range(minutes):
        put_bar(connection, "lean", symbol, opening + minute * MINUTE, PRICES, **values)


def test_what_is_right_holds_and_is_not_looked_at_again(
    connection: psycopg.Connection[Any], quality: Quality, dbt: Dbt
) -> None:
    put_session(connection)
    put_vendor_bar(connection, "sample", "SPY", DAYS[0], Decimal(5))
    dbt("run")
    first, marts = quality.check_postgres(), quality.check_marts()
    assert (broken(first), broken(marts)) == ({}, {})
    assert rows(first, "lake.bars_1m") == 30
    assert rows(marts, "marts.intraday_ohlcv") == 30 + 6 + 2 + 1
    assert rows(marts, "marts.historical_ohlcv") == 2
    assert rows(marts, "marts.daily_analytics") == 2
    much_later = datetime(2026, 3, 1, tzinfo=UTC)
    put_session(connection, "MSFT", 2, revised_at=much_later)
    dbt("run")
    for since_the_hour_before in (30 + 2, 2):
        assert rows(quality.check_postgres(), "lake.bars_1m") == since_the_hour_before
    for since_the_hour_before in (39 + 2 + 3, 2 + 3):
        assert rows(quality.check_marts(), "marts.intraday_ohlcv") == since_the_hour_before
    assert rows(quality.check_postgres(everything=True), "lake.bars_1m") == 32


def test_what_is_not_possible_is_shown_with_its_key_until_it_is_mended(
    connection: psycopg.Connection[Any], quality: Quality
) -> None:
    put_session(connection)
    opening = session_of(DAYS[0]).open_at
    connection.execute("update lake.bars_1m set low = high + 1, segment = 'lunch' where bar_at = %s", [opening])
    connection.execute("update lake.bars_1m set volume = -5, vwap = 0 where bar_at = %s", [opening + MINUTE])
    for _ in range(2):
        found = quality.check_postgres()
        assert broken(found) == {
            "lake.bars_1m": [
                ("segment is one of pre, regular, post", 1),
                ("volume is 0 or more", 1),
                ("vwap is above 0", 1),
                ("low is not above open", 1),
                ("low is not above close", 1),
                ("low is not above high", 1),
            ]
        }
    (outcome,) = [one for one in found if not one.holds]
    (shown,) = next(one for one in outcome.broken if one.says == "volume is 0 or more").examples
    assert {name: str(value) for name, value in shown.items()} == {
        "source": "lean",
        "symbol": "IBM",
        "bar_at": str(opening + MINUTE),
        "volume": "-5",
    }
    put_session(connection)
    assert broken(quality.check_postgres()) == {}


def test_a_look_that_is_waited_for_writes_pages_of_what_is_broken_alone(
    connection: psycopg.Connection[Any], quality: Quality
) -> None:
    put_session(connection)
    shutil.rmtree(quality.folder, ignore_errors=True)
    names = {"lake.bars_1m", "lake.bar_sessions"}
    pages = quality.folder / "pages"
    found = quality.check_postgres(names)
    assert {one.table for one in found} == names
    assert rows(found, "lake.bars_1m") == 30
    assert broken(found) == {}
    assert not pages.exists()
    assert not (quality.folder / "outcomes").exists()
    assert "All values are possible" in quality.page.read_text()
    connection.execute("update lake.bars_1m set volume = -5")
    assert set(broken(quality.check_postgres(names))) == {"lake.bars_1m"}
    assert "validations/lake/bars_1m" in quality.page.read_text()


def test_a_look_that_is_waited_for_begins_where_the_last_ended_that_was_not(
    connection: psycopg.Connection[Any], quality: Quality
) -> None:
    last = datetime(2026, 3, 1, 12, tzinfo=UTC)
    put_session(connection, minutes=30, revised_at=last - 20 * MINUTE)
    put_session(connection, "MSFT", 3, revised_at=last)
    connection.execute("truncate staging.pending_sessions")
    assert rows(quality.check_postgres(), "lake.bars_1m") == 30 + 3
    put_session(connection, "SPY", 2, revised_at=last + MINUTE)
    connection.execute("truncate staging.pending_sessions")
    hasty = {"lake.bars_1m"}
    assert [rows(quality.check_postgres(hasty), "lake.bars_1m") for _ in range(2)] == [3 + 2, 3 + 2]
    connection.execute(
        "update lake.bars_1m set volume = -5, revised_at = revised_at where symbol = 'IBM' and volume > 0"
    )
    assert rows(quality.check_postgres(hasty), "lake.bars_1m") == 30 + 3 + 2, (
        "what is queued is looked at however old it is"
    )
    connection.execute("truncate staging.pending_sessions")
    assert broken(quality.check_postgres(hasty)) == {}
    assert set(broken(quality.check_postgres())) == {"lake.bars_1m"}, "within the hour before"


def test_pages_are_there_for_every_table_and_none_leads_nowhere(
    connection: psycopg.Connection[Any], quality: Quality, dbt: Dbt
) -> None:
    put_session(connection)
    dbt("run")
    shutil.rmtree(quality.folder, ignore_errors=True)
    for _ in range(KEPT_RUNS + 2):
        quality.check_postgres()
        put_session(connection, revised_at=datetime.now(UTC))
    quality.check_marts(everything=True)
    pages = quality.folder / "pages"
    suites = {page.stem for page in (pages / "expectations").rglob("*.html")}
    assert {"bars_1m", "intraday_ohlcv"} <= suites
    assert len(list((pages / "validations" / "lake" / "bars_1m").glob("*/*"))) == KEPT_RUNS
    for page in (quality.page, *pages.rglob("*.html")):
        for link in re.findall(r'(?:href|src)="([^"#]+)"', page.read_text()):
            if not link.startswith(("http", "//", "data:")):
                assert (page.parent / unquote(link)).resolve().exists(), f"{page.relative_to(quality.folder)}: {link}"


def test_what_no_trigger_saw_is_looked_at_before_anything_is_built_anew(
    connection: psycopg.Connection[Any], quality: Quality
) -> None:
    put_session(connection)
    much_later = datetime(2026, 3, 1, tzinfo=UTC)
    put_session(connection, "MSFT", 2, revised_at=much_later)
    quality.check_postgres()
    quality.require_possible()
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute("delete from staging.pending_sessions")
        connection.execute(
            "update lake.bars_1m set low = 'NaN' where symbol = 'IBM' and bar_at = (select min(bar_at) from lake.bars_1m)"
        )
    assert broken(quality.check_postgres()) == {}, "it is old, and queued for nothing"
    with pytest.raises(ImpossibleValuesError, match=r"lake\.bars_1m: low is above 0; not so in 1 row"):
        quality.require_possible()


def test_a_mart_is_looked_at_from_the_session_on_that_changed(
    connection: psycopg.Connection[Any], quality: Quality, dbt: Dbt
) -> None:
    for day in DAYS:
        put_vendor_bar(connection, "sample", "IBM", day, Decimal(5))
    for revision in (3, 5):
        put_vendor_bar(connection, "sample", "IBM", DAYS[1], Decimal(revision), revision=revision)
        dbt("run")
        outcomes = quality.check_marts()
    assert rows(outcomes, "marts.daily_analytics") == 2
    connection.execute(
        "update marts.daily_analytics set rsi_14 = 101, stoch_k = -1, bb_lower = 7, bb_middle = 6, bb_upper = 6"
    )
    assert broken(quality.check_marts(everything=True))["marts.daily_analytics"] == [
        ("rsi_14 is -1e-09 or more and 100 or less", 3),
        ("stoch_k is -1e-09 or more and 100 or less", 3),
        ("bb_lower is not above bb_middle", 3),
    ]


def test_a_mart_that_does_not_say_when_a_row_changed_is_looked_at_whole(
    connection: psycopg.Connection[Any], quality: Quality, dbt: Dbt
) -> None:
    put_session(connection)
    sessions = [session.session_date for session in sessions_between(date(2013, 1, 2), date(2013, 10, 4))]
    chance = random.Random(5)
    for symbol, volume in (("AAA", 10_000), ("BBB", 30_000), ("CCC", 0)):
        put_days(connection, walk(chance, symbol, "50", sessions, volume=volume))
    dbt("run")
    marts = [row["relname"] for row in read(connection, _MARTS)]
    for everything in (True, False, False):
        found = quality.check_marts(everything=everything)
        assert broken(found) == {}
        assert sorted(one.table for one in found) == marts
        assert rows(found, "marts.correlations") == 6
        assert rows(found, "marts.market_breadth") == len(sessions) + 1
        assert (
            min(rows(found, f"marts.{mart}") for mart in ("anomalies", "top_movers", "data_quality", "dim_session")) > 0
        )
    connection.execute(
        "update staging.int_correlations set correlation = 5 where (symbol, other_symbol) = ('AAA', 'BBB')"
    )
    connection.execute("update staging.int_session_gaps set bar_count = expected_bars * 3")
    last = "where session_date = (select max(session_date) from marts.market_breadth)"
    connection.execute(f"update marts.market_breadth set share_above_average_50 = 7, advancing = -5 {last}")
    found = quality.check_marts()
    assert broken(found) == {
        "marts.correlations": [("correlation is -1 or more and 1 or less", 2)],
        "marts.data_quality": [("coverage is -1e-09 or more and 1 or less", 1)],
        "marts.market_breadth": [
            ("advancing is 0 or more", 1),
            ("share_above_average_50 is -1e-09 or more and 1 or less", 1),
        ],
    }
    (outcome,) = [one for one in found if one.table == "marts.correlations"]
    shown = [(row["symbol"], row["other_symbol"]) for row in outcome.broken[0].examples]
    assert sorted(shown) == [("AAA", "BBB"), ("BBB", "AAA")]


def test_the_lake_is_looked_at_in_parts(quality: Quality, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.rows for one in quality.check_lake()} == {0}, "there is no table yet"
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    values: dict[DataType, Any] = {
        **dict.fromkeys((DataType.INTEGER, DataType.BIGINT), 1),
        DataType.TEXT: "x",
        DataType.TIMESTAMP: first,
        DataType.DATE: DAYS[0],
        DataType.BOOLEAN: True,
        DataType.PRICE: Decimal(1),
    }

    def trades(ingested_at: datetime, price: Decimal, number: int) -> None:
        row = {column.name: values[column.type] for column in TRADES.columns}
        row |= {
            "symbol": "IBM",
            "segment": "pre",
            "topic": "market.trades.v1",
            "left_out_for": "odd_lot",
            "price": price,
        }
        row |= {"ingested_at": ingested_at}
        frame = pl.DataFrame([{**row, "trade_id": str(one)} for one in range(number)])
        price_type = pl.col("price").cast(pl.Decimal(18, 6))
        write_deltalake(f"{settings.lake}/{TRADES.path}", frame.with_columns(price_type).to_arrow(), mode="append")

    monkeypatch.setattr("quality.stored.ROWS_A_PART", 4)
    trades(first, Decimal(5), 10)
    found = quality.check_lake()
    assert (rows(found, "silver.trades"), broken(found)) == (10, {})
    trades(second, Decimal(-1), 9)
    trades(second, Decimal(3), 9)
    for _ in range(2):
        found = quality.check_lake()
        assert rows(found, "silver.trades") == 18 + 10, "the first ones were of the last hour"
        assert broken(found) == {"silver.trades": [("price is above 0", 9)]}
    (one,) = next(outcome.broken for outcome in found if outcome.broken)
    assert {row["trade_id"] for row in one.examples} <= {str(number) for number in range(9)}
    assert len(one.examples) == 9


def test_pages_show_the_outcomes_and_no_password(
    connection: psycopg.Connection[Any], quality: Quality, settings: Settings
) -> None:
    put_session(connection, minutes=1)
    connection.execute("update lake.bars_1m set close = -1")
    quality.check_postgres()
    pages = {path.name: path.read_text() for path in quality.folder.rglob("*") if path.suffix in {".html", ".json"}}
    assert "lake.bars_1m" in pages["index.html"]
    assert any("Last price" in text for text in pages.values())
    password = psycopg.conninfo.conninfo_to_dict(settings.require_database())["password"]
    assert not [name for name, text in pages.items() if str(password) in text]


def test_the_marts_stay_as_they_are_while_what_they_are_made_from_cannot_be(
    connection: psycopg.Connection[Any], settings: Settings
) -> None:
    connection.execute("truncate app.quality_marks")
    job = build_definitions(settings=settings).resolve_job_def("marts")
    volume = "select sum(volume) as volume from marts.intraday_ohlcv where interval = '1m'"
    put_session(connection, minutes=3)
    result = job.execute_in_process()
    checks = result.get_asset_check_evaluations()
    assert all(check.passed for check in checks)
    looked_at = {check.asset_key.path[-1] for check in checks if check.check_name == "possible_values"}
    assert looked_at >= {
        "bars_1m",
        "vendor_bars",
        "intraday_ohlcv",
        "historical_ohlcv",
        "intraday_analytics",
        "daily_analytics",
        "market_breadth",
        "correlations",
        "data_quality",
        "dim_session",
        "dim_instrument",
    }
    before = read(connection, volume)

    connection.execute("update lake.bars_1m set volume = -1 where bar_at = %s", [session_of(DAYS[0]).open_at])
    result = job.execute_in_process(raise_on_error=False)
    assert not result.success
    (check,) = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert list(check.asset_key.path) == ["postgres", "bars_1m"]
    offending = check.metadata["offending"]
    assert isinstance(offending, dg.TableMetadataValue)
    (record,) = offending.records
    assert record.data["expected"] == "volume is 0 or more"
    assert "symbol IBM" in str(record.data["row"])
    assert read(connection, volume) == before

    put_session(connection, minutes=3)
    assert job.execute_in_process().success


def test_what_somebody_changed_of_long_ago_is_looked_at_before_it_is_built_from(
    connection: psycopg.Connection[Any], quality: Quality, settings: Settings, dbt: Dbt
) -> None:
    """By what is queued for the marts: the rows came long before the last look, and say so still."""
    put_session(connection)
    for number, symbol in enumerate(("SPY", "MSFT", "AAPL")):
        put_vendor_bar(connection, "sample", symbol, DAYS[number % 2], Decimal(5))
    dbt("run")
    connection.execute("update lake.bars_1m set revised_at = '2026-01-01'")
    connection.execute("update lake.vendor_bars set ingested_at = '2026-01-01' where symbol <> 'AAPL'")
    dbt("run")
    assert broken(quality.check_postgres()) == {}
    before = read(connection, "select * from marts.daily_analytics order by symbol, session_date")
    opening = session_of(DAYS[0]).open_at
    connection.execute("update lake.bars_1m set volume = -5 where bar_at = %s", [opening + 3 * MINUTE])
    connection.execute(
        "update lake.bars_1m set high = 'NaN', vwap = 'NaN', notional = 'NaN' where bar_at = %s", [opening + 5 * MINUTE]
    )
    connection.execute("update lake.vendor_bars set low = high * 2 where symbol = 'SPY'")
    connection.execute("update lake.vendor_bars set close = -1 where symbol = 'MSFT'")
    run = build_definitions(settings=settings).resolve_job_def("touched_marts").execute_in_process(raise_on_error=False)
    assert not run.success
    assert read(connection, "select * from marts.daily_analytics order by symbol, session_date") == before
    for _ in range(2):
        found = broken(quality.check_postgres())
        assert dict(found["lake.bars_1m"]) == {
            "volume is 0 or more": 1,
            **dict.fromkeys(("high is above 0", "vwap is above 0", "notional is 0 or more"), 1),
        }
        assert dict(found["lake.vendor_bars"]) == {
            "close is above 0": 1,
            "low is not above open": 1,
            "low is not above close": 2,
            "low is not above high": 1,
        }


def test_a_mart_of_impossible_values_is_shown_and_not_choked_on(
    connection: psycopg.Connection[Any], quality: Quality, dbt: Dbt
) -> None:
    for day, close in zip(DAYS, (5, 4, 3), strict=False):
        put_vendor_bar(connection, "sample", "SPY", day, Decimal(close))
    dbt("run")
    with connection.transaction():
        connection.execute("set local tapehouse.is_building = 'on'")
        connection.execute("update marts.historical_ohlcv set close = -1 where session_date = %s", [DAYS[0]])
    found = broken(quality.check_marts(everything=True))
    assert ("close is above 0", 1) in found["marts.historical_ohlcv"]
