"""A checkpoint that is deleted, cut short or an old copy: refused by name; the documented rebuild gives equal tables."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.engines import Engines, Platform
from tests.faults.journal import Sender
from tests.faults.processes import StreamProcess, Streams
from tests.faults.stored import lake_rows
from tests.faults.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TRADES = "market.trades.v1"
BATCH = 300

CONTENTS = {
    "bronze/messages": ("topic", "partition", "offset", "key", "value"),
    "bronze/quarantine": ("topic", "partition", "offset", "reason", "detail"),
    "bronze/duplicates": ("topic", "partition", "offset", "record_id"),
    "silver/trades": ("topic", "partition", "offset", "trade_id", "traded_at", "price", "size", "sequence"),
    "silver/amendments": ("topic", "partition", "offset", "trade_id", "kind", "amended_at", "price", "size"),
    "silver/quotes": ("topic", "partition", "offset", "quote_id", "quoted_at", "bid", "ask"),
    "silver/vendor_bars": ("topic", "partition", "offset", "bar_at", "open", "high", "low", "close", "volume"),
}


def newest(folder: Path) -> Path:
    return max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def deleted_whole(checkpoints: Path) -> None:
    shutil.rmtree(checkpoints)


def deleted_of_one_topic(checkpoints: Path) -> None:
    shutil.rmtree(checkpoints / "v1" / TRADES)


def emptied(checkpoints: Path) -> None:
    newest(checkpoints / "v1" / TRADES / "offsets").write_bytes(b"")


def cut_short(checkpoints: Path) -> None:
    entry = newest(checkpoints / "v1" / TRADES / "offsets")
    entry.write_bytes(entry.read_bytes()[:-20])


def newest_entries_deleted(checkpoints: Path) -> None:
    """As after a crash of the machine that kept older files only, or where an old copy was put back."""
    for log in ("offsets", "commits"):
        for _ in range(2):
            newest(checkpoints / "v1" / TRADES / log).unlink()


def newest_plan_deleted(checkpoints: Path) -> None:
    newest(checkpoints / "v1" / TRADES / "offsets").unlink()


DAMAGES: tuple[Callable[[Path], None], ...] = (
    deleted_whole,
    deleted_of_one_topic,
    emptied,
    cut_short,
    newest_entries_deleted,
    newest_plan_deleted,
)


def test_a_lost_checkpoint_is_refused_by_name_and_the_rebuild_gives_equal_tables(
    engines: Engines, platform: Platform, streams: Streams, tape: Tape, tmp_path: Path
) -> None:
    platform = platform.changed(max_messages_per_batch=BATCH)
    sender = Sender(platform.servers, platform.journal)
    sender.send(tape.take(1_500))
    sender.flush()
    process = streams.take()
    process.go(platform.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    sender.send(tape.take(300))
    sender.flush()
    checkpoints, copy = Path(platform.settings.lake) / "_checkpoints", tmp_path / "copy"
    shutil.copytree(checkpoints, copy)
    before = contents(platform)
    for damage in DAMAGES:
        damage(checkpoints)
        assert_refused(process, platform, damage.__name__)
        assert contents(platform) == before, damage.__name__
        shutil.rmtree(checkpoints, ignore_errors=True)
        shutil.copytree(copy, checkpoints)
    process.go(platform.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    platform.assert_every_law_holds()

    rebuilt = Platform(engines.platform(tmp_path / "rebuilt").settings, platform.journal)
    process.go(rebuilt.settings, "--to-the-end")
    assert process.finish() == 0, process.tail()
    rebuilt.assert_every_law_holds()
    assert contents(rebuilt) == contents(platform)


def assert_refused(process: StreamProcess, platform: Platform, damage: str) -> None:
    said_before = len(process.log.read_text())
    process.go(platform.settings, "--to-the-end")
    code, said = process.finish(), process.log.read_text()[said_before:]
    assert code == 1, f"{damage}: {said}"
    assert "stream_failed" in said, damage
    assert "heckpoint" in said.split("stream_failed")[1], f"{damage}: {said}"


def contents(platform: Platform) -> dict[str, list[tuple[object, ...]]]:
    """Return what the lake's tables hold, but for how the messages fell into batches."""
    return {
        table: sorted(lake_rows(platform.settings.lake, table, names), key=str) for table, names in CONTENTS.items()
    }
