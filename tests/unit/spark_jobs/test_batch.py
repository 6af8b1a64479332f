"""Batches on real Delta tables: run twice, cut after any write, with late, repeated and contradicting records."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyspark.sql import DataFrame, SparkSession

from market import tables
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.batch import BatchIdentity, BatchProcessor
from spark_jobs.transforms.kinds import TRADES, VENDOR_BARS, RecordKind
from tests.spark.messages import BAR, INGESTED, OPEN, TRADE, as_messages, changed, micros
from warehouse.batch import BatchOutput

pytestmark = pytest.mark.spark


class Cut(Exception):  # noqa: N818
    """The process died here."""


@dataclass(frozen=True, slots=True)
class CuttingLake(Lake):
    """A lake in which one table cannot be appended to: the batch ends there."""

    cut_table: Table | None = None

    def append(self, table: Table, rows: DataFrame, *, writer_id: str, batch_id: int) -> None:
        if table is self.cut_table:
            raise Cut
        Lake.append(self, table, rows, writer_id=writer_id, batch_id=batch_id)


@dataclass
class FakePostgres:
    """Keeps each batch once, as PostgreSQL does by the batch's number."""

    batches: dict[tuple[str, int], BatchOutput] = field(default_factory=dict)
    is_away: bool = False

    def publish(self, batch: BatchOutput) -> bool:
        if self.is_away:
            raise Cut
        known = (batch.query_id, batch.batch_id) in self.batches
        self.batches.setdefault((batch.query_id, batch.batch_id), batch)
        return not known

    def counts(self) -> list[dict[str, int]]:
        names = ("messages", "trades", "vendor_bars", "quarantined", "duplicates", "bars")
        return [{name: getattr(batch, name) for name in names} for _, batch in sorted(self.batches.items())]

    def bars(self, batch_id: int) -> list[dict[str, Any]]:
        published = self.batches[("query of trade", batch_id)].bar_rows
        assert published is not None
        return sorted(published.to_pylist(), key=str)


class Platform:
    """A lake of its own with a fake PostgreSQL, fed batch by batch."""

    def __init__(self, spark: SparkSession, sessions: DataFrame, root: Path) -> None:
        self.spark = spark
        self.sessions = sessions
        self.root = str(root)
        self.postgres = FakePostgres()
        lake = Lake(spark, self.root)
        for table in tables.LAKE_TABLES:
            if not root.joinpath(table.path).exists():
                lake.create(table)

    def run(
        self,
        kind: RecordKind,
        batch_id: int,
        values: Sequence[bytes | None],
        first_offset: int,
        cut: Table | None = None,
    ) -> None:
        moment = INGESTED + timedelta(seconds=batch_id)
        messages = as_messages(self.spark, kind, values, moment, first_offset).drop("ingested_at")
        lake = CuttingLake(self.spark, self.root, cut)
        processor = BatchProcessor(kind, lake, self.sessions, self.postgres.publish)
        processor.process(messages, BatchIdentity(f"query of {kind.name}", batch_id, moment))

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Return the table's rows as another engine reads them."""
        return sorted(pl.read_delta(f"{self.root}/{table.path}").to_dicts(), key=str)

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        return {table.name: self.rows(table) for table in tables.LAKE_TABLES}


@pytest.fixture
def platform(spark: SparkSession, sessions: DataFrame, tmp_path: Path) -> Platform:
    return Platform(spark, sessions, tmp_path / "lake")


def trade(number: int, **others: Any) -> bytes:
    at = {"ts": micros(OPEN) + number * 1_000_000, "trade_id": f"t{number}", "sequence": number, "conditions": ""}
    return changed(TRADE, **{**at, "price": 100 + number, **others})


FIRST: list[bytes | None] = [
    trade(0),
    b"{broken",
    trade(1),
    trade(1),
    trade(1, price=7),
    None,
    trade(60),
    trade(2, size=-5),
    trade(2, symbol="IBM"),
]
SECOND: list[bytes | None] = [trade(3), trade(0), trade(0, size=1), trade(120), b"\xff"]
BATCHES: list[tuple[int, list[bytes | None], int]] = [(0, FIRST, 0), (1, SECOND, len(FIRST))]


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, sessions: DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """What two batches leave behind when nothing happens."""
    quiet = Platform(spark, sessions, tmp_path_factory.mktemp("undisturbed"))
    quiet.run(TRADES, *BATCHES[0])
    shutil.copytree(quiet.root, f"{quiet.root} after the first batch")
    quiet.run(TRADES, *BATCHES[1])
    return quiet


def test_each_message_is_in_bronze_once_and_in_one_place_behind_it(undisturbed: Platform) -> None:
    everything = undisturbed.everything()
    offsets = {
        name: sorted(row["offset"] for row in everything[name]) for name in everything if name != "bar_revisions_1m"
    }
    assert offsets["messages"] == list(range(14))
    assert [row["value"] for row in sorted(everything["messages"], key=lambda row: row["offset"])] == FIRST + SECOND
    assert offsets["trades"] == [0, 2, 6, 8, 9, 12]
    assert offsets["duplicates"] == [3, 10]
    reasons = {row["offset"]: row["reason"] for row in everything["quarantine"]}
    assert reasons == {
        1: "not_json",
        4: "conflicting_trade_id",
        5: "not_json",
        7: "bad_size",
        11: "conflicting_trade_id",
        13: "not_json",
    }
    assert {row["record_id"] for row in everything["duplicates"]} == {"lean/SPY/t1", "lean/SPY/t0"}


def test_a_late_trade_revises_its_bar_and_leaves_the_others(undisturbed: Platform) -> None:
    names = ("open", "high", "low", "close", "volume", "trade_count")
    revisions = {
        (row["symbol"], (row["bar_at"] - OPEN) // timedelta(minutes=1), row["revision"]): tuple(
            row[name] for name in names
        )
        for row in undisturbed.rows(tables.BAR_REVISIONS)
    }
    assert revisions == {
        ("SPY", 0, 1): (100, 101, 100, 101, 200, 2),
        ("SPY", 0, 2): (100, 103, 100, 103, 300, 3),
        ("SPY", 1, 1): (160, 160, 160, 160, 100, 1),
        ("SPY", 2, 1): (220, 220, 220, 220, 100, 1),
        ("IBM", 0, 1): (102, 102, 102, 102, 100, 1),
    }


def test_postgres_is_told_the_counts_the_changed_bars_and_the_offsets(undisturbed: Platform) -> None:
    common = {"vendor_bars": 0}
    assert undisturbed.postgres.counts() == [
        {"messages": 9, "trades": 4, "quarantined": 4, "duplicates": 1, "bars": 3, **common},
        {"messages": 5, "trades": 2, "quarantined": 2, "duplicates": 1, "bars": 2, **common},
    ]
    batch = undisturbed.postgres.batches[("query of trade", 1)]
    assert batch.next_offsets == {(TRADES.topic.name, 0): 14}
    assert batch.newest_event_at == OPEN + timedelta(minutes=2)
    assert batch.bar_rows is not None
    assert sorted(batch.bar_rows.column("revision").to_pylist()) == [1, 2]


def test_batches_that_run_again_change_nothing(undisturbed: Platform) -> None:
    before = undisturbed.everything(), undisturbed.postgres.counts()
    for batch_id, values, first_offset in BATCHES:
        undisturbed.run(TRADES, batch_id, values, first_offset)
    assert (undisturbed.everything(), undisturbed.postgres.counts()) == before


@pytest.mark.parametrize(
    "cut",
    [tables.MESSAGES, tables.QUARANTINE, tables.DUPLICATES, tables.TRADES, tables.BAR_REVISIONS, None],
    ids=lambda table: table.name if table else "postgres",
)
def test_a_batch_cut_anywhere_and_run_again_leaves_what_an_undisturbed_one_does(
    spark: SparkSession, sessions: DataFrame, undisturbed: Platform, cut: Table | None, tmp_path: Path
) -> None:
    shutil.copytree(f"{undisturbed.root} after the first batch", tmp_path / "lake")
    platform = Platform(spark, sessions, tmp_path / "lake")
    platform.postgres.is_away = cut is None
    with pytest.raises(Cut):
        platform.run(TRADES, *BATCHES[1], cut=cut)
    assert platform.postgres.batches == {}
    platform.postgres.is_away = False
    platform.run(TRADES, *BATCHES[1])
    assert platform.everything() == undisturbed.everything()
    assert platform.postgres.counts() == undisturbed.postgres.counts()[1:]
    assert platform.postgres.bars(1) == undisturbed.postgres.bars(1)


def test_an_id_that_comes_again_at_another_moment_of_its_session_is_a_conflict(platform: Platform) -> None:
    platform.run(TRADES, 0, [trade(0), trade(9_000), trade(10)], 0)
    second = [
        trade(0, ts=micros(OPEN) + 12_000_000_000),  # hours later
        trade(9_000, ts=micros(OPEN)),  # hours earlier
        trade(10, ts=micros(OPEN) + 600_000_000),
        trade(10),
        trade(11, trade_id="t9000", symbol="IBM"),
        trade(12),
    ]
    platform.run(TRADES, 1, second, 3)
    assert sorted(row["offset"] for row in platform.rows(tables.TRADES)) == [0, 1, 2, 7, 8]
    assert [row["offset"] for row in platform.rows(tables.DUPLICATES)] == [6]
    rejected = {row["offset"]: row["reason"] for row in platform.rows(tables.QUARANTINE)}
    assert rejected == dict.fromkeys((3, 4, 5), "conflicting_trade_id")
    bars = {(row["symbol"], row["bar_at"]): row["revision"] for row in platform.rows(tables.BAR_REVISIONS)}
    assert bars == {("SPY", OPEN): 2, ("SPY", OPEN + timedelta(minutes=150)): 1, ("IBM", OPEN): 1}


def test_one_process_remembers_the_ids_of_its_batches(
    spark: SparkSession, sessions: DataFrame, platform: Platform
) -> None:
    processor = BatchProcessor(TRADES, Lake(spark, platform.root), sessions, platform.postgres.publish)
    for batch_id, values in enumerate(
        [[trade(0)], [trade(0, ts=micros(OPEN) + 12_000_000_000), trade(1)], [trade(1, price=7)]]
    ):
        moment = INGESTED + timedelta(seconds=batch_id)
        messages = as_messages(spark, TRADES, values, moment, 10 * batch_id).drop("ingested_at")
        processor.process(messages, BatchIdentity("query of trade", batch_id, moment))
    assert sorted(row["offset"] for row in platform.rows(tables.TRADES)) == [0, 11]
    assert sorted(row["offset"] for row in platform.rows(tables.QUARANTINE)) == [10, 20]


def test_a_vendor_bar_stated_anew_is_a_version_and_stated_again_a_duplicate(platform: Platform) -> None:
    first = [changed(BAR), changed(BAR), changed(BAR, close=11.5), changed(BAR, volume=-1)]
    second = [changed(BAR, close=11.5), changed(BAR), changed(BAR, symbol="IBM")]
    platform.run(VENDOR_BARS, 0, first, 0)
    platform.run(VENDOR_BARS, 1, second, 4)
    assert sorted(row["offset"] for row in platform.rows(tables.VENDOR_BARS)) == [0, 2, 5, 6]
    assert sorted(row["offset"] for row in platform.rows(tables.DUPLICATES)) == [1, 4]
    assert [(row["offset"], row["reason"]) for row in platform.rows(tables.QUARANTINE)] == [(3, "bad_volume")]
    assert [counts["vendor_bars"] for counts in platform.postgres.counts()] == [2, 2]


def test_a_batch_without_a_good_message_is_counted_and_moves_the_offsets(platform: Platform) -> None:
    platform.run(TRADES, 0, [b"poison", None], 0)
    assert platform.rows(tables.TRADES) == []
    (batch,) = platform.postgres.batches.values()
    assert (batch.messages, batch.quarantined, batch.bars, batch.newest_event_at) == (2, 2, 0, None)
    assert batch.next_offsets == {(TRADES.topic.name, 0): 2}
