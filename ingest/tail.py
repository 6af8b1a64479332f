"""The records of a topic as they come: from some offsets on, in no group, and never twice by itself.

What belongs here: reading. What does not: what the records are for.
"""

from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ingest.topics import end_offsets
from market.errors import ServiceError
from market.records import Received, decode
from market.topics import Topic

MOST_RECORDS: Final = 5_000
"""So many are given at a time at most."""

_log: Final = structlog.get_logger(__name__)


class Tail:
    """Reads a topic.

    Parameters
    ----------
    bootstrap_servers
        The broker's address.
    topic
        What to read.
    offsets
        By partition where to begin; without one it is the end of the partition when :meth:`open` is called.
    """

    def __init__(self, bootstrap_servers: str, topic: Topic, offsets: Mapping[int, int]) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._offsets = offsets
        self._consumer: Any = None

    def open(self) -> Self:
        """Connect to the broker.

        Raises
        ------
        ServiceError
            If the broker does not answer, or has no such topic.
        """
        ends = end_offsets(self._bootstrap_servers, topics=(self._topic,))
        begin = {partition: self._offsets.get(partition, end) for (_, partition), end in ends.items()}
        self._consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "client.id": "tapehouse-tail",
                "group.id": "tapehouse-tail",  # asked for by the client; nothing is ever committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "latest",  # of what the broker has deleted nothing is news
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 2,
                "error_cb": lambda _error: None,  # the client reconnects by itself
            }
        )
        self._consumer.assign([TopicPartition(self._topic.name, *place) for place in begin.items()])
        return self

    def read(self, timeout_seconds: float) -> list[Received]:
        """Return what came, after that time at the latest; what is no record is passed over.

        Raises
        ------
        ServiceError
            If the client cannot go on.
        """
        try:
            messages = self._consumer.consume(MOST_RECORDS, timeout_seconds)
        except KafkaException as error:
            raise self._failed(error.args[0]) from error
        received: list[Received] = []
        for message in messages:
            problem = message.error()
            if problem is not None:
                if problem.fatal() or problem.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._failed(problem)
                _log.warning("topic_not_read", cause=problem.str())
                continue
            try:
                record = decode(message.value() or b"")
            except msgspec.MsgspecError:
                continue  # the stream sets it aside, and says why
            received.append(Received(record, message.partition(), message.offset()))
        return received

    def close(self) -> None:
        """Disconnect; closing twice is harmless."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _failed(self, error: Any) -> ServiceError:  # noqa: ANN401 - the client library is untyped
        return ServiceError(
            f"{self._topic.name} on Kafka at {self._bootstrap_servers} cannot be read: {error.str()}. See ./run status."
        )
