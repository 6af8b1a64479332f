"""What a run shows of the alerts that it recorded, and of the messages of the last hour."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from alerts.recent import SHOWN, Recent, recent
from market.settings import Settings
from tests.integration.outbox_rows import Outbox

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 5, 16, tzinfo=UTC)


@pytest.fixture
def outbox(settings: Settings) -> Iterator[Outbox]:
    made = Outbox(settings)
    yield made
    made.connection.close()


def test_nothing_is_shown_where_nothing_is(settings: Settings, outbox: Outbox) -> None:
    assert outbox.rows() == []
    assert recent(settings, NOW) == Recent((), 0, 0)


def test_the_alerts_of_an_evaluation_are_those_that_bear_its_time(settings: Settings, outbox: Outbox) -> None:
    alert = outbox.alert(rule=1, symbol="IBM")
    outbox.alert(rule=2, symbol="SPY", refers_to=alert)
    outbox.connection.execute("update app.alerts set recorded_at = %s", [NOW])
    outbox.alert(rule=3)
    shown = recent(settings, NOW).recorded
    assert [(row["kind"], row["rule_name"], row["symbol"]) for row in shown] == [
        ("alert", "rule 1", "IBM"),
        ("retraction", "rule 2", "SPY"),
    ]
    for _ in range(SHOWN):
        outbox.alert(rule=4)
    outbox.connection.execute("update app.alerts set recorded_at = %s", [NOW])
    assert len(recent(settings, NOW).recorded) == SHOWN


def test_messages_are_those_that_were_taken_within_the_hour_and_those_that_wait(
    settings: Settings, outbox: Outbox
) -> None:
    for channel in ("desk", "mail"):
        outbox.channel(channel, "http://127.0.0.1:1")
    for minutes in (0, 59, 61):
        outbox.alert("desk", "mail", "log")
        outbox.connection.execute(
            "update app.alert_outbox set status = 'delivered', delivered_at = %s where status = 'pending'",
            [NOW - timedelta(minutes=minutes)],
        )
    outbox.alert("mail")
    found = recent(settings, NOW)
    assert (found.delivered, found.waiting) == (6, 1)
