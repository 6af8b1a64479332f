"""Alerts over real marts: step by step they are what an evaluation from nothing gives, whatever changes or is killed."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest

from alerts.evaluation import recording
from alerts.evaluation.backtest import backtest
from alerts.evaluation.evaluate import Evaluated, evaluate
from alerts.rules.rule import Rule, Trigger
from alerts.store import ACTIVE, ENDED, PAUSED, add_rules, change_status
from market.settings import Settings
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
from tests.integration.indicator_rows import fill, some_moment, walk
from tests.integration.mart_oracle import Row, read
from tests.integration.mart_rows import SYMBOLS, put_bar

pytestmark = pytest.mark.integration

STANDING: Final = """
select rule_id, symbol, interval, bar_at, is_historical from marts.alerts where not is_retracted order by 1, 2, 3, 4
"""
RULES: Final = (
    Rule("edge", "close above sma_20", "IBM,SPY", "1m"),
    Rule("level", "close below bb_lower", "all", "5m", is_edge=False),
    Rule("cross", "close crosses sma_20", "SPY", "5m", cooldown_seconds=3600),
    Rule("once", "close new high of 20", "all", "1m", Trigger.ONCE),
    Rule("forming", "close moves 1 % in 5 bars", "IBM", "15m", Trigger.ONCE_PER_BAR),
    Rule("hysteresis", "close above sma_20", "all", "1m", hysteresis=0.1, is_hysteresis_percent=True),
    Rule("both", "close crosses above average(close, 5) and volume above 1.5 * average(volume, 20)", "all", "1m"),
    Rule("band", "close leaves bb_lower .. bb_upper", "all", "1m", cooldown_seconds=600, hysteresis=0.05),
    Rule("hour", "high above 1.001 * open", "all", "1h"),
    Rule("day", "close above open", "all", "1d", is_edge=False),
)


@pytest.fixture
def rules(connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings) -> psycopg.Connection[Any]:
    """Some rules, made before all bars; the marts are there and empty."""
    forget_rules(connection, dbt)
    add_rules(settings, RULES, MADE)
    return connection


def standing(connection: psycopg.Connection[Any]) -> list[Row]:
    return read(connection, STANDING)


def from_nothing(connection: psycopg.Connection[Any], settings: Settings) -> list[Row]:
    """Return the alerts that an evaluation of everything gives, and leave those that there were."""
    with connection.transaction(force_rollback=False):
        connection.execute("create table kept as select * from app.alerts")
        connection.execute("create table kept_rearms as select * from app.alert_rearms")
        connection.execute("create table kept_outbox as select * from app.alert_outbox")
        connection.execute("truncate app.alerts, app.alert_rearms, app.alert_outbox")
        connection.execute(
            "insert into app.pending_evaluations values ('intraday_analytics', '*', '*', '', '-infinity'), "
            "('daily_analytics', '*', '*', '', '-infinity') on conflict do nothing"
        )
    evaluate(settings, EVENING)
    found = standing(connection)
    with connection.transaction():
        for name, kept in (("alerts", "kept"), ("alert_rearms", "kept_rearms"), ("alert_outbox", "kept_outbox")):
            connection.execute(f"truncate app.{name}".encode())
            connection.execute(f"insert into app.{name} select * from {kept}".encode())
            connection.execute(f"drop table {kept}".encode())
    return found


def end_all_bars(connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings) -> None:
    """Have the tape pass all bars: where one has not ended, what was told before stands."""
    put_bar(connection, "lean", SYMBOLS[0], LAST.close_at, (Decimal(100),) * 4)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)


def change_a_minute(connection: psycopg.Connection[Any], chance: random.Random) -> None:
    """Revise, bring, or take away a minute; more often one of the end."""
    symbol, at = chance.choice(SYMBOLS), some_moment(chance)
    kind = chance.randrange(6)
    if kind == 0:
        connection.execute("delete from lake.bars_1m where symbol = %s and bar_at = %s", [symbol, at])
    elif kind == 1:
        put_bar(connection, "lean", symbol, at, None, volume=0, revision=chance.randrange(2, 99))
    else:
        price = float(chance.choice([95, 99, 100, 101, 105]))
        put_bar(connection, "lean", symbol, at, walk(chance, price), volume=chance.choice([10, 5000, 90_000]))


@pytest.mark.timeout(600)
def test_alerts_step_by_step_are_those_of_an_evaluation_from_nothing(
    rules: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    for symbol in SYMBOLS:
        fill(rules, chance, symbol, 0.7)
    dbt(*MARTS)
    evaluate(settings, EVENING)
    assert_lawful(settings, f"seed {seed}, filled")
    assert len({row["rule_id"] for row in standing(rules)}) >= 8
    retracted = 0
    for step in range(10):
        for _ in range(chance.randrange(1, 5)):
            change_a_minute(rules, chance)
        dbt(*MARTS, touched=True)
        retracted += evaluate(settings, EVENING).retracted
        assert_lawful(settings, f"seed {seed}, step {step}")
    assert retracted > 0
    end_all_bars(rules, dbt, settings)
    found = standing(rules)
    assert found == from_nothing(rules, settings), f"seed {seed}"
    assert evaluate(settings, EVENING) == Evaluated()


def test_minutes_that_come_one_after_the_other_give_what_all_at_once_give(
    rules: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    price = 100.0
    for part in range(8):
        for minute in range(part * 9, part * 9 + 9):
            for symbol in SYMBOLS:
                if chance.random() < 0.8:
                    prices = walk(chance, price)
                    price = float(prices[3])
                    put_bar(
                        rules, "lean", symbol, LAST.open_at + timedelta(minutes=minute), prices, volume=100 * minute
                    )
        dbt(*MARTS, touched=True)
        evaluate(settings, EVENING)
        assert_lawful(settings, f"seed {seed}, part {part}")
    end_all_bars(rules, dbt, settings)
    assert standing(rules) == from_nothing(rules, settings), f"seed {seed}"


@pytest.fixture
def bare(connection: psycopg.Connection[Any], dbt: Dbt) -> psycopg.Connection[Any]:
    """No rule; the marts are there and empty."""
    forget_rules(connection, dbt)
    return connection


CLOSES: Final = [90, 99, 101, 103, 99, 100, 105, 97, 101, 104, 110, 89, 101]
KINDS: Final = {
    "edge": (Rule("edge", "close above 100", "IBM"), [2, 6, 8, 12]),
    "level": (Rule("level", "close above 100", "IBM", is_edge=False), [2, 3, 6, 8, 9, 10, 12]),
    "crosses": (Rule("crosses", "close crosses 100", "IBM"), [2, 4, 6, 7, 8, 11, 12]),
    "below": (Rule("below", "close crosses below 100", "IBM"), [4, 7, 11]),
    "once": (Rule("once", "close above 100", "IBM", trigger=Trigger.ONCE), [2]),
    "cooldown": (Rule("cooldown", "close above 100", "IBM", cooldown_seconds=300), [2, 8]),
    "hysteresis": (Rule("hysteresis", "close above 100", "IBM", hysteresis=3.0), [2, 8, 12]),
    "percent": (Rule("percent", "close above 100", "IBM", hysteresis=11.0, is_hysteresis_percent=True), [2, 12]),
    "enters": (Rule("enters", "close enters 100 .. 103", "IBM"), [2, 5, 8, 12]),
    "leaves": (Rule("leaves", "close leaves 100 .. 103", "IBM"), [4, 6, 9]),
    "outside": (Rule("outside", "close outside 95 .. 104", "IBM"), [6, 10]),
    "inside": (Rule("inside", "close inside 99 .. 101", "IBM", is_edge=False), [1, 2, 4, 5, 8, 12]),
    "moves": (Rule("moves", "close moves up 6 in 2 bars", "IBM"), [6, 9]),
    "percents": (Rule("percents", "close moves down 5 % in 1 bar", "IBM"), [7, 11]),
    "extreme": (Rule("extreme", "close new high of 3", "IBM"), [6, 10]),
    "sum": (Rule("sum", "obv new high of 3", "IBM"), [6, 9]),
    "at once": (Rule("at once", "price above 100", "IBM", trigger=Trigger.AT_ONCE), [2, 6, 8, 12]),
    "at once below": (Rule("at once below", "99 above price", "IBM", trigger=Trigger.AT_ONCE), [7, 11]),
    "at once both": (
        Rule("at once both", "price crosses 100", "IBM", trigger=Trigger.AT_ONCE),
        [2, 4, 6, 7, 8, 11, 12],
    ),
    "at once leaves": (Rule("at once leaves", "price leaves 100 .. 103", "IBM", trigger=Trigger.AT_ONCE), [4, 6, 9]),
    "at once outside": (Rule("at once outside", "price outside 95 .. 104", "IBM", trigger=Trigger.AT_ONCE), [6, 10]),
    "at once level": (
        Rule("at once level", "price outside 95 .. 104", "IBM", trigger=Trigger.AT_ONCE, is_edge=False),
        [0, 6, 10, 11],
    ),
    "at once rarely": (
        Rule("at once rarely", "price above 100", "IBM", trigger=Trigger.AT_ONCE, cooldown_seconds=300),
        [2, 8],
    ),
    "average": (Rule("average", "close above average(close, 2)", "IBM", is_edge=False), [2, 3, 6, 9, 10, 12]),
    "and": (Rule("and", "close crosses above 100 and close new high of 2", "IBM"), [2, 6]),
    "change": (Rule("change", "change 1 bars above 4 %", "IBM"), [6, 8, 10, 12]),
    "gap": (Rule("gap", "gap above 2 %", "IBM", is_edge=False), [1, 2, 6, 8, 9, 10, 12]),
    "factor": (Rule("factor", "close above 1.04 * average(close, 1)", "IBM", is_edge=False), [1, 6, 8, 10, 12]),
}
"""Rules of every kind, and on which minutes they fire over CLOSES, by hand: what is unknown of a bar begins on none."""


def test_rules_of_every_kind_fire_where_they_should(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [rule for rule, _ in KINDS.values()], MADE)
    put_closes(bare, CLOSES)
    put_closes(bare, [50] * (len(CLOSES) + 1), "SPY")  # the tape has passed the last minute of IBM
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert {name: minutes_of(bare, name) for name in KINDS} == {name: minutes for name, (_, minutes) in KINDS.items()}
    assert_lawful(settings)
    for name, (rule, minutes) in KINDS.items():
        found = backtest(settings, rule, start=MADE)
        assert [int((one.bar_at - LAST.open_at).total_seconds() // 60) for one in found] == minutes, name


def test_at_once_the_extremes_of_a_bar_count_and_the_close_before(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    at_once: dict[str, Any] = {"symbols": "IBM", "trigger": Trigger.AT_ONCE}
    rules = {
        "up": (Rule("up", "price crosses above 100", **at_once), [1, 2]),
        "down": (Rule("down", "price below 95", **at_once), [1, 3]),
        "both": (Rule("both", "price crosses 100", **at_once), [1, 2, 3]),
        "out": (Rule("out", "price leaves 95 .. 104", **at_once), [1, 2]),
        "high": (Rule("high", "price above 104", **at_once, is_edge=False), [1, 2, 3]),
        "low": (Rule("low", "price below 95", **at_once, is_edge=False), [1, 3]),
    }
    add_rules(settings, [rule for rule, _ in rules.values()], MADE)
    wicks = [(99, 99, 99, 99), (99, 105, 94, 100), (100, 106, 100, 106), (106, 107, 90, 100)]
    for minute, prices in enumerate(wicks):
        put_bar(
            bare, "lean", "IBM", LAST.open_at + timedelta(minutes=minute), tuple(Decimal(price) for price in prices)
        )
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert {name: minutes_of(bare, name) for name in rules} == {name: minutes for name, (_, minutes) in rules.items()}
    assert_lawful(settings)
    for name, (rule, minutes) in rules.items():
        found = backtest(settings, rule, start=MADE)
        assert [int((one.bar_at - LAST.open_at).total_seconds() // 60) for one in found] == minutes, name


def test_a_bar_that_has_not_ended_fires_only_for_rules_that_want_it(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    forming = Rule("forming", "close above 100", "IBM", trigger=Trigger.ONCE_PER_BAR)
    add_rules(settings, [Rule("closed", "close above 100", "IBM"), forming], MADE)
    put_closes(bare, [99, 101])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert (minutes_of(bare, "closed"), minutes_of(bare, "forming")) == ([], [1])
    put_closes(bare, [50] * 3, "SPY")  # nothing of IBM changed, but its bar has ended
    dbt(*MARTS, touched=True)
    assert evaluate(settings, EVENING).fired == 1
    assert (minutes_of(bare, "closed"), minutes_of(bare, "forming")) == ([1], [1])
    assert_lawful(settings)


def test_a_correction_takes_an_alert_back_and_another_one_gives_it_again(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [Rule("r", "close above 100", "IBM", channels=("log", "mail"))], MADE)
    put_closes(bare, [99, 101, 102])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    kinds = "select kind, revision, refers_to is not null, message from app.alerts order by revision, kind"
    before = bare.execute(kinds).fetchall()
    put_bar(bare, "lean", "IBM", LAST.open_at + timedelta(minutes=1), (Decimal(98),) * 4, revision=2)
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.retracted, done.fired, done.queued) == (1, 0, 2)
    put_bar(bare, "lean", "IBM", LAST.open_at + timedelta(minutes=1), (Decimal(103),) * 4, revision=3)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    found = bare.execute(kinds).fetchall()
    assert [(kind, revision, refers) for kind, revision, refers, _ in found] == [
        ("alert", 1, False),
        ("retraction", 1, True),
        ("alert", 2, False),
    ]
    assert before == found[:1]
    assert found[1][3] == f"Retracted: {found[0][3]}"
    sent = "select channel, count(*) from app.alert_outbox where status = 'pending' group by channel order by channel"
    assert bare.execute(sent).fetchall() == [("log", 3), ("mail", 3)]
    assert_lawful(settings)


def test_what_is_past_is_recorded_and_never_sent(bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings) -> None:
    add_rules(settings, [Rule("r", "close above 100", "IBM")], MADE)
    put_closes(bare, [99, 101, 102])
    dbt(*MARTS, touched=True)
    done = evaluate(settings, NEXT_DAY)
    assert (done.fired, done.historical, done.queued) == (1, 1, 0)
    put_bar(bare, "lean", "IBM", LAST.open_at + timedelta(minutes=1), (Decimal(98),) * 4, revision=2)
    dbt(*MARTS, touched=True)
    done = evaluate(settings, NEXT_DAY)
    assert (done.retracted, done.queued) == (1, 0)
    assert bare.execute("select count(*) from app.alert_outbox").fetchone() == (0,)
    assert_lawful(settings)


def test_a_replay_after_a_rule_was_made_is_of_its_past_and_does_not_count_for_its_present(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    made = LAST.open_at + timedelta(minutes=5)
    add_rules(settings, [Rule("r", "close above 100", "IBM", trigger=Trigger.ONCE)], made)
    put_closes(bare, [99, 101, 99, 101, 102, 99, 101, 103])
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [1, 6]
    assert (done.fired, done.historical, done.queued) == (2, 1, 1)
    assert_lawful(settings)


def test_bars_from_before_a_rule_that_did_not_change_since_are_left_alone(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    put_closes(bare, [99, 101, 102])
    dbt(*MARTS, touched=True)
    add_rules(settings, [Rule("r", "close above 100", "IBM")], datetime(2026, 6, 1, tzinfo=UTC))
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == []
    assert_lawful(settings)


def test_a_rule_that_is_paused_fires_no_more_but_takes_back_what_no_longer_holds(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [Rule("r", "close above 100", "IBM")], MADE)
    put_closes(bare, [99, 101, 99, 101, 99])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    change_status(settings, "r", PAUSED, LAST.open_at + timedelta(minutes=5))
    put_closes(bare, [99, 98, 99, 101, 99, 99, 101, 99])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [3]
    assert_lawful(settings, "paused")
    change_status(settings, "r", ACTIVE, LAST.open_at + timedelta(minutes=8))
    put_closes(bare, [99, 98, 99, 101, 99, 99, 101, 99, 99, 101, 99])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [3, 9]
    assert_lawful(settings, "resumed")
    change_status(settings, "r", ENDED, LAST.open_at + timedelta(minutes=11))
    put_closes(bare, [99, 98, 99, 101, 99, 99, 101, 99, 99, 98, 99, 99, 101, 99])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [3]
    assert_lawful(settings, "ended")


def test_a_watchlist_means_the_symbols_that_are_on_it(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    bare.execute("insert into app.watchlist values ('IBM', 'tech', %s), ('SPY', 'funds', %s)", [MADE, MADE])
    add_rules(
        settings, [Rule("r", "close above 100", "watchlist:tech"), Rule("s", "close above 100", "watchlist")], MADE
    )
    for symbol in SYMBOLS:
        put_closes(bare, [99, 101, 99], symbol)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    found = bare.execute("select rule_name, symbol from app.alerts order by 1, 2").fetchall()
    assert found == [("r", "IBM"), ("s", "IBM"), ("s", "SPY")]
    assert_lawful(settings)


def test_an_evaluation_that_is_killed_leaves_all_to_the_next(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rules(settings, [Rule("r", "close above 100", "IBM")], MADE)
    put_closes(bare, [99, 101, 99])
    dbt(*MARTS, touched=True)
    with monkeypatch.context() as patch:
        patch.setattr(recording, "_REARMS", "select pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(psycopg.OperationalError):
            evaluate(settings, EVENING)
    assert bare.execute("select count(*) from app.alerts").fetchone() == (0,)
    assert bare.execute("select count(*) from app.alert_outbox").fetchone() == (0,)
    assert evaluate(settings, EVENING).fired == 1
    assert_lawful(settings)


def test_two_evaluations_at_once_double_nothing(bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings) -> None:
    add_rules(settings, [Rule("r", "close above 100", "all", is_edge=False)], MADE)
    for symbol in SYMBOLS:
        put_closes(bare, [99, 101, 102, 103, 104], symbol)
    dbt(*MARTS, touched=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        done = [job.result() for job in [pool.submit(evaluate, settings, EVENING) for _ in range(4)]]
    assert sum(one.fired for one in done) == 8 - 2  # the last minute of both has not ended
    assert_lawful(settings)
