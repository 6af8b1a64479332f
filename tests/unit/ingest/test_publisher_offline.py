"""What the publisher does without a broker."""

import socket
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from threading import Event

import pytest

from ingest.feeds import FeedRequest, get_feed
from ingest.publisher import FLUSH_SLICE_SECONDS, Publisher, PublishSummary
from ingest.replay import replay
from ingest.topics import end_offsets, ensure_topics
from market.errors import FeedError, PublishError, ServiceError, UsageError
from market.records import Heartbeat, Record, Trade, decode


@pytest.fixture
def closed_address() -> Iterator[str]:
    """An address on which nothing listens, kept from others while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_making_a_publisher_needs_no_broker_and_closing_it_unopened_is_harmless(closed_address: str) -> None:
    publisher = Publisher(closed_address)
    assert publisher.close() == publisher.close() == PublishSummary()


def test_a_broker_that_does_not_answer_is_a_service_error_within_the_time_given(closed_address: str) -> None:
    started_at = time.monotonic()
    with pytest.raises(ServiceError, match=closed_address), Publisher(closed_address, connect_timeout_seconds=0.5):
        pass
    assert time.monotonic() - started_at < 5


def test_topics_of_a_broker_that_does_not_answer_are_a_service_error(
    closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.topics.REQUEST_SECONDS", 0.3)
    with pytest.raises(ServiceError, match=closed_address):
        ensure_topics(closed_address, timeout_seconds=0.5)
    with pytest.raises(ServiceError, match=closed_address):
        end_offsets(closed_address)


def test_a_wrong_request_is_refused_before_the_broker_is_asked(closed_address: str) -> None:
    with pytest.raises(FeedError, match="QQQ"):
        replay(closed_address, get_feed("sample"), FeedRequest(("QQQ",)))
    with pytest.raises(UsageError, match="speed"):
        replay(closed_address, get_feed("sample"), FeedRequest(), speed=0)


def test_a_summary_that_is_not_complete_raises_with_its_counts_and_cause() -> None:
    PublishSummary(sent=3, acknowledged=3).require_complete()
    summary = PublishSummary(sent=1200, acknowledged=1000, failed=150, unknown=50, first_error="Broker: too large")
    with pytest.raises(PublishError, match=r"1,200 records 150 failed and 50 are unknown.*Broker: too large"):
        summary.require_complete()


class HesitantProducer:
    """Acknowledges what it was given at the ``slow_by``-th flush after that; notes what happened in order."""

    def __init__(self, slow_by: int = 1) -> None:
        self.slow_by = slow_by
        self.happened: list[Record | str] = []
        self.waiting = 0
        self.flushes = 0
        self.on_flush: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return self.waiting

    def produce(self, _topic: str, value: bytes, _key: str, **_headers: object) -> None:
        self.happened.append(decode(value))
        self.waiting += 1

    def poll(self, _seconds: float) -> int:
        return 0

    def flush(self, seconds: float) -> int:
        assert 0 < seconds <= FLUSH_SLICE_SECONDS
        self.flushes += 1
        self.on_flush()
        if self.flushes % self.slow_by == 0 and self.waiting:
            self.happened.append("acknowledged")
            self.waiting = 0
        return self.waiting


def with_producer(producer: HesitantProducer, stop_event: Event | None = None) -> Publisher:
    publisher = Publisher("nowhere", stop_event=stop_event)
    publisher._producer = producer
    return publisher


def trade(number: int) -> Trade:
    return Trade("lean", "SPY", number, Decimal(1), 1, f"t{number}")


def test_a_heartbeat_is_handed_in_when_everything_before_it_is_acknowledged() -> None:
    producer = HesitantProducer(slow_by=3)
    first, second = (Heartbeat("lean", symbol, 0, 5) for symbol in ("IBM", "SPY"))
    publisher = with_producer(producer)
    assert publisher.publish_all([first, trade(1), trade(2)]) == 3
    assert publisher.publish_all([first, second, trade(3), second]) == 4
    settled = "acknowledged"
    assert producer.happened == [trade(1), trade(2), settled, first, trade(3), settled, first, second, second]


def test_a_heartbeat_is_not_handed_in_after_a_loss() -> None:
    producer = HesitantProducer()
    publisher = with_producer(producer)

    def lose() -> None:
        publisher._failed += producer.waiting
        producer.waiting = 0

    producer.on_flush = lose
    with pytest.raises(PublishError, match="1 failed"):
        publisher.publish_all([trade(1), Heartbeat("lean", "SPY", 0, 5)])
    assert producer.happened == [trade(1)]


def test_a_stop_ends_the_wait_before_a_heartbeat() -> None:
    stop_event = Event()
    producer = HesitantProducer(slow_by=10**9)
    producer.on_flush = stop_event.set
    publisher = with_producer(producer, stop_event)
    taken = publisher.publish_all([trade(1), Heartbeat("lean", "SPY", 0, 5), trade(6)])
    assert taken == 1, "the heartbeat is not in: whoever goes on begins with it"
    assert producer.happened == [trade(1), trade(6)]


def test_heartbeats_of_a_long_tape_are_not_held_back_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.publisher.SETTLE_EVERY", 2)
    producer = HesitantProducer()
    first, second = (Heartbeat("lean", "SPY", 0, end) for end in (2, 4))
    rows: list[Record] = [trade(1), first, trade(2), trade(3), second, trade(4), trade(5)]
    assert with_producer(producer).publish_all(rows) == 7
    settled = "acknowledged"
    assert producer.happened == [trade(1), trade(2), settled, first, trade(3), trade(4), settled, second, trade(5)]
