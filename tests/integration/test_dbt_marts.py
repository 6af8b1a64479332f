"""The marts that dbt builds: equal to an independent computation after any changes, incremental or in full."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
import pytest
import yaml

from market.errors import UsageError
from market.settings import Settings
from tests.integration.dbt_runs import Dbt, dbt_runs
from tests.integration.indicator_rows import ALL_PRICES
from tests.integration.mart_oracle import expected_marts, read, session_of
from tests.integration.mart_rows import (
    BAR_COLUMNS,
    DAYS,
    HALF_DAY,
    HALF_OF_THEM,
    MEDDLING,
    STRANGERS,
    SYMBOLS,
    assert_marts_as_expected,
    change_something,
    put,
    put_bar,
    put_vendor_bar,
)
from warehouse.dbt import DBT_PROJECT
from warehouse.marts import Rebuild, forget_builds

pytestmark = pytest.mark.integration

RUN_MARTS = (
    "run",
    "--select",
    "intraday_ohlcv",
    "int_daily_bars",
    "historical_ohlcv",
    "bar_reconciliation",
    "int_session_gaps",
)  # the views below them are there from the first test
OHLCV = "select * from marts.intraday_ohlcv order by symbol, interval, bar_at"


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with dbt_runs(settings, variables=ALL_PRICES) as run:
        yield run


def test_the_project_builds_on_an_empty_lake_and_all_its_tests_hold(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    dbt("build")
    assert read(connection, "select * from marts.realtime_prices") == []
    assert read(connection, "select * from marts.bar_gaps") == []


def test_incremental_marts_equal_an_independent_computation_after_any_changes(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    for step in range(7):
        for _ in range(chance.randrange(1, 6)):
            change_something(connection, chance)
        meddling = chance.sample(MEDDLING, 2)
        for statement in meddling:
            connection.execute(statement.encode())
        dbt(*RUN_MARTS)
        assert_marts_as_expected(connection, f"seed {seed}, step {step}, {meddling}")
    incremental = read(connection, OHLCV)
    assert incremental
    dbt("run", "--full-refresh")
    assert_marts_as_expected(connection, f"seed {seed}, full refresh")
    assert read(connection, OHLCV) == incremental
    dbt("test", "--select", "test_type:generic")


def test_sessions_that_were_lost_without_a_trace_are_built_again_when_asked_for(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    """As after a restore: no trigger saw the change."""
    for symbol in SYMBOLS:
        for day in DAYS:
            for minute in range(3):
                bar_at = session_of(day).open_at + timedelta(minutes=minute)
                put_bar(connection, "lean", symbol, bar_at, (Decimal(2),) * 4)
    dbt(*RUN_MARTS)
    connection.execute("set session_replication_role = replica")
    connection.execute(f"delete from marts.intraday_ohlcv where {HALF_OF_THEM}".encode())
    connection.execute("update marts.intraday_ohlcv set volume = 7")
    connection.execute("update marts.historical_ohlcv set volume = 7")
    connection.execute("update staging.int_daily_bars set volume = 7")
    connection.execute("update staging.int_session_gaps set not_collected = '{}'")
    connection.execute(STRANGERS.encode())
    connection.execute("reset session_replication_role")
    dbt(*RUN_MARTS)

    def wrong() -> set[tuple[str, date]]:
        intraday, historical = expected_marts(connection)
        found = read(connection, "select * from marts.intraday_ohlcv")
        daily = read(connection, "select * from marts.historical_ohlcv")
        right = {tuple(row[name] for name in BAR_COLUMNS) for row in (*intraday, *historical)}
        bad = {tuple(row[name] for name in BAR_COLUMNS) for row in (*found, *daily)} ^ right
        place = [BAR_COLUMNS.index(name) for name in ("symbol", "session_date")]
        return {(row[place[0]], row[place[1]]) for row in bad}

    everything = {(symbol, day) for symbol in SYMBOLS for day in DAYS}
    assert wrong() == everything, "of them only sessions that the lake does not know were noticed"
    assert forget_builds(settings, Rebuild(HALF_DAY, HALF_DAY, ("IBM",))) == 1
    assert wrong() == everything, "the marts stay until the models run"
    dbt(*RUN_MARTS)
    assert wrong() == everything - {("IBM", HALF_DAY)}
    assert forget_builds(settings, Rebuild(start=HALF_DAY)) == 4
    dbt(*RUN_MARTS)
    assert wrong() == {(symbol, DAYS[0]) for symbol in SYMBOLS}
    assert forget_builds(settings, Rebuild()) == 6
    dbt(*RUN_MARTS)
    assert_marts_as_expected(connection, "everything")


def test_sessions_that_nobody_knows_cannot_be_built_again(
    connection: psycopg.Connection[Any], settings: Settings, dbt: Dbt
) -> None:
    put_bar(connection, "lean", "IBM", session_of(HALF_DAY).open_at, (Decimal(2),) * 4)
    dbt(*RUN_MARTS)
    with pytest.raises(UsageError, match="no session of NOSUCH from 2013-11-29 to 2013-11-29, nor has the lake"):
        forget_builds(settings, Rebuild(HALF_DAY, HALF_DAY, ("NOSUCH",)))
    with pytest.raises(UsageError, match="Swap them"):
        Rebuild(HALF_DAY, DAYS[0])
    before = read(connection, "select array_agg(xmin::text) from marts.intraday_ohlcv")
    dbt(*RUN_MARTS)
    assert read(connection, "select array_agg(xmin::text) from marts.intraday_ohlcv") == before


def test_a_run_without_news_writes_no_row(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    put_bar(connection, "lean", "IBM", session_of(HALF_DAY).open_at, (Decimal(2),) * 4)
    put_vendor_bar(connection, "lean", "SPY", HALF_DAY, Decimal(9))
    put_vendor_bar(connection, "sample", "IBM", HALF_DAY, Decimal(9), interval="5m")
    put_vendor_bar(connection, "sample", "SPY", HALF_DAY, Decimal(9), interval="5m")
    dbt("run")
    written = "select (select array_agg(xmin::text) from {0}) as bars".format
    names = ("marts.intraday_ohlcv", "marts.historical_ohlcv", "marts.bar_reconciliation", "staging.int_session_gaps")
    before = [read(connection, written(name)) for name in names]
    dbt(*RUN_MARTS)
    after = [read(connection, written(name)) for name in names]
    assert after == before
    assert all(rows[0]["bars"] for rows in before)


def test_a_bar_becomes_final_when_its_sources_tape_passes_the_end_of_its_segment(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    session = session_of(HALF_DAY)
    final = "select bar_at, is_final from marts.intraday_ohlcv where symbol = 'IBM' and interval = '1m' order by bar_at"
    put_bar(connection, "lean", "IBM", session.close_at - timedelta(minutes=1), (Decimal(2),) * 4)
    put_bar(connection, "simulated", "SPY", session.close_at + timedelta(hours=1), (Decimal(2),) * 4)
    dbt(*RUN_MARTS)
    assert [row["is_final"] for row in read(connection, final)] == [False], "another source's tape says nothing"
    put_bar(connection, "lean", "SPY", session.close_at, (Decimal(2),) * 4)
    dbt(*RUN_MARTS)
    assert [row["is_final"] for row in read(connection, final)] == [True], "the close is at 13:00 on a half-day"


def test_a_bar_becomes_final_when_its_feed_has_covered_the_rest_of_its_segment(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    """A tape that ends at the close has no bar after it; its heartbeats say that there is none."""
    session = session_of(HALF_DAY)
    put_bar(connection, "lean", "IBM", session.close_at - timedelta(minutes=1), (Decimal(2),) * 4)
    cover = (
        "insert into lake.feed_coverage values ('lean', 'SPY', %s, tstzmultirange(tstzrange(%s, %s))) "
        "on conflict (source, symbol, session_date) do update set covered = excluded.covered"
    )
    marts = ("intraday_ohlcv", "historical_ohlcv", "realtime_prices")
    for until, is_final in ((session.close_at - timedelta(seconds=1), False), (session.close_at, True)):
        connection.execute(cover, [HALF_DAY, session.open_at, until])
        dbt("run")
        for mart in marts:
            found = read(connection, f"select distinct is_final from marts.{mart}")
            assert found == [{"is_final": is_final}], (mart, until)


def test_silence_a_halt_an_outage_and_a_session_left_out_each_have_their_reason(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    """The Friday after Thanksgiving: 210 minutes. Its Thursday is no session, and nothing is expected of it."""
    friday, monday = session_of(HALF_DAY), session_of(date(2013, 12, 2))
    minute = timedelta(minutes=1)
    for number in {*range(210)} - {7, *range(20, 25), *range(60, 90)}:
        put_bar(connection, "lean", "IBM", friday.open_at + number * minute, (Decimal(2),) * 4)
    put_bar(connection, "lean", "IBM", session_of(date(2013, 11, 26)).open_at, (Decimal(2),) * 4)
    put_bar(connection, "lean", "SPY", monday.pre_open_at, (Decimal(2),) * 4)
    cover = "insert into lake.feed_coverage values ('lean', 'IBM', %s, tstzmultirange(tstzrange(%s, %s), tstzrange(%s, %s)))"
    down = [friday.open_at + timedelta(minutes=60, seconds=1), friday.open_at + timedelta(minutes=89, seconds=30)]
    connection.execute(cover, [HALF_DAY, friday.pre_open_at, down[0], down[1], friday.post_close_at])
    for moment, kind in ((20, "halt"), (25, "resume")):
        put = "insert into lake.trading_halts values ('lean', 'IBM', %s, %s, '')"
        connection.execute(put, [friday.open_at + moment * minute, kind])
    dbt("run")
    gaps = read(
        connection,
        "select session_date, gap_at, missing_bars, reason from marts.bar_gaps where symbol = 'IBM' order by gap_at",
    )
    tuesday, wednesday = session_of(date(2013, 11, 26)), session_of(date(2013, 11, 27))
    assert [tuple(gap.values()) for gap in gaps] == [
        (tuesday.session_date, tuesday.open_at + minute, 389, "not_collected"),
        (wednesday.session_date, wednesday.open_at, 390, "not_collected"),
        (HALF_DAY, friday.open_at + 7 * minute, 1, "no_trade"),
        (HALF_DAY, friday.open_at + 20 * minute, 5, "halted"),
        (HALF_DAY, friday.open_at + 60 * minute, 30, "feed_down"),
    ]
    dbt("test", "--select", "bar_gaps", "int_session_gaps", "test_type:generic")


def test_a_changed_source_priority_builds_again_without_a_full_refresh(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    for source in ("lean", "simulated"):
        put_bar(connection, source, "IBM", session_of(HALF_DAY).open_at, (Decimal(2),) * 4)
    dbt("run")
    origins = "select distinct origin from marts.intraday_ohlcv"
    assert read(connection, origins) == [{"origin": "lean"}]
    changed = {"source_priority": ["simulated", "*"]}
    dbt(*RUN_MARTS, variables=changed)
    assert read(connection, origins) == [{"origin": "lean"}], "the view that chooses the source was not replaced yet"
    dbt("run", variables=changed)
    assert read(connection, origins) == [{"origin": "simulated"}]
    dbt("run")
    assert read(connection, origins) == [{"origin": "lean"}]


def test_made_up_bars_are_not_shown_of_a_symbol_of_which_such_bars_are_real(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    """Not even in sessions of their own: a series is of one kind. Days and shorter bars are two series."""
    marts = ("historical_ohlcv", "intraday_ohlcv", "realtime_prices")

    def shown() -> list[list[tuple[Any, ...]]]:
        dbt("run")
        assert_marts_as_expected(connection, "made up")
        names = [read(connection, f"select distinct symbol, origin from marts.{mart} order by 1, 2") for mart in marts]
        return [[tuple(row.values()) for row in rows] for rows in names]

    made_up = [(symbol, "simulated") for symbol in SYMBOLS]
    for symbol in SYMBOLS:
        put_bar(connection, "simulated", symbol, session_of(HALF_DAY).open_at, (Decimal(2),) * 4)
    assert shown() == [made_up, made_up, made_up]
    put_vendor_bar(connection, "yahoo", "SPY", DAYS[0], Decimal(100))
    days = [("IBM", "simulated"), ("SPY", "yahoo")]
    assert shown() == [days, made_up, made_up]
    bar_at = session_of(DAYS[0]).open_at
    put_vendor_bar(connection, "yahoo", "SPY", DAYS[0], Decimal(100), interval="5m", bar_at=bar_at)
    assert shown() == [days, days, made_up], "of prices the newest is shown, and whose it is said"


def test_a_vendor_with_markedly_fewer_bars_of_a_segment_is_passed_over(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    for symbol, preferred_bars in (("IBM", 37), ("SPY", 38)):
        for number in range(42):
            bar_at = session_of(HALF_DAY).open_at + number * timedelta(minutes=5)
            sources = ("sample", "yahoo") if number < preferred_bars else ("yahoo",)
            for source in sources:
                put_vendor_bar(connection, source, symbol, HALF_DAY, Decimal(9), interval="5m", bar_at=bar_at)
    dbt("run")
    shown = read(
        connection, "select distinct symbol, origin from marts.intraday_ohlcv where interval = '5m' order by 1"
    )
    assert [tuple(row.values()) for row in shown] == [("IBM", "yahoo"), ("SPY", "sample")]
    assert_marts_as_expected(connection, "two vendors")


def test_a_few_minutes_of_a_vendor_are_not_shown_as_whole_hours(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    """A feed that samples the market missed a minute of each hour, which a vendor has: by their number seven whole hours."""
    session = session_of(DAYS[0])
    missed = {60 * hour + 20 for hour in range(7)}
    for minute in range(390):
        bar_at = session.open_at + minute * timedelta(minutes=1)
        price = Decimal(50) + minute
        if minute in missed:
            put_vendor_bar(connection, "yahoo", "IBM", DAYS[0], price, interval="1m", bar_at=bar_at)
        else:
            put_bar(connection, "yahoo", "IBM", bar_at, (price,) * 4, volume=0)
    put_bar(connection, "yahoo", "IBM", session.close_at, (Decimal(1),) * 4, volume=0)  # the tape is past the close
    dbt("run", "--select", "+intraday_ohlcv")
    shown = "select interval, bool_or(is_vendor_bar), count(*) from marts.intraday_ohlcv where segment = 'regular' group by 1"
    assert set(connection.execute(shown)) == {
        ("1m", False, 383),
        ("5m", False, 78),
        ("15m", False, 26),
        ("1h", False, 7),
    }


def test_longer_bars_are_whose_are_shown_at_the_length_that_they_are_made_of(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    """A feed missed half of each quarter of an hour: as many quarters as the vendor has, but not as many of five minutes."""
    session = session_of(DAYS[0])
    for minute in range(0, 390, 5):
        bar_at = session.open_at + minute * timedelta(minutes=1)
        put_vendor_bar(connection, "yahoo", "IBM", DAYS[0], Decimal(50), interval="5m", bar_at=bar_at)
        if minute % 15 == 0:
            put_bar(connection, "alpaca", "IBM", bar_at, (Decimal(51),) * 4)
    put_bar(connection, "alpaca", "IBM", session.close_at, (Decimal(1),) * 4)
    dbt("run", "--select", "+intraday_ohlcv")
    shown = "select distinct interval, is_vendor_bar from marts.intraday_ohlcv where segment = 'regular'"
    assert set(connection.execute(shown)) == {("1m", False), ("5m", True), ("15m", True), ("1h", True)}


def test_realtime_prices_are_the_newest_session_so_far_with_the_previous_close(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    session = session_of(HALF_DAY)
    put_vendor_bar(connection, "sample", "IBM", date(2013, 11, 27), Decimal(100))
    put_bar(connection, "lean", "IBM", session.open_at - timedelta(minutes=9), (Decimal(50),) * 4)
    dbt("run")
    put_bar(connection, "lean", "IBM", session.open_at, (Decimal(101), Decimal(103), Decimal(99), Decimal(102)))
    put_bar(connection, "lean", "IBM", session.open_at + timedelta(minutes=5), None, volume=50)
    put_bar(connection, "lean", "IBM", session.close_at + timedelta(minutes=5), (Decimal(110),) * 4)
    put_bar(connection, "simulated", "SPY", session.pre_open_at, (Decimal(7),) * 4)
    for source, bid in (("lean", 109), ("simulated", 1)):
        put(
            connection,
            "lake.latest_quotes",
            ("source", "symbol"),
            {"source": source, "symbol": "IBM", "quoted_at": session.open_at, "bid": bid, "bid_at": session.open_at},
        )
    # No run of dbt in between: the view shows what is in the lake.
    ibm, spy = read(connection, "select * from marts.realtime_prices order by symbol")
    assert ibm["staleness_seconds"] > 10 * 365 * 86400
    told = {name: ibm[name] for name in ibm if name not in {"staleness_seconds", "revised_at", "bid_size", "ask_size"}}
    assert told == {
        "symbol": "IBM",
        "price": 110,
        "average_volume_20": None,
        "volume_ratio": None,
        "range_position": 0.75,
        "price_at": session.close_at + timedelta(minutes=5),
        "segment": "post",
        "session_date": HALF_DAY,
        "open": 101,
        "high": 103,
        "low": 99,
        "close": 102,
        "volume": 150,
        "vwap": ((99 * 100 + Decimal("1.234567") * 50) / 150).quantize(Decimal("0.000001"), ROUND_HALF_UP),
        "trade_count": 6,
        "previous_session_date": date(2013, 11, 27),
        "previous_close": 100,
        "change": 10,
        "change_pct": 10.0,
        "bid": 109,
        "bid_at": session.open_at,
        "ask": None,
        "ask_at": None,
        "is_final": True,
        "origin": "lean",
    }
    assert (spy["price"], spy["segment"], spy["open"], spy["volume"], spy["vwap"]) == (7, "pre", None, 0, None)
    assert (spy["previous_close"], spy["change"], spy["is_final"]) == (None, None, False)


def test_a_refresh_leaves_views_in_place_that_users_built_on_them(
    connection: psycopg.Connection[Any], dbt: Dbt
) -> None:
    connection.execute("create schema mine")
    connection.execute("create view mine.prices as select symbol, price from marts.realtime_prices")
    dbt("run")
    assert read(connection, "select * from mine.prices") == []
    connection.execute("drop schema mine cascade")


@pytest.mark.parametrize("path", sorted((DBT_PROJECT / "models" / "marts").rglob("*.yml")), ids=lambda path: path.stem)
def test_a_mart_in_the_database_has_the_columns_types_and_meanings_of_its_page(
    connection: psycopg.Connection[Any], path: Any, dbt: Dbt
) -> None:
    dbt("run", "--select", f"+{path.stem}")
    (page,) = yaml.safe_load(path.read_text())["models"]
    declared = [(column["name"], column["data_type"], column["description"]) for column in page["columns"]]
    stored = connection.execute(
        "select attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum) from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        [f"marts.{path.stem}"],
    ).fetchall()
    assert stored == declared
    (comment,) = read(connection, f"select obj_description('marts.{path.stem}'::regclass) as text")
    assert comment["text"] == page["description"].strip()
