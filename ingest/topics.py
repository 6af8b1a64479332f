"""The topics on the broker: creating them, and how far they reach.

What belongs here: which record goes where, and administration by the declarations of ``market.topics``. What does not:
producing and consuming.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from market.errors import ServiceError
from market.records import (
    Bar,
    Cancel,
    Correction,
    Dividend,
    Halt,
    Heartbeat,
    Quote,
    Resume,
    Split,
    SymbolChange,
    Trade,
    Withdrawal,
)
from market.topics import ACTIONS, ALL_TOPICS, BARS, QUOTES, TOPICS, TRADES, Topic

TOPIC_OF: Final[dict[type, Topic]] = {
    Trade: TRADES,
    Cancel: TRADES,
    Correction: TRADES,
    Heartbeat: TRADES,
    Halt: TRADES,
    Resume: TRADES,
    Quote: QUOTES,
    Bar: BARS,
    Split: ACTIONS,
    Dividend: ACTIONS,
    SymbolChange: ACTIONS,
    Withdrawal: ACTIONS,
}
"""The topic of each type of record."""

REQUEST_SECONDS: Final = 10.0
"""How long one request to the broker may take."""
READY_SECONDS: Final = 60.0
"""How long to wait for a broker that is starting."""
RETRY_SECONDS: Final = 0.2

_BROKER_DEFAULT: Final = -1
_ELECTING: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)
"""Errors of a partition that has just been created or is changing its leader: they pass by themselves."""

_log = structlog.get_logger(__name__)

Offsets = dict[tuple[str, int], int]


def topic_config(topic: Topic) -> dict[str, str]:
    """Return the broker-side settings of a topic.

    Messages are stamped when the broker appends them: retention then counts from their arrival even when years-old
    ticks are replayed, and no producer's clock is trusted.
    """
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(topic.retention_hours * 3_600_000),
        "message.timestamp.type": "LogAppendTime",
    }


def ensure_topics(
    bootstrap_servers: str, *, topics: Sequence[Topic] = ALL_TOPICS, timeout_seconds: float = READY_SECONDS
) -> tuple[str, ...]:
    """Create the topics that do not exist, and compare the others with their declarations.

    Existing topics are never changed: partitions decide which symbols share an order, and a retention may have been
    chosen on purpose.

    Returns
    -------
    tuple of str
        One sentence for each difference between a topic and its declaration; each is logged too.

    Raises
    ------
    ServiceError
        If the broker is not ready in time, or refuses.
    """
    admin = _admin(bootstrap_servers)
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            _create_missing(admin, topics)
            differences = _differences(admin, topics)
        except KafkaException as error:
            cause = error.args[0]
            if time.monotonic() > deadline or not _may_pass(cause):
                msg = (
                    f"The topics could not be created on Kafka at {bootstrap_servers}: {cause.str()}. "
                    "Is it running, and may this user create topics?"
                )
                raise ServiceError(msg) from error
            time.sleep(RETRY_SECONDS)
        else:
            for difference in differences:
                _log.warning("topic_differs", difference=difference)
            return differences


def end_offsets(bootstrap_servers: str, *, topics: Sequence[Topic] = TOPICS) -> Offsets:
    """Return the next offset of every partition of the topics.

    Raises
    ------
    ServiceError
        If the broker does not answer or a topic does not exist.
    """
    return _offsets(bootstrap_servers, topics, OffsetSpec.latest())


def beginning_offsets(bootstrap_servers: str, *, topics: Sequence[Topic] = TOPICS) -> Offsets:
    """Return the first offset that every partition of the topics still holds.

    Raises
    ------
    ServiceError
        If the broker does not answer or a topic does not exist.
    """
    return _offsets(bootstrap_servers, topics, OffsetSpec.earliest())


def _admin(bootstrap_servers: str) -> Any:  # noqa: ANN401 - the client library is untyped
    return AdminClient(
        {
            "bootstrap.servers": bootstrap_servers,
            "client.id": "tapehouse-topics",
            "log_level": 2,
            "error_cb": lambda _error: None,  # every request reports its own failure
        }
    )


def _may_pass(error: Any) -> bool:  # noqa: ANN401 - the client library is untyped
    """Return whether waiting may help: a starting broker answers with one of many retriable or transport errors."""
    refused = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_CONFIG,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - the client's own name of a local error
    }
    return error.code() not in refused


def _create_missing(admin: Any, topics: Sequence[Topic]) -> None:  # noqa: ANN401 - the client library is untyped
    existing = admin.list_topics(timeout=REQUEST_SECONDS).topics
    missing = [topic for topic in topics if topic.name not in existing]
    if not missing:
        return
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=_BROKER_DEFAULT,
            config=topic_config(topic),
        )
        for topic in missing
    ]
    for name, future in admin.create_topics(new, request_timeout=REQUEST_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            _log.info("topic_created", topic=name)


def _differences(admin: Any, topics: Sequence[Topic]) -> tuple[str, ...]:  # noqa: ANN401 - the client library is untyped
    metadata = admin.list_topics(timeout=REQUEST_SECONDS).topics
    resources = {ConfigResource(ConfigResource.Type.TOPIC, topic.name): topic for topic in topics}
    futures = admin.describe_configs(list(resources), request_timeout=REQUEST_SECONDS)
    differences: list[str] = []
    for resource, future in futures.items():
        topic = next(topic for topic in topics if topic.name == resource.name)
        _require_leaders(metadata, topic)
        differences.extend(_topic_differences(topic, len(metadata[topic.name].partitions), future.result()))
    return tuple(differences)


def _require_leaders(metadata: Mapping[str, Any], topic: Topic) -> None:
    """Raise a retriable error while a new topic is not yet known or a partition has no leader."""
    found = metadata.get(topic.name)
    if found is None or found.error is not None or any(p.leader < 0 for p in found.partitions.values()):
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"{topic.name} has no leader yet"))


def _topic_differences(topic: Topic, partitions: int, config: Mapping[str, Any]) -> list[str]:
    differences = []
    if partitions != topic.partitions:
        differences.append(f"Topic {topic.name} has {partitions} partitions; {topic.partitions} are declared.")
    for name, declared in topic_config(topic).items():
        actual = config[name].value
        if actual != declared:
            differences.append(f"Topic {topic.name} has {name}={actual}; {declared} is declared.")
    return differences


def _offsets(
    bootstrap_servers: str,
    topics: Sequence[Topic],
    spec: Any,  # noqa: ANN401 - the client library is untyped
) -> Offsets:
    admin = _admin(bootstrap_servers)
    deadline = time.monotonic() + REQUEST_SECONDS
    while True:
        try:
            return _ask_offsets(admin, topics, spec)
        except KafkaException as error:
            cause = error.args[0]
            if time.monotonic() > deadline or cause.code() not in _ELECTING:
                msg = f"Kafka at {bootstrap_servers} did not say how far its topics reach: {cause.str()}. See ./run status."
                raise ServiceError(msg) from error
            time.sleep(RETRY_SECONDS)


def _ask_offsets(admin: Any, topics: Sequence[Topic], spec: Any) -> Offsets:  # noqa: ANN401 - the client library is untyped
    metadata = admin.list_topics(timeout=REQUEST_SECONDS).topics
    absent = [topic.name for topic in topics if topic.name not in metadata]
    if absent:
        msg = f"Kafka has no topic {absent[0]}. Start the platform once with ./run up: it creates the topics."
        raise ServiceError(msg)
    wanted = {
        TopicPartition(topic.name, number): spec for topic in topics for number in metadata[topic.name].partitions
    }
    futures: dict[Any, Future[Any]] = admin.list_offsets(wanted, request_timeout=REQUEST_SECONDS)
    return {(part.topic, part.partition): future.result().offset for part, future in futures.items()}
