"""From a bar to the receiver, and from its correction: evaluation, outbox and relay together, over real marts."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import psycopg
import pytest

from alerts.evaluation.evaluate import evaluate
from alerts.rules.rule import Rule
from alerts.store import add_rules
from market.settings import Settings
from tests.integration.alert_rows import EVENING, LAST, MADE, MARTS, assert_lawful, forget_rules, put_closes
from tests.integration.dbt_runs import Dbt
from tests.integration.mart_rows import put_bar
from tests.integration.outbox_rows import Outbox
from tests.integration.relays import relaying, wait_until
from tests.receivers import Receiver, answers, receiving

pytestmark = pytest.mark.integration


@pytest.fixture
def outbox(connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings) -> Iterator[Outbox]:
    """No rule, no channel; the marts are there and empty."""
    forget_rules(connection, dbt)
    made = Outbox(settings)
    yield made
    made.connection.close()


def corrected(connection: psycopg.Connection[Any], minute: int, close: int) -> None:
    """Correct the close of a minute after the open."""
    at = LAST.expected_bars(60)[minute]
    put_bar(connection, "lean", "IBM", at, (Decimal(close),) * 4)


def has_taken(receiver: Receiver, number: int) -> bool:
    return len(receiver.requests) == number


class Sent(NamedTuple):
    path: str
    kind: str
    refers_to: str | None
    revision: int


def sent(receiver: Receiver) -> list[Sent]:
    """Return of each request where it went, what it was, and what it takes back."""
    bodies = [(request.path, json.loads(request.body)) for request in receiver.requests]
    return [Sent(path, body["kind"], body["alert"]["refers_to"], body["alert"]["revision"]) for path, body in bodies]


def test_a_correction_reaches_whoever_was_told_and_nobody_else(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings, outbox: Outbox
) -> None:
    with receiving() as told, receiving(answers(500)) as away:
        outbox.channel("told", told.url)
        outbox.channel("limited", told.url.replace("hook", "limited"), channel_limit=1)
        outbox.channel("away", away.url)
        add_rules(settings, [Rule("r", "close above 100", "IBM", channels=("told", "limited", "away"))], MADE)
        put_closes(connection, [99, 101, 99, 102, 99])
        dbt(*MARTS, touched=True)
        with relaying(settings):
            evaluate(settings, EVENING)
            wait_until(lambda: outbox.statuses("told") == ["delivered"] * 2)
            wait_until(lambda: sorted(outbox.statuses("limited")) == ["delivered", "held"])
            wait_until(lambda: any(attempts for (attempts,) in outbox.rows("attempts", "channel = 'away'")))
        fired = {str(alert_id) for (alert_id,) in outbox.rows("outbox.alert_id", "channel = 'told'")}
        for closes in ([99, 101, 99, 102, 99, 103, 99], [99, 98, 99, 98, 99, 98, 99]):
            put_closes(connection, closes)
            dbt(*MARTS, touched=True)
            evaluate(settings, EVENING)
        away.behavior = answers(200)
        with relaying(settings):
            wait_until(lambda: "pending" not in outbox.statuses())
    of_told = [request for request in sent(told) if request.path == "/hook"]
    assert [one.kind for one in of_told] == ["alert", "alert", "retraction", "retraction"]
    assert {one.refers_to for one in of_told} - {None} == fired
    assert sorted(outbox.statuses("told")) == ["delivered"] * 4 + ["void"] * 2, "of the third nobody was told"
    assert [one.kind for one in sent(told) if one.path == "/limited"] == ["alert", "retraction"]
    assert Counter(outbox.statuses("limited")) == {"delivered": 2, "held": 2, "void": 2}
    assert {one.kind for one in sent(away)} == {"alert", "retraction"}
    assert_lawful(settings)


def test_an_alert_that_holds_again_after_its_retraction_is_another_one(
    connection: psycopg.Connection[Any], dbt: Dbt, settings: Settings, outbox: Outbox
) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("told", receiver.url)
        add_rules(settings, [Rule("r", "close above 100", "IBM", channels=("told",))], MADE)
        put_closes(connection, [99, 101, 99])
        for number, close in enumerate((101, 98, 103, 97), start=1):
            corrected(connection, 1, close)
            dbt(*MARTS, touched=True)
            for _ in range(2):
                evaluate(settings, EVENING)
            wait_until(partial(has_taken, receiver, number))
    assert [one.kind for one in sent(receiver)] == ["alert", "retraction", "alert", "retraction"]
    assert [one.revision for one in sent(receiver)] == [1, 1, 2, 2]
    assert len(set(receiver.ids)) == 4
    assert_lawful(settings)
