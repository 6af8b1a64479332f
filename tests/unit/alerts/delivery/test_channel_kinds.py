"""Which channel a URL is, what is refused, and that no secret shows."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from alerts.delivery.channels.channel import ChannelSettings, RefusedError, masked_url, scrubbed
from alerts.delivery.channels.kafka import KafkaTopic
from alerts.delivery.channels.mail import Mail
from alerts.delivery.channels.opening import check_settings, open_channel
from alerts.delivery.channels.services import Service
from alerts.delivery.channels.webhook import Webhook
from alerts.delivery.message import alert_message
from market.errors import PublishError, UsageError
from tests.receivers import answers, receiving
from tests.unit.alerts.delivery.message_examples import ALERT, DELIVERY

MESSAGE = alert_message(DELIVERY, ALERT)
TOKEN = "TIiajkdnlazkcOXrIdevi7FQ"


def settings(url: str, **options: Any) -> ChannelSettings:
    return ChannelSettings("desk", SecretStr(url), **options)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.com/hook", Webhook),
        ("http://example.com", Webhook),
        ("https://bücher.example/hook", Webhook),
        ("https://on_prem.example:8443/hook", Webhook),
        ("https://[2606:4700::1111]:8443/hook", Webhook),
        ("smtp://host/?from=a@b.c&to=d@e.f", Mail),
        (f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}", Service),
        (f"https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}", Service),
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", Service),
        ("tgram://123456789:abcdefg_hijklmnop/12315544", Service),
        ("ntfy://topic", Service),
    ],
)
def test_the_address_says_which_channel_it_is(url: str, kind: type) -> None:
    check_settings(settings(url))
    assert isinstance(open_channel(settings(url), None), kind)


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        (settings("pigeon://roof/secret-token"), "is not the address of a channel"),
        (settings("https:///secret-token"), "no host"),
        (settings("https://host:port/secret-token"), "its port is no number from 1 to 65535"),
        (settings("https://user:secret-token/hook"), "its port is no number from 1 to 65535"),
        (
            settings("https://a:99999/secret-token"),
            "its port 99999 is no number from 1 to 65535.*https://example.com/path",
        ),
        (settings("smtp://a:99999/?from=a@b.c&to=secret-token@e.f"), "its port 99999 is no number"),
        (settings("https://a:0/secret-token"), "its port 0 is no number"),
        (settings("https://[::1/secret-token"), "cannot be read. Write it as"),
        (settings("https://exa mple.com/secret-token"), "no host can be called so"),
        (settings("smtp://exa mple.com/?from=a@b.c&to=secret-token@e.f"), "no host can be called so"),
        (settings(""), "is empty. Write it as https://example.com/path"),
        (settings("hooks.example.com/secret-token"), "does not begin with a scheme"),
        (settings("https://exa..mple.com/secret-token"), "cannot be read"),
        (settings("smtp://exa..mple.com/?from=a@b.c&to=secret-token@e.f"), "cannot be read"),
        (settings("smtp://host:port/?from=a@b.c&to=secret-token@e.f"), "cannot be read"),
        (settings("json://192.168.1.5/secret-token"), "--allow-private"),
        (settings("ntfy://192.168.1.5/secret-token"), "--allow-private"),
        (settings("ntfy://topic", signing_secret=SecretStr("secret-token")), "Only webhooks"),
        (settings("syslog://"), "is not the address of a channel"),
        (settings("https://example.com", timeout_seconds=0), "timeout seconds is 0: it has to be from 1 to 120"),
        (ChannelSettings("log", SecretStr("https://example.com")), "is there without being added"),
        (ChannelSettings("My Desk", SecretStr("https://example.com")), "cannot be called 'My Desk'"),
    ],
)
def test_what_cannot_be_a_channel_is_refused_with_the_reason_and_without_its_secret(
    channel: ChannelSettings, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as refused:
        check_settings(channel)
    assert "secret-token" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pa55word@example.com:8443/hook/t0ken?key=s3cret", "https://***@example.com:8443/***"),
        ("smtp://user:pa55word@mail.example.com:587/?from=a@b.c&to=d@e.f", "smtp://***@mail.example.com:587/***"),
        (f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}", "slack://***"),
        ("tgram://123456789:t0ken/12315544", "tgram://***"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    channel = settings(url, signing_secret=SecretStr("whsec"))
    assert masked_url(channel) == shown
    assert not [secret for secret in ("pa55word", "t0ken", "s3cret", "whsec", TOKEN) if secret in repr(channel)]


def test_no_error_text_keeps_a_secret() -> None:
    channel = settings("https://user:p%40ssword@example.com/hook/t0ken?key=s3cret", signing_secret=SecretStr("whsec"))
    text = (
        "p@ssword p%40ssword t0ken s3cret whsec https://user:p%40ssword@example.com/hook/t0ken?key=s3cret example.com"
    )
    assert scrubbed(text, channel) == "*** *** *** *** *** *** example.com"


def test_letters_of_a_path_are_hidden_as_a_word_and_leave_longer_words_readable() -> None:
    channel = settings("https://example.com/priv?key=abcdefghijkl&pin=tok3")
    text = "priv, /priv?x --allow-private; 1priv_ abcdefghijkl xabcdefghijkly xtok3y"
    assert scrubbed(text, channel) == "***, /***?x --allow-private; 1***_ *** x***y x***y"


def test_a_plus_in_a_secret_hides_none_of_its_forms() -> None:
    channel = settings("https://example.com/hook?key=s3cret+t0ken%2Bx")
    assert scrubbed("s3cret+t0ken%2Bx, s3cret+t0ken+x, s3cret t0ken+x", channel) == "***, ***, ***"


def test_a_service_is_sent_the_text_with_the_id() -> None:
    with receiving() as receiver:
        channel = settings(f"json://127.0.0.1:{receiver.port}/t0ken", is_private_allowed=True)
        open_channel(channel, None).send(MESSAGE, 5)
    said = json.loads(receiver.requests[0].body)
    assert said["title"] == MESSAGE.subject
    assert MESSAGE.text in said["message"]
    assert said["message"].endswith(f"Delivery: {DELIVERY}")


def test_a_service_that_refuses_is_quoted_without_the_token_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with receiving(answers(500)) as receiver, caplog.at_level(logging.DEBUG):
        channel = settings(f"json://127.0.0.1:{receiver.port}/t0ken", is_private_allowed=True)
        with pytest.raises(RefusedError, match=r"did not take it: .*500") as refused:
            open_channel(channel, None).send(MESSAGE, 5)
    assert "t0ken" not in str(refused.value)
    printed = capfd.readouterr()
    assert "t0ken" not in caplog.text + printed.out + printed.err


def test_kafka_gets_the_json_keyed_by_symbol_with_the_id_in_a_header() -> None:
    sent: list[tuple[Any, ...]] = []
    KafkaTopic(lambda *message: sent.append(message)).send(MESSAGE, 3)
    headers = {"delivery_id": str(DELIVERY).encode(), "kind": b"alert"}
    assert sent == [("market.alerts.v1", "IBM", MESSAGE.body(), headers, 3)]


def test_a_broker_that_does_not_acknowledge_has_not_taken_it() -> None:
    def publish(*_: object) -> None:
        msg = "no acknowledgement"
        raise PublishError(msg)

    with pytest.raises(RefusedError, match="no acknowledgement"):
        KafkaTopic(publish).send(MESSAGE, 3)


def test_the_log_has_one_event_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    channel = open_channel(settings("log:"), None)
    channel.send(MESSAGE, 1)
    (line,) = capsys.readouterr().out.splitlines()
    assert "alert_alert" in line
    assert str(DELIVERY) in line


def _publishes(_topic: str, _key: str, _value: bytes, _headers: Mapping[str, bytes], _seconds: float) -> None:
    """Take anything."""


def test_the_kafka_channel_is_given_its_publisher() -> None:
    open_channel(settings("kafka:"), _publishes).send(MESSAGE, 1)
    with pytest.raises(RefusedError, match="no connection to Kafka"):
        open_channel(settings("kafka:"), None).send(MESSAGE, 1)
