"""The relay on a real PostgreSQL, with receivers that fail, hang, throttle and come back."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from alerts.delivery.channel_store import add_channel, remove_channel
from alerts.delivery.channels.channel import ChannelSettings, RefusedError
from alerts.delivery.message import Message
from market.settings import Settings
from tests.integration.outbox_rows import Outbox
from tests.integration.relays import Clock, relaying, wait_until
from tests.receivers import answers, hangs, receiving

pytestmark = pytest.mark.integration


@pytest.fixture
def outbox(settings: Settings) -> Iterator[Outbox]:
    made = Outbox(settings)
    yield made
    made.connection.close()


def test_what_is_recorded_is_delivered_at_once_and_in_order(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("hook", receiver.url)
        for _ in range(20):
            outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["delivered"] * 20)
        assert receiver.ids == outbox.ids("hook")
        started = time.monotonic()
        outbox.alert("hook")
        wait_until(lambda: len(receiver.requests) == 21)
        assert receiver.requests[-1].at - started < 0.5


def test_a_failing_receiver_is_tried_again_until_it_comes_back_and_the_order_is_kept(
    settings: Settings, outbox: Outbox
) -> None:
    with receiving(answers(500)) as receiver, relaying(settings):
        outbox.channel("hook", receiver.url)
        for _ in range(3):
            outbox.alert("hook")
        wait_until(lambda: len(receiver.requests) == 3)
        assert len(set(receiver.ids)) == 1, "while it is away, only the first is tried"
        receiver.behavior = answers(200)
        wait_until(lambda: outbox.statuses() == ["delivered"] * 3)
        assert list(dict.fromkeys(receiver.ids)) == outbox.ids("hook")
        gaps = [
            later.at - earlier.at for earlier, later in zip(receiver.requests, receiver.requests[1:4], strict=False)
        ]
        assert gaps[0] >= 0.45
        assert gaps[1] >= 0.95


def test_a_channel_that_hangs_does_not_delay_another(settings: Settings, outbox: Outbox) -> None:
    with receiving() as slow, receiving() as fast, relaying(settings):
        slow.behavior = hangs(slow)
        outbox.channel("slow", slow.url, timeout_seconds=8)
        outbox.channel("fast", fast.url)
        outbox.alert("slow", "fast")
        wait_until(lambda: len(slow.requests) == 1)
        started = time.monotonic()
        for _ in range(20):
            outbox.alert("slow", "fast")
        wait_until(lambda: len(fast.requests) == 21)
        assert time.monotonic() - started < 3
        assert len(slow.requests) == 1
        slow.ends.set()


def test_a_throttled_channel_waits_for_as_long_as_it_was_told(settings: Settings, outbox: Outbox) -> None:
    clock = Clock()
    with receiving(answers(429, Retry_After="2")) as receiver, relaying(settings, clock):
        outbox.channel("hook", receiver.url)
        outbox.alert("hook")
        wait_until(lambda: len(receiver.requests) == 2)
        assert receiver.requests[1].at - receiver.requests[0].at >= 2
        receiver.behavior = answers(200)
        wait_until(lambda: outbox.statuses() == ["delivered"])


def test_a_channel_that_is_added_anew_does_not_wait_for_as_long_as_the_old_one_was_told(
    settings: Settings, outbox: Outbox
) -> None:
    with receiving(answers(429, Retry_After="3600")) as old, receiving() as new, relaying(settings):
        outbox.channel("hook", old.url)
        outbox.alert("hook")
        wait_until(lambda: outbox.rows("last_error")[0][0] is not None)
        outbox.alert("hook")
        assert remove_channel(settings, "hook", datetime.now(UTC))
        wait_until(lambda: outbox.statuses() == ["dead", "dead"], "giving up what waits for a channel that is gone")
        outbox.channel("hook", old.url)
        outbox.alert("hook")
        wait_until(lambda: len(old.requests) == 2)
        wait_until(lambda: outbox.rows("last_error")[2][0] is not None)
        outbox.connection.execute("delete from app.alert_channels")
        added = ChannelSettings("hook", SecretStr(new.url), is_private_allowed=True)
        add_channel(settings, added, datetime.now(UTC))
        wait_until(lambda: outbox.statuses() == ["dead", "dead", "delivered"])
        assert len(old.requests) == 2


def test_a_channel_that_was_told_to_wait_does_so_whatever_comes_meanwhile(settings: Settings, outbox: Outbox) -> None:
    with receiving(answers(429, Retry_After="3")) as receiver, relaying(settings):
        outbox.channel("hook", receiver.url)
        outbox.alert("hook")
        wait_until(lambda: len(receiver.requests) == 1)
        receiver.behavior = answers(200)
        for _ in range(5):  # each wakes the relay
            outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["delivered"] * 6)
        first, second, *_ = receiver.requests
        assert second.at - first.at >= 3
        assert list(dict.fromkeys(receiver.ids)) == outbox.ids("hook")


def test_a_message_that_a_receiver_does_not_like_does_not_hold_up_the_next(settings: Settings, outbox: Outbox) -> None:
    with receiving(answers(400)) as receiver, relaying(settings):
        outbox.channel("hook", receiver.url)
        outbox.alert("hook")
        wait_until(lambda: len(receiver.requests) >= 1)
        receiver.behavior = lambda request: answers(400 if request.headers["Idempotency-Key"] == first else 200)(
            request
        )
        first = receiver.ids[0]
        outbox.alert("hook")
        wait_until(lambda: outbox.statuses()[1] == "delivered")
        assert outbox.statuses()[0] == "pending"


def test_two_relays_deliver_everything_once_and_in_order(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, receiving() as other, relaying(settings, number=2):
        outbox.channel("hook", receiver.url)
        outbox.channel("other", other.url)
        for _ in range(100):
            outbox.alert("hook", "other")
        wait_until(lambda: outbox.statuses() == ["delivered"] * 200)
        assert receiver.ids == outbox.ids("hook")
        assert other.ids == outbox.ids("other")


def test_after_its_last_attempt_a_delivery_is_dead_with_the_last_error(settings: Settings, outbox: Outbox) -> None:
    with receiving(answers(503)) as receiver:
        outbox.channel("hook", receiver.url)
        outbox.alert("hook")
        outbox.connection.execute("update app.alert_outbox set attempts = 35")
        with relaying(settings):
            wait_until(lambda: outbox.statuses() == ["dead"])
    assert outbox.rows("attempts, last_error") == [(36, "127.0.0.1 answered 503")]


def test_deliveries_of_a_channel_that_there_is_not_are_dead_with_that_reason(
    settings: Settings, outbox: Outbox
) -> None:
    outbox.alert("nowhere")
    with relaying(settings):
        wait_until(lambda: outbox.statuses() == ["dead"])
    (said,) = outbox.rows("last_error")[0]
    assert "There is no channel nowhere" in said
    assert said.endswith("./run alert resend --dead --channel nowhere")


def test_deliveries_of_a_channel_whose_address_is_refused_by_now_are_dead_with_that_reason(
    settings: Settings, outbox: Outbox
) -> None:
    outbox.channel("old", "https://example.webhook.office.com/webhookb2/t0ken@x/IncomingWebhook/t0ken/y")
    outbox.alert("old")
    with relaying(settings):
        wait_until(lambda: outbox.statuses() == ["dead"])
    ((attempts, said),) = outbox.rows("attempts, last_error")
    assert attempts == 1
    assert said.startswith("Microsoft has ended the connectors of Teams")
    assert said.endswith("./run alert resend --dead --channel old")
    assert "t0ken" not in said


def test_a_channel_that_refuses_for_good_does_not_pause(settings: Settings, outbox: Outbox) -> None:
    """Each is dead at once, however many come."""
    with receiving() as receiver:
        add_channel(settings, ChannelSettings("inside", SecretStr(receiver.url), rule_limit=0), datetime.now(UTC))
        for _ in range(12):
            outbox.alert("inside")
        with relaying(settings):
            wait_until(lambda: outbox.statuses() == ["dead"] * 12)
        assert receiver.requests == []


def test_a_retraction_is_sent_after_its_alert_and_never_before(settings: Settings, outbox: Outbox) -> None:
    with receiving(answers(500)) as receiver, relaying(settings):
        outbox.channel("hook", receiver.url)
        alert = outbox.alert("hook")
        wait_until(lambda: len(receiver.requests) >= 1)
        outbox.alert("hook", refers_to=alert)
        wait_until(lambda: len(receiver.requests) >= 3)
        receiver.behavior = answers(200)
        wait_until(lambda: outbox.statuses() == ["delivered", "delivered"])
    assert list(dict.fromkeys(receiver.ids)) == outbox.ids("hook")


def test_an_alert_that_was_retracted_before_anybody_was_told_is_void_and_so_is_its_retraction(
    settings: Settings, outbox: Outbox
) -> None:
    with receiving() as receiver:
        outbox.channel("hook", receiver.url)
        alert = outbox.alert("hook")
        outbox.alert("hook", refers_to=alert)
        outbox.alert("hook")
        with relaying(settings):
            wait_until(lambda: outbox.statuses() == ["void", "void", "delivered"])
        assert receiver.ids == outbox.ids("hook")[2:]
    assert [reason for (reason,) in outbox.rows("last_error")] == [
        "It was retracted before it was sent.",
        "The alert that it takes back was not sent.",
        None,
    ]


def test_a_clock_that_was_put_back_between_an_alert_and_its_retraction_does_not_tell_of_either(
    settings: Settings, outbox: Outbox
) -> None:
    with receiving() as receiver:
        outbox.channel("hook", receiver.url)
        alert = outbox.alert("hook")
        outbox.alert("hook", refers_to=alert, age_seconds=60)
        with relaying(settings):
            wait_until(lambda: outbox.statuses() == ["void", "void"])
        assert receiver.requests == []


def test_the_retraction_of_a_dead_alert_is_dead_too(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver:
        outbox.channel("hook", receiver.url)
        alert = outbox.alert("hook")
        outbox.connection.execute("update app.alert_outbox set status = 'dead', last_error = 'gone'")
        outbox.alert("hook", refers_to=alert)
        with relaying(settings):
            wait_until(lambda: outbox.statuses() == ["dead", "dead"])
        assert receiver.requests == []
    assert outbox.rows("last_error")[1] == ("The alert that it takes back was never delivered: gone",)


def test_the_database_going_away_for_the_relay_loses_nothing(settings: Settings, outbox: Outbox) -> None:
    with receiving() as receiver, relaying(settings):
        outbox.channel("hook", receiver.url)
        for number in range(30):
            outbox.alert("hook")
            if number % 10 == 5:
                outbox.connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tapehouse relay'"
                )
        outbox.channel("new", receiver.url.replace("hook", "new"))
        outbox.alert("new")
        wait_until(lambda: outbox.statuses() == ["delivered"] * 31)
        counts = Counter(request.headers["idempotency-key"] for request in receiver.requests if request.path == "/hook")
    assert set(counts) == set(outbox.ids("hook"))
    assert max(counts.values()) <= 2


def test_a_retraction_waits_for_an_alert_that_may_or_may_not_have_arrived(settings: Settings, outbox: Outbox) -> None:
    with receiving(answers(400)) as receiver, relaying(settings):
        outbox.channel("hook", receiver.url)
        alert = outbox.alert("hook")
        wait_until(lambda: len(receiver.requests) >= 1)
        first = receiver.ids[0]
        receiver.behavior = lambda request: answers(400 if request.headers["Idempotency-Key"] == first else 200)(
            request
        )
        outbox.alert("hook", refers_to=alert)
        outbox.alert("hook")
        wait_until(lambda: outbox.statuses() == ["pending", "pending", "delivered"])
        receiver.behavior = answers(200)
        wait_until(lambda: outbox.statuses() == ["delivered"] * 3)
        assert list(dict.fromkeys(receiver.ids)) == [outbox.ids("hook")[number] for number in (0, 2, 1)]


class Chatty:
    """A channel that fails, and quotes its address."""

    def __init__(self, channel: ChannelSettings) -> None:
        self.url = channel.url.get_secret_value()

    def send(self, message: Message, timeout_seconds: float) -> None:
        msg = f"{message.kind} not taken in {timeout_seconds} s by {self.url}"
        raise RefusedError(msg) if "refused" in self.url else ValueError(msg)


@pytest.mark.parametrize("way", ["refused", "defect"])
def test_no_error_that_is_kept_or_logged_has_a_secret(
    way: str, settings: Settings, outbox: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox.channel("hook", f"https://example.com/{way}/t0ken-in-path")
    outbox.alert("hook")
    with relaying(settings, open_channel=lambda channel, _publish: Chatty(channel)):
        wait_until(lambda: outbox.rows("last_error") != [(None,)])
    (error,) = outbox.rows("last_error")[0]
    assert "not taken in 5 s by ***" in error
    printed = capsys.readouterr()
    assert "delivery_failed" in printed.out
    assert "t0ken-in-path" not in error + printed.out + printed.err
