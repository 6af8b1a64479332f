"""Slack, Discord, Telegram, Teams, ntfy and a hundred other services, by Apprise.

What belongs here: Apprise, and nothing else of the project knows it. It says only whether a service took a message, so a service
that throttles is tried again by our own delays.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import apprise

from alerts.delivery.channels.channel import ChannelSettings, RefusedError, scrubbed
from alerts.delivery.message import Message
from market.errors import UsageError

_LOCAL: Final = frozenset(
    {"dbus", "glib", "gio", "gnome", "growl", "kde", "macosx", "qt", "syslog", "windows", "mailto", "mailtos", "file"}
)
"""Apprise's ways of talking to the machine that it runs on, and its mail, for which there is ours."""
_OWN_HOST: Final = "{host}"

_log: Final = logging.getLogger("apprise")
_HTTP_LOG: Final = logging.getLogger("urllib3")


class Service:
    """Sends messages by Apprise.

    Raises
    ------
    UsageError
        If Apprise does not know the URL, or it leads to a host of the user's own and private addresses are not allowed: Apprise
        connects by itself, so what it connects to cannot be looked at.
    """

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings
        url = settings.url.get_secret_value()
        with _said():
            self._service: Any = apprise.Apprise.instantiate(url) if settings.scheme not in _LOCAL else None
        if self._service is None:
            msg = (
                f"{settings.scheme}:// is not the address of a channel: it is smtp, https, or one that Apprise knows, such as "
                "slack, discord, tgram, msteams, workflows or ntfy, written as https://appriseit.com/services says."
            )
            raise UsageError(msg)
        if self._has_own_host() and not settings.is_private_allowed:
            msg = (
                f"{settings.scheme}:// with a host of its own may lead to a private address, which is looked at for webhooks "
                "only. If you trust that host, add the channel with --allow-private."
            )
            raise UsageError(msg)

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Hand the message to the service; the id is in the text, for these services have no place of its own for it."""
        self._service.socket_connect_timeout = self._service.socket_read_timeout = timeout_seconds
        with _said() as said:
            is_taken = self._service.notify(
                title=message.subject, body=f"{message.text}\nDelivery: {message.delivery_id}", body_format="text"
            )
        if not is_taken:
            why = scrubbed("; ".join(said), self._settings) or "no reason given"
            msg = f"{self._service.service_name} did not take it: {why}"
            raise RefusedError(msg)

    def _has_own_host(self) -> bool:
        service = self._service
        is_cloud = getattr(service, "mode", None) == "cloud"
        return any(_OWN_HOST in template for template in service.templates) and bool(service.host) and not is_cloud


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
