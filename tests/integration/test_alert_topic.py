"""Alerts on a real broker, and those that a terminal shows."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer

from alerts.delivery.ledger import news
from ingest.topics import ensure_topics
from market.settings import Settings
from market.topics import ALERTS
from orchestration.alert_relay import AlertPublisher
from tests.integration.outbox_rows import Outbox
from tests.integration.relays import relaying, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def outbox(settings: Settings) -> Iterator[Outbox]:
    made = Outbox(settings)
    yield made
    made.connection.close()


def test_alerts_reach_the_topic_in_order_with_their_ids(settings: Settings, outbox: Outbox, kafka: str) -> None:
    ensure_topics(kafka)
    publisher = AlertPublisher(kafka)
    for _ in range(5):
        outbox.alert("kafka")
    with relaying(settings, publish=publisher):
        wait_until(lambda: outbox.statuses() == ["delivered"] * 5)
    publisher.close()
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([ALERTS.name])
    messages = consumer.consume(5, timeout=30)
    consumer.close()
    assert [dict(message.headers())["delivery_id"].decode() for message in messages] == outbox.ids("kafka")
    assert {message.key() for message in messages} == {b"IBM"}


def test_a_broker_that_is_away_is_tried_again(settings: Settings, outbox: Outbox) -> None:
    publisher = AlertPublisher("127.0.0.1:1")
    outbox.alert("kafka")
    with relaying(settings, publish=publisher):
        wait_until(lambda: outbox.rows("last_error") != [(None,)])
    assert "Kafka at 127.0.0.1:1 did not answer" in outbox.rows("last_error")[0][0]
    assert outbox.statuses() == ["pending"]


def test_the_terminal_shows_each_alert_once_as_it_comes_also_one_that_was_dated_before_another(
    settings: Settings, outbox: Outbox
) -> None:
    stop = threading.Event()
    shown: list[str] = []

    def watch() -> None:
        since = datetime.now(UTC) - timedelta(minutes=10)
        shown.extend(found.message for found in news(settings, since, stop, poll_seconds=0.1))

    thread = threading.Thread(target=watch)
    outbox.alert("log")
    thread.start()
    try:
        wait_until(lambda: shown == ["message 1"])
        outbox.alert("log")
        outbox.alert("log", age_seconds=60)
        wait_until(lambda: len(shown) == 3)
    finally:
        stop.set()
        thread.join()
    assert sorted(shown) == ["message 1", "message 2", "message 3"]
