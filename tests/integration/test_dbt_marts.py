"""The marts that dbt builds: equal to an independent computation after any changes, incremental or in full."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
import pytest
import yaml
from dbt.cli.main import dbtRunner

from market.settings import Settings
from market.tables import PG_BARS, PG_VENDOR_BARS
from tests.integration.mart_oracle import Row, expected_gaps, expected_marts, read, session_of
from warehouse.connection import connect
from warehouse.dbt import DBT_PROJECT, dbt_environment
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

Dbt = Callable[..., None]

HALF_DAY = date(2013, 11, 29)
DAYS = (date(2013, 11, 27), HALF_DAY, date(2013, 12, 2))
SYMBOLS = ("IBM", "SPY")
SOURCES = ("lean", "otherfeed", "simulated")  # in the order of preference
RUN_MARTS = (
    "run",
    "--select",
    "intraday_ohlcv",
    "historical_ohlcv",
    "int_session_gaps",
)  # the views below them are there from the first test
BAR_COLUMNS = (
    *("symbol", "interval", "bar_at", "open", "high", "low", "close", "volume", "vwap", "trade_count"),
    *("session_date", "segment", "is_final", "revision", "origin", "revised_at"),
)


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    migrate(settings_with_database)
    return settings_with_database


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Iterator[Dbt]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dbt_environment(settings).items():
            patch.setenv(name, value)
        manifest = dbtRunner().invoke(["--quiet", "parse"]).result

        def run(*arguments: str) -> None:
            # A run with other variables has to parse again.
            runner = dbtRunner(manifest=None if "--vars" in arguments else manifest)
            outcome = runner.invoke(["--quiet", "--no-use-colors", *arguments])
            failed = [
                result for result in getattr(outcome.result, "results", []) if result.status not in {"success", "pass"}
            ]
            assert outcome.success, outcome.exception or [(result.node.name, result.message) for result in failed]

        yield run


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with connect(settings) as connection:
        connection.autocommit = True
        connection.execute(
            "truncate lake.bars_1m, lake.vendor_bars, lake.latest_quotes, lake.feed_coverage, lake.trading_halts"
        )
        yield connection


def put(connection: psycopg.Connection[Any], table: str, key: tuple[str, ...], row: Row) -> None:
    names = [f'"{name}"' for name in row]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name.strip('"') not in key)
    connection.execute(
        f"insert into {table} ({', '.join(names)}) values ({', '.join(['%s'] * len(row))}) "
        f"on conflict ({', '.join(key)}) do update set {changes}".encode(),
        list(row.values()),
    )


def put_bar(
    connection: psycopg.Connection[Any],
    source: str,
    symbol: str,
    bar_at: datetime,
    prices: tuple[Decimal, ...] | None,
    *,
    volume: int = 100,
    revision: int = 1,
    revised_at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> None:
    session = session_of((bar_at - timedelta(hours=5)).date())
    segment = session.segment(bar_at)
    assert segment is not None
    first, high, low, last = prices or (None,) * 4
    notional = (low or Decimal("1.234567")) * volume
    values = (source, symbol, bar_at, session.session_date, str(segment), first, high, low, last, volume, notional)
    rest = (None if volume == 0 else low or Decimal("1.234567"), 3, 0, None, 0, 0, revision, revised_at)
    put(connection, "lake.bars_1m", PG_BARS.key, dict(zip(PG_BARS.column_names, (*values, *rest), strict=True)))


def put_vendor_bar(
    connection: psycopg.Connection[Any], source: str, symbol: str, day: date, close: Decimal, *, revision: int = 1
) -> None:
    row = dict.fromkeys(PG_VENDOR_BARS.column_names)
    row |= {
        "source": source,
        "symbol": symbol,
        "interval": "1d",
        "bar_at": session_of(day).open_at,
        "session_date": day,
    }
    row |= {"open": close, "high": close + 1, "low": close / 2, "close": close, "volume": 7, "revision": revision}
    row |= {"topic": "t", "partition": 0, "offset": revision, "ingested_at": datetime(2026, 1, revision, tzinfo=UTC)}
    put(connection, "lake.vendor_bars", PG_VENDOR_BARS.key, row)


def change_something(connection: psycopg.Connection[Any], chance: random.Random) -> None:
    """Insert, revise or delete what a stream, a repair or a person might."""
    symbol, source, day = chance.choice(SYMBOLS), chance.choice(SOURCES), chance.choice(DAYS)
    session = session_of(day)
    action = chance.choice(
        ["bars"] * 6 + ["cover"] * 4 + ["vendor"] * 2 + ["halt", "delete", "delete vendor", "uncover"]
    )
    if action == "bars":
        edges = [session.pre_open_at, session.open_at, session.close_at, session.post_close_at]
        minutes = int((session.post_close_at - session.pre_open_at) / timedelta(minutes=1))
        # Around the edges, where a bar could straddle, and anywhere.
        near = [edge + timedelta(minutes=n) for edge in edges for n in range(-6, 6)]
        anywhere = [session.pre_open_at + timedelta(minutes=chance.randrange(minutes)) for _ in range(20)]
        for bar_at in chance.sample([m for m in near if session.segment(m)], 15) + anywhere:
            prices = sorted(Decimal(chance.randrange(1, 10**9)) / 10**6 for _ in range(4))
            low, first, last, high = prices
            put_bar(
                connection,
                source,
                symbol,
                bar_at,
                None if chance.random() < 0.2 else (first, high, low, last),
                volume=chance.choice([0, 1, 3, 100, 12345]),
                revision=chance.randrange(1, 9),
                # Earlier than what was built before, too: a repair keeps the times.
                revised_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(1000)),
            )
    elif action in {"cover", "halt", "uncover"}:
        change_status(connection, chance, action, (source, symbol, day))
    elif action == "vendor":
        put_vendor_bar(
            connection,
            chance.choice(SOURCES),
            symbol,
            day,
            Decimal(chance.randrange(1, 99)),
            revision=chance.randrange(1, 9),
        )
    elif action == "delete":
        connection.execute(
            "delete from lake.bars_1m where symbol = %s and session_date = %s and segment = any(%s)",
            [symbol, day, chance.choice([["regular"], ["pre", "regular", "post"]])],
        )
    else:
        connection.execute("delete from lake.vendor_bars where symbol = %s and session_date = %s", [symbol, day])


def change_status(
    connection: psycopg.Connection[Any], chance: random.Random, action: str, key: tuple[str, str, date]
) -> None:
    """Cover a part of a session, or nothing of it any more, or halt and resume trading."""
    session, second = session_of(key[2]), timedelta(seconds=1)
    length = (session.post_close_at - session.pre_open_at) // second
    moments = sorted(session.pre_open_at + chance.randrange(length + 1) * second for _ in range(2))
    if chance.random() < 0.3:
        moments = [moment.replace(second=0) for moment in moments]
    if action == "uncover":
        connection.execute("delete from lake.feed_coverage where (source, symbol, session_date) = (%s, %s, %s)", key)
    elif action == "halt":
        for moment in moments:
            change = [*key[:2], moment, chance.choice(["halt", "resume"]), chance.choice(["", "LUDP"])]
            connection.execute(
                "insert into lake.trading_halts values (%s, %s, %s, %s, %s) on conflict do nothing", change
            )
    elif moments[0] < moments[1]:
        connection.execute(
            "insert into lake.feed_coverage as stored values (%s, %s, %s, tstzmultirange(tstzrange(%s, %s))) "
            "on conflict (source, symbol, session_date) do update set covered = stored.covered + excluded.covered",
            [*key, *moments],
        )


def in_order(rows: list[Row], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[name] for name in columns) for row in rows), key=lambda row: row[:3])


def assert_marts_as_expected(connection: psycopg.Connection[Any], where: str) -> None:
    intraday, historical = expected_marts(connection)
    found = read(connection, "select * from marts.intraday_ohlcv")
    assert in_order(found, BAR_COLUMNS) == in_order(intraday, BAR_COLUMNS), where
    gaps = read(connection, "select * from marts.bar_gaps order by origin, symbol, gap_at")
    assert gaps == expected_gaps(connection), where
    columns = (*BAR_COLUMNS, "is_vendor_bar")
    found = read(connection, "select * from marts.historical_ohlcv")
    assert in_order(found, columns) == in_order(historical, columns), where


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
        dbt(*RUN_MARTS)
        assert_marts_as_expected(connection, f"seed {seed}, step {step}")
    incremental = read(connection, "select * from marts.intraday_ohlcv order by symbol, interval, bar_at")
    assert incremental
    dbt("run", "--full-refresh")
    assert_marts_as_expected(connection, f"seed {seed}, full refresh")
    assert read(connection, "select * from marts.intraday_ohlcv order by symbol, interval, bar_at") == incremental
    dbt("test", "--select", "test_type:generic")


def test_a_run_without_news_writes_no_row(connection: psycopg.Connection[Any], dbt: Dbt) -> None:
    put_bar(connection, "lean", "IBM", session_of(HALF_DAY).open_at, (Decimal(2),) * 4)
    put_vendor_bar(connection, "lean", "SPY", HALF_DAY, Decimal(9))
    dbt("run")
    written = "select (select array_agg(xmin::text) from {0}) as bars".format
    names = ("marts.intraday_ohlcv", "marts.historical_ohlcv", "staging.int_session_gaps")
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
    changed = ("--vars", "{source_priority: [simulated, '*']}")
    dbt(*RUN_MARTS, *changed)
    assert read(connection, origins) == [{"origin": "lean"}], "the view that chooses the source was not replaced yet"
    dbt("run", *changed)
    assert read(connection, origins) == [{"origin": "simulated"}]
    dbt("run")
    assert read(connection, origins) == [{"origin": "lean"}]


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
