"""A live source through the vendor's real protocol into a real broker: what consumers of the topic see."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from ingest.publisher import Publisher
from ingest.topics import ensure_topics
from market import topics
from market.records import Record, decode
from tests.unit.ingest.history.alpaca_server import AlpacaServer
from tests.unit.ingest.live.alpaca_play import Play
from tests.unit.ingest.live.small_world import START, assert_heartbeats_are_true, covered_seconds

pytestmark = pytest.mark.integration


@pytest.fixture
def servers(kafka: str) -> str:
    ensure_topics(kafka)
    return kafka


@pytest.fixture
def history() -> Iterator[AlpacaServer]:
    with AlpacaServer() as server:
        yield server


def published(servers: str) -> list[Record]:
    """Everything in the topic of trades, partition by partition: the order that a symbol's messages have."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False})
    found = []
    try:
        for partition in range(topics.TRADES.partitions):
            place = TopicPartition(topics.TRADES.name, partition, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            consumer.assign([place])
            for _ in range(end):
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                found.append(decode(message.value()))
    finally:
        consumer.close()
    return [record for record in found if record.source == "alpaca"]


def test_a_consumer_never_sees_a_heartbeat_before_the_trades_that_it_covers(
    servers: str, history: AlpacaServer, tmp_path: Path
) -> None:
    play = Play(tmp_path / "live-alpaca.json", history, lambda: Publisher(servers).open())
    play.cuts = [START + timedelta(seconds=200), START + timedelta(seconds=400)]
    play.run()
    play.world.published = published(servers)
    by_id = {trade.trade_id: trade for trade in play.world.trades}
    assert len(play.world.trades) > len(by_id), "what lies at a seam came both ways"
    assert sorted(by_id.values(), key=lambda trade: trade.sequence or 0) == play.world.tape
    assert_heartbeats_are_true(play.world)
    for symbol in play.world.symbols:
        assert covered_seconds(play.world, symbol) == set(range(12 * 60))
    assert play.keeper.summary.is_complete
