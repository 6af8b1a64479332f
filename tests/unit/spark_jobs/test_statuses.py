"""Heartbeats, halts and resumes on their way: each message a row, with the trades of its batch in one transaction."""

import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from market import tables
from spark_jobs.transforms.kinds import TRADES
from tests.unit.spark_jobs.fake_platform import Cut, Cuts, Platform, Process
from tests.unit.spark_jobs.messages import HALT, HEARTBEAT, OPEN, RESUME, TRADE, changed, decode_all, micros
from warehouse.batch import BatchOutput

SAID = [changed(HEARTBEAT), changed(HALT), changed(RESUME, ts=micros(OPEN) + 1)]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path / "lake")


def published(platform: Platform, batch_id: int) -> BatchOutput:
    return platform.postgres.batches["query of trade", batch_id]


def test_a_status_is_taken_with_all_that_it_says_and_with_no_more() -> None:
    whole_session = changed(
        HEARTBEAT, since=micros(OPEN - timedelta(minutes=330)), ts=micros(OPEN + timedelta(minutes=630))
    )
    values = [changed({**TRADE, **HEARTBEAT}), whole_session, changed(HALT), changed(HALT, reason=..., ts=0)]
    values += [changed(HALT, kind="resume", ts=micros(OPEN - timedelta(days=1)), since=5)]
    every = decode_all(TRADES, values)
    _, statuses = every.beside
    assert (every.valid.height, every.rejected.height) == (0, 0)
    day, epoch = date(2013, 10, 7), datetime(1970, 1, 1, tzinfo=UTC)
    assert statuses.select("kind", "since_at", "status_at", "session_date", "reason").rows() == [
        ("heartbeat", OPEN, OPEN + timedelta(minutes=15), day, ""),
        ("heartbeat", OPEN - timedelta(minutes=330), OPEN + timedelta(minutes=630), day, ""),
        ("halt", None, OPEN, None, "LUDP"),
        ("halt", None, epoch, None, ""),
        ("resume", None, OPEN - timedelta(days=1), None, ""),
    ]


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
