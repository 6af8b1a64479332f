"""The structured log of the relay: one event a message."""

from typing import Final

import structlog

from alerts.delivery.message import Message

_log: Final = structlog.get_logger(__name__)


class Log:
    """Writes messages to the log."""

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Write the message."""
        del timeout_seconds  # a line takes none
        _log.info(
            f"alert_{message.kind}",
            delivery_id=str(message.delivery_id),
            key=message.key,
            subject=message.subject,
            payload=dict(message.payload),
        )
