"""A tape with 1 % poison and no fault at all: the right stream passes the oracle, every planted bug is caught by it.

All runs share one tape and one process; each has a lake and a database of its own.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.faults.bugs import BUGS
from tests.faults.engines import Engines, Platform
from tests.faults.journal import Journal, Sender
from tests.faults.processes import StreamProcess, Streams
from tests.faults.stored import topic_ranges
from tests.faults.tape import Poison, Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SEED = 7
MESSAGES = 900
BATCH = 250

NewPlatform = Callable[[], Platform]


@pytest.fixture(scope="module")
def process(all_streams: Streams) -> Iterator[StreamProcess]:
    yield all_streams.take()
    all_streams.kill_used()


@pytest.fixture(scope="module")
def journal(engines: Engines) -> Journal:
    """The tape, on the broker: one for all, so that each run meets the same."""
    engines.renew_topics()
    journal = Journal()
    sender = Sender(engines.servers, journal)
    sender.send(Tape(SEED).take(MESSAGES))
    sender.flush()
    return journal


@pytest.fixture
def new_platform(engines: Engines, journal: Journal, tmp_path: Path) -> Platform:
    platform = engines.platform(tmp_path / "home").changed(max_messages_per_batch=BATCH, batch_interval_seconds=0)
    return Platform(platform.settings, journal)


def test_poison_is_quarantined_with_its_reason_and_touches_nothing_else(
    new_platform: Platform, process: StreamProcess
) -> None:
    poisoned = sum(isinstance(entry.message.meaning, Poison) for entry in new_platform.journal.entries)
    assert poisoned >= MESSAGES * 0.005
    process.go(new_platform.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    new_platform.assert_every_law_holds()


@pytest.mark.parametrize("name", [name for name in BUGS if name != "retention_skips"])
def test_a_planted_bug_is_caught(new_platform: Platform, process: StreamProcess, name: str) -> None:
    bug = BUGS[name]
    cut = {"point": bug.cut_at, "nth": 2, "action": "cut"} if bug.cut_at else {}
    process.go(new_platform.settings, "--to-the-end", bug=name, **cut)  # type: ignore[arg-type]
    code = process.finish()
    if code and bug.cut_at:  # the batch was cut; it is run again
        process.go(new_platform.settings, "--to-the-end", bug=name)
        code = process.finish()
    assert code == 0, process.tail()
    assert bug.caught_as in new_platform.judge().laws


def test_a_reader_that_passes_over_what_retention_dropped_is_caught(
    engines: Engines, new_platform: Platform, process: StreamProcess
) -> None:
    """The last test of this module: it deletes messages that the others read."""
    ends = {place: bounds[1] for place, bounds in topic_ranges(engines.servers).items()}
    admin = AdminClient({"bootstrap.servers": engines.servers})
    dropped = admin.delete_records([TopicPartition(*place, end // 2) for place, end in ends.items()])
    assert all(future.result(30) for future in dropped.values())
    process.go(new_platform.settings, "--to-the-end", bug="retention_skips")
    assert process.finish() == 0, process.tail()
    assert BUGS["retention_skips"].caught_as in new_platform.judge().laws
