"""Topic administration against a real broker."""

import uuid
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.topics import end_offsets, ensure_topics
from market.errors import ServiceError
from market.topics import TRADES, Topic

pytestmark = pytest.mark.integration


@pytest.fixture
def topic() -> Topic:
    return replace(TRADES, name=f"test.{uuid.uuid4().hex}")


def test_a_topic_is_created_as_declared_and_then_left_alone(kafka: str, topic: Topic) -> None:
    assert ensure_topics(kafka, topics=[topic]) == ()
    assert ensure_topics(kafka, topics=[topic]) == ()
    metadata = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics[topic.name]
    assert len(metadata.partitions) == topic.partitions
    assert end_offsets(kafka, topics=[topic]) == {(topic.name, number): 0 for number in range(topic.partitions)}


def test_an_existing_topic_that_differs_is_reported_and_not_changed(kafka: str, topic: Topic) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    new = NewTopic(topic.name, num_partitions=1, replication_factor=1, config={"retention.ms": "3600000"})
    admin.create_topics([new])[topic.name].result()
    differences = ensure_topics(kafka, topics=[topic])
    assert any("has 1 partitions; 4 are declared" in text for text in differences)
    assert any("retention.ms=3600000; 604800000 is declared" in text for text in differences)
    assert ensure_topics(kafka, topics=[topic]) == differences


def test_offsets_of_a_topic_that_does_not_exist_say_so(kafka: str, topic: Topic) -> None:
    with pytest.raises(ServiceError, match=f"has no topic {topic.name}"):
        end_offsets(kafka, topics=[topic])
