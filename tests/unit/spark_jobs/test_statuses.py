"""Heartbeats, halts and resumes on their way: each message a row, with the trades of its batch in one transaction."""

import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from market import tables
from spark_jobs.transforms.kinds import TRADES
from tests.unit.spark_jobs.fake_platform import Cut, Cuts, Platform, Process
from tests.unit.spark_jobs.messages import HALT, HEARTBEAT, OPEN, RESUME, TRADE, changed, micros
from warehouse.batch import BatchOutput

SAID = [changed(HEARTBEAT), changed(HALT), changed(RESUME, ts=micros(OPEN) + 1)]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path / "lake")


def published(platform: Platform, batch_id: int) -> BatchOutput:
    return platform.postgres.batches["query of trade", batch_id]


def test_statuses_come_with_the_trades_of_their_batch(platform: Platform) -> None:
    platform.run(TRADES, 0, [changed(TRADE), *SAID, changed(HEARTBEAT, since="x")], 10)
    batch = published(platform, 0)
    assert (batch.messages, batch.trades, batch.statuses, batch.amendments, batch.quarantined) == (5, 1, 3, 0, 1)
    assert batch.next_offsets == {("market.trades.v1", 0): 15}
    assert batch.bar_rows is not None
    assert batch.status_rows is not None
    said = [(row["kind"], row["since_at"], row["status_at"], row["reason"]) for row in batch.status_rows.to_pylist()]
    assert said == [
        ("heartbeat", OPEN, OPEN + timedelta(minutes=15), ""),
        ("halt", None, OPEN, "LUDP"),
        ("resume", None, OPEN + timedelta(microseconds=1), ""),
    ]
    stored = {row["offset"]: row["kind"] for row in platform.rows(tables.FEED_STATUS)}
    assert stored == {11: "heartbeat", 12: "halt", 13: "resume"}


def test_a_batch_of_nothing_but_statuses_is_a_batch(platform: Platform) -> None:
    platform.run(TRADES, 0, SAID, 0)
    assert (published(platform, 0).messages, published(platform, 0).statuses) == (3, 3)
    assert published(platform, 0).next_offsets == {("market.trades.v1", 0): 3}


def test_what_is_said_again_is_a_row_again_and_no_duplicate(platform: Platform) -> None:
    platform.run(TRADES, 0, [changed(HEARTBEAT), changed(HEARTBEAT)], 0)
    platform.run(TRADES, 1, [changed(HEARTBEAT)], 2)
    assert [row["offset"] for row in platform.rows(tables.FEED_STATUS)] == [0, 1, 2]
    assert platform.rows(tables.DUPLICATES) == []


@pytest.mark.parametrize(("where", "tasks"), itertools.product(["file", "commit", "done"], [1, 3]))
def test_a_batch_that_was_cut_writes_its_statuses_once(platform: Platform, where: str, tasks: int) -> None:
    platform.tasks = tasks
    values = [changed(TRADE), *SAID]
    with pytest.raises(Cut):
        Process(platform, TRADES, Cuts(frozenset({tables.FEED_STATUS}), where)).run(0, values, 0)  # type: ignore[arg-type]
    assert platform.postgres.batches == {}
    platform.run(TRADES, 0, values, 0)
    assert sorted(row["offset"] for row in platform.rows(tables.FEED_STATUS)) == [1, 2, 3]
    assert published(platform, 0).statuses == 3
