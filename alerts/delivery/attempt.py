"""One channel's next attempt: what is sent, and what follows from the receiver's answer."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from alerts.delivery import outbox, storm
from alerts.delivery.backoff import MOST_ATTEMPTS, pause_seconds, retry_seconds
from alerts.delivery.channel_store import read_channel
from alerts.delivery.channels.channel import Channel, ChannelSettings, Publish, RefusedError, scrubbed
from alerts.delivery.message import Message, Notice, alert_message, digest_message, notice_message
from market.errors import UsageError

if TYPE_CHECKING:
    from alerts.delivery.relay import Outside

RECOVERED_AFTER: Final = 5
"""After so many failures in a row a success means that the receiver is back: then what failed does not wait any longer."""
NO_PAUSE: Final = 0.0

_log: Final = structlog.get_logger(__name__)


class Courier:
    """Delivers what is due of one channel, one message a step; hold the channel while using it.

    Each step is: (1) take the next message, and decide whether it is sent at all, or held back; (2) count the attempt, (3) send
    it, (4) mark it. A death between (3) and (4) sends it once more with the same id: at least once.
    """

    def __init__(self, connection: Any, channel: str, outside: "Outside", publish: Publish | None) -> None:  # noqa: ANN401
        self._connection = connection
        self._name = channel
        self._outside = outside
        self._publish = publish
        self._settings: ChannelSettings | None = None
        self._opened: tuple[ChannelSettings, Channel] | None = None
        self._failures = 0

    def step(self) -> float | None:
        """Make the next attempt; return how long to leave the channel alone before the next step, ``None`` if nothing is due."""
        settings = read_channel(self._connection, self._name)
        if settings != self._settings:
            self._settings, self._failures = settings, 0
        if settings is None:
            error = f"There is no channel {self._name}. Add it, and send again: ./run alert resend --dead --channel {self._name}"
            outbox.give_up_channel(self._connection, self._name, error)
            return None
        with self._connection.transaction():
            digest = storm.due_digest(self._connection, self._name, self._outside.clock())
            if digest is not None:
                storm.begin_digest(self._connection, digest.digest_id)
        if digest is not None:
            return self._send_digest(settings, digest)
        with self._connection.transaction():
            due = outbox.take(self._connection, self._name, self._outside.clock())
            if due is None:
                return None
            if outbox.settled(self._connection, due) or storm.held_back(
                self._connection, settings, due, self._outside.clock()
            ):
                return NO_PAUSE
            outbox.begin(self._connection, due.delivery_id)
        return self._send(settings, due)

    def is_outdated(self) -> bool:
        """Return whether the channel was removed, or added anew, since the last step: then its pause is over."""
        return read_channel(self._connection, self._name) != self._settings

    def _send(self, settings: ChannelSettings, due: outbox.Due) -> float:
        error = self._attempt(settings, _message(due))
        now = self._outside.clock()
        if error is None:
            outbox.delivered(self._connection, due.delivery_id, now)
            return self._succeeded()
        delay, pause = self._delays(due.attempts + 1, error)
        if error.is_final or due.attempts + 1 >= MOST_ATTEMPTS:
            outbox.dead(self._connection, due.delivery_id, str(error))
            _log.error("delivery_dead", channel=self._name, delivery_id=str(due.delivery_id), cause=str(error))
        else:
            outbox.failed(self._connection, due.delivery_id, str(error), now + timedelta(seconds=delay))
            self._tell_failure(due.delivery_id, error, delay)
        return pause

    def _send_digest(self, settings: ChannelSettings, digest: storm.DueDigest) -> float:
        now = self._outside.clock()
        if not digest.counts:  # all of it was resent meanwhile
            storm.close_digest(self._connection, digest.digest_id, "delivered", None, now)
            return NO_PAUSE
        limits = (settings.rule_limit, settings.channel_limit)
        message = digest_message(digest.digest_id, self._name, digest.opened_at, digest.counts, limits)
        error = self._attempt(settings, message)
        now = self._outside.clock()
        if error is None:
            storm.close_digest(self._connection, digest.digest_id, "delivered", None, now)
            return self._succeeded()
        delay, pause = self._delays(digest.attempts + 1, error)
        if error.is_final or digest.attempts + 1 >= MOST_ATTEMPTS:
            storm.close_digest(self._connection, digest.digest_id, "dead", str(error), now)
            _log.error("digest_dead", channel=self._name, delivery_id=str(digest.digest_id), cause=str(error))
        else:
            storm.postpone_digest(self._connection, digest.digest_id, str(error), now + timedelta(seconds=delay))
            self._tell_failure(digest.digest_id, error, delay)
        return pause

    def _attempt(self, settings: ChannelSettings, message: Message) -> RefusedError | None:
        """Send the message, and return why it was not taken, without any secret, or ``None``."""
        try:
            channel = self._open(settings)
        except (UsageError, ValueError) as error:  # stored before such an address was refused
            remedy = f"Add it anew, and send again: ./run alert resend --dead --channel {self._name}"
            return RefusedError(f"{scrubbed(str(error), settings)} {remedy}", is_final=True, concerns_channel=False)
        try:
            channel.send(message, settings.timeout_seconds)
        except RefusedError as error:
            return RefusedError(
                scrubbed(str(error), settings),
                retry_after_seconds=error.retry_after_seconds,
                is_final=error.is_final,
                concerns_channel=error.concerns_channel,
            )
        except Exception as error:  # noqa: BLE001 - a defect in a channel is a failed attempt, not the end of the relay
            text = scrubbed(f"{type(error).__name__}: {error}", settings)
            return RefusedError(text, concerns_channel=False)
        return None

    def _open(self, settings: ChannelSettings) -> Channel:
        if self._opened is None or self._opened[0] != settings:
            self._opened = (settings, self._outside.open_channel(settings, self._publish))
        return self._opened[1]

    def _succeeded(self) -> float:
        if self._failures >= RECOVERED_AFTER:
            outbox.try_sooner(self._connection, self._name, self._outside.clock())
        self._failures = 0
        return NO_PAUSE

    def _delays(self, attempts: int, error: RefusedError) -> tuple[float, float]:
        """Return how long this message waits, and how long the channel does.

        Both are drawn by one chance: so after a first failure the message is due when the channel is, and keeps its place.
        """
        chance, asked = self._outside.chance(), error.retry_after_seconds or 0.0
        delay = max(retry_seconds(attempts, chance), asked)
        if error.is_final or not error.concerns_channel:
            return delay, NO_PAUSE
        self._failures += 1
        return delay, max(pause_seconds(self._failures, chance), asked)

    def _tell_failure(self, delivery_id: UUID, error: RefusedError, delay: float) -> None:
        _log.warning(
            "delivery_failed",
            channel=self._name,
            delivery_id=str(delivery_id),
            again_in_seconds=round(delay, 1),
            cause=str(error),
        )


def _message(due: outbox.Due) -> Message:
    if isinstance(due.told, Notice):
        return notice_message(due.delivery_id, due.told)
    return alert_message(due.delivery_id, due.told, due.original)
