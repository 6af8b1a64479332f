"""Webhooks against receivers that behave and misbehave."""

import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from alerts.delivery.channels.addresses import resolve
from alerts.delivery.channels.channel import ChannelSettings, RefusedError
from alerts.delivery.channels.webhook import Webhook, signature
from alerts.delivery.message import alert_message
from market.settings import CHECKOUT
from tests.receivers import HANDSHAKE, Receiver, answers, closes, hangs, receiving, trickles, trickling
from tests.unit.alerts.delivery.message_examples import ALERT, DELIVERY

MESSAGE = alert_message(DELIVERY, ALERT)
SECRET = "whsec_very_secret"


def webhook(url: str, *, is_private_allowed: bool = True, **options: Any) -> Webhook:
    return Webhook(
        ChannelSettings("hook", SecretStr(url), SecretStr(SECRET), is_private_allowed=is_private_allowed), **options
    )


def refusal(receiver: Receiver, timeout_seconds: float = 5, **options: Any) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        webhook(receiver.url, **options).send(MESSAGE, timeout_seconds)
    return refused.value


def verifier() -> Any:
    """The snippet of the documentation, as receivers would copy it."""
    page = Path(CHECKOUT / "docs" / "alerts-delivery.md").read_text()
    code = page.split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, Any] = {}
    exec(code, names)
    return names["is_genuine"]


def test_a_message_is_posted_with_its_id_and_a_signature_that_the_documented_snippet_verifies() -> None:
    with receiving() as receiver:
        webhook(receiver.url).send(MESSAGE, 5)
    (request,) = receiver.requests
    assert request.body == MESSAGE.body()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == request.headers["x-tapehouse-delivery"] == str(DELIVERY)
    header = request.headers["x-tapehouse-signature"]
    is_genuine = verifier()
    assert is_genuine(SECRET, header, request.body)
    assert not is_genuine("another", header, request.body)
    assert not is_genuine(SECRET, header, request.body + b" ")
    assert not is_genuine(SECRET, signature(SECRET, int(time.time()) - 3600, request.body), request.body)


def test_the_signature_is_the_hmac_of_the_time_and_the_body() -> None:
    """Worked out by: printf '1700000000.{}' | openssl dgst -sha256 -hmac k."""
    assert signature("k", 1_700_000_000, b"{}") == (
        "t=1700000000,v1=c6ef4734033cee2367414a0939385eca0397754aa7a59716da7463a9298b5146"
    )


@pytest.mark.parametrize(
    ("status", "concerns_channel", "is_final"),
    [
        (500, True, False),
        (503, True, False),
        (429, True, False),
        (401, True, False),
        (400, False, False),
        (410, True, True),
    ],
)
def test_a_refusal_says_whether_others_and_later_ones_would_be_refused_too(
    status: int, concerns_channel: bool, is_final: bool
) -> None:
    with receiving(answers(status)) as receiver:
        error = refusal(receiver)
    assert (error.concerns_channel, error.is_final) == (concerns_channel, is_final)
    assert str(error) == f"127.0.0.1 answered {status}"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("17", 17), ("999999", 3600), ("Tue, 14 Nov 2023 22:14:20 GMT", 60), ("soon", None), ("-5", None)],
)
def test_a_throttled_receiver_says_how_long_to_wait(header: str, seconds: float | None) -> None:
    with receiving(answers(429, Retry_After=header)) as receiver:
        assert refusal(receiver, clock=lambda: 1_700_000_000.0).retry_after_seconds == seconds


def test_a_redirect_is_not_followed() -> None:
    with receiving() as inside, receiving(answers(307, Location=f"http://127.0.0.1:{inside.port}/admin")) as receiver:
        assert "redirects are not followed" in str(refusal(receiver))
        assert inside.requests == []


def test_a_name_that_no_host_can_have_is_an_answer_that_did_not_come() -> None:
    with pytest.raises(RefusedError, match="not the name of a host"):
        webhook("http://exa..mple.com/hook").send(MESSAGE, 5)


def test_a_private_address_is_not_connected_to_unless_that_was_allowed() -> None:
    with receiving() as receiver:
        error = refusal(receiver, is_private_allowed=False)
        assert error.is_final
        assert receiver.requests == []


def test_a_receiver_that_says_nothing_is_given_up_after_the_timeout() -> None:
    with receiving() as receiver:
        receiver.behavior = hangs(receiver)
        started = time.monotonic()
        assert "did not answer" in str(refusal(receiver, 0.3))
        assert time.monotonic() - started < 2


def test_a_receiver_that_trickles_bytes_is_given_up_after_the_timeout_too() -> None:
    with receiving() as receiver:
        receiver.behavior = trickles(receiver)
        started = time.monotonic()
        assert "no answer within 0.3 s" in str(refusal(receiver, 0.3))
        assert time.monotonic() - started < 2


def test_a_name_that_takes_long_to_be_found_leaves_no_more_time_to_a_receiver_that_trickles() -> None:
    with receiving() as receiver:
        receiver.behavior = trickles(receiver)

        def slow(host: str, port: int) -> list[tuple[Any, ...]]:
            receiver.ends.wait(0.5)
            return resolve(host, port)

        started = time.monotonic()
        assert "no answer within 0.3 s" in str(refusal(receiver, 0.3, resolve=slow))
        assert time.monotonic() - started < 2
        assert receiver.requests == []


def test_a_receiver_that_trickles_its_part_of_the_handshake_is_given_up_after_the_timeout() -> None:
    with trickling(*HANDSHAKE) as port:
        started = time.monotonic()
        with pytest.raises(RefusedError, match=r"no answer within 0\.3 s"):
            webhook(f"https://127.0.0.1:{port}").send(MESSAGE, 0.3)
        assert time.monotonic() - started < 2


def test_a_receiver_that_hangs_up_has_not_taken_it() -> None:
    with receiving(closes) as receiver:
        assert refusal(receiver).concerns_channel


def test_nobody_there_concerns_the_channel() -> None:
    with receiving() as receiver:
        pass
    assert refusal(receiver).concerns_channel
