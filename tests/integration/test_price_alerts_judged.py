"""When what fired at once is judged: once its bar has ended and the marts have read the message with which it fired."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from alerts.evaluation.evaluate import evaluate
from alerts.evaluation.judging import judge
from alerts.store import add_rules
from market.records import Cancel
from market.settings import Settings
from tests.integration.alert_rows import EVENING, LAST, MADE, MARTS, assert_lawful, put_closes
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import session_of
from tests.integration.mart_rows import put_bar
from tests.integration.price_watches import (
    PENDING,
    WRONG,
    alerts,
    at_once,
    bared,
    count,
    land,
    minutes_recorded,
    publish,
    trade,
    watching,
)
from tests.integration.relays import wait_until
from verify.laws import verify_alerts

pytestmark = pytest.mark.integration

QUEUE = "insert into app.pending_evaluations select 'intraday_analytics', %s, %s, alert_id::text, bar_at + %s from app.alerts"


@pytest.fixture
def bare(connection: psycopg.Connection[Any], dbt: Dbt, kafka: str) -> psycopg.Connection[Any]:
    return bared(connection, dbt, kafka)


@pytest.mark.parametrize("bar_remains", [True, False])
def test_a_trade_that_is_cancelled_is_taken_back_when_the_marts_have_read_of_it(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str, *, bar_remains: bool
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99])
    one = trade(101, 1)
    with watching(settings, kafka):
        publish(kafka, one)
        wait_until(lambda: alerts(bare) == 1)
        put_closes(bare, [99, 101])
        put_closes(bare, [50, 50, 50], "SPY")
        land(bare, kafka)
        dbt(*MARTS, touched=True)
        assert (evaluate(settings, EVENING).retracted, count(bare, PENDING)) == (0, 0), "the marts have the trade"
        assert_lawful(settings, "recorded by both")
        publish(kafka, Cancel(one.source, one.symbol, one.ts, one.trade_id))
    prices = (Decimal(99),) * 4 if bar_remains else None
    at = LAST.open_at + timedelta(minutes=1)
    put_bar(bare, "lean", "IBM", at, prices, volume=100 if bar_remains else 0, revision=2)
    land(bare, kafka)
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.retracted, done.queued, count(bare, PENDING)) == (1, 1, 0)
    assert_lawful(settings, "cancelled")
    assert evaluate(settings, EVENING).retracted == 0
    with watching(settings, kafka):  # the marts know better than a trade that comes again
        publish(kafka, one, trade(99, 2), trade(101, 3))
        wait_until(lambda: alerts(bare) == 2)
    assert minutes_recorded(bare, "r") == [1, 1, 3], "the alert, its retraction, and another minute's"


@pytest.mark.parametrize("has_bar", [True, False])
def test_a_trade_that_came_late_is_not_judged_by_marts_that_have_not_read_it(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str, *, has_bar: bool
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99, 99] if has_bar else [99])
    put_closes(bare, [50] * 4, "SPY")
    land(bare, kafka)
    with watching(settings, kafka):
        publish(kafka, trade(101, 1.5))
        wait_until(lambda: alerts(bare) == 1)
    dbt(*MARTS, touched=True)
    assert (evaluate(settings, EVENING).retracted, count(bare, PENDING)) == (0, 1), (
        "the tape is past, the trade not read"
    )
    bare.execute("truncate app.pending_evaluations")
    assert_lawful(settings, "the tape is past, the trade not read")
    put_closes(bare, [99, 101])
    land(bare, kafka)
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.fired, done.retracted, count(bare, PENDING)) == (0, 0, 0)
    assert bare.execute("select kind, revision from app.alerts").fetchall() == [("alert", 1)]
    assert_lawful(settings, "the trade is read")


def test_a_trade_that_the_stream_has_passed_over_is_taken_back_once_the_marts_have_read_on(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99])
    put_closes(bare, [50] * 4, "SPY")
    with watching(settings, kafka):
        publish(kafka, trade(101, 1.5))
        wait_until(lambda: alerts(bare) == 1)
    land(bare, kafka)
    dbt(*MARTS, touched=True)
    for series, interval, later, is_queued in (
        ("IBM", "1m", 0, True),
        ("IBM", "1m", 1, False),
        ("IBM", "5m", 0, False),
        ("SPY", "1m", 0, False),
    ):
        bare.execute("truncate app.pending_evaluations")
        bare.execute(QUEUE, [series, interval, timedelta(minutes=later)])
        assert (WRONG not in verify_alerts(settings).problems) is is_queued, (series, interval, later)
    bare.execute("truncate app.pending_evaluations")
    bare.execute(QUEUE, ["IBM", "1m", timedelta(0)])
    assert evaluate(settings, EVENING).retracted == 1
    assert_lawful(settings)


@pytest.mark.parametrize(
    "is_bar_over", [True, False], ids=["its message is never read", "its feed ends within its bar"]
)
def test_an_alert_is_judged_once_a_tape_is_a_day_past_though_nothing_else_comes(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str, *, is_bar_over: bool
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99, 99])
    with watching(settings, kafka):
        publish(kafka, trade(101, 1.5))
        wait_until(lambda: alerts(bare) == 1)
    if is_bar_over:
        put_closes(bare, [50] * 4, "SPY")
    else:
        land(bare, kafka)
    following = session_of(LAST.session_date + timedelta(days=1)).open_at
    for minutes, is_judged in ((1, False), (2, True)):
        put_bar(bare, "otherfeed", "SPY", following + timedelta(minutes=minutes), (Decimal(50),) * 4)
        dbt(*MARTS, touched=True)
        bare.execute("truncate app.pending_evaluations")
        assert (WRONG in verify_alerts(settings).problems) is is_judged, f"minute {minutes}, nobody looks at it"
        bare.execute(QUEUE, ["IBM", "1m", timedelta(0)])
        assert (evaluate(settings, EVENING).retracted, count(bare, PENDING)) == (is_judged, not is_judged), minutes
        assert_lawful(settings, f"minute {minutes}")


def test_what_a_build_adds_in_the_middle_of_an_evaluation_is_not_counted_on(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99])
    with watching(settings, kafka):
        publish(kafka, trade(101, 1))
        wait_until(lambda: alerts(bare) == 1)
    dbt(*MARTS, touched=True)

    def judge_before_a_build(*arguments: Any) -> None:
        judge(*arguments)
        bare.execute("update staging.built_tapes set tape_at = %s", [EVENING])
        land(bare, kafka)
        bare.execute("insert into staging.built_offsets select 'intraday_analytics', * from lake.stream_offsets")

    monkeypatch.setattr("alerts.evaluation.evaluate.judge", judge_before_a_build)
    assert (evaluate(settings, EVENING).retracted, count(bare, PENDING)) == (0, 1)


def test_the_law_lets_an_alert_stand_until_its_bar_has_ended_and_no_longer(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99])
    with watching(settings, kafka):
        publish(kafka, trade(101, 3))
        wait_until(lambda: alerts(bare) == 1)
    land(bare, kafka)
    bare.execute("truncate app.pending_evaluations")  # nobody is going to look at it, rightly or not
    assert_lawful(settings, "no mart")
    for minutes, holds in ((3, True), (4, True), (5, False)):
        put_closes(bare, [50] * minutes, "SPY")
        dbt(*MARTS, touched=True)
        bare.execute("truncate app.pending_evaluations")
        assert (WRONG not in verify_alerts(settings).problems) is holds, minutes
