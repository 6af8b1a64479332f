"""What the publisher does without a broker."""

import socket
import time
from collections.abc import Iterator

import pytest

from ingest.feeds import FeedRequest, get_feed
from ingest.publisher import Publisher, PublishSummary
from ingest.replay import replay
from ingest.topics import end_offsets, ensure_topics
from market.errors import FeedError, PublishError, ServiceError, UsageError


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
