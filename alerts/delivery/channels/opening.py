"""From a channel's settings to the channel: by the scheme of its URL."""

import re
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from alerts.delivery.channels.addresses import require_host_name
from alerts.delivery.channels.channel import Channel, ChannelSettings, Publish
from alerts.delivery.channels.kafka import KafkaTopic
from alerts.delivery.channels.log import Log
from alerts.delivery.channels.mail import Mail
from alerts.delivery.channels.webhook import Webhook
from market.errors import UsageError

BUILT_IN: Final = {
    "log": ChannelSettings(
        "log", SecretStr("log:"), rule_limit=0, channel_limit=0, is_for_operators=True, is_for_reports=True
    ),
    "kafka": ChannelSettings("kafka", SecretStr("kafka:"), rule_limit=0, channel_limit=0),
}
"""Channels that are there without being added: they have no limits, for nobody reads them line by line."""

LIMITS: Final = {
    "rule_limit": (0, 100_000),
    "channel_limit": (0, 100_000),
    "digest_seconds": (10, 86_400),
    "timeout_seconds": (1, 120),
}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_NATIVE: Final = re.compile(
    r"https://(hooks\.slack\.com/|(canary\.|ptb\.)?discord(app)?\.com/api/webhooks/"
    r"|[a-z0-9.-]+\.(logic\.azure|api\.powerplatform)\.(com|us)(:[0-9]+)?/(powerautomate|workflows)/)",
    re.IGNORECASE,
)
"""Addresses as Slack, Discord and Teams hand them out: they are theirs, not plain webhooks."""
_ENDED: Final = re.compile(r"[a-z0-9-]+://([^/]*\.)?webhook\.office(365)?\.com(:[0-9]+)?/|msteams://", re.IGNORECASE)
"""Addresses of the connectors of Teams, which are no more."""
_SCHEME: Final = re.compile(r"[a-z0-9][a-z0-9+._-]*:", re.IGNORECASE)
_WITH_HOST: Final = frozenset({"http", "https", "smtp", "smtps"})
_NUMBER_OF_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
"""What is longer, or no number, may be a password of which the host was forgotten."""
_WRITTEN: Final = (
    "Write it as https://example.com/path or smtp://user:password@mail.example.com:587/?from=a@example.com&to=b@example.com; "
    "docs/alerts-delivery.md has the other kinds."
)


def check_settings(settings: ChannelSettings) -> None:
    """Look whether this can be a channel, without connecting to anything.

    Raises
    ------
    UsageError
        If it cannot: the text says why, without the URL.
    """
    if _NAME.fullmatch(settings.name) is None:
        msg = f"A channel cannot be called {settings.name!r}. Use up to 40 lower-case letters, digits, - and _."
        raise UsageError(msg)
    if settings.name in BUILT_IN:
        msg = f"The channel {settings.name} is there without being added. Choose another name."
        raise UsageError(msg)
    for name, (least, most) in LIMITS.items():
        if not least <= getattr(settings, name) <= most:
            msg = f"{name.replace('_', ' ')} is {getattr(settings, name)}: it has to be from {least} to {most}."
            raise UsageError(msg)
    if settings.signing_secret is not None and not is_webhook(settings):
        msg = "Only webhooks (https://…) are signed: leave --secret away."
        raise UsageError(msg)
    if _SCHEME.match(settings.url.get_secret_value()) is None:
        is_empty = not settings.url.get_secret_value().strip()
        msg = f"The address of the channel {'is empty' if is_empty else 'does not begin with a scheme'}. {_WRITTEN}"
        raise UsageError(msg)
    try:
        if settings.scheme in _WITH_HOST:
            _check_port(settings.url.get_secret_value())
        open_channel(settings, None)
    except UnicodeError:
        msg = f"The address of the channel cannot be read: no host can be called so. {_WRITTEN}"
        raise UsageError(msg) from None
    except ValueError:  # as of a bracket that is not closed
        msg = f"The address of the channel cannot be read. {_WRITTEN}"
        raise UsageError(msg) from None


def _check_port(url: str) -> None:
    """Refuse a port that is none; it is named where it cannot be a secret.

    Raises
    ------
    UsageError
        If it is none.
    ValueError
        If the URL cannot be read.
    """
    parts = urlsplit(url)
    with suppress(ValueError):
        if parts.port != 0:
            return
    text = parts.netloc.rpartition(":")[2]
    named = f" {text}" if _NUMBER_OF_PORT.fullmatch(text) else ""
    msg = f"The address of the channel cannot be read: its port{named} is no number from 1 to 65535. {_WRITTEN}"
    raise UsageError(msg)


def is_webhook(settings: ChannelSettings) -> bool:
    """Return whether the messages are posted as JSON to an address of the user's."""
    return settings.scheme in {"http", "https"} and _NATIVE.match(settings.url.get_secret_value()) is None


def open_channel(settings: ChannelSettings, publish: Publish | None) -> Channel:
    """Return the channel; nothing connects before it sends. ``publish`` is what Kafka's needs.

    Raises
    ------
    UsageError
        If the URL is not one of a channel.
    ValueError
        If a part of it cannot be read, such as its port.
    """
    if _ENDED.match(settings.url.get_secret_value()):
        msg = (
            "Microsoft has ended the connectors of Teams that had such addresses. Make a workflow there (Workflows, in the menu "
            "of the channel) from a template for when a webhook request is received, and add the address that it gives."
        )
        raise UsageError(msg)
    if is_webhook(settings):
        parts = urlsplit(settings.url.get_secret_value())
        if not parts.hostname:
            msg = "The address of the webhook has no host. Write it as https://example.com/path."
            raise UsageError(msg)
        require_host_name(parts.hostname)
        _ = parts.port
        return Webhook(settings)
    match settings.scheme:
        case "smtp" | "smtps":
            return Mail(settings)
        case "log":
            return Log()
        case "kafka":
            return KafkaTopic(publish or _no_broker)
    from alerts.delivery.channels.services import Service

    return Service(settings)


def _no_broker(*_: object) -> None:
    msg = "This process has no connection to Kafka."
    raise UsageError(msg)
