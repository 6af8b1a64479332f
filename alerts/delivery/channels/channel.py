"""What a channel is to the relay: something that takes a message, or says why not."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import unquote, unquote_plus, urlsplit

from pydantic import SecretStr

from alerts.delivery.message import Message
from market.errors import DeliveryError

Publish = Callable[[str, str, bytes, Mapping[str, bytes], float], None]
"""Publishes one message to Kafka (topic, key, value, headers, seconds that it may take), and raises if it is not acknowledged."""

MASK = "***"
_SHORTEST_SECRET = 4
_SHORTEST_OPAQUE = 12
"""From this length on a run of letters is masked within longer words too: no word of a sentence is made of it by chance."""


class RefusedError(DeliveryError):
    """A message that was not taken.

    Attributes
    ----------
    retry_after_seconds
        How long the receiver wants to be left alone, if it said so.
    is_final
        Whether it would be refused again, however often it is tried.
    concerns_channel
        Whether others would not be taken either now, as when the receiver is away: then the channel pauses, unless it is final.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        is_final: bool = False,
        concerns_channel: bool = True,
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.is_final = is_final
        self.concerns_channel = concerns_channel


class Channel(Protocol):
    """Takes messages, from one thread at a time."""

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Hand over one message and return once the receiver has taken it.

        Raises
        ------
        RefusedError
            If it has not, or nobody knows whether it has.
        """


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """A channel as users state it.

    Attributes
    ----------
    name
        What rules call it.
    url
        Where it goes, with passwords and tokens.
    signing_secret
        What messages of a webhook are signed with.
    is_private_allowed
        Whether it may lead to addresses that are not public.
    rule_limit, channel_limit
        Alerts an hour, of one rule and of all, above which they are held back; 0 is no limit.
    digest_seconds
        How long after the first that was held back the digest is sent.
    timeout_seconds
        How long one attempt may take.
    is_for_operators
        Whether it is told what is wrong with the platform itself.
    is_for_reports
        Whether reports are sent to it.
    added_at
        When it was added: one that was removed and added again is another.
    """

    name: str
    url: SecretStr
    signing_secret: SecretStr | None = None
    is_private_allowed: bool = False
    rule_limit: int = 30
    channel_limit: int = 120
    digest_seconds: int = 900
    timeout_seconds: int = 10
    is_for_operators: bool = False
    is_for_reports: bool = False
    added_at: datetime | None = None

    @property
    def scheme(self) -> str:
        """What stands before the colon of the URL, lower case."""
        return self.url.get_secret_value().partition(":")[0].lower()


def secrets_of(settings: ChannelSettings) -> list[str]:
    """Return every part of the channel's URL that may be a secret, and its signing secret: what no text may show."""
    parts = urlsplit(settings.url.get_secret_value())
    words = [parts.username, parts.password, *parts.path.split("/"), parts.fragment]
    words += [part.partition("=")[2] for part in parts.query.split("&")]
    if settings.scheme not in {"http", "https", "smtp", "smtps"}:
        words.append(parts.netloc)
        words += parts.netloc.replace("@", ":").split(":")
    if settings.signing_secret is not None:
        words.append(settings.signing_secret.get_secret_value())
    found = {
        form
        for word in words
        if word
        for form in (word, unquote(word), unquote_plus(word))
        if len(form) >= _SHORTEST_SECRET
    }
    return sorted(found, key=len, reverse=True)


def scrubbed(text: str, settings: ChannelSettings) -> str:
    """Return the text without anything that may be a secret of the channel.

    A few letters alone, as a path ``/priv``, are one only where they stand as a word: the rest of ``private`` would tell nobody
    what was meant.
    """
    text = text.replace(settings.url.get_secret_value(), MASK)
    for secret in secrets_of(settings):
        is_word = secret.isalpha() and len(secret) < _SHORTEST_OPAQUE
        pattern = rf"(?<![^\W\d_]){re.escape(secret)}(?![^\W\d_])" if is_word else re.escape(secret)
        text = re.sub(pattern, MASK, text)
    return text


def masked_url(settings: ChannelSettings) -> str:
    """Return the URL as it may be shown: the scheme, and of webhooks and mail servers the host and port."""
    parts = urlsplit(settings.url.get_secret_value())
    if settings.scheme in {"log", "kafka"}:
        return settings.url.get_secret_value()
    if settings.scheme not in {"http", "https", "smtp", "smtps"}:
        return f"{settings.scheme}://{MASK}"
    host = parts.netloc.rpartition("@")[2]
    return f"{settings.scheme}://{MASK + '@' if '@' in parts.netloc else ''}{host}/{MASK}"
