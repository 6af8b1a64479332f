"""What a repair does while the stream has to wait: only what cannot be done before, and what came meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from market import tables
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.locks import BatchLock, HeldLock
from spark_jobs.transforms.kinds import TRADES, RecordKind
from tests.unit.spark_jobs.deep_platform import DeepPlatform
from tests.unit.spark_jobs.fake_platform import Process
from tests.unit.spark_jobs.messages import HEARTBEAT, changed
from tests.unit.spark_jobs.test_recompute import MONDAY, TUESDAY, amendment, trade

FIRST: list[bytes | None] = [trade(0), trade(1), trade(9), trade(0, 1), trade(0, symbol="IBM"), trade(0)]


@dataclass
class Watched(DeepPlatform):
    """Notes which tables are read under the lock, and lets the stream do something just before the lock is had."""

    before_it: Callable[[], None] = lambda: None
    is_held: bool = False
    read: list[str] = field(default_factory=list)

    def lock(self, kind: RecordKind) -> BatchLock:
        watched = self

        class Lock(BatchLock):
            @contextmanager
            def held(self, **how: Any) -> Iterator[HeldLock]:
                watched.before_it()
                watched.publish()
                with super().held(**how) as held:
                    watched.is_held = True
                    yield held
                    watched.is_held = False

        inner = super().lock(kind)
        return Lock(inner._settings, kind.name)


@dataclass(frozen=True, slots=True)
class WatchedLake(Lake):
    """Notes the tables that are scanned under the lock."""

    platform: Any = None

    def scan(self, table: Table) -> pl.LazyFrame:
        if self.platform.is_held:
            self.platform.read.append(table.path)
        return Lake.scan(self, table)


@pytest.fixture
def deep(tmp_path: Path) -> Watched:
    deep = Watched(tmp_path)
    deep.platform.run(TRADES, 0, FIRST, 0)
    deep.publish()
    return deep


def remove(deep: DeepPlatform, condition: str) -> None:
    DeltaTable(f"{deep.platform.root}/{tables.TRADES.path}").delete(condition)


def recompute(deep: Watched) -> int:
    lake = WatchedLake(str(deep.platform.root), platform=deep)
    return sum(report.differing for report in deep.recompute(MONDAY, TUESDAY, lake=lake))


def test_what_nothing_came_for_is_not_worked_out_again_under_the_lock(deep: Watched) -> None:
    before = deep.everything()
    remove(deep, "session_date = date '2013-10-07'")
    deep.before_it = lambda: run_once(deep, [trade(1, 1)])
    assert recompute(deep) == 4
    assert set(deep.read) == {"bronze/messages", "bronze/quarantine"}  # what came, and what of it waits for its retry
    after = deep.everything()
    of_monday = [row for row in after["silver/trades"] if row["session_date"] == MONDAY]
    assert of_monday == [row for row in before["silver/trades"] if row["session_date"] == MONDAY]
    assert after["lake.bars_1m"] != before["lake.bars_1m"]  # Tuesday's, by the trade that came


def run_once(deep: DeepPlatform, values: list[bytes | None]) -> None:
    """Let a stream that remembers nothing take in one batch more."""
    if len(deep.platform.postgres.batches) == 1:
        deep.platform.run(TRADES, 1, values, len(FIRST))


@pytest.mark.parametrize(
    "came",
    [[trade(0, price=5), trade(11)], [amendment("cancel", 0), amendment("correction", 9, price=1, size=1)], [trade(0)]],
    ids=["trades", "amendments", "repeat"],
)
def test_what_the_stream_made_of_damaged_rows_meanwhile_is_put_right_with_them(
    tmp_path: Path, came: list[bytes | None]
) -> None:
    quiet, deep = Watched(tmp_path / "quiet"), Watched(tmp_path / "damaged")
    for platform in (quiet, deep):
        platform.root.mkdir()
        platform.platform.run(TRADES, 0, FIRST, 0)
        platform.publish()
    remove(deep, "session_date = date '2013-10-07' and symbol = 'SPY'")
    deep.before_it = lambda: run_once(deep, came)
    assert recompute(deep) > 0
    run_once(quiet, came)
    assert deep.everything() == quiet.everything()
    assert "silver/trades" in deep.read


def test_a_batch_that_is_cut_while_a_repair_waits_for_the_lock_loses_nothing(deep: Watched) -> None:
    remove(deep, "session_date = date '2013-10-07' and symbol = 'SPY'")
    came = [trade(20), trade(21, symbol="IBM"), amendment("cancel", 9)]

    def cut() -> None:
        if not deep.read and len(deep.platform.postgres.batches) == 1:
            deep.platform.postgres.fails = "before"
            with pytest.raises(BaseException):  # noqa: B017, PT011 - PostgreSQL is gone
                Process(deep.platform, TRADES).run(1, came, len(FIRST))
            deep.platform.postgres.fails = ""

    deep.before_it = cut
    assert recompute(deep) > 0
    deep.before_it = lambda: None
    deep.platform.run(TRADES, 1, came, len(FIRST))
    found = {(row["trade_id"], row["symbol"]) for row in deep.everything()["silver/trades"]}
    assert found == {(f"{day}t{n}", s) for day, n, s in [(0, 0, "SPY"), (0, 1, "SPY"), (0, 9, "SPY"), (1, 0, "SPY"),
                                                        (0, 0, "IBM"), (0, 20, "SPY"), (0, 21, "IBM")]}  # fmt: skip
    deep.recompute(MONDAY, TUESDAY)  # the bars that the batch had made of damaged rows before it was cut
    assert sum(report.differing for report in deep.recompute(MONDAY, TUESDAY, dry_run=True)) == 0


@dataclass(frozen=True, slots=True)
class LivelyLake(Lake):
    """Before a table behind bronze is read, the stream takes in one batch more."""

    goes_on: Any = None

    def scan(self, table: Table) -> pl.LazyFrame:
        if table is not tables.MESSAGES:
            self.goes_on()
        return Lake.scan(self, table)


@pytest.mark.parametrize("dry_run", [True, False])
def test_batches_that_are_written_while_it_reads_are_not_taken_for_damage(deep: Watched, *, dry_run: bool) -> None:
    came: list[bytes | None] = [
        trade(30),
        trade(0),
        trade(1, price=7),
        b"[]",
        amendment("cancel", 9),
        changed(HEARTBEAT),
    ]

    def goes_on() -> None:
        batch = len(deep.platform.postgres.batches)
        if batch < 14:
            deep.platform.run(TRADES, batch, came, len(FIRST) + (batch - 1) * len(came))
            deep.publish()

    lake = LivelyLake(str(deep.platform.root), goes_on=goes_on)
    assert [report.differences for report in deep.recompute(MONDAY, TUESDAY, lake=lake, dry_run=dry_run)] == [
        {},
        {},
        {},
    ]
    taken_in = len(deep.platform.postgres.batches)
    assert taken_in > 10
    rows = deep.everything()
    kept = [len(rows[f"bronze/{name}"]) for name in ("quarantine", "duplicates")] + [len(rows["silver/feed_status"])]
    assert kept[0] == 2 * (taken_in - 1)
    assert kept[2] == taken_in - 1
    assert sum(report.differing for report in deep.recompute(MONDAY, TUESDAY)) == 0
