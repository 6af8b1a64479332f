"""What a watch over prices reads from PostgreSQL and records there, without a broker and without marts that dbt builds."""

from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from alerts.at_once.levels import Watch
from alerts.at_once.minutes import Minute, micros
from alerts.at_once.recording import record_fired
from alerts.at_once.watcher import Fired
from alerts.rules.rule import Rule, Trigger
from alerts.store import add_rules
from market.settings import Settings
from tests.integration.alert_rows import LAST, MADE, TABLES
from tests.integration.price_watches import DURING, trade

pytestmark = pytest.mark.integration


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
    return Fired(Watch(1, 1, "passes_above", 100, 100, frozenset({"regular"}), 0), one, minute)


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
