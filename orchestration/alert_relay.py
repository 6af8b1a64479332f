"""``python -m orchestration.alert_relay``: the process that delivers alerts.

What belongs here: bringing the relay and Kafka together, which do not know each other.
"""

import random
import signal
import sys
from collections.abc import Mapping
from threading import Event, Lock
from typing import Final

import structlog

from alerts.delivery.relay import Outside, Relay, utc_now
from ingest.publisher import Publisher
from market.errors import PublishError, SettingsError, TapehouseError
from market.logs import log_to_standard_error
from market.settings import Settings, load_settings

CONNECT_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class AlertPublisher:
    """Publishes one message at a time, and waits for the broker's word; connects when first needed, and anew after a failure."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._publisher: Publisher | None = None
        self._guard = Lock()  # the topic's channel may have more than one name

    def __call__(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, bytes], timeout_seconds: float
    ) -> None:
        """Publish a message.

        Raises
        ------
        PublishError
            If the broker did not acknowledge it in time: it may have it all the same.
        ServiceError
            If there is no broker.
        """
        with self._guard:
            try:
                self._connected().publish_bytes(topic, key.encode(), value, headers)
                self._require_acknowledged(timeout_seconds)
            except TapehouseError:
                self.close()
                raise

    def close(self) -> None:
        """Disconnect; what is not acknowledged is given up."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close(0)

    def _connected(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(self._bootstrap_servers, connect_timeout_seconds=CONNECT_SECONDS).open()
        return self._publisher

    def _require_acknowledged(self, timeout_seconds: float) -> None:
        publisher = self._connected()
        if publisher.flush(timeout_seconds) or publisher.has_losses:
            cause = publisher.summary().first_error or f"no acknowledgement within {timeout_seconds:g} s"
            msg = f"Kafka did not take the message: {cause}."
            raise PublishError(msg)


def main() -> int:
    """Deliver until SIGTERM or SIGINT, and return the exit code."""
    stop = stop_at_signals()
    try:
        settings = load_settings()
        configure_logging(settings)
        settings.require_database()
    except TapehouseError as error:
        _log.error("relay_cannot_start", cause=str(error))
        return error.exit_code
    publisher = alert_publisher(settings)
    Relay(settings, Outside(clock=utc_now, chance=random.random), publisher).run(stop)
    if publisher is not None:
        publisher.close()
    _log.info("relay_stopped")
    return 0


def alert_publisher(settings: Settings) -> AlertPublisher | None:
    """Return what publishes alerts, or ``None`` where no broker is set."""
    try:
        return AlertPublisher(settings.require_kafka())
    except SettingsError:
        return None


def stop_at_signals() -> Event:
    """Return what SIGTERM and SIGINT set from now on."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def configure_logging(settings: Settings) -> None:
    """Have this process log to standard error, from the level of the settings on."""
    log_to_standard_error(settings.log_level)


if __name__ == "__main__":
    sys.exit(main())
