"""Slack, Discord, Telegram, Teams, ntfy and a hundred other services, by Apprise.

What belongs here: Apprise, and nothing else of the project knows it. It connects by itself, so it is watched while it does
(:mod:`alerts.delivery.channels.watched`). It says only whether a service took a message, and in its log the status of the answer;
a service that throttles is tried again by our own delays.
"""

import html
import logging
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final

import apprise

from alerts.delivery.channels.addresses import is_public
from alerts.delivery.channels.channel import ChannelSettings, RefusedError, scrubbed
from alerts.delivery.channels.deadline import deadline
from alerts.delivery.channels.watched import watched
from alerts.delivery.message import Message
from market.errors import UsageError

_LOCAL: Final = frozenset(
    {"dbus", "glib", "gio", "gnome", "growl", "kde", "macosx", "qt", "syslog", "windows", "mailto", "mailtos", "file"}
)
"""Apprise's ways of talking to the machine that it runs on, and its mail, for which there is ours."""
_LEAST_CUT: Final = 500
"""Services that hold less are those of text messages: they put a long one together from several."""
_BREAK_CHARACTERS: Final = 2
_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
"""How Apprise ends what it logs of an answer."""
_OF_MESSAGE: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""Answers that are about a message, which would be the same to the next attempt."""

_log: Final = logging.getLogger("apprise")
_HTTP_LOG: Final = logging.getLogger("urllib3")


class Service:
    """Sends messages by Apprise.

    Raises
    ------
    UsageError
        If Apprise does not know the URL; or private addresses are not allowed, and it leads to one, or to where nobody can look
        at what is connected to.
    """

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings
        url = settings.url.get_secret_value()
        with _said():
            found: Any = apprise.Apprise.instantiate(url) if settings.scheme not in _LOCAL else None
        self._service = found
        if self._service is None or not self._service.enabled:
            msg = (
                f"{settings.scheme}:// with what follows is not the address of a channel: it is smtp, https, or one that Apprise "
                "knows, such as slack, discord, tgram, workflows or ntfy, written as https://appriseit.com/services says."
            )
            raise UsageError(msg)
        if not settings.is_private_allowed:
            self._require_watched()
        self._service.redirects = False
        self._pause: Any = self._service.throttle
        self._service.throttle = _pause_no_more

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Hand the message to the service; the id is in the text, for these services have no place of its own for it."""
        service, is_allowed = self._service, self._settings.is_private_allowed
        self._pause()  # what the service wants between messages is no part of the exchange
        service.socket_connect_timeout = service.socket_read_timeout = timeout_seconds
        try:
            with (
                _said() as said,
                deadline(timeout_seconds) as limit,
                watched(limit, is_private_allowed=is_allowed) as watch,
            ):
                is_taken = service.notify(**self._rendered(message))
        except TimeoutError as error:
            msg = f"{service.service_name} did not answer: {error}"
            raise RefusedError(msg) from error
        if not is_taken:
            raise self._refused(said, watch.refused)

    def _require_watched(self) -> None:
        service = self._service
        is_own = any(hasattr(sys.modules[kind.__module__], "requests") for kind in type(service).__mro__)
        if not is_own:  # its connections may be made in another thread or process
            msg = (
                f"What {self._settings.scheme}:// connects to cannot be looked at, and may be a private address. If you trust "
                "it, add the channel with --allow-private."
            )
            raise UsageError(msg)
        with suppress(ValueError):  # a name is looked at when it is connected to
            if not is_public(str(service.host).strip("[]")):
                msg = f"{service.host} is not a public address. If that is meant, add the channel with --allow-private."
                raise UsageError(msg)

    def _rendered(self, message: Message) -> dict[str, str]:
        """Return what Apprise is told: the text, as HTML where it would take a text for that.

        What the service does not hold is cut, unless the URL says ``overflow=split``, or ``truncate``.
        """
        service, last = self._service, f"\nDelivery: {message.delivery_id}"
        title = len(message.subject) + _BREAK_CHARACTERS
        is_title_within = service.overflow_amalgamate_title or service.title_maxlen <= 0
        room = service.body_maxlen - len(last) - (title if is_title_within else 0)
        is_cut = service.body_maxlen >= _LEAST_CUT and service.overflow_mode == apprise.OverflowMode.UPSTREAM
        text = (_cut(message.text, room) if is_cut else message.text) + last
        if service.resolve_format(apprise.NotifyFormat.TEXT) != apprise.NotifyFormat.HTML:
            return {"title": message.subject, "body": text, "body_format": "text"}
        body = html.escape(text, quote=False).replace("\n", "<br/>")
        return {"title": html.escape(message.subject, quote=False), "body": body, "body_format": "html"}

    def _refused(self, said: Sequence[str], private: Sequence[str]) -> RefusedError:
        name = self._service.service_name
        if private:
            msg = (
                f"{name} is at {private[0]}, which is not a public address. If that is meant, add the channel again with "
                "--allow-private."
            )
            return RefusedError(msg, is_final=True)
        why = scrubbed("; ".join(said), self._settings) or "no reason given"
        found = [_STATUS.search(line) for line in said]
        statuses = {int(match[1]) for match in found if match is not None}
        if any(status // 100 == HTTPStatus.MULTIPLE_CHOICES // 100 for status in statuses):
            why += " (redirects are not followed)"
        is_known = bool(statuses) and all(found)
        is_of_message = is_known and statuses <= _OF_MESSAGE
        is_final = is_of_message or (is_known and statuses == {HTTPStatus.GONE})
        return RefusedError(f"{name} did not take it: {why}", is_final=is_final, concerns_channel=not is_of_message)


def _pause_no_more(*_: object, **__: object) -> None:
    """Take the place of Apprise's pauses within an exchange: they would use up its time."""


def _cut(text: str, room: int) -> str:
    """Return the text, or as much of it as there is room for, with how much is missing."""
    if len(text) <= room:
        return text
    kept = room - len(_missing(len(text)))
    return text[:kept] + _missing(len(text) - kept)


def _missing(number: int) -> str:
    return f"\n… {number:,} more characters do not fit."


@contextmanager
def _said() -> Iterator[list[str]]:
    """Yield what Apprise logs in this thread while the block runs, and keep it from the log: it may name tokens."""
    lines: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                lines.append(record.getMessage())

    listener = Listener(logging.WARNING)
    _log.propagate = _HTTP_LOG.propagate = False
    _log.addHandler(listener)
    try:
        yield lines
    finally:
        _log.removeHandler(listener)
