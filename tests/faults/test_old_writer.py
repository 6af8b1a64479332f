"""An old writer that is still alive when a new one starts: held off by the home's lock, harmless where the lock is not shared."""

from pathlib import Path

import pytest

from tests.faults.conftest import Extent
from tests.faults.engines import Engines, Platform
from tests.faults.journal import Load, Sender
from tests.faults.processes import Streams
from tests.faults.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

# Where the old writer stops for a while, with the batch half written; in the short form at the first one only.
POINTS = ("trades_checked", "messages_checked", "bar_revisions_1m_checked", "messages_written", "trades_complete")


def test_a_second_stream_of_the_same_home_is_refused(platform: Platform, streams: Streams) -> None:
    old, new = streams.take(prepare_next=True), streams.take()
    old.go(platform.settings)
    lock = platform.settings.home / "run" / "stream.lock"
    old.wait_until(lambda: lock.exists() and "stream_started" in old.tail())
    new.go(platform.settings)
    assert new.finish() == 1
    assert "Another stream already writes the lake" in new.tail()
    old.ask_to_stop()
    assert old.finish() == 0, old.tail()


def test_a_writer_that_wakes_up_after_another_took_over_writes_nothing_twice(
    engines: Engines, streams: Streams, extent: Extent, tmp_path: Path
) -> None:
    """As on a cluster where a node that was thought dead comes back: another home, the same lake and database."""
    for number, point in enumerate(POINTS if extent.is_long else POINTS[:1]):
        engines.renew_topics()
        platform = engines.platform(tmp_path / point)
        with extent.round(number + 1):
            _take_over(platform.changed(lake_uri=platform.settings.lake), streams, Tape(extent.seed + number), point)
        extent.say(f"stopped at {point}")


def _take_over(shared: Platform, streams: Streams, tape: Tape, point: str) -> None:
    sender = Sender(shared.servers, shared.journal)
    sender.send(tape.take(1_000))
    sender.flush()
    old, new = streams.take(prepare_next=True), streams.take()
    old.go(shared.settings, point=point, action="stop")
    old.wait_stopped()
    other_home = shared.settings.home / "other"
    with Load(shared.servers, tape, shared.journal, 400):
        new.go(shared.changed(home=other_home).settings)
        new.wait_until(shared.has_more_than(1_500))
        old.resume()
        old.wait_ended_or(shared.has_more_than(shared.published() + 2_000))
    if not new.wait_ended_or(shared.is_caught_up):
        new.kill()
    old.kill()
    last = streams.take()
    last.go(shared.changed(home=other_home).settings, "--to-the-end")
    assert last.finish() == 0, last.tail()
    shared.assert_every_law_holds()
