"""The publisher terminated with 10,000 messages queued: it accounts for each, and publishing again doubles nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from market.settings import CHECKOUT
from tests.faults.conftest import Extent
from tests.faults.engines import Engines, Platform, wait_for
from tests.faults.processes import Streams
from tests.faults.publisher_process import FIRST, QUEUED, as_message, trades
from tests.faults.stored import topic_ranges

pytestmark = [pytest.mark.integration, pytest.mark.faults]


def publisher(platform: Platform, folder: Path, seed: int, *options: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    arguments = ["--servers", platform.servers, "--seed", str(seed), "--folder", str(folder), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.publisher_process", *arguments],
        cwd=CHECKOUT,
        env=platform.settings.child_environment(),
    )


def on_the_broker(platform: Platform) -> int:
    return sum(end for _, end in topic_ranges(platform.servers).values())


def terminate_with_messages_queued(
    engines: Engines, platform: Platform, folder: Path, seed: int, how: signal.Signals
) -> None:
    """Pause the broker, have 10,000 messages queued, end the publisher, and let the broker go on."""
    before = on_the_broker(platform)
    process = publisher(platform, folder, seed, "--held")
    wait_for(lambda: on_the_broker(platform) >= before + FIRST - 512, "the publisher did not begin")
    engines.pause("kafka")
    try:
        (folder / "go").touch()
        wait_for((folder / "queued").exists, "the messages were not queued")
        os.kill(process.pid, how)
        process.wait(60)
    finally:
        engines.resume("kafka")
    for trade in trades(seed):
        platform.journal.note(as_message(trade))


def test_a_terminated_publisher_loses_nothing_that_it_called_acknowledged(
    engines: Engines, platform: Platform, streams: Streams, extent: Extent, tmp_path: Path
) -> None:
    for number in extent.numbers(one_in=25):
        with extent.round(number):
            asked, killed, again = (tmp_path / f"{name} {number}" for name in ("asked", "killed", "again"))
            before, own_seed = on_the_broker(platform), extent.seed + number
            terminate_with_messages_queued(engines, platform, asked, own_seed, signal.SIGTERM)
            summary = json.loads((asked / "summary.json").read_text())
            assert summary["sent"] == FIRST + QUEUED
            assert summary["sent"] == summary["acknowledged"] + summary["failed"] + summary["unknown"]
            assert summary["unknown"] >= QUEUED
            assert summary["acknowledged"] <= on_the_broker(platform) - before

            terminate_with_messages_queued(engines, platform, killed, own_seed, signal.SIGKILL)
            assert publisher(platform, again, own_seed).wait(120) == 0
            assert json.loads((again / "summary.json").read_text())["acknowledged"] == FIRST + QUEUED
            for trade in trades(own_seed):
                platform.journal.note(as_message(trade)).acknowledged = True
    process = streams.take()
    process.go(platform.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    platform.assert_every_law_holds()
