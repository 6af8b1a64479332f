"""Rules about bid, ask and spread over real marts and published quotes: when they fire, and what late quotes make of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest

from alerts.evaluation.backtest import backtest, try_newest
from alerts.evaluation.evaluate import evaluate
from alerts.rules.rule import Rule, Trigger
from alerts.store import add_rules
from market.settings import Settings
from orchestration.progress import has_bars_for_rules, queued_for_rules
from tests.integration.alert_rows import (
    EVENING,
    LAST,
    MADE,
    MARTS,
    NEXT_DAY,
    assert_lawful,
    forget_rules,
    minutes_of,
    put_closes,
)
from tests.integration.dbt_runs import Dbt
from tests.integration.quote_rows import publish_quotes
from verify.laws import verify_alerts

pytestmark = pytest.mark.integration

WIDE: Final = Rule("wide", "spread above 0.05", "IBM")
WIDE_AT_ONE: Final = [(0.1, "100", "100.01"), (1.1, "100", "100.2"), (3, "1", "2")]
"""Minute, bid and ask."""
FORGET: Final = "truncate lake.quotes_1m, lake.latest_quotes, staging.pending_quotes"
QUEUED: Final = "select symbol, min(from_at) from staging.pending_quotes group by symbol order by symbol"

NEWEST: Final = """
insert into lake.quotes_1m (source, symbol, bar_at, session_date, segment, bid, ask, revised_at)
select source, symbol, bar_at + interval '2 minutes', session_date, segment, 7, 8, revised_at
from lake.quotes_1m where ask = 100.2
"""
CHANGES: Final = [
    ("update lake.quotes_1m set ask = 100.02 where ask = 100.2", []),
    ("update lake.quotes_1m set ask = 100.2 where ask = 100.02", [1]),
    ("delete from lake.quotes_1m where bid = 1", []),
    (NEWEST, [1]),
    ("truncate lake.quotes_1m", []),
]


@pytest.fixture
def bare(connection: psycopg.Connection[Any], dbt: Dbt) -> Iterator[psycopg.Connection[Any]]:
    """No rule and no quote; the marts are there and empty."""
    forget_rules(connection, dbt)
    connection.execute(FORGET)
    connection.execute("delete from lake.stream_batches where query_id = 'test of quotes'")
    yield connection
    forget_rules(connection, dbt)
    connection.execute(FORGET)
    connection.execute("delete from lake.stream_batches where query_id = 'test of quotes'")


def test_a_wide_spread_fires_and_a_late_quote_takes_it_back(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [WIDE], MADE)
    put_closes(bare, [100, 100, 100, 100])
    publish_quotes(
        bare, [(0.1, "100", "100.05"), (1.1, "100", None), (1.2, None, "100.06"), (2.1, "100", "100.01"), (3, "1", "2")]
    )
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.fired, minutes_of(bare, "wide")) == (1, [1])
    assert_lawful(settings)
    ((message, evidence),) = bare.execute("select message, evidence from app.alerts").fetchall()
    assert message.endswith("(spread 0.06)")
    assert evidence["values"]["spread"] == {"now": 0.06, "before": 0.05}, "the difference of decimals, not of doubles"

    publish_quotes(bare, [(1.5, None, "100.02")])
    assert bare.execute(QUEUED).fetchall() == [("IBM", LAST.open_at + timedelta(minutes=1))]
    assert verify_alerts(settings).holds, "what is queued is behind"
    done = evaluate(settings, EVENING)
    assert (done.fired, done.retracted, minutes_of(bare, "wide")) == (0, 1, [])
    assert_lawful(settings)
    publish_quotes(bare, [(1.55, None, "101")])
    assert evaluate(settings, EVENING).fired == 1, "and comes again"
    assert evaluate(settings, EVENING).fired == 0
    assert_lawful(settings)


def test_a_bar_has_ended_when_the_quotes_of_its_feed_have_passed_it_too(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(
        settings,
        [
            WIDE,
            Rule("close", "close above 99", "IBM"),
            Rule("soon", "ask above 101", "IBM", trigger=Trigger.ONCE_PER_BAR),
        ],
        MADE,
    )
    publish_quotes(bare, [(0.1, "100", "100.01"), (1.1, "100", "101.5")])
    put_closes(bare, [99, 100, 100, 100])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "close") == [1], "trades have passed the bar"
    assert minutes_of(bare, "soon") == [1], "this rule waits for no end"
    assert minutes_of(bare, "wide") == [], "a quote of its minute may come"
    assert_lawful(settings)
    assert not has_bars_for_rules(settings)
    publish_quotes(bare, [(2.0, "7", "8")], symbol="SPY")
    assert has_bars_for_rules(settings)
    assert queued_for_rules(settings) is not None
    evaluate(settings, EVENING)
    assert minutes_of(bare, "wide") == [1]
    assert_lawful(settings)
    assert queued_for_rules(settings) is None
    publish_quotes(bare, [(2.5, "7", "8")], symbol="QQQ")
    assert not has_bars_for_rules(settings), "the same minute"


def test_quotes_that_come_before_the_bar_and_of_another_feed_are_not_lost_or_mixed(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [WIDE], MADE)
    publish_quotes(bare, [(0.1, "100", "101"), (4, "1", "2")], source="otherfeed")
    publish_quotes(bare, [(0.1, "100", "100.01"), (1.1, "100", "100.5"), (4, "1", "2")])
    evaluate(settings, EVENING)
    put_closes(bare, [100, 100, 100])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "wide") == [1]
    assert_lawful(settings)


def test_longer_bars_have_the_last_side_of_their_minutes_and_windows_look_back(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    rules = [
        Rule("long", "spread above 0.9 and ask above 101", "IBM", "5m", is_edge=False),
        Rule("mean", "ask above 1.005 * average(ask, 2)", "IBM"),
        Rule("cross", "bid crosses below 99.5", "IBM"),
        Rule("high", "bid new high of 2", "all"),
    ]
    add_rules(settings, rules, MADE)
    put_closes(bare, [100] * 12)
    publish_quotes(
        bare,
        [
            (minute + 0.5, None if minute == 7 else str(100 - minute % 5 / 4), str(100 + minute / 5))
            for minute in range(13)
        ],
    )
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert_lawful(settings)
    assert minutes_of(bare, "long") == [5]
    assert minutes_of(bare, "cross") == [3], "where the bid before is not known nothing crosses"
    assert minutes_of(bare, "high") == [5], "at 10 it is not known whether the bar before was one"
    assert minutes_of(bare, "mean") == []
    publish_quotes(bare, [(4.9, "101", None), (7.5, "99", None), (9.9, "104", None)])
    evaluate(settings, EVENING)
    assert_lawful(settings)
    assert minutes_of(bare, "long") == [], "the last bid of these five minutes"
    assert minutes_of(bare, "high") == [4, 9]


def test_what_is_taken_away_or_put_right_by_hand_is_looked_at_again(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [WIDE], MADE)
    put_closes(bare, [100, 100, 100, 100])
    publish_quotes(bare, WIDE_AT_ONE)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "wide") == [1]
    for change, expected in CHANGES:
        bare.execute(change.encode())
        assert_lawful(settings, change)
        evaluate(settings, EVENING)
        assert_lawful(settings, change)
        assert minutes_of(bare, "wide") == expected, change
    publish_quotes(bare, [(0.1, "100", "100.01")])
    with pytest.raises(psycopg.errors.RaiseException, match="keep their source"):
        bare.execute("update lake.quotes_1m set symbol = 'SPY'")


def test_who_has_no_rule_about_quotes_pays_nothing(bare: psycopg.Connection[Any], settings: Settings) -> None:
    add_rules(settings, [Rule("close", "close above 99", "IBM")], MADE)
    publish_quotes(bare, [(0.1, "100", "100.01")])
    assert bare.execute(QUEUED).fetchall() == []
    add_rules(settings, [WIDE], MADE)
    publish_quotes(bare, [(0.2, "100", "100.02"), (0.3, None, "100.03")])
    publish_quotes(bare, [(0.4, "100", "100.02")])
    assert bare.execute("select symbol, count(*) from staging.pending_quotes group by 1").fetchall() == [("IBM", 1)]


def test_a_feed_goes_on_with_its_newest_minute_alone(bare: psycopg.Connection[Any], settings: Settings) -> None:
    add_rules(settings, [WIDE], MADE)
    gone_on = "select greatest(from_at, '2000-01-01') from staging.pending_quotes where symbol = '*'"
    for minutes, before in (([0], None), ([5, 7], 0), ([6], None), ([7.5], None), ([3, 8, 9], 0), ([8], None)):
        bare.execute("truncate staging.pending_quotes")
        publish_quotes(bare, [(minute, "100", "100.01") for minute in minutes], symbol=f"S{len(minutes)}")
        found = [at for (at,) in bare.execute(gone_on).fetchall()]
        if minutes == [0]:
            assert len(found) == 1, "before it there was nothing"
        else:
            assert found == ([] if before is None else [LAST.open_at + timedelta(minutes=before)]), minutes


def test_the_law_sees_alerts_that_the_quotes_do_not_give(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [WIDE], MADE)
    put_closes(bare, [100, 100, 100, 100])
    publish_quotes(bare, WIDE_AT_ONE)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    bare.execute("update lake.quotes_1m set ask = 100.02 where ask = 100.2")
    bare.execute("truncate staging.pending_quotes")
    assert "an alert stands where its rule does not fire" in verify_alerts(settings).problems
    bare.execute("update lake.quotes_1m set ask = 100.2 where ask in (100.02, 100.01)")
    bare.execute("truncate staging.pending_quotes")
    assert "an alert stands where its rule does not fire" in verify_alerts(settings).problems, "no edge"
    bare.execute("update lake.quotes_1m set ask = 100.01 where bar_at = (select min(bar_at) from lake.quotes_1m)")
    bare.execute("truncate staging.pending_quotes")
    assert_lawful(settings)


def test_a_backtest_and_a_test_show_quotes_and_write_nothing(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    put_closes(bare, [100, 100, 100, 100])
    publish_quotes(bare, WIDE_AT_ONE)
    dbt(*MARTS, touched=True)
    (found,) = backtest(settings, WIDE, start=LAST.pre_open_at)
    assert (found.bar_at, found.now) == (LAST.open_at + timedelta(minutes=1), {"spread": 0.2})
    (newest,) = try_newest(settings, WIDE)
    assert (newest.now, newest.before, newest.fires) == ({"spread": 1.0}, {"spread": None}, False)
    assert bare.execute("select count(*) from app.alert_rules").fetchone() == (0,)


def test_what_a_replay_brings_is_historical_and_stays_lawful(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [WIDE], MADE)
    put_closes(bare, [100, 100, 100])
    dbt(*MARTS, touched=True)
    publish_quotes(bare, [(0.1, "100", "100.01"), (1.1, "100", "100.2"), (2, "1", "1.01")])
    done = evaluate(settings, NEXT_DAY)
    assert (done.fired, done.historical, done.queued) == (1, 1, 0)
    assert_lawful(settings)
