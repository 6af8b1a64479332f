"""Law 4 over real marts: what breaks it is seen; and whoever sends is told that there is something to be sent."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest

from alerts.evaluation.evaluate import evaluate
from alerts.rules.rule import Rule
from alerts.store import add_rules
from market.settings import Settings
from tests.integration.alert_rows import EVENING, LAST, MADE, MARTS, assert_lawful, forget_rules, put_closes
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_rows import put_bar
from verify.laws import verify_alerts
from warehouse.connection import connect

pytestmark = pytest.mark.integration


@pytest.fixture
def bare(connection: psycopg.Connection[Any], dbt: Dbt) -> psycopg.Connection[Any]:
    """No rule; the marts are there and empty."""
    forget_rules(connection, dbt)
    return connection


def test_the_outbox_wakes_whoever_listens_when_the_alert_is_there(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings
) -> None:
    add_rules(settings, [Rule("r", "close above 100", "IBM")], MADE)
    put_closes(bare, [99, 101, 99])
    dbt(*MARTS, touched=True)
    with connect(settings) as listener:
        listener.autocommit = True
        listener.execute("listen alert_outbox")
        evaluate(settings, EVENING)
        assert [notice.payload for notice in listener.notifies(timeout=10, stop_after=1)] == ["1"]


ELSEWHERE: Final = (
    "insert into app.alert_outbox select gen_random_uuid(), alert_id, 'other', kind, refers_to, triggered_at, status, attempts, "
    "next_attempt_at, created_at from app.alert_outbox"
)
MOVED: Final = "update app.alerts set bar_at = bar_at + interval '1 minute'"


@pytest.mark.parametrize(
    ("breakage", "says"),
    [
        ("delete from app.alert_outbox", "an alert is not in the outbox"),
        (ELSEWHERE, "the outbox has what is not to be sent"),
        (MOVED, "an alert is missing"),
        (MOVED, "an alert stands where its rule does not fire"),
        ("update app.alerts set revision = 7 where kind = 'retraction'", "a retraction refers to no alert of its bar"),
        ("update app.alert_clauses set right_factor = 102", "an alert stands where its rule does not fire"),
    ],
)
def test_the_law_sees_what_is_broken(
    bare: psycopg.Connection[Any], dbt: Dbt, settings: Settings, breakage: str, says: str
) -> None:
    add_rules(settings, [Rule("r", "close above 100", "IBM")], MADE)
    put_closes(bare, [99, 101, 99, 101, 99])
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    put_bar(bare, "lean", "IBM", LAST.open_at + timedelta(minutes=3), (Decimal(98),) * 4, revision=2)
    dbt(*MARTS, touched=True)
    evaluate(settings, EVENING)
    assert_lawful(settings)
    bare.execute(breakage.encode())
    assert says in verify_alerts(settings).problems
