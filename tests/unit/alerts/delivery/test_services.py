"""Services by Apprise, against receivers in their place: what they are sent, and what they may not do."""

import json
import re
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from alerts.delivery.channels.channel import ChannelSettings, RefusedError
from alerts.delivery.channels.opening import check_settings, open_channel
from alerts.delivery.channels.services import Service
from alerts.delivery.message import Message, alert_message
from market.errors import UsageError
from tests.receivers import Receiver, answers, receiving, trickles
from tests.unit.alerts.delivery.message_examples import ALERT, DELIVERY

MESSAGE = alert_message(DELIVERY, ALERT)
WORKFLOW = "643e69f83c8944438d68119179a10a64"
SIGNATURE = "KODuebWbDGYFr0z0eu-6Rj8aUKz7108W3wrNJZxFE5A"
QUERY = f"api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={SIGNATURE}"
LOGIC_PATH = f"/workflows/{WORKFLOW}/triggers/manual/paths/invoke"
LOGIC_HOST = "prod-161.westeurope.logic.azure.com"
POWER_HOST = "default0123456789abcdef.4c.environment.api.powerplatform.com"
POWER_PATH = f"/powerautomate/automations/direct{LOGIC_PATH}"


def settings(url: str, **options: Any) -> ChannelSettings:
    return ChannelSettings("desk", SecretStr(url), **options)


def own(receiver: Receiver, scheme: str = "json", host: str = "127.0.0.1", **options: Any) -> ChannelSettings:
    """A service that posts to the receiver, which is allowed to be on this machine unless told otherwise."""
    return settings(f"{scheme}://{host}:{receiver.port}/topic", **{"is_private_allowed": True, **options})


def refusal(channel: ChannelSettings, timeout_seconds: float = 5, message: Message = MESSAGE) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        open_channel(channel, None).send(message, timeout_seconds)
    return refused.value


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def lead_here(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Have the names of hosts lead to this machine."""
    known = socket.getaddrinfo

    def found(host: Any, *details: Any, **more: Any) -> Any:
        return known("127.0.0.1" if host in hosts else host, *details, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        (LOGIC_HOST, LOGIC_PATH),
        (POWER_HOST, POWER_PATH),
        (POWER_HOST, POWER_PATH.replace("/workflows", "/cu/07/workflows")),
    ],
)
def test_teams_is_posted_an_adaptive_card_at_the_address_that_it_hands_out(
    host: str, path: str, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its texts are Markdown, where a backslash before punctuation is that punctuation."""
    lead_here(monkeypatch, host)
    with receiving(answers(202), tls) as receiver:
        url = f"https://{host}:{receiver.port}{path}?{QUERY}&verify=no"
        open_channel(settings(url, is_private_allowed=True), None).send(MESSAGE, 5)
    (request,) = receiver.requests
    assert request.path.partition("?")[0] == path
    assert f"sig={SIGNATURE}" in request.path
    (attachment,) = json.loads(request.body)["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    blocks = attachment["content"]["body"]
    texts = [re.sub(r"\\([!-/:-@[-`{-~])", r"\1", block["text"]) for block in blocks if block["type"] == "TextBlock"]
    assert texts == [MESSAGE.subject, f"{MESSAGE.text}\nDelivery: {DELIVERY}"]


@pytest.mark.parametrize(
    "url",
    [
        f"https://{LOGIC_HOST}:443{LOGIC_PATH}?{QUERY}",
        f"https://{LOGIC_HOST}{POWER_PATH}?{QUERY}",
        f"https://{POWER_HOST}{POWER_PATH}?{QUERY}",
        f"https://{POWER_HOST}:443{POWER_PATH}?{QUERY}",
        f"workflows://{LOGIC_HOST}:443/{WORKFLOW}/{SIGNATURE}",
    ],
)
def test_an_address_of_teams_is_taken_as_it_is_handed_out(url: str) -> None:
    check_settings(settings(url))
    assert isinstance(open_channel(settings(url), None), Service)


def test_an_address_of_the_connectors_that_ended_is_refused_with_what_to_do() -> None:
    url = "https://example.webhook.office.com/webhookb2/t0ken@x/IncomingWebhook/t0ken/y"
    with pytest.raises(UsageError, match=r"Microsoft has ended.*webhook request is received") as refused:
        check_settings(settings(url))
    assert "t0ken" not in str(refused.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_has_not_taken_the_message(status: int) -> None:
    with receiving() as inside, receiving(answers(status, Location=f"http://127.0.0.1:{inside.port}/login")) as outside:
        error = refusal(own(outside))
    assert inside.requests == []
    assert "redirects are not followed" in str(error)
    assert not error.is_final


@pytest.mark.parametrize("scheme", ["json", "jsons", "ntfy"])
def test_a_service_that_trickles_bytes_is_given_up_after_the_timeout(scheme: str, tls: ssl.SSLContext) -> None:
    with receiving(tls=tls if scheme == "jsons" else None) as receiver:
        receiver.behavior = trickles(receiver)
        url = f"{scheme}://127.0.0.1:{receiver.port}/topic?verify=no"
        started = time.monotonic()
        assert "no answer within 0.3 s" in str(refusal(settings(url, is_private_allowed=True), 0.3))
        assert time.monotonic() - started < 2


def test_the_pause_that_a_service_wants_between_messages_is_no_part_of_an_attempt() -> None:
    with receiving() as receiver:
        service: Any = open_channel(own(receiver), None)
        service._service.request_rate_per_sec = 0.5
        for _ in range(2):
            service.send(MESSAGE, 0.3)
        first, second = receiver.requests
    assert second.at - first.at >= 0.4


@pytest.mark.parametrize(
    "url",
    [
        "zulip://bot@internal.corp.example/abcdefghijklmnopqrstuvwxyz123456",
        "json://internal.corp.example/t0ken",
        "ntfy://internal.corp.example/topic",
        f"workflows://internal.corp.example/{WORKFLOW}/{SIGNATURE}",
    ],
)
def test_no_service_connects_to_a_private_address_unless_that_was_allowed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_here(monkeypatch, "internal.corp.example")
    error = refusal(settings(url))
    assert error.is_final
    assert "127.0.0.1, which is not a public address" in str(error)
    assert "--allow-private" in str(error)


def test_a_service_on_this_machine_gets_nothing_unless_that_was_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    lead_here(monkeypatch, "internal.corp.example")
    with receiving() as receiver:
        assert refusal(own(receiver, host="internal.corp.example", is_private_allowed=False)).is_final
        assert receiver.requests == []
        open_channel(own(receiver, host="internal.corp.example"), None).send(MESSAGE, 5)
        assert len(receiver.requests) == 1


def test_what_does_not_connect_in_the_thread_of_its_channel_wants_to_be_trusted() -> None:
    """Nobody sees what it connects to."""
    with pytest.raises(UsageError, match="--allow-private"):
        check_settings(settings("rsyslog://example.com/local7"))
    check_settings(settings("rsyslog://example.com/local7", is_private_allowed=True))


@pytest.mark.parametrize(
    ("status", "is_final", "concerns_channel"),
    [
        (400, True, False),
        (413, True, False),
        (410, True, True),
        (401, False, True),
        (404, False, True),
        (429, False, True),
        (500, False, True),
    ],
)
def test_a_refusal_is_final_where_no_other_attempt_can_help(
    status: int, is_final: bool, concerns_channel: bool
) -> None:
    with receiving(answers(status)) as receiver:
        error = refusal(own(receiver))
    assert (error.is_final, error.concerns_channel) == (is_final, concerns_channel)


def at(channel: ChannelSettings, receiver: Receiver, name: str, path: str) -> Any:
    """The channel, whose service is in the receiver."""
    service: Any = open_channel(replace(channel, is_private_allowed=True), None)
    setattr(service._service, name, f"http://127.0.0.1:{receiver.port}/{path}")
    return service


def test_what_a_service_cannot_hold_is_cut_before_the_id_and_the_text_says_how_much() -> None:
    long = alert_message(DELIVERY, replace(ALERT, message="IBM: " + "0123456789" * 240))
    with receiving() as receiver:
        discord = settings("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js")
        at(discord, receiver, "notify_url", "d").send(long, 5)
    content = json.loads(receiver.requests[0].body)["content"]
    assert 1900 < len(content) <= 2000
    assert content.startswith(long.subject)
    *_, note, last = content.split("\n")
    assert last == f"Delivery: {DELIVERY}"
    kept = content.partition("\r\n")[2].partition("\n… ")[0]
    assert long.text.startswith(kept)
    assert note == f"… {len(long.text) - len(kept):,} more characters do not fit."


def test_whoever_wants_a_long_text_in_several_messages_gets_all_of_it() -> None:
    long = alert_message(DELIVERY, replace(ALERT, message="IBM: " + "0123456789" * 240))
    with receiving() as receiver:
        discord = settings("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?overflow=split")
        at(discord, receiver, "notify_url", "d").send(long, 5)
    contents = [json.loads(request.body)["content"] for request in receiver.requests]
    assert len(contents) > 1
    assert contents[-1].endswith(f"Delivery: {DELIVERY}")
    assert sum(content.count("0123456789") for content in contents) >= 239


def test_telegram_shows_a_text_as_it_is() -> None:
    text = "<!channel> <b>x</b> & a < b > c\nsecond line"
    with receiving() as receiver:
        telegram = settings("tgram://123456789:abcdefg_hijklmnop/12315544")
        at(telegram, receiver, "notify_url", "bot").send(replace(MESSAGE, subject="a <b> b", text=text), 5)
    said = json.loads(receiver.requests[0].body)
    assert said["parse_mode"] == "HTML"
    assert "&lt;!channel&gt; &lt;b&gt;x&lt;/b&gt; &amp; a &lt; b &gt; c\r\nsecond line\r\nDelivery: " in said["text"]
    assert "a &lt;b&gt; b" in said["text"]
