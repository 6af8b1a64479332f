"""Engines that vanish under load: the broker killed, paused and restarted, PostgreSQL killed while a batch is published."""

import time

import pytest

from tests.faults.conftest import Extent
from tests.faults.engines import Engines, Platform
from tests.faults.journal import Load, Sender
from tests.faults.processes import StreamProcess, Streams
from tests.faults.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TRADES = "market.trades.v1"
RATE = 400
PAUSE_SECONDS, LONG_PAUSE_SECONDS = 4.0, 60.0


class Supervised:
    """A stream that is started again when it ends, as ``./run up`` does."""

    def __init__(self, platform: Platform, streams: Streams) -> None:
        self._platform = platform
        self._streams = streams
        self._process = self._start()

    def _start(self) -> StreamProcess:
        process = self._streams.take()
        process.go(self._platform.settings)
        return process

    def wait_for_more(self, messages: int) -> None:
        """Wait until so many more messages are in PostgreSQL."""
        more = self._platform.has_more_than(self._platform.published() + messages)
        while self._process.wait_ended_or(more):
            self._process.kill()
            self._process = self._start()

    def stop_at_the_end(self) -> None:
        """Let the stream take in what is left."""
        self._process.kill()
        last = self._streams.take()
        last.go(self._platform.settings, "--to-the-end")
        assert last.finish() == 0, last.tail()


def test_the_broker_killed_paused_and_restarted(
    engines: Engines, platform: Platform, streams: Streams, extent: Extent, tape: Tape
) -> None:
    stream = Supervised(platform, streams)
    with Load(platform.servers, tape, platform.journal, RATE):
        for number in extent.numbers(one_in=25):
            with extent.round(number):
                stream.wait_for_more(200)
                engines.kill("kafka")
                engines.recover("kafka")
                stream.wait_for_more(200)
                engines.pause("kafka")
                time.sleep(LONG_PAUSE_SECONDS if extent.is_long else PAUSE_SECONDS)  # the fault itself
                engines.resume("kafka")
                stream.wait_for_more(200)
    stream.stop_at_the_end()
    platform.assert_every_law_holds()


def test_acknowledgements_that_no_disk_stands_for_are_caught(
    engines: Engines, platform: Platform, streams: Streams, tape: Tape
) -> None:
    """The planted bug ``acks=0``: what the broker never read counts as acknowledged."""
    careful = Sender(platform.servers, platform.journal)
    careful.send(tape.take(100))
    careful.flush()
    careless = Sender(platform.servers, platform.journal, **{"acks": 0, "enable.idempotence": False})
    careless.send(tape.take(100))
    careless.flush()
    engines.pause("kafka")
    careless.send(tape.take(20))
    careless.flush(20)
    engines.kill("kafka")
    engines.recover("kafka")
    process = streams.take()
    process.go(platform.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    assert platform.judge().laws == {"acknowledged and not in bronze"}


def test_postgres_killed_while_a_batch_is_published(
    engines: Engines, platform: Platform, streams: Streams, extent: Extent, tape: Tape
) -> None:
    with Load(platform.servers, tape, platform.journal, RATE):
        for number in extent.numbers(one_in=25):
            with extent.round(number):
                process = streams.take()
                process.go(platform.settings, point="trades_staged", nth=2, action="stop")
                process.wait_stopped()
                engines.kill("postgres")
                engines.recover("postgres")
                process.resume()
                done = platform.published(TRADES)
                assert not process.wait_ended_or(platform.has_more_than(done + 500, TRADES))
                process.ask_to_stop()
                assert process.finish() == 0, process.tail()
                assert "database_away" in process.log.read_text()
    process = streams.take()
    process.go(platform.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    platform.assert_every_law_holds()
