"""Storm protection, on a real PostgreSQL: what is above the limits is held back, counted, and told once."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from alerts.delivery.ledger import resend
from market.errors import UsageError
from market.settings import Settings
from tests.integration.outbox_rows import Outbox
from tests.integration.relays import Clock, relaying, wait_until
from tests.receivers import answers, receiving

pytestmark = pytest.mark.integration


@pytest.fixture
def outbox(settings: Settings) -> Iterator[Outbox]:
    made = Outbox(settings)
    yield made
    made.connection.close()


def test_what_is_above_a_rules_limit_is_held_and_one_digest_says_so(settings: Settings, outbox: Outbox) -> None:
    clock = Clock()
    with receiving() as receiver:
        outbox.channel("hook", receiver.url, rule_limit=3, channel_limit=0, digest_seconds=600)
        for symbol in ("IBM", "SPY", "IBM", "SPY", "IBM", "XOM", "IBM"):
            outbox.alert("hook", rule=1, symbol=symbol)
        outbox.alert("hook", rule=2)
        with relaying(settings, clock):
            wait_until(lambda: outbox.statuses() == ["delivered"] * 3 + ["held"] * 4 + ["delivered"])
            clock.ahead = timedelta(minutes=11)
            wait_until(lambda: len(receiver.requests) == 5)
            for _ in range(2):
                outbox.alert("hook", rule=1)
            wait_until(lambda: outbox.statuses()[-1] == "held")
        digest = json.loads(receiver.requests[-1].body)
        assert digest["kind"] == "digest"
        assert digest["held"] == 4
        assert [(rule["rule"], rule["held"], rule["symbols"]) for rule in digest["rules"]] == [("rule 1", 4, 3)]
        assert len(receiver.requests) == 5, "what was held later is for the next digest"


def test_an_hour_later_a_rule_is_heard_again(settings: Settings, outbox: Outbox) -> None:
    clock = Clock()
    with receiving() as receiver, relaying(settings, clock):
        outbox.channel("hook", receiver.url, rule_limit=1, digest_seconds=7200)
        outbox.alert("hook")
        outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["delivered", "held"])
        clock.ahead = timedelta(minutes=61)
        outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["delivered", "held", "delivered"])


def test_a_storm_of_many_rules_stops_at_the_channels_limit(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("hook", receiver.url, rule_limit=2, channel_limit=5)
        for number in range(300):
            outbox.alert("hook", rule=number)
        wait_until(lambda: sorted(set(outbox.statuses())) == ["delivered", "held"])
        assert outbox.statuses().count("delivered") == 5
        assert len(receiver.requests) == 5


def test_the_retraction_of_what_was_sent_is_sent_whatever_the_limits_say(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("hook", receiver.url, rule_limit=1)
        sent = outbox.alert("hook")
        held = outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["delivered", "held"])
        outbox.alert("hook", refers_to=sent)
        outbox.alert("hook", refers_to=held)
        wait_until(lambda: outbox.statuses() == ["delivered", "held", "delivered", "held"])


def test_what_was_held_is_sent_when_somebody_asks_for_it(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("hook", receiver.url, rule_limit=1)
        outbox.alert("hook")
        held = outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["delivered", "held"])
        outbox.alert("hook", refers_to=held)
        wait_until(lambda: outbox.statuses() == ["delivered", "held", "held"])
        assert resend(settings, datetime.now(UTC), ids=None, statuses=["held"], channel=None) == 2
        wait_until(lambda: outbox.statuses() == ["delivered"] * 3)
        assert receiver.ids == outbox.ids("hook")


def test_a_digest_is_tried_again_like_any_message(settings: Settings, outbox: Outbox) -> None:
    clock = Clock()
    with receiving() as receiver, relaying(settings, clock):
        outbox.channel("hook", receiver.url, rule_limit=1, digest_seconds=60)
        outbox.alert("hook")
        outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["delivered", "held"])
        receiver.behavior = answers(500)
        clock.ahead = timedelta(seconds=61)
        wait_until(lambda: len(receiver.requests) == 3)
        receiver.behavior = answers(200)
        wait_until(
            lambda: outbox.connection.execute("select status from app.alert_digests").fetchall() == [("delivered",)]
        )
        assert len(set(receiver.ids[1:])) == 1


def test_dead_deliveries_are_sent_again_with_their_retractions(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver:
        outbox.channel("hook", receiver.url)
        alert = outbox.alert("hook")
        outbox.alert("hook", refers_to=alert)
        outbox.connection.execute("update app.alert_outbox set status = 'dead', attempts = 36, last_error = 'gone'")
        first = outbox.rows("delivery_id")[0][0]
        assert resend(settings, datetime.now(UTC), ids=[first], statuses=["dead", "held", "void"], channel=None) == 2
        with relaying(settings):
            wait_until(lambda: outbox.statuses() == ["delivered"] * 2)
        assert receiver.ids == outbox.ids("hook")
        with pytest.raises(UsageError, match="is delivered: only dead, held, void ones are sent again"):
            resend(settings, datetime.now(UTC), ids=[first], statuses=["dead", "held", "void"], channel=None)
