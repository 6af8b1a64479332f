"""What is told and no longer so is taken back, whatever tiers, open bars, the watchlist and pauses do; and nothing else is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest

from alerts.evaluation.backtest import backtest
from alerts.evaluation.evaluate import evaluate
from alerts.rules.rule import Rule, Trigger
from alerts.store import ACTIVE, PAUSED, add_rules, change_status
from market.errors import NoDataError
from market.settings import Settings
from market.tiers import INTRADAY
from tests.integration.alert_rows import EVENING, LAST, MADE, MARTS, assert_lawful, forget_rules, minutes_of, put_closes
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import session_of
from tests.integration.mart_rows import DAYS, put_bar
from tests.integration.quote_rows import publish_quotes
from verify.laws import verify_alerts
from warehouse.tiers import move_tiers

pytestmark = pytest.mark.integration

LONG_AGO: Final = datetime(2013, 1, 1, tzinfo=UTC)
KINDS: Final = (
    "select kind, revision, extract(minute from bar_at - %s)::integer from app.alerts order by 3, revision, kind"
)
NEXT_BID: Final = """
insert into lake.quotes_1m (source, symbol, bar_at, session_date, segment, bid, revised_at)
select source, symbol, %s, session_date, segment, 102, revised_at from lake.quotes_1m where bid = 99
"""
GONE: Final = "delete from lake.bars_1m where symbol = 'IBM' and bar_at = %s"


@pytest.fixture
def bare(connection: psycopg.Connection[Any], dbt: Dbt) -> Iterator[psycopg.Connection[Any]]:
    """No rule and no tier that has moved; the marts are there and empty."""
    clean = "truncate lake.tiers, lake.quotes_1m, lake.latest_quotes, staging.pending_quotes"
    connection.execute(clean)
    forget_rules(connection, dbt)
    connection.execute("delete from lake.stream_batches where query_id = 'test of quotes'")
    yield connection
    connection.execute(clean)
    connection.execute("delete from lake.stream_batches where query_id = 'test of quotes'")


def at(minute: int) -> datetime:
    return LAST.open_at + timedelta(minutes=minute)


def close_at(connection: psycopg.Connection[Any], minute: int, close: int, symbol: str = "IBM") -> None:
    put_bar(connection, "lean", symbol, at(minute), (Decimal(close),) * 4)


def recorded(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """Return what was recorded: its kind, revision and minute of the session."""
    return connection.execute(KINDS, [LAST.open_at]).fetchall()


def tell_of_a_bar_under_way(bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings) -> None:
    """Have a rule fire on the second bar of five minutes, of which one minute is there."""
    add_rules(settings, [Rule("r", "close above 100", "IBM", "5m", Trigger.ONCE_PER_BAR, is_edge=False)], MADE)
    put_closes(bare, [99] * 5 + [101])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)


@pytest.mark.parametrize("moved_to", [None, LONG_AGO])
def test_a_bar_that_has_vanished_takes_its_alert_back_also_after_a_tier_has_moved(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, moved_to: datetime | None
) -> None:
    move_tiers(settings, {INTRADAY.name: moved_to}, EVENING)
    add_rules(settings, [Rule("r", "close above 100", "IBM")], MADE)
    put_closes(bare, [99, 101, 99])
    dbt(*MARTS)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [1]
    bare.execute(GONE, [at(1)])
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.retracted, done.queued) == (1, 1)
    assert_lawful(settings)


def test_a_value_that_has_vanished_takes_its_alert_back_also_after_a_tier_has_moved(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    move_tiers(settings, {INTRADAY.name: LONG_AGO}, EVENING)
    rules = [Rule("bid", "bid above 100", "IBM"), Rule("high", "bid new high of 2", "IBM", is_edge=False)]
    add_rules(settings, rules, MADE)
    put_closes(bare, [100] * 7)
    publish_quotes(bare, [(minute + 0.1, "101" if minute == 4 else "99", "102") for minute in range(7)])
    dbt(*MARTS)
    evaluate(settings, EVENING)
    assert (minutes_of(bare, "bid"), minutes_of(bare, "high")) == ([4], [4])
    bare.execute("delete from lake.quotes_1m where bar_at = %s", [at(4)])
    bare.execute("truncate staging.pending_quotes")
    problems = verify_alerts(settings).problems
    assert "an alert stands where its rule does not fire" in problems, "nobody looks at it"
    bare.execute("insert into app.pending_evaluations values ('intraday_analytics', 'IBM', '1m', '', %s)", [at(4)])
    assert evaluate(settings, EVENING).retracted == 2
    assert_lawful(settings)


def test_what_was_cut_off_with_a_tier_is_left_alone(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    rules = [
        Rule("edge", "close above 100", "IBM"),
        Rule("mean", "close above average(close, 2)", "IBM", is_edge=False),
    ]
    add_rules(settings, rules, MADE)
    before = session_of(DAYS[-2]).open_at
    for minute, close in enumerate([99, 101, 99, 99]):
        at_old = before + timedelta(minutes=minute)
        put_bar(bare, "lean", "IBM", at_old, (Decimal(close),) * 4, revised_at=LONG_AGO)
    put_closes(bare, [101, 102, 99, 98])
    dbt(*MARTS)
    evaluate(settings, EVENING)
    query = "select rule_name, bar_at from marts.alerts where not is_retracted order by 1, 2"
    stood = bare.execute(query).fetchall()
    assert stood == [
        ("edge", before + timedelta(minutes=1)),
        ("edge", at(0)),
        ("mean", at(0)),
        ("mean", at(1)),
    ] or stood == [
        ("edge", before + timedelta(minutes=1)),
        ("edge", at(0)),
        ("mean", before + timedelta(minutes=2)),
        ("mean", at(0)),
        ("mean", at(1)),
    ]
    move_tiers(settings, {INTRADAY.name: datetime.combine(DAYS[-1], datetime.min.time(), UTC)}, EVENING)
    dbt(*MARTS)
    assert bare.execute("select min(session_date) from marts.intraday_analytics").fetchone() == (DAYS[-1],)
    assert evaluate(settings, EVENING).retracted == 0
    assert bare.execute(query).fetchall() == stood
    assert_lawful(settings)


EXTREMES: Final = (
    "update app.alert_rule_versions set cooldown_seconds = 9223372036854775807 where rule_id = 1",
    "update app.alert_clauses set right_factor = 1.7e308 where rule_id = 1",
    "update app.alert_clauses set left_factor = -1.7e308 where rule_id = 1",
    "update app.alert_rule_versions set hysteresis = 1.7e308 where rule_id = 1",
    "update app.alert_rule_versions set hysteresis = 1.7e308, is_hysteresis_percent = true where rule_id = 1",
    "update app.alert_rule_versions set channels = '{log,desk,log}' where rule_id = 1",
)


@pytest.mark.parametrize("change", EXTREMES)
def test_a_rule_that_cannot_be_worked_out_as_it_says_stops_no_other(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, change: str
) -> None:
    strange = Rule("strange", "close above average(close, 1)", "IBM", is_edge=True, cooldown_seconds=60, hysteresis=1)
    add_rules(settings, [strange, Rule("good", "close above 100", "IBM")], MADE)
    bare.execute(change.encode())
    put_closes(bare, [99, 98, 101, 99, 102, 99])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "good") == [2, 4]
    assert_lawful(settings)
    close_at(bare, 4, 99)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "good") == [2]
    assert_lawful(settings)


@pytest.mark.parametrize("ends_above", [True, False])
def test_an_alert_on_a_bar_that_has_not_ended_is_judged_at_its_end(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, *, ends_above: bool
) -> None:
    rule = Rule("r", "close above 100", "IBM", "5m", Trigger.ONCE_PER_BAR, cooldown_seconds=3600)
    add_rules(settings, [rule], MADE)
    for minute, close in enumerate([99, 99, 99, 99, 99, 101, 99, 102]):
        close_at(bare, minute, close)
        dbt(*MARTS, touched=True)
        evaluate(settings, EVENING)
        assert recorded(bare) == ([("alert", 1, 5)] if minute >= 5 else []), minute
        assert_lawful(settings, f"minute {minute}")
    for minute, close in ((8, 99), (9, 101 if ends_above else 98)):
        close_at(bare, minute, close)
    dbt(*MARTS, touched=True)
    assert evaluate(settings, EVENING).retracted == 0, "more of the bar may come"
    close_at(bare, 10, 50, "SPY")  # the tape has passed its end
    dbt(*MARTS, touched=True)
    assert evaluate(settings, EVENING).retracted == (0 if ends_above else 1)
    assert recorded(bare) == [("alert", 1, 5), ("retraction", 1, 5)][: 1 if ends_above else 2]
    assert_lawful(settings, "ended")
    for minute, close in ((10, 99), (14, 99), (15, 101)):
        close_at(bare, minute, close)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == ([5] if ends_above else [15]), "what was taken back keeps nothing silent"
    assert_lawful(settings, "later")


def test_a_bar_whose_quotes_may_still_come_has_not_ended(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    rule = Rule("r", "bid above 100", "IBM", trigger=Trigger.ONCE_PER_BAR, is_edge=False, cooldown_seconds=600)
    add_rules(settings, [rule], MADE)
    put_closes(bare, [100] * 3)
    publish_quotes(bare, [(0.1, "99", None), (1.1, "101", None)])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [1]
    bare.execute("update lake.quotes_1m set bid = 100 where bid = 101")  # a later bid of a minute that goes on
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [1]
    assert_lawful(settings, "under way")
    bare.execute(NEXT_BID, [at(2)])
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [2], "the minute before has ended: without its alert this one may fire"
    assert_lawful(settings, "ended")


def test_an_alert_on_a_bar_under_way_that_vanishes_is_taken_back(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    tell_of_a_bar_under_way(bare, dbt, settings)
    bare.execute(GONE, [at(5)])
    dbt(*MARTS, touched=True)
    assert evaluate(settings, EVENING).retracted == 1
    assert_lawful(settings)


def test_a_symbol_that_left_the_watchlist_keeps_its_alerts_until_their_bars_are_corrected(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    bare.execute("insert into app.watchlist values ('IBM', 'tech', %s)", [MADE])
    rule = Rule("r", "close above 100", "watchlist", cooldown_seconds=180)
    forming = Rule("forming", "close above 100", "watchlist", "5m", Trigger.ONCE_PER_BAR, is_edge=False)
    add_rules(settings, [rule, forming], MADE)
    put_closes(bare, [99, 101, 99, 101, 99, 101])
    put_closes(bare, [50] * 9, "SPY")
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert (minutes_of(bare, "r"), minutes_of(bare, "forming")) == ([1, 5], [5])
    bare.execute("delete from app.watchlist")
    close_at(bare, 0, 98)
    close_at(bare, 3, 102)
    close_at(bare, 6, 99)
    close_at(bare, 7, 101)
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.fired, done.retracted) == (0, 0), "the reasons are still there, and no bar fires any more"
    assert_lawful(settings, "gone from the list")
    close_at(bare, 1, 98)
    dbt(*MARTS, touched=True)
    verdict = verify_alerts(settings)
    assert verdict.holds, "what is queued is behind"
    done = evaluate(settings, EVENING)
    assert (done.fired, done.retracted, minutes_of(bare, "r")) == (0, 1, [5])
    assert_lawful(settings, "corrected")
    bare.execute("insert into app.watchlist values ('IBM', 'tech', %s)", [at(7)])
    bare.execute(GONE, [at(5)])
    dbt(*MARTS, touched=True)
    bare.execute("truncate app.pending_evaluations")
    assert "an alert stands where its rule does not fire" in verify_alerts(settings).problems, "nobody looks at it"
    bare.execute("insert into app.pending_evaluations values ('intraday_analytics', 'IBM', '1m', '', %s)", [at(0)])
    done = evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [7], "it may fire again since it is back; the one of minute 5 is taken back"
    assert_lawful(settings, "back on the list")


def test_what_fired_before_a_symbol_left_the_watchlist_keeps_nothing_silent_once_it_is_back(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    bare.execute("insert into app.watchlist values ('IBM', 'tech', %s)", [MADE])
    add_rules(settings, [Rule("r", "close above 100", "watchlist", trigger=Trigger.ONCE)], MADE)
    put_closes(bare, [99, 101, 99])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    bare.execute("update app.watchlist set added_at = %s", [at(3)])
    for minute, close in ((3, 99), (4, 101), (5, 99)):
        close_at(bare, minute, close)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [1, 4]
    assert_lawful(settings)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("r", "close above 100", "IBM", trigger=Trigger.ONCE), [1]),
        (Rule("r", "close above 100", "IBM", cooldown_seconds=600), [1, 13]),
        (Rule("r", "close above 100", "IBM", hysteresis=5), [1, 6]),
    ],
    ids=["once", "cooldown", "hysteresis"],
)
def test_a_pause_does_not_make_a_rule_forget_what_it_has_told(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, rule: Rule, expected: list[int]
) -> None:
    add_rules(settings, [rule], MADE)
    closes = [99, 101, 99, 99, 99, 99, 101, 99, 99, 99, 99, 99, 99, 101, 99]
    put_closes(bare, closes[:3])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    change_status(settings, "r", PAUSED, at(3))
    change_status(settings, "r", ACTIVE, at(4))
    for minute, close in enumerate(closes):
        if minute >= 3:
            close_at(bare, minute, close)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == expected
    assert_lawful(settings)
    bare.execute("insert into app.pending_evaluations values ('intraday_analytics', 'IBM', '1m', '', '-infinity')")
    evaluate(settings, EVENING)
    assert recorded(bare) == [("alert", 1, minute) for minute in expected], "the same from the first bar on"
    assert_lawful(settings, "looked at again")
    close_at(bare, 1, 98)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert_lawful(settings, "the first is corrected")
    assert minutes_of(bare, "r")[0] == 6


def test_a_bar_in_which_a_rule_was_paused_and_resumed_is_judged_by_who_is_in_force_at_its_end(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    tell_of_a_bar_under_way(bare, dbt, settings)
    change_status(settings, "r", PAUSED, at(6))
    change_status(settings, "r", ACTIVE, at(7))
    evaluate(settings, EVENING)
    assert recorded(bare) == [("alert", 1, 5)]
    assert_lawful(settings, "resumed")
    close_at(bare, 9, 99)
    close_at(bare, 10, 50, "SPY")
    dbt(*MARTS, touched=True)
    assert evaluate(settings, EVENING).retracted == 1
    assert_lawful(settings, "ended")


def test_a_move_in_percent_of_a_value_below_zero_goes_the_way_that_the_value_goes(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    rules = [
        Rule("up", "spread moves up 5 % in 1 bars", "IBM", is_edge=False),
        Rule("down", "spread moves down 5 % in 1 bars", "IBM", is_edge=False),
        Rule("either", "spread moves 5 % in 1 bars", "IBM", is_edge=False),
    ]
    add_rules(settings, rules, MADE)
    put_closes(bare, [100] * 7)
    asks = [
        "100",
        "99.9",
        "99.95",
        "100.99",
        "101.5",
        "101.4",
        "101",
    ]  # of a bid of 101: -1, -1.1, -1.05, -0.01, 0.5, 0.4, 0
    publish_quotes(bare, [(minute + 0.1, "101", ask) for minute, ask in enumerate(asks)])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    expected = {"up": [3, 4], "down": [1, 5], "either": [1, 3, 4, 5]}
    assert {name: minutes_of(bare, name) for name in expected} == expected
    assert_lawful(settings)
    for rule in rules:
        found = backtest(settings, rule, start=MADE)
        assert [int((one.bar_at - LAST.open_at).total_seconds() // 60) for one in found] == expected[rule.name]


def test_an_indicator_that_no_build_has_made_yet_is_named_and_what_is_queued_waits_for_it(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [Rule("r", "close above 100 and rsi_14 above 0", "IBM", "1d")], MADE)
    put_closes(bare, [99, 101])
    dbt(*MARTS)
    waiting = "select count(*) from app.pending_evaluations"
    before = bare.execute(waiting).fetchone()
    bare.execute("alter table marts.daily_analytics rename column rsi_14 to hidden")
    try:
        with pytest.raises(NoDataError, match=r"marts\.daily_analytics has no rsi_14 yet.*\./run marts"):
            evaluate(settings, EVENING)
        assert bare.execute(waiting).fetchone() == before != (0,)
    finally:
        bare.execute("alter table marts.daily_analytics rename column hidden to rsi_14")
    evaluate(settings, EVENING)
    assert bare.execute(waiting).fetchone() == (0,)
