"""Webhooks: a signed POST of the JSON to an address of the user's.

The signature is that of Stripe's scheme: ``t`` is the time of the attempt, ``v1`` the HMAC-SHA256 of ``t``, a full stop and the
body. Redirects are not followed: nobody but the user says where alerts go.
"""

import base64
import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, urlsplit

from alerts.delivery.channels.addresses import Resolve, connect_checked, resolve
from alerts.delivery.channels.channel import ChannelSettings, RefusedError
from alerts.delivery.channels.deadline import Deadline, deadline
from alerts.delivery.message import Message

SIGNATURE_HEADER: Final = "X-Tapehouse-Signature"
DELIVERY_HEADER: Final = "X-Tapehouse-Delivery"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
"""A receiver that asks for more is asked again after this all the same."""
_HTTPS_PORT: Final = 443
_HTTP_PORT: Final = 80
_READ_BYTES: Final = 65_536
_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def signature(secret: str, sent_at: int, body: bytes) -> str:
    """Return the value of the signature's header for a body that is sent at a time, in seconds since 1970."""
    digest = hmac.new(secret.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={sent_at},v1={digest}"


class Webhook:
    """Posts messages to a URL."""

    def __init__(
        self, settings: ChannelSettings, *, resolve: Resolve = resolve, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._parts = urlsplit(settings.url.get_secret_value())
        self._resolve = resolve
        self._clock = clock

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Post the message; an answer of 2xx has taken it."""
        body = message.body()
        try:
            with deadline(timeout_seconds) as limit:
                status, retry_after = self._post(body, self._headers(message, body), limit)
        except (OSError, http.client.HTTPException) as error:
            msg = f"{self._parts.hostname} did not answer: {str(error) or type(error).__name__}"
            raise RefusedError(msg) from error
        _judge(status, retry_after, str(self._parts.hostname), self._clock())

    def _post(self, body: bytes, headers: dict[str, str], limit: Deadline) -> tuple[int, str | None]:
        is_secure = self._parts.scheme.lower() == "https"
        host, port = str(self._parts.hostname), self._parts.port or (_HTTPS_PORT if is_secure else _HTTP_PORT)
        with ExitStack() as stack:
            is_allowed = self._settings.is_private_allowed
            connected = connect_checked(host, port, limit, is_private_allowed=is_allowed, resolve=self._resolve)
            stack.callback(connected.close)
            if is_secure:
                connected = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
                stack.callback(connected.close)
            connection = http.client.HTTPConnection(host, port)
            if is_secure:
                connection.default_port = _HTTPS_PORT  # else the Host header names it
            connection.sock = connected
            target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            answer.read(_READ_BYTES)
            return answer.status, answer.getheader("Retry-After")

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "tapehouse",
            IDEMPOTENCY_HEADER: str(message.delivery_id),
            DELIVERY_HEADER: str(message.delivery_id),
        }
        secret = self._settings.signing_secret
        if secret is not None:
            headers[SIGNATURE_HEADER] = signature(secret.get_secret_value(), int(self._clock()), body)
        if self._parts.username is not None:
            login = f"{unquote(self._parts.username)}:{unquote(self._parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        return headers


def _judge(status: int, retry_after: str | None, host: str, now: float) -> None:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    what = f"{host} answered {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        msg = f"{what}: redirects are not followed. Add the channel again with the address that it leads to."
        raise RefusedError(msg)
    is_later = status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    raise RefusedError(
        what,
        retry_after_seconds=_seconds(retry_after, now),
        is_final=status == HTTPStatus.GONE,
        concerns_channel=is_later
        or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE},
    )


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for, which is a number or a date."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.fromtimestamp(now, UTC)).total_seconds()), LONGEST_RETRY_AFTER_SECONDS)
