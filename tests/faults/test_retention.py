"""Retention that overtakes the reader: the stream stops and names what is gone; it never goes on behind a gap."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.faults.engines import Platform
from tests.faults.journal import Sender
from tests.faults.processes import StreamProcess, Streams
from tests.faults.stored import topic_ranges
from tests.faults.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TOPIC = "market.trades.v1"


def test_messages_that_the_broker_dropped_unread_stop_the_stream_and_are_named(
    platform: Platform, streams: Streams, tape: Tape
) -> None:
    platform = platform.changed(max_messages_per_batch=200)
    sender = Sender(platform.servers, platform.journal)
    sender.send(tape.take(1_000))
    sender.flush()
    process = streams.take()
    process.go(platform.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    done = platform.published()

    sender.send(tape.take(1_000))
    sender.flush()
    ends = {place: end for place, (_, end) in topic_ranges(platform.servers).items() if place[0] == TOPIC}
    admin = AdminClient({"bootstrap.servers": platform.servers})
    dropped = admin.delete_records([TopicPartition(*place, max(0, end - 5)) for place, end in ends.items()])
    assert all(future.result(30) for future in dropped.values())
    for _ in range(2):  # started again it stops again
        assert_stopped_and_named(process, platform)
    assert platform.published() - done <= 1_000 * 0.4, "only the other topics went on"
    assert "acknowledged and not in bronze" in platform.judge().laws, "the oracle must see that they are missing"


def assert_stopped_and_named(process: StreamProcess, platform: Platform) -> None:
    before = len(process.log.read_text())
    process.go(platform.settings, "--to-the-end")
    assert process.finish() == 1
    said = process.log.read_text()[before:].split("stream_failed")[1]
    assert f"Kafka no longer has {TOPIC}, partition" in said
    assert "Nothing is lost" not in said
