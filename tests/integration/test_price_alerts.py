"""Alerts at once, over real Kafka and PostgreSQL: recorded with the trade, judged by the marts, once whatever is killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alerts.at_once.process import APPLICATION
from alerts.evaluation import recording
from alerts.evaluation.evaluate import evaluate
from alerts.store import ENDED, add_rules, change_status
from ingest.topics import end_offsets
from market.settings import CHECKOUT, Settings
from market.topics import TRADES
from tests.integration.alert_rows import (
    EVENING,
    LAST,
    MADE,
    MARTS,
    assert_lawful,
    minutes_of,
    put_closes,
)
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_oracle import session_of
from tests.integration.mart_rows import DAYS, put_bar
from tests.integration.price_watches import (
    DURING,
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


@pytest.fixture
def bare(connection: psycopg.Connection[Any], dbt: Dbt, kafka: str) -> psycopg.Connection[Any]:
    return bared(connection, dbt, kafka)


def test_an_alert_is_there_before_its_bar_and_stays_when_the_marts_have_it(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str
) -> None:
    add_rules(settings, [at_once(channels=("log", "mail"))], MADE)
    put_closes(bare, [99])
    with watching(settings, kafka):
        ends = end_offsets(kafka, topics=(TRADES,))
        publish(kafka, trade(99.5, 1), trade(101.25, 1.5), trade(98, 1.6))
        wait_until(lambda: alerts(bare) == 1)
    ((topic, partition),) = (place for place, end in end_offsets(kafka, topics=(TRADES,)).items() if end > ends[place])
    ((message, evidence, triggered_at),) = bare.execute(
        "select message, evidence, triggered_at from app.alerts"
    ).fetchall()
    assert message == "r: IBM price crosses above 100 on the 1m bar of 2013-12-02 14:31 UTC (close 101.25)"
    assert triggered_at == LAST.open_at + timedelta(minutes=2)
    assert evidence["values"] == {"close": {"now": 101.25, "before": 99}}
    assert evidence["trade"]["price"] == 101.25
    assert evidence["fired_by"] == {"topic": topic, "partition": partition, "offset": ends[topic, partition] + 1}
    assert (evidence["bar"]["open"], evidence["bar"]["high"], evidence["bar"]["low"]) == (99.5, 101.25, 99.5)
    assert (evidence["bar"]["is_final"], evidence["origin"]) == (False, "lean")
    assert count(bare, "select count(*) from app.alert_outbox where status = 'pending'") == 2
    assert_lawful(settings, "ahead of the marts")
    assert (evaluate(settings, EVENING).retracted, count(bare, PENDING)) == (0, 1)
    dbt(*MARTS, touched=True)
    assert (evaluate(settings, EVENING).retracted, count(bare, PENDING)) == (0, 1)
    assert_lawful(settings, "the marts have the bar before")
    put_bar(
        bare, "lean", "IBM", LAST.open_at + timedelta(minutes=1), tuple(map(Decimal, ("99.5", "101.25", "98", "98")))
    )
    put_closes(bare, [50, 50, 50], "SPY")
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.fired, done.retracted, count(bare, PENDING)) == (0, 0, 0)
    assert minutes_of(bare, "r") == [1]
    assert_lawful(settings, "the marts have the bar")


def test_the_law_sees_an_alert_at_once_that_is_wrong_and_one_that_is_missing(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99])
    with watching(settings, kafka):
        publish(kafka, trade(101, 1))
        wait_until(lambda: alerts(bare) == 1)
    put_closes(bare, [99, 101, 99, 101, 99])
    put_closes(bare, [50] * 6, "SPY")
    land(bare, kafka)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert minutes_of(bare, "r") == [1, 3]
    assert_lawful(settings)
    bare.execute("update app.alert_clauses set right_factor = 102")
    assert WRONG in verify_alerts(settings).problems
    bare.execute("update app.alert_clauses set right_factor = 100")
    bare.execute(
        "update app.alerts set bar_at = bar_at + interval '1 minute', triggered_at = triggered_at + interval '1 minute'"
    )
    assert {"an alert is missing", WRONG} <= set(verify_alerts(settings).problems)
    bare.execute("update app.alerts set triggered_at = %s where revision = 1", [LAST.open_at + timedelta(minutes=90)])
    assert WRONG in verify_alerts(settings).problems, "the bar that there is says that it has ended"


def test_a_session_of_the_past_sends_nothing(bare: psycopg.Connection[Any], settings: Settings, kafka: str) -> None:
    add_rules(settings, [at_once()], MADE)
    old = session_of(DAYS[0]).open_at
    with watching(settings, kafka):
        publish(kafka, *(trade(price, minute, opens=old) for minute, price in enumerate([99, 101, 99, 101])))
        publish(kafka, trade(99, 0), trade(101, 1))
        wait_until(lambda: alerts(bare) == 1)
    assert bare.execute("select session_date, is_historical from app.alerts").fetchall() == [(LAST.session_date, False)]


def test_each_alert_has_the_trade_that_made_it_though_they_came_together(
    bare: psycopg.Connection[Any], settings: Settings, kafka: str
) -> None:
    levels = [100 + number for number in range(20)]
    add_rules(settings, [at_once(f"r{level}", f"price crosses above {level}") for level in levels], MADE)
    with watching(settings, kafka):
        prices = [99, *(level + 0.5 for level in levels)]
        publish(kafka, trade(99, 0), *(trade(price, 1, number) for number, price in enumerate(prices)))
        wait_until(lambda: alerts(bare) == len(levels))
    found = bare.execute(
        "select rule_name, evidence #>> '{trade,price}', evidence #>> '{bar,high}', "
        "evidence #>> '{values,close,now}' from app.alerts"
    ).fetchall()
    assert {name: [float(value) for value in values] for name, *values in found} == {
        f"r{level}": [level + 0.5] * 3 for level in levels
    }


def test_a_cooldown_counts_from_what_fired_at_once(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str
) -> None:
    add_rules(settings, [at_once(cooldown_seconds=180), at_once("all")], MADE)
    closes = [99, 101, 99, 101, 99, 101, 99]
    with watching(settings, kafka):
        publish(kafka, *(trade(price, minute) for minute, price in enumerate(closes)))
        wait_until(lambda: minutes_recorded(bare, "all") == [1, 3, 5])
    assert minutes_recorded(bare, "r") == [1, 5]
    put_closes(bare, closes)
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.fired, done.retracted) == (0, 0)
    assert_lawful(settings)


def test_a_cooldown_begins_anew_for_a_symbol_that_comes_back_to_the_watchlist(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str
) -> None:
    closes = [99, 101, 99, 101, 99, 101]
    bare.execute("insert into app.watchlist values ('IBM', 'tech', %s)", [MADE])
    add_rules(settings, [at_once(symbols="watchlist", cooldown_seconds=7200), at_once("all", symbols="all")], MADE)
    with watching(settings, kafka):
        publish(kafka, *(trade(price, minute) for minute, price in enumerate(closes[:2])))
        wait_until(lambda: minutes_recorded(bare, "r") == [1])
    bare.execute("update app.watchlist set added_at = %s", [LAST.open_at + timedelta(minutes=2)])
    with watching(settings, kafka):
        publish(kafka, *(trade(price, minute) for minute, price in enumerate(closes)))
        wait_until(lambda: minutes_recorded(bare, "all") == [1, 3, 5])
    assert minutes_recorded(bare, "r") == [1, 3]
    put_closes(bare, closes)
    dbt(*MARTS, touched=True)
    done = evaluate(settings, EVENING)
    assert (done.fired, done.retracted) == (0, 0)
    assert_lawful(settings)


def test_rules_that_are_added_and_ended_meanwhile_are_heeded(
    bare: psycopg.Connection[Any], settings: Settings, kafka: str
) -> None:
    bare.execute("insert into app.watchlist values ('IBM', 'tech', %s)", [MADE])
    with watching(settings, kafka):
        publish(kafka, trade(99, 0), trade(101, 1))
        add_rules(settings, [at_once("listed", symbols="watchlist"), at_once("every", symbols="all")], MADE)

        def fires_with_another_trade() -> bool:
            publish(kafka, trade(100.5, 1))
            return minutes_recorded(bare, "every") == minutes_recorded(bare, "listed") == [1]

        wait_until(fires_with_another_trade)
        change_status(settings, "every", ENDED, LAST.open_at + timedelta(minutes=2))
        publish(kafka, trade(99, 2), trade(101, 3))
        wait_until(lambda: minutes_recorded(bare, "listed") == [1, 3])
    assert minutes_recorded(bare, "every") == [1]


def test_what_fires_over_a_lost_connection_is_recorded_over_the_next(
    bare: psycopg.Connection[Any], settings: Settings, kafka: str
) -> None:
    add_rules(settings, [at_once()], MADE)
    with watching(settings, kafka):
        for minute in (1, 3):
            publish(kafka, trade(99, minute - 1))
            lost = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
            assert bare.execute(lost, [APPLICATION]).fetchall()
            publish(kafka, trade(101, minute))
            wait_until(lambda wanted=minute: wanted in minutes_recorded(bare, "r"))  # type: ignore[misc]
    assert minutes_recorded(bare, "r") == [1, 3]


def test_what_is_recorded_at_once_in_the_middle_of_an_evaluation_is_not_recorded_again(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rules(settings, [at_once()], MADE)
    put_closes(bare, [99])
    retract = recording._retract

    def record_meanwhile() -> str:
        publish(kafka, trade(101, 1))
        wait_until(lambda: alerts(bare) == 1)
        return retract()

    with watching(settings, kafka):
        put_closes(bare, [99, 101])
        dbt(*MARTS, touched=True)
        monkeypatch.setattr(recording, "_retract", record_meanwhile)
        assert evaluate(settings, EVENING).fired == 0
    assert bare.execute("select kind, revision from app.alerts").fetchall() == [("alert", 1)]
    assert_lawful(settings)


@contextmanager
def process(settings: Settings, kafka: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**settings.child_environment(), "KAFKA_BOOTSTRAP_SERVERS": kafka}
    command = [sys.executable, "-m", "tests.integration.price_watch_process", DURING.isoformat()]
    with log.open("ab") as file:
        started = subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=file, stderr=file)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_after_kills_everything_is_recorded_once(
    bare: psycopg.Connection[Any], settings: Settings, kafka: str, tmp_path: Path
) -> None:
    levels = [100 + number / 10 for number in range(100)]
    add_rules(settings, [at_once(f"r{level}", f"price crosses above {level}") for level in levels], MADE)
    put_closes(bare, [99])
    land(bare, kafka)
    for part in range(4):
        with process(settings, kafka, tmp_path / "log"):
            publish(
                kafka, *(trade(level + 0.05, 1 + level / 1000, part) for level in levels[part * 25 : part * 25 + 25])
            )
            wait_until(lambda least=part * 25 + 5: alerts(bare) >= least)  # type: ignore[misc]
    with process(settings, kafka, tmp_path / "log"):
        wait_until(lambda: alerts(bare) == len(levels))
        publish(kafka, trade(99, 2), trade(105.05, 3))
        wait_until(lambda: alerts(bare) == len(levels) + 51)
    assert count(bare, "select count(*) from app.alert_outbox") == len(levels) + 51
    assert count(bare, "select count(distinct (rule_id, bar_at)) from app.alerts") == len(levels) + 51
