"""The topic ``market.alerts.v1``: the JSON of each message, its id in a header; the publisher is passed in."""

from alerts.delivery.channels.channel import Publish, RefusedError
from alerts.delivery.message import Message
from market.errors import TapehouseError
from market.topics import ALERTS

DELIVERY_HEADER = "delivery_id"


class KafkaTopic:
    """Publishes messages, and has handed one over when the broker acknowledged it."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Publish the message with its symbol as the key, so that those of one symbol keep their order."""
        headers = {DELIVERY_HEADER: str(message.delivery_id).encode(), "kind": message.kind.encode()}
        try:
            self._publish(ALERTS.name, message.key, message.body(), headers, timeout_seconds)
        except TapehouseError as error:
            raise RefusedError(str(error)) from error
