"""E-mail against a real mail server on this machine."""

import email
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import policy
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import SecretStr
from structlog.testing import capture_logs

from alerts.delivery.channels.channel import ChannelSettings, RefusedError
from alerts.delivery.channels.mail import Mail
from alerts.delivery.message import Message, alert_message
from market.errors import UsageError
from tests.receivers import HANDSHAKE, trickling
from tests.unit.alerts.delivery.message_examples import ALERT, DELIVERY

MESSAGE = alert_message(DELIVERY, ALERT)


class Mailbox:
    """Keeps what it is given, or answers as told."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.taken: list[list[str]] = []
        self.answers: dict[str, str] = {}
        self.data_answer = "250 OK"

    async def handle_RCPT(  # noqa: N802 - as the server calls it
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data_answer.startswith("250"):
            self.mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
            self.taken.append(list(envelope.rcpt_tos))
        return self.data_answer


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield mailbox, port
    finally:
        controller.stop()


def send(
    port: int,
    scheme: str = "smtp",
    login: str = "",
    to: str = "me@example.com",
    *,
    more: str = "",
    message: Message = MESSAGE,
) -> None:
    url = f"{scheme}://{login}127.0.0.1:{port}/?from=tapehouse@example.com&to={to}{more}"
    Mail(ChannelSettings("mail", SecretStr(url))).send(message, 5)


def refusal(port: int, **options: Any) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        send(port, more="&starttls=never", **options)
    return refused.value


def test_a_mail_has_text_html_and_an_id_that_is_the_same_at_each_attempt() -> None:
    with mail_server() as (mailbox, port):
        send(port, to="me@example.com,you@example.com", more="&starttls=never")
        send(port, to="me@example.com,you@example.com", more="&starttls=never")
    first, second = mailbox.mails
    assert first["Message-ID"] == second["Message-ID"] == f"<{DELIVERY}@tapehouse>"
    assert first["X-Tapehouse-Delivery"] == str(DELIVERY)
    assert first["Subject"] == MESSAGE.subject
    assert first["To"] == "me@example.com, you@example.com"
    assert mailbox.taken == [["me@example.com", "you@example.com"]] * 2
    text, page = first.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert text.get_content().splitlines() == MESSAGE.text.splitlines()
    assert page.get_content_type() == "text/html"
    assert "rsi_14" in page.get_content()


def test_a_file_that_a_message_is_about_is_attached_unless_it_is_gone(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>500 symbols</p>")
    with mail_server() as (mailbox, port):
        for path in (report, tmp_path / "gone.html"):
            send(port, more="&starttls=never", message=replace(MESSAGE, attachment=path))
    with_file, without = mailbox.mails
    (attached,) = with_file.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("report.html", "text/html")
    assert attached.get_content().strip() == "<p>500 symbols</p>"
    assert list(without.iter_attachments()) == []


def test_the_password_goes_over_tls_only(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    seen = []

    def authenticate(_server: Any, session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        seen.append((session.ssl is not None, data))
        return AuthResult(success=data == LoginPassword(b"me", b"p@ss"), handled=False)

    trusted = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with mail_server(tls_context=context, authenticator=authenticate, auth_required=True) as (mailbox, port):
        with pytest.raises(RefusedError, match="certificate"):
            send(port, login="me:p%40ss@")
        assert seen == []
        monkeypatch.setattr(ssl, "create_default_context", lambda: trusted)
        send(port, login="me:p%40ss@")
        assert len(mailbox.mails) == 1
        assert seen == [(True, LoginPassword(b"me", b"p@ss"))]
        with pytest.raises(RefusedError, match="535") as refused:
            send(port, login="me:wrong@")
        assert not refused.value.is_final


def test_a_server_without_tls_is_not_told_anything_unless_that_was_allowed() -> None:
    with mail_server() as (mailbox, port), pytest.raises(RefusedError, match="STARTTLS"):
        send(port)
    assert mailbox.mails == []


@pytest.mark.parametrize(("answer", "is_final"), [("550 no such mailbox", True), ("451 greylisted", False)])
def test_a_mailbox_that_does_not_exist_is_final_and_one_that_is_busy_is_not(answer: str, is_final: bool) -> None:
    with mail_server() as (mailbox, port):
        mailbox.answers["me@example.com"] = answer
        error = refusal(port)
    assert error.is_final == is_final
    assert answer.partition(" ")[2] in str(error)


def test_a_mail_that_one_receiver_cannot_take_yet_is_tried_again_for_that_one_only() -> None:
    to = "me@example.com,you@example.com"
    message = replace(MESSAGE, delivery_id=uuid4())
    with mail_server() as (mailbox, port):
        mailbox.answers["you@example.com"] = "452 full"
        for _ in range(3):
            error = refusal(port, to=to, message=message)
            assert "you@example.com: 452 full" in str(error)
            assert (error.is_final, error.concerns_channel) == (False, False)
        del mailbox.answers["you@example.com"]
        for _ in range(2):  # once it was taken by all, who sends it again means all
            send(port, to=to, more="&starttls=never", message=message)
    assert mailbox.taken == [
        ["me@example.com"],
        ["you@example.com"],
        ["me@example.com", "you@example.com"],
    ]
    assert {mail["To"] for mail in mailbox.mails} == {"me@example.com, you@example.com"}


@pytest.mark.parametrize("first", ["250 OK", "452 full"])
def test_a_mail_that_some_took_and_others_never_will_is_taken_and_the_log_names_them(first: str) -> None:
    """Else who took it would not be told of its retraction."""
    to = "me@example.com,you@example.com"
    message = replace(MESSAGE, delivery_id=uuid4())
    with mail_server() as (mailbox, port), capture_logs() as logs:
        mailbox.answers["you@example.com"] = "550 no such mailbox" if first.startswith("250") else first
        if first.startswith("452"):
            refusal(port, to=to, message=message)
            mailbox.answers["you@example.com"] = "550 no such mailbox"
        send(port, to=to, more="&starttls=never", message=message)
    assert mailbox.taken == [["me@example.com"]]
    (entry,) = logs
    assert (entry["event"], entry["refused"]) == ("mail_not_taken_by_all", "you@example.com: 550 no such mailbox")


def test_who_will_never_take_a_mail_is_named_also_where_another_cannot_take_it_yet() -> None:
    to = "me@example.com,you@example.com,they@example.com"
    message = replace(MESSAGE, delivery_id=uuid4())
    with mail_server() as (mailbox, port), capture_logs() as logs:
        mailbox.answers.update({"you@example.com": "452 full", "they@example.com": "550 no such mailbox"})
        assert "they@example.com" not in str(refusal(port, to=to, message=message))
        del mailbox.answers["you@example.com"]
        send(port, to=to, more="&starttls=never", message=message)
    assert mailbox.taken == [["me@example.com"], ["you@example.com"]]
    assert [entry["refused"] for entry in logs] == ["they@example.com: 550 no such mailbox"]


def test_a_plus_in_an_address_stays_one() -> None:
    with mail_server() as (mailbox, port):
        send(port, to="me+alerts@example.com,you%2Btoo@example.com", more="&starttls=never")
    assert mailbox.taken == [["me+alerts@example.com", "you+too@example.com"]]


@pytest.mark.parametrize(("answer", "is_final"), [("554 spam", True), ("452 full", False)])
def test_a_refused_mail_is_tried_again_only_if_that_may_help(answer: str, is_final: bool) -> None:
    with mail_server() as (mailbox, port):
        mailbox.data_answer = answer
        assert refusal(port).is_final == is_final


def test_a_server_that_says_nothing_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"smtp://127.0.0.1:{silent.getsockname()[1]}/?from=a@b.c&to=d@e.f"
        started = time.monotonic()
        with pytest.raises(RefusedError):
            Mail(ChannelSettings("mail", SecretStr(url))).send(MESSAGE, 0.3)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(("scheme", "said"), [("smtp", (b"", b"220-wait\r\n")), ("smtps", HANDSHAKE)])
def test_a_server_that_trickles_its_greeting_is_given_up_after_the_timeout(
    scheme: str, said: tuple[bytes, bytes]
) -> None:
    with trickling(*said) as port:
        url = f"{scheme}://127.0.0.1:{port}/?from=a@b.c&to=d@e.f"
        started = time.monotonic()
        with pytest.raises(RefusedError, match=r"no answer within 0\.3 s"):
            Mail(ChannelSettings("mail", SecretStr(url))).send(MESSAGE, 0.3)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("smtp://host/", "from and to"),
        ("smtp://host/?from=a@b.c", "from and to"),
        ("smtp://host/?from=a@b.c&to=d@e.f&cc=x", "no option cc"),
        ("smtp://host/?from=a@b.c&to=d@e.f&starttls=maybe", "required, or never"),
        ("smtp://me:secret@host/?from=a@b.c&to=d@e.f&starttls=never", "without TLS"),
        ("smtp://host/?from=a@b.c%0ABcc:x@y.z&to=d@e.f", "not an address"),
        ("smtp://host/?from=a@b.c&to=d@e.f,nobody", "'nobody' is not an address"),
        ("smtp://host/?from=a@b.c&to=d e@f.g", "'d e@f.g' is not an address"),
        ("smtp://host/?from=a@b.c&to=d@e@f.g", "'d@e@f.g' is not an address"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_showing_its_password(url: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as refused:
        Mail(ChannelSettings("mail", SecretStr(url)))
    assert "secret" not in str(refused.value)


def test_a_sender_may_have_a_name() -> None:
    with mail_server() as (mailbox, port):
        url = f"smtp://127.0.0.1:{port}/?from=Tape%20House%20<tape@example.com>&to=me@example.com&starttls=never"
        Mail(ChannelSettings("mail", SecretStr(url))).send(MESSAGE, 5)
    assert mailbox.mails[0]["From"] == "Tape House <tape@example.com>"
