"""What a watch over prices reads from PostgreSQL and records there, without a broker and without marts that dbt builds."""

import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import msgspec
import psycopg
import pytest

from alerts.at_once import loading, process, recording
from alerts.at_once.levels import Watch
from alerts.at_once.loading import load_beginning, load_preference, mark_of_rules
from alerts.at_once.minutes import Minute, micros
from alerts.at_once.process import PriceWatch, Trades
from alerts.at_once.recording import record_fired
from alerts.at_once.watcher import Fired
from alerts.rules.rule import Rule, Trigger
from alerts.store import ACTIVE, ENDED, PAUSED, add_rules, change_status
from market.errors import RefusedStatementError
from market.records import Received, Record
from market.settings import Settings
from tests.integration.alert_rows import LAST, MADE, TABLES
from tests.integration.mart_oracle import session_of
from tests.integration.mart_rows import DAYS, put_bar
from tests.integration.price_watches import DURING, Said, hearing, trade
from tests.integration.relays import DEADLINE_SECONDS, wait_until

pytestmark = pytest.mark.integration

MINUTE = timedelta(minutes=1)


@pytest.fixture
def bare(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """No rule and no mart."""
    connection.execute(f"truncate {TABLES}, app.watchlist, lake.stream_offsets".encode())
    return connection


def at_once(name: str, text: str = "price crosses above 100") -> Rule:
    return Rule(name, text, "all", trigger=Trigger.AT_ONCE)


def fired_on(symbol: str, **stated: Any) -> Fired:
    one = msgspec.structs.replace(trade(101, 1, symbol=symbol), **stated)
    minute = Minute("lean", symbol, micros(LAST.open_at + timedelta(minutes=1)), LAST.session_date, "regular", 99.0)
    minute.first = minute.last = (one.ts, 0, 101.0)
    minute.high, minute.low, minute.volume = 101.0, 101.0, one.size
    watch = Watch(1, 1, "passes_above", 100, 100, frozenset({"regular"}), 0)
    return Fired(watch, one, minute, Received(one, 0, 0))


def test_values_that_the_database_cannot_hold_keep_nothing_else_from_being_recorded(
    bare: psycopg.Connection[Any], settings: Settings
) -> None:
    add_rules(settings, [at_once("r")], MADE)
    fired = [fired_on("IBM"), fired_on("BAD", trade_id="a\0"), fired_on("SPY"), fired_on("BIG", size=10**30)]
    with psycopg.connect(settings.require_database()) as connection:
        assert record_fired(connection, fired, DURING) == 2
        assert record_fired(connection, fired, DURING) == 0
    assert bare.execute("select symbol from app.alerts order by 1").fetchall() == [("IBM",), ("SPY",)]
    assert bare.execute("select count(*) from app.pending_evaluations where series in ('IBM', 'SPY')").fetchone() == (
        2,
    )


def test_a_symbol_is_real_by_the_bars_of_a_real_source(bare: psycopg.Connection[Any]) -> None:
    put_bar(bare, "simulated", "IBM", LAST.open_at, (Decimal(99),) * 4)
    put_bar(bare, "lean", "IBM", LAST.open_at, None)
    put_bar(bare, "lean", "IBM", LAST.close_at, (Decimal(99),) * 4)
    assert load_preference(bare, ["regular"]).real == frozenset()
    put_bar(bare, "otherfeed", "IBM", LAST.open_at, (Decimal(99),) * 4)
    assert load_preference(bare, ["regular"]).real == {"IBM"}


def test_the_minutes_of_the_newest_session_of_each_source_are_known(bare: psycopg.Connection[Any]) -> None:
    for minute in range(3):
        put_bar(bare, "alpaca", "IBM", LAST.open_at + minute * MINUTE, (Decimal(99),) * 4)
    put_bar(bare, "alpaca", "IBM", session_of(DAYS[0]).open_at, (Decimal(99),) * 4)
    put_bar(bare, "yahoo", "IBM", LAST.pre_open_at, (Decimal(99),) * 4)
    put_bar(bare, "yahoo", "SPY", LAST.open_at, None)
    known = load_preference(bare, ["regular"])
    session = LAST.session_date
    assert known.counts == {("IBM", session): {"alpaca": 3, "yahoo": 0}, ("SPY", session): {"yahoo": 1}}, "regular ones"
    assert known.completeness_percent == 90
    bare.execute("update lake.bars_1m set segment = 'pre' where symbol = 'IBM'")
    assert load_preference(bare, ["regular"]).counts["IBM", session] == {"alpaca": 3, "yahoo": 1}, (
        "all, before the open"
    )
    bare.execute("delete from lake.bars_1m where symbol = 'SPY'")
    assert ("SPY", session) not in load_preference(bare, ["regular"]).counts


def test_minutes_whose_trades_were_all_cancelled_are_none_of_a_source(bare: psycopg.Connection[Any]) -> None:
    for minute in range(3):
        put_bar(bare, "alpaca", "IBM", LAST.open_at + minute * MINUTE, None)
    put_bar(bare, "yahoo", "IBM", LAST.open_at, (Decimal(99),) * 4)
    known = load_preference(bare, ["regular"])
    assert known.counts["IBM", LAST.session_date] == {"alpaca": 0, "yahoo": 1}
    assert known.is_passed_over("alpaca", "IBM", LAST.session_date)
    assert not known.is_passed_over("yahoo", "IBM", LAST.session_date)


@pytest.mark.parametrize(
    ("module", "statement"),
    [(loading, "_BARS"), (loading, "_MARK"), (recording, "_QUEUE")],
    ids=["in the beginning", "while the rules are followed", "as an alert is recorded"],
)
def test_a_statement_that_the_database_refuses_ends_the_watch(
    bare: psycopg.Connection[Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    statement: str,
) -> None:
    assert bare.info.status.name == "OK"
    add_rules(settings, [at_once("r")], MADE)
    stop, said = threading.Event(), Said()

    def break_it() -> None:
        monkeypatch.setattr(module, statement, "select from app.nothing_of_the_kind")

    def begin(offsets: Mapping[int, int]) -> Trades:
        break_it()
        said.say(trade(99, 0), trade(101, 1))
        return said.open(offsets)

    if statement == "_BARS":
        break_it()
    timer = threading.Timer(DEADLINE_SECONDS, stop.set)
    timer.start()
    try:
        with pytest.raises(RefusedStatementError, match="nothing_of_the_kind"):
            PriceWatch(settings, begin, lambda: DURING).run(stop)
    finally:
        stop.set()
        timer.cancel()


def recorded(connection: psycopg.Connection[Any]) -> list[tuple[str, int]]:
    found = connection.execute("select symbol, bar_at from app.alerts order by 1, 2").fetchall()
    return [(symbol, int((at - LAST.open_at).total_seconds() // 60)) for symbol, at in found]


def test_the_watch_learns_which_symbols_have_become_real(
    bare: psycopg.Connection[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PREFERENCE_SECONDS", 0.0)
    add_rules(settings, [at_once("r")], MADE)

    def made_up(symbol: str, minute: int, *prices: float) -> list[Record]:
        trades = [trade(price, minute + number, symbol=symbol) for number, price in enumerate(prices)]
        return [msgspec.structs.replace(one, source="simulated") for one in trades]

    with hearing(settings) as said:
        said.say(*made_up("IBM", 0, 99, 101))
        wait_until(lambda: recorded(bare) == [("IBM", 1)])
        put_bar(bare, "otherfeed", "IBM", LAST.open_at, (Decimal(99),) * 4)
        time.sleep(2 * process.RULES_SECONDS + 1)
        said.say(*made_up("IBM", 2, 99, 101), *made_up("SPY", 2, 99, 101))
        wait_until(lambda: ("SPY", 3) in recorded(bare))
    assert recorded(bare) == [("IBM", 1), ("SPY", 3)]


def test_the_watch_learns_that_a_feed_has_stopped(
    bare: psycopg.Connection[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PREFERENCE_SECONDS", 0.0)
    add_rules(settings, [at_once("r")], MADE)

    def of(source: str, minute: int, *prices: float) -> list[Record]:
        trades = [trade(price, minute + number) for number, price in enumerate(prices)]
        return [msgspec.structs.replace(one, source=source) for one in trades]

    for minute in range(2):
        put_bar(bare, "alpaca", "IBM", LAST.open_at + minute * MINUTE, (Decimal(99),) * 4)
    with hearing(settings) as said:
        said.say(*of("alpaca", 2, 99, 101), *of("yahoo", 2, 99, 101), *of("yahoo", 4, 99, 101))
        wait_until(lambda: recorded(bare) == [("IBM", 3)])
        for minute in range(9):
            put_bar(bare, "yahoo", "IBM", LAST.open_at + minute * MINUTE, (Decimal(99),) * 4)
        time.sleep(2 * process.RULES_SECONDS + 1)
        said.say(*of("alpaca", 6, 99, 101), *of("yahoo", 8, 99, 101))
        wait_until(lambda: len(recorded(bare)) > 1)
    assert recorded(bare) == [("IBM", 3), ("IBM", 9)]


def test_a_series_goes_on_from_the_close_of_another_source_s_newer_bar_and_from_nothing_else_of_it(
    bare: psycopg.Connection[Any], settings: Settings
) -> None:
    day_before = session_of(DAYS[0])
    put_bar(bare, "lean", "IBM", day_before.open_at, (Decimal(95),) * 4)
    put_bar(bare, "lean", "SPY", LAST.open_at, (Decimal(95),) * 4)
    bare.execute("create schema if not exists marts")
    bare.execute(
        "create table marts.intraday_analytics as select symbol, '1m' as interval, bar_at + interval '5 days' as bar_at, date "
        " '2013-12-02' as session_date, 'pre' as segment, 97.5 as close, "
        "'otherfeed' as origin from lake.bars_1m where symbol = 'IBM'"
    )
    try:
        with psycopg.connect(settings.require_database()) as fresh:
            found = {minute.symbol: minute for minute in load_beginning(fresh, ["regular"]).minutes}
    finally:
        bare.execute("drop table marts.intraday_analytics")
    shown, own = found["IBM"], found["SPY"]
    assert (shown.session_date, shown.segment, shown.before) == (LAST.session_date, "pre", 97.5)
    assert (shown.is_closed, shown.first, shown.last, shown.high, shown.low) == (True, None, None, None, None)
    assert (own.is_closed, own.close) == (False, 95.0)


def test_no_change_of_rules_goes_unseen_whatever_its_moment(bare: psycopg.Connection[Any], settings: Settings) -> None:
    marks = [mark_of_rules(bare)]

    def look() -> None:
        assert mark_of_rules(bare) == mark_of_rules(bare)
        marks.append(mark_of_rules(bare))

    add_rules(settings, [at_once("newest")], MADE)
    look()
    add_rules(settings, [at_once("r"), at_once("other")], MADE - timedelta(days=1))
    look()
    for status in (PAUSED, ACTIVE, PAUSED, ENDED):
        change_status(settings, "r", status, MADE - timedelta(hours=12))
        look()
    change_status(settings, "other", ENDED, MADE - timedelta(hours=12))
    look()
    bare.execute("insert into app.watchlist values ('IBM', 'tech', %s)", [MADE])
    look()
    assert len(set(map(str, marks))) == len(marks) == 9
