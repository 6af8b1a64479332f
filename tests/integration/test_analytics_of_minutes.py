"""The marts of analytics that look at minutes and at symbols: newest prices, movers, data quality, instruments."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pytest

from market.settings import Settings
from tests.integration.action_rows import MONDAY, Lake
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.mart_oracle import Row, read, session_of
from tests.integration.mart_rows import emptied_lake, put_bar, put_vendor_bar
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

BUILD = ("build", "--exclude-resource-type", "unit_test")
MINUTE = timedelta(minutes=1)
VERSIONS = (
    "select symbol, current_symbol, sources, is_simulated, watchlist_group, first_session_date, last_session_date, "
    "valid_to is null as is_open from marts.dim_instrument order by symbol, valid_from"
)


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with dbt_runs(settings) as run:
        run(*BUILD)
        yield run


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with emptied_lake(settings) as connection:
        connection.execute("truncate app.watchlist")
        connection.execute("truncate marts.dim_instrument")
        yield connection


@pytest.fixture
def lake(connection: psycopg.Connection[Any]) -> Lake:
    return Lake(connection)


def one(connection: psycopg.Connection[Any], query: str) -> Row:
    (row,) = read(connection, query)
    return row


def put_volumes(lake: Lake, symbol: str, volumes: list[int], *, source: str = "lean", price: str = "10") -> None:
    for number, volume in enumerate(volumes):
        put_vendor_bar(lake.connection, source, symbol, lake.days[number], Decimal(price), volume=volume)


def test_volume_is_measured_by_the_mean_of_the_twenty_days_before(
    lake: Lake, connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    volumes = [10**9, *range(1000, 3000, 100)]
    put_volumes(lake, "IBM", volumes)
    put_volumes(lake, "NEW", volumes[:19])
    opened = session_of(lake.days[21]).open_at
    for symbol in ("IBM", "NEW"):
        for minute, price in enumerate(("10", "12", "9", "11.25")):
            put_bar(connection, "lean", symbol, opened + minute * MINUTE, (Decimal(price),) * 4, volume=100)
    dbt("run")
    row = one(connection, "select * from marts.realtime_prices where symbol = 'IBM'")
    assert row["average_volume_20"] == pytest.approx(np.mean(volumes[-20:]))
    assert row["volume_ratio"] == pytest.approx(400 / np.mean(volumes[-20:]))
    assert row["range_position"] == pytest.approx((11.25 - 9) / (12 - 9))
    row = one(connection, "select * from marts.realtime_prices where symbol = 'NEW'")
    assert (row["average_volume_20"], row["volume_ratio"]) == (None, None)


def test_usual_volume_is_in_todays_shares_and_under_the_symbol_of_its_day(
    lake: Lake, connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    put_volumes(lake, "FB", [700] * 10 + [100] * 0, price="7")
    for number in range(10, 20):
        put_vendor_bar(connection, "lean", "META", lake.days[number], Decimal(7), volume=700)
    lake.change("FB", 10, "META")
    lake.split("META", 20, "7")
    put_bar(connection, "lean", "META", session_of(lake.days[20]).open_at, (Decimal(1),) * 4, volume=9800)
    dbt("run")
    row = one(connection, "select * from marts.realtime_prices where symbol = 'META'")
    assert (row["average_volume_20"], row["volume_ratio"]) == (pytest.approx(4900), pytest.approx(2))
    assert row["range_position"] is None, "there is no range"


def test_a_simulated_session_is_not_measured_by_real_volumes(
    lake: Lake, connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    put_volumes(lake, "IBM", [1000] * 20)
    put_bar(connection, "simulated", "IBM", session_of(lake.days[20]).open_at, (Decimal(2),) * 4)
    put_volumes(lake, "ZERO", [0] * 20)
    put_bar(connection, "lean", "ZERO", session_of(lake.days[20]).open_at, (Decimal(2),) * 4)
    dbt("run")
    assert one(connection, "select volume_ratio from marts.realtime_prices where symbol = 'IBM'") == {
        "volume_ratio": None
    }
    row = one(connection, "select average_volume_20, volume_ratio from marts.realtime_prices where symbol = 'ZERO'")
    assert row == {"average_volume_20": 0, "volume_ratio": None}


def test_movers_are_those_of_the_newest_session_in_order_and_moved_as_in_realtime_prices(
    lake: Lake, connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    closes = {"UP": "12", "DOWN": "8", "SAME": "10", "MORE": "15", "ALSO": "12", "OLD": "99", "FAKE": "500"}
    for symbol, close in closes.items():
        source, day = ("simulated" if symbol == "FAKE" else "lean"), (20 if symbol == "OLD" else 21)
        put_volumes(lake, symbol, [100 * len(symbol)] * day, source=source)
        opened = session_of(lake.days[day]).open_at
        put_bar(connection, source, symbol, opened, (Decimal(close),) * 4, volume=100 * int(close.replace("500", "5")))
    dbt("run")
    rows = read(connection, "select * from marts.top_movers order by is_simulated, ranking, rank")
    lists: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for row in rows:
        lists[row["is_simulated"], row["ranking"]].append(row["symbol"])
        assert row["rank"] == len(lists[row["is_simulated"], row["ranking"]])
    assert lists == {
        (False, "gainers"): ["MORE", "ALSO", "UP"],
        (False, "losers"): ["DOWN"],
        (False, "most_active"): ["MORE", "ALSO", "UP", "SAME", "DOWN"],
        (False, "unusual_volume"): ["UP", "MORE", "ALSO", "SAME", "DOWN"],
        (True, "gainers"): ["FAKE"],
        (True, "most_active"): ["FAKE"],
        (True, "unusual_volume"): ["FAKE"],
    }
    prices = {row["symbol"]: row for row in read(connection, "select * from marts.realtime_prices")}
    for row in rows:
        price = prices[row["symbol"]]
        for name, other in (
            ("session_date", "session_date"),
            ("close", "price"),
            ("volume", "volume"),
            ("origin", "origin"),
        ):
            assert row[name] == price[other], (row["symbol"], name)
        for name in ("change_pct", "volume_ratio"):
            assert row[name] == pytest.approx(price[name], abs=1e-6), (row["symbol"], name)


def test_data_quality_counts_what_is_there_what_is_missing_and_what_others_say(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    """IBM has 20 of 390 minutes; heartbeats cover the first hour; halted from minute 30 to 40."""
    session = session_of(MONDAY)
    for minute in range(20):
        put_bar(
            connection, "lean", "IBM", session.open_at + minute * MINUTE, (Decimal(10),) * 4, revision=1 + minute % 3
        )
    put_bar(connection, "otherfeed", "IBM", session.open_at, (Decimal(10),) * 4)
    put_bar(connection, "lean", "SPY", session.post_close_at - MINUTE, (Decimal(10),) * 4)
    connection.execute(
        "update lake.bars_1m set cancelled_trade_count = 2, corrected_trade_count = 1 where symbol = 'IBM' and source = 'lean' "
        "and bar_at < %s",
        [session.open_at + 5 * MINUTE],
    )
    for symbol, until in (("IBM", session.open_at + 60 * MINUTE), ("SPY", session.post_close_at)):
        connection.execute(
            "insert into lake.feed_coverage values ('lean', %s, %s, tstzmultirange(tstzrange(%s, %s)))",
            [symbol, MONDAY, session.open_at, until],
        )
    for minute, kind in ((30, "halt"), (40, "resume")):
        change = [session.open_at + minute * MINUTE, kind]
        connection.execute("insert into lake.trading_halts values ('lean', 'IBM', %s, %s, '')", change)
    for bar, close in ((0, "10"), (5, "11"), (25, "12")):
        bar_at = session.open_at + bar * MINUTE
        put_vendor_bar(connection, "sample", "IBM", MONDAY, Decimal(close), interval="5m", bar_at=bar_at)
    arrivals = [("lean", "IBM", MONDAY, 60, 7, 3), ("otherfeed", "IBM", MONDAY, 9, 9, 9)]
    for arrived in arrivals:
        connection.execute("insert into lake.session_arrivals values (%s, %s, %s, %s, %s, %s, now())", arrived)
    dbt("run")
    row = one(connection, "select * from marts.data_quality where symbol = 'IBM'")
    assert (row["late_trades"], row["rejected_messages"]) == (7, 3)
    expected = int((session.close_at - session.open_at) / MINUTE)
    assert (row["origin"], row["feeds"], row["is_simulated"]) == ("lean", 2, False)
    assert (row["expected_minutes"], row["present_minutes"], row["coverage"]) == (390, 20, pytest.approx(20 / expected))
    reasons = [row[f"{name}_minutes"] for name in ("no_trade", "halted", "feed_down", "not_collected")]
    assert reasons == [30, 10, 330, 0]
    assert (row["revised_bars"], row["revisions"]) == (13, 6 * 2 + 7)
    assert (row["cancelled_trades"], row["corrected_trades"]) == (10, 5)
    compared = Counter(
        line["agreement"]
        for line in read(connection, "select agreement from marts.bar_reconciliation where symbol = 'IBM'")
    )
    assert row["compared_bars"] == compared.total() > 0
    assert row["prices_differ_bars"] == compared["prices_differ"] > 0
    assert row["volume_differs_bars"] == compared["volume_differs"]
    assert row["one_sided_bars"] == compared["only_own"] + compared["only_vendor"] > 0
    gaps = read(
        connection,
        "select sum(missing_bars)::bigint as missing from marts.bar_gaps where symbol = 'IBM' and origin = 'lean'",
    )
    assert gaps == [{"missing": 370}]
    assert one(
        connection, "select coverage, no_trade_minutes, late_trades from marts.data_quality where symbol = 'SPY'"
    ) == {
        "coverage": 0,
        "no_trade_minutes": 390,
        "late_trades": None,
    }


def test_an_instrument_gets_a_version_for_each_change_and_none_for_a_repeated_build(
    lake: Lake, connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    days = lake.days
    lake.closes("FB", 0, "10", "11")
    connection.execute("insert into app.watchlist values ('SPY', 'index', now())")
    dbt(*BUILD)
    facebook = {
        "symbol": "FB",
        "current_symbol": "FB",
        "sources": "lean",
        "is_simulated": False,
        "watchlist_group": None,
    }
    facebook |= {"first_session_date": days[0], "last_session_date": days[1], "is_open": True}
    spy = dict.fromkeys(facebook) | {
        "symbol": "SPY",
        "current_symbol": "SPY",
        "watchlist_group": "index",
        "is_open": True,
    }
    assert read(connection, VERSIONS) == [facebook, spy]
    before = read(connection, "select *, xmin::text from marts.dim_instrument order by symbol")
    dbt(*BUILD)
    assert read(connection, "select *, xmin::text from marts.dim_instrument order by symbol") == before

    lake.closes("FB", 2, "12")
    dbt(*BUILD)
    facebook |= {"last_session_date": days[2]}
    assert read(connection, VERSIONS) == [facebook, spy], "another session is no other version"

    lake.closes("META", 3, "12")
    lake.change("FB", 3, "META")
    connection.execute("update app.watchlist set symbol_group = 'funds'")
    dbt(*BUILD)
    meta = facebook | {
        "symbol": "META",
        "current_symbol": "META",
        "first_session_date": days[3],
        "last_session_date": days[3],
    }
    versions = [facebook | {"is_open": False}, facebook | {"current_symbol": "META"}, meta]
    versions += [spy | {"is_open": False}, spy | {"watchlist_group": "funds"}]
    assert read(connection, VERSIONS) == versions

    connection.execute("delete from app.watchlist")
    dbt(*BUILD)
    versions[-1]["is_open"] = False
    assert read(connection, VERSIONS) == versions
    (spans,) = read(
        connection,
        "select bool_and(valid_to > valid_from and valid_to <= now()) as ordered, max(valid_from) as newest "
        "from marts.dim_instrument",
    )
    assert spans["ordered"]
    assert datetime.now(UTC) - spans["newest"] < timedelta(minutes=10)
