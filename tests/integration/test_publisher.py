"""The publisher against a real broker, with an independent consumer as the witness."""

import zlib
from collections.abc import Iterator
from decimal import Decimal
from threading import Event, Timer
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from ingest.publisher import Publisher, PublishSummary
from ingest.topics import beginning_offsets, end_offsets, ensure_topics
from market.errors import PublishError
from market.records import Bar, Quote, Record, Trade, decode
from market.topics import BARS, QUOTES, TOPICS, TRADES

pytestmark = pytest.mark.integration

SYMBOLS = ("AAPL", "IBM", "MSFT", "SPY", "XOM")


def trade(number: int, symbol: str = "SPY") -> Trade:
    return Trade(
        "test", symbol, 1_381_152_600_000_000 + number, Decimal(number % 1000 + 1) / 100, 1, str(number), number
    )


def quote(number: int) -> Quote:
    return Quote("test", "SPY", number, str(number), bid=Decimal("1.5"), bid_size=100, sequence=number)


def bar(number: int) -> Bar:
    return Bar("test", "SPY", "1d", number, Decimal(1), Decimal(2), Decimal(1), Decimal(2), 10)


@pytest.fixture
def topics(kafka: str) -> str:
    ensure_topics(kafka)
    return kafka


class Witness:
    """Reads what came since it was made."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.start = end_offsets(servers)

    def count(self) -> int:
        return sum(end_offsets(self.servers).values()) - sum(self.start.values())

    def messages(self) -> Iterator[Any]:
        ends = end_offsets(self.servers)
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "witness", "enable.auto.commit": False})
        try:
            consumer.assign([TopicPartition(topic, part, at) for (topic, part), at in self.start.items()])
            for _ in range(sum(ends.values()) - sum(self.start.values())):
                message = consumer.poll(20)
                assert message is not None
                assert message.error() is None
                yield message
        finally:
            consumer.close()


def test_every_record_arrives_once_keyed_by_symbol_and_in_order(topics: str) -> None:
    witness = Witness(topics)
    records = [trade(number, SYMBOLS[zlib.crc32(str(number).encode()) % 5]) for number in range(20_000)]
    seen: list[tuple[int, int | None]] = []
    with Publisher(topics) as publisher:
        taken = publisher.publish_all(records, total=20_000, progress=lambda done, total: seen.append((done, total)))
    summary = publisher.close()
    assert taken == 20_000
    assert (summary.sent, summary.acknowledged, summary.failed, summary.unknown) == (20_000, 20_000, 0, 0)
    assert seen[-1] == (20_000, 20_000)
    assert seen == sorted(seen)

    arrived: dict[str, list[Record]] = {}
    partitions: dict[str, set[int]] = {}
    for message in witness.messages():
        assert message.topic() == TRADES.name
        symbol = message.key().decode()
        record = decode(message.value())
        assert record.symbol == symbol
        arrived.setdefault(symbol, []).append(record)
        partitions.setdefault(symbol, set()).add(message.partition())
    assert arrived == {symbol: [record for record in records if record.symbol == symbol] for symbol in SYMBOLS}
    assert all(len(numbers) == 1 for numbers in partitions.values())
    assert len(set.union(*partitions.values())) > 1


def test_each_type_of_record_has_its_topic(topics: str) -> None:
    witness = Witness(topics)
    with Publisher(topics) as publisher:
        for record in (trade(1), quote(2), bar(3)):
            assert publisher.publish(record)
    found = {message.topic(): decode(message.value()) for message in witness.messages()}
    assert found == {TRADES.name: trade(1), QUOTES.name: quote(2), BARS.name: bar(3)}


def test_offsets_have_no_gaps_after_many_publishers(topics: str) -> None:
    witness = Witness(topics)
    for start in range(0, 300, 100):
        with Publisher(topics) as publisher:
            publisher.publish_all(trade(number) for number in range(start, start + 100))
    assert witness.count() == len(list(witness.messages())) == 300


def test_a_stop_with_records_queued_still_accounts_for_all(topics: str) -> None:
    witness, stop_event = Witness(topics), Event()
    publisher = Publisher(topics, stop_event=stop_event).open()
    Timer(0.3, stop_event.set).start()
    numbers = iter(range(10_000_000))
    taken = publisher.publish_all(trade(number) for number in numbers)
    queued = publisher.in_flight
    summary = publisher.close(deadline_seconds=30)
    assert 0 < taken < 10_000_000
    assert queued > 0
    assert summary.is_complete
    assert summary.sent == taken == witness.count()


def test_without_time_for_acknowledgements_the_rest_is_unknown(topics: str) -> None:
    witness = Witness(topics)
    publisher = Publisher(topics).open()
    publisher.publish_all(trade(number) for number in range(50_000))
    summary = publisher.close(deadline_seconds=0)
    assert summary.sent == 50_000 == summary.acknowledged + summary.failed + summary.unknown
    assert summary.unknown > 0
    assert summary.acknowledged <= witness.count() <= summary.acknowledged + summary.unknown
    with pytest.raises(PublishError, match="unknown"):
        summary.require_complete()


def test_a_record_that_the_broker_does_not_take_fails_with_its_cause(topics: str) -> None:
    witness = Witness(topics)
    too_large = Trade("test", "SPY", 1, Decimal(1), 1, "x" * 2_000_000)
    publisher = Publisher(topics).open()
    publisher.publish(trade(1))
    with pytest.raises(PublishError, match="1 failed"):
        publisher.publish(too_large)
    summary = publisher.close()
    assert (summary.sent, summary.acknowledged, summary.failed, summary.unknown) == (2, 1, 1, 0)
    assert summary.first_error is not None
    assert "too large" in summary.first_error
    assert witness.count() == 1


def test_leaving_the_context_raises_what_was_not_delivered(topics: str) -> None:
    with pytest.raises(PublishError), Publisher(topics) as publisher:
        publisher.publish(Trade("test", "SPY", 1, Decimal(1), 1, "x" * 2_000_000))
    assert isinstance(publisher.close(), PublishSummary)


def test_more_records_than_the_queue_holds_wait_for_room(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.publisher.QUEUE_MESSAGES", 500)
    witness = Witness(topics)
    with Publisher(topics) as publisher:
        publisher.publish_all(trade(number) for number in range(20_000))
    assert publisher.close().is_complete
    assert witness.count() == 20_000
    assert [decode(message.value()) for message in witness.messages()] == [trade(number) for number in range(20_000)]


def test_nothing_is_below_the_beginning(topics: str) -> None:
    beginnings, ends = beginning_offsets(topics), end_offsets(topics)
    assert beginnings.keys() == ends.keys()
    assert all(beginnings[key] <= ends[key] for key in ends)
    assert len(ends) == sum(topic.partitions for topic in TOPICS)


def test_bytes_are_published_as_they_are_to_the_partition_of_their_key(topics: str) -> None:
    witness = Witness(topics)
    with Publisher(topics) as publisher:
        publisher.publish_all([trade(1)])
        assert publisher.publish_bytes(TRADES.name, b"SPY", b"\xff not json")
        assert publisher.publish_bytes(TRADES.name, None, b"{}")
    assert publisher.close().acknowledged == 3
    messages = {message.value(): message for message in witness.messages()}
    assert messages[b"{}"].key() is None
    (record,) = [message for value, message in messages.items() if value not in {b"{}", b"\xff not json"}]
    assert (messages[b"\xff not json"].key(), messages[b"\xff not json"].partition()) == (b"SPY", record.partition())
