"""E-mail over SMTP: plain text and HTML in one message, with a Message-ID that is the same at each attempt."""

import mimetypes
import re
import smtplib
import socket
import ssl
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import structlog

from alerts.delivery.channels.addresses import connect_checked, require_host_name
from alerts.delivery.channels.channel import ChannelSettings, RefusedError
from alerts.delivery.channels.deadline import Deadline, deadline
from alerts.delivery.message import Message, one_line
from market.errors import UsageError

EXAMPLE: Final = "smtp://user:password@mail.example.com:587/?from=tapehouse@example.com&to=me@example.com"
_PORTS: Final = {"smtp": 587, "smtps": 465}
_OPTIONS: Final = frozenset({"from", "to", "starttls"})
_STARTTLS: Final = frozenset({"required", "never"})
_PERMANENT: Final = 500
_ADDRESS: Final = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_MOST_LEFT: Final = 10_000
_LEFT: Final[dict[tuple[tuple[str, ...], UUID], tuple[str, ...]]] = {}
"""Of deliveries that some receivers took, those who could not yet. A relay that is started anew sends to all once more, with the
same Message-ID."""
_GUARD: Final = Lock()
"""Of those: each channel of mail has a thread of its own."""

_log: Final = structlog.get_logger(__name__)

Answers = dict[str, tuple[int, bytes]]
"""By address what the server said."""


class Mail:
    """Sends messages to a mail server.

    The URL is ``smtp://user:password@host:587/?from=…&to=a@b,c@d``; ``smtps`` is TLS from the first byte. With ``smtp`` the
    connection goes over to TLS (STARTTLS) before anything is said; ``starttls=never`` is for servers of one's own that have none.

    Raises
    ------
    UsageError
        If the URL is not one.
    """

    def __init__(self, settings: ChannelSettings) -> None:
        self._parts = urlsplit(settings.url.get_secret_value())
        require_host_name(str(self._parts.hostname or ""))
        self._port = self._parts.port or _PORTS[self._parts.scheme]
        options = _options(self._parts.query)
        if unknown := sorted(options.keys() - _OPTIONS):
            msg = f"A mail channel has no option {unknown[0]}. Write it as {EXAMPLE}"
            raise UsageError(msg)
        self._to = tuple(address.strip() for address in options.get("to", "").split(",") if address.strip())
        self._from = options.get("from", "")
        self._starttls = options.get("starttls", "required")
        if self._starttls not in _STARTTLS:
            msg = f"starttls is {self._starttls!r}: required, or never."
            raise UsageError(msg)
        if not (self._parts.hostname and self._from and self._to):
            msg = f"A mail channel needs a host, from and to. Write it as {EXAMPLE}"
            raise UsageError(msg)
        if self._parts.username and self._starttls == "never" and self._parts.scheme == "smtp":
            msg = "A password is not sent without TLS: leave starttls=never away, or the user and password."
            raise UsageError(msg)

        for address, bare in ((self._from, parseaddr(self._from)[1]), *((one, one) for one in self._to)):
            if _ADDRESS.fullmatch(bare) is None or one_line(address) != address:
                msg = f"{address!r} is not an address of mail. Write the channel as {EXAMPLE}"
                raise UsageError(msg)

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Hand the message to the server, which has taken it when it said so for every receiver.

        Whom it cannot take it for yet is tried again without the others. Who will never take it is named in the log, if anybody
        took it.
        """
        mail = (self._to, message.delivery_id)
        try:
            with deadline(timeout_seconds) as limit, closing(self._connected(limit)) as client:
                refused = self._hand_over(client, self._as_mail(message), _LEFT.get(mail, self._to))
        except smtplib.SMTPException as error:
            raise _refused(error, str(self._parts.hostname)) from error
        except OSError as error:
            msg = f"{self._parts.hostname} did not answer: {str(error) or type(error).__name__}"
            raise RefusedError(msg) from error
        left = {address: answer for address, answer in refused.items() if answer[0] < _PERMANENT}
        if never := {address: answer for address, answer in refused.items() if address not in left}:
            _log.warning("mail_not_taken_by_all", delivery_id=str(message.delivery_id), refused=_answers(never))
        _remember(mail, tuple(left))
        if left:
            msg = (
                f"{self._parts.hostname} does not take it yet for {_answers(left)}; it is not sent to the others again"
            )
            raise RefusedError(msg, concerns_channel=False)

    def _connected(self, limit: Deadline) -> smtplib.SMTP:
        return _Client(str(self._parts.hostname), self._port, self._parts.scheme, limit)

    def _hand_over(self, client: smtplib.SMTP, mail: EmailMessage, to: tuple[str, ...]) -> Answers:
        """Return for whom it was not taken, and the answers."""
        if self._parts.scheme == "smtp" and self._starttls == "required":
            client.starttls(context=ssl.create_default_context())
        if self._parts.username:
            client.login(unquote(self._parts.username), unquote(self._parts.password or ""))
        try:
            return client.send_message(mail, self._from, to)
        except smtplib.SMTPRecipientsRefused as error:
            if to == self._to:
                raise
            return error.recipients  # the others took it before

    def _as_mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._from
        mail["To"] = ", ".join(self._to)
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{message.delivery_id}@tapehouse>"
        mail["X-Tapehouse-Delivery"] = str(message.delivery_id)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        if message.attachment is not None:
            _attach(mail, message.attachment)
        return mail


def _options(query: str) -> dict[str, str]:
    """Return the options of a URL; a plus stays one, as in addresses."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _remember(mail: tuple[tuple[str, ...], UUID], left: tuple[str, ...]) -> None:
    with _GUARD:
        _LEFT.pop(mail, None)
        if not left:
            return
        while len(_LEFT) >= _MOST_LEFT:
            _LEFT.pop(next(iter(_LEFT)))
        _LEFT[mail] = left


class _Client(smtplib.SMTP):
    """The library's, with a connection that the deadline watches before the server has said anything."""

    def __init__(self, host: str, port: int, scheme: str, limit: Deadline) -> None:
        self._is_secure = scheme == "smtps"
        self._limit = limit
        super().__init__(host, port)

    def _get_socket(self, host: str, port: int, _timeout: object) -> socket.socket:
        """Connect; the library's own SMTP over TLS replaces this method, and nothing else."""
        connection = connect_checked(host, port, self._limit, is_private_allowed=True)
        if not self._is_secure:
            return connection
        with ExitStack() as stack:
            stack.callback(connection.close)
            secured = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
            stack.pop_all()
            return secured


def _attach(mail: EmailMessage, path: Path) -> None:
    """Attach a file, unless it is gone: the text says where it was."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    kind, _, subtype = (mimetypes.guess_type(path.name)[0] or "application/octet-stream").partition("/")
    mail.add_attachment(content, maintype=kind, subtype=subtype, filename=path.name)


def _refused(error: smtplib.SMTPException, host: str) -> RefusedError:
    """Return what an answer of the server means: one that is permanent and about a receiver or the message is final."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers: Answers = error.recipients
        is_final = all(code >= _PERMANENT for code, _ in answers.values())
        return RefusedError(
            f"{host} does not take it for {_answers(answers)}", is_final=is_final, concerns_channel=not is_final
        )
    if isinstance(error, smtplib.SMTPResponseException):
        about_message = isinstance(error, smtplib.SMTPDataError)
        is_final = about_message and error.smtp_code >= _PERMANENT
        return RefusedError(
            f"{host} answered {error.smtp_code} {_text(error.smtp_error)}",
            is_final=is_final,
            concerns_channel=not is_final,
        )
    return RefusedError(f"{host}: {error}")


def _answers(answers: Answers) -> str:
    return "; ".join(f"{address}: {code} {_text(reply)}" for address, (code, reply) in answers.items())


def _text(reply: bytes | str) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else reply
