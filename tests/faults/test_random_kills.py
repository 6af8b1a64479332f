"""SIGKILL of the stream at random moments, while the tape goes on: nothing is lost, nothing doubled, every bar right."""

import random
import time

import pytest

from tests.faults.conftest import Extent
from tests.faults.engines import Engines
from tests.faults.journal import Load
from tests.faults.processes import Streams
from tests.faults.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

RATE = 400
LONGEST_SECONDS = 3.0
KILLS_A_LAKE = 10
"""So many kills on one lake, then the oracle is asked."""


def test_killed_at_random_moments_under_load(
    engines: Engines, streams: Streams, extent: Extent, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance, rounds = random.Random(extent.seed), list(extent.numbers(short=2))
    for first in range(0, len(rounds), KILLS_A_LAKE):
        engines.renew_topics()
        platform = engines.platform(tmp_path_factory.mktemp("home"))
        with Load(platform.servers, Tape(extent.seed + first), platform.journal, RATE):
            for number in rounds[first : first + KILLS_A_LAKE]:
                with extent.round(number):
                    process = streams.take(prepare_next=True)
                    process.go(platform.settings)
                    time.sleep(chance.random() * LONGEST_SECONDS)  # the moment of the kill, no wait for anything
                    process.kill()
        process = streams.take(prepare_next=number != rounds[-1])
        process.go(platform.settings, "--to-the-end")
        assert process.finish() == 0, process.tail()
        platform.assert_every_law_holds()
        extent.say(f"every law holds for {len(platform.journal.entries):,} messages")
