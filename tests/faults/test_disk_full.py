"""The lake's disk runs full: the stream stops with a message, and goes on once there is room; nothing is lost or doubled."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Extent
from tests.faults.engines import Engines
from tests.faults.journal import Sender
from tests.faults.processes import Streams
from tests.faults.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

DISK_BYTES = 16 * 2**20
FREE_BYTES = 256 * 2**10
_LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if _LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={DISK_BYTES}".encode()) != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert _LIBC.umount2(os.fsencode(folder), 2) == 0  # MNT_DETACH: whatever still runs there


def test_a_full_disk_costs_no_message(
    engines: Engines, streams: Streams, extent: Extent, disk: Path, tmp_path: Path
) -> None:
    for number in extent.numbers(one_in=25):
        engines.renew_topics()
        lake = disk / f"lake-{number}"
        platform = engines.platform(tmp_path / f"home {number}").changed(lake_uri=str(lake), max_messages_per_batch=300)
        sender, tape = Sender(platform.servers, platform.journal), Tape(extent.seed + number)
        with extent.round(number):
            sender.send(tape.take(1_000))
            sender.flush()
            process = streams.take()
            process.go(platform.settings, "--to-the-end")
            assert process.finish() == 0, process.tail()

            room = os.statvfs(disk)
            ballast = disk / "ballast"
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_bsize - FREE_BYTES)
            sender.send(tape.take(4_000))
            sender.flush()
            process.go(platform.settings, "--to-the-end")
            assert process.finish() == 1, process.tail()
            assert "No space left on device" in process.says("stream_failed"), process.tail()
            assert not platform.is_caught_up()

            ballast.unlink()
            process.kill()
            process = streams.take()
            process.go(platform.settings, "--to-the-end")
            assert process.finish() == 0, process.tail()
            platform.assert_every_law_holds()
