"""Who records the same alert at the same time: each is made to come while another's transaction is open."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest

from alerts.at_once.process import APPLICATION
from alerts.evaluation import recording
from alerts.evaluation.evaluate import evaluate
from alerts.rules.rule import Rule, Trigger
from alerts.store import add_rules
from market.settings import Settings
from tests.integration.alert_rows import EVENING, LAST, MADE, MARTS, assert_lawful, forget_rules, put_closes
from tests.integration.dbt_runs import Dbt
from tests.integration.price_watches import hearing, trade
from tests.integration.relays import wait_until

pytestmark = pytest.mark.integration

WAITING: Final = "select count(*) from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"


def test_two_watches_and_an_evaluation_at_once_double_nothing(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_rules(connection, dbt)
    connection.execute("truncate lake.stream_offsets, staging.built_tapes, staging.built_offsets")
    levels = [100 + number / 10 for number in range(40)]
    rules = [Rule(f"r{at}", f"price crosses {at}", "all", trigger=Trigger.AT_ONCE) for at in levels]
    add_rules(settings, rules, MADE)
    chance = random.Random(7)
    closes = [*(chance.randrange(95, 110) for _ in range(30)), 95]
    hand_over = recording.hand_over
    overlapped: list[int] = []

    with hearing(settings) as one, hearing(settings) as other:

        def hand_over_last(lasting: Any, alerts: Sequence[UUID], now: datetime) -> int:
            """Leave the transaction of the evaluation open until both watches wait for what it has recorded."""
            if alerts and not overlapped:
                overlapped.append(len(alerts))
                for said in (one, other):
                    said.say(*(trade(price, minute) for minute, price in enumerate(closes)))
                wait_until(lambda: connection.execute(WAITING, [APPLICATION]).fetchone() == (2,))
            return hand_over(lasting, alerts, now)

        for symbol in ("IBM", "SPY"):
            put_closes(connection, closes, symbol)
        dbt(*MARTS, touched=True)
        monkeypatch.setattr(recording, "hand_over", hand_over_last)
        evaluate(settings, EVENING)
        for said in (one, other):  # behind what each of them has recorded by then
            said.say(trade(120, 41))
        newest, at = "select count(*) from app.alerts where bar_at = %s", LAST.open_at + timedelta(minutes=41)
        wait_until(lambda: connection.execute(newest, [at]).fetchone() == (len(levels),))
    assert overlapped
    assert overlapped[0] > 100
    evaluate(settings, EVENING)
    expected = overlapped[0] + len(levels)
    rows = "select count(*), count(distinct (rule_id, symbol, bar_at)), max(revision), max(kind) from app.alerts"
    assert connection.execute(rows).fetchone() == (expected, expected, 1, "alert")
    assert connection.execute("select count(*) from app.alert_outbox").fetchone() == (expected,)
    assert_lawful(settings)
