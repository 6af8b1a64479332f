"""Death at every named point between two writes, one after the other on one lake, while the tape goes on.

A stream that starts again first runs the batch that was cut, and may be cut in it again. In the long form each point is met by
SIGKILL. A new process takes seconds, so in the short form some points, by the seed, are met so; at the others the batch is cut
by an exception, which ends all queries, and the next stream in the same process begins at the checkpoint as a new one does.
"""

import random

import pytest

from tests.faults.conftest import Extent
from tests.faults.engines import Engines
from tests.faults.journal import Load
from tests.faults.points import POINTS
from tests.faults.processes import Streams
from tests.faults.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

RATE = 400
KILLED_IN_SHORT = 5
ONLY_BY_DEATH = ("bronze_file_written",)


@pytest.mark.timeout(400)
def test_cut_at_every_point_between_two_writes(
    engines: Engines, streams: Streams, extent: Extent, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(extent.seed)
    for number in extent.numbers(short=1, one_in=5):
        engines.renew_topics()
        platform = engines.platform(tmp_path_factory.mktemp("home"))
        points = chance.sample(POINTS, len(POINTS))
        killed = {*points} if extent.is_long else {*points[: KILLED_IN_SHORT - 1], *ONLY_BY_DEATH}
        process = streams.take()
        with extent.round(number), Load(platform.servers, Tape(extent.seed + number), platform.journal, RATE):
            for point in points:
                # The first passing is in the batch that was cut before, the second in one after it.
                nth = chance.choice((1, 2))
                process.go(platform.settings, point=point, nth=nth, action="die" if point in killed else "cut")
                if point in killed:
                    process.wait_killed()
                    process = streams.take(prepare_next=extent.is_long)
                else:
                    assert process.finish() == 1, process.tail()
                extent.say(f"died at {point}, passing {nth}")
        process.go(platform.settings, "--to-the-end")
        assert process.finish() == 0, process.tail()
        platform.assert_every_law_holds()
        extent.say(f"every law holds for {len(platform.journal.entries):,} messages")
