"""Batches on real Delta tables: run twice, cut after any write, with late, repeated and contradicting records."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market import tables
from spark_jobs.transforms.kinds import QUOTES, TRADES, VENDOR_BARS
from tests.unit.spark_jobs.fake_platform import Cut, Cuts, Platform, Process
from tests.unit.spark_jobs.messages import BAR, OPEN, QUOTE, TRADE, changed, micros

Change = Callable[[Platform, Process], None]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path / "lake")


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
THIRD: list[bytes | None] = [trade(3), trade(3, size=7), trade(4)]
BATCHES: list[tuple[int, list[bytes | None], int]] = [(0, FIRST, 0), (1, SECOND, len(FIRST))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """What two batches leave behind when nothing happens."""
    quiet = Platform(tmp_path_factory.mktemp("undisturbed"))
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
    assert {row["record_id"] for row in everything["duplicates"]} == {
        "lean/SPY/2013-10-07/t1",
        "lean/SPY/2013-10-07/t0",
    }


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
    common = {"quotes": 0, "vendor_bars": 0}
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


@pytest.mark.parametrize(("tasks", "tasks_per_portion"), [(2, 2), (2, 1), (5, 1), (5, 2)])
def test_several_tasks_and_portions_leave_what_one_does(
    undisturbed: Platform, platform: Platform, tasks: int, tasks_per_portion: int
) -> None:
    platform.tasks, platform.tasks_per_portion = tasks, tasks_per_portion
    for batch in BATCHES:
        platform.run(TRADES, *batch)
    assert platform.everything() == undisturbed.everything()
    assert platform.postgres.counts() == undisturbed.postgres.counts()
    assert platform.postgres.bars(1) == undisturbed.postgres.bars(1)


def test_one_process_leaves_what_one_for_each_batch_does(undisturbed: Platform, platform: Platform) -> None:
    process = Process(platform, TRADES)
    for batch in BATCHES:
        process.run(*batch)
    assert platform.everything() == undisturbed.everything()
    assert platform.postgres.counts() == undisturbed.postgres.counts()
    assert platform.postgres.bars(1) == undisturbed.postgres.bars(1)


WRITTEN = (tables.MESSAGES, tables.QUARANTINE, tables.DUPLICATES, tables.TRADES, tables.BAR_REVISIONS)
READ = Cuts(frozenset({tables.TRADES}), "read")
ENDED_AT = [Cuts(frozenset({table}), "done") for table in WRITTEN]
CUTS = [
    READ,
    *ENDED_AT,
    *(Cuts(frozenset({table}), "file" if table is not tables.MESSAGES else "commit") for table in WRITTEN),
    *(Cuts(frozenset(WRITTEN) - {table}, "commit") for table in WRITTEN),
    Cuts(frozenset(WRITTEN), "commit"),
]


def shown(cuts: Cuts) -> str:
    return f"{cuts.where}-{'-'.join(sorted(table.name for table in cuts.tables))}"


@pytest.mark.parametrize(
    ("cuts", "same_process"),
    [*((cuts, False) for cuts in CUTS), *((cuts, True) for cuts in (READ, *ENDED_AT))],
    ids=lambda value: shown(value) if isinstance(value, Cuts) else "same-process" if value else "restarted",
)
def test_a_batch_cut_anywhere_and_run_again_leaves_what_an_undisturbed_one_does(
    undisturbed: Platform, platform: Platform, cuts: Cuts, same_process: bool
) -> None:
    shutil.copytree(f"{undisturbed.root} after the first batch", platform.root)
    process = Process(platform, TRADES, Cuts(cuts.tables, cuts.where))
    with pytest.raises(Cut):
        process.run(*BATCHES[1])
    assert platform.postgres.batches == {}
    process.cuts.tables = frozenset()
    again = process if same_process else Process(platform, TRADES)
    again.run(*BATCHES[1])
    assert_as_undisturbed(platform, undisturbed)
    again.run(2, THIRD, len(FIRST) + len(SECOND))
    assert {row["offset"]: row["reason"] for row in platform.rows(tables.QUARANTINE) if row["offset"] > 13} == {
        15: "conflicting_trade_id"
    }


@pytest.mark.parametrize("same_process", [True, False], ids=["same-process", "restarted"])
@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_batch_whose_publishing_failed_and_run_again_leaves_what_an_undisturbed_one_does(
    undisturbed: Platform, platform: Platform, fails: Any, same_process: bool
) -> None:
    shutil.copytree(f"{undisturbed.root} after the first batch", platform.root)
    platform.postgres.fails = fails
    process = Process(platform, TRADES)
    for _ in range(2):
        with pytest.raises(Cut):
            process.run(*BATCHES[1])
    assert len(platform.postgres.batches) == (fails == "after")
    platform.postgres.fails = ""
    again = process if same_process else Process(platform, TRADES)
    again.run(*BATCHES[1])
    assert_as_undisturbed(platform, undisturbed)


def assert_as_undisturbed(platform: Platform, undisturbed: Platform) -> None:
    assert platform.everything() == undisturbed.everything()
    assert platform.postgres.counts() == undisturbed.postgres.counts()[1:]
    assert platform.postgres.bars(1) == undisturbed.postgres.bars(1)


@pytest.mark.parametrize("same_process", [True, False], ids=["same-process", "restarted"])
def test_an_id_that_comes_again_at_another_moment_of_its_session_is_a_conflict(
    platform: Platform, same_process: bool
) -> None:
    process = Process(platform, TRADES)
    process.run(0, [trade(0), trade(9_000), trade(10)], 0)
    second = [
        trade(0, ts=micros(OPEN) + 12_000_000_000),  # hours later
        trade(9_000, ts=micros(OPEN)),  # hours earlier
        trade(10, ts=micros(OPEN) + 600_000_000),
        trade(10),
        trade(11, trade_id="t9000", symbol="IBM"),
        trade(12),
    ]
    process = process if same_process else Process(platform, TRADES)
    process.run(1, second, 3)
    assert sorted(row["offset"] for row in platform.rows(tables.TRADES)) == [0, 1, 2, 7, 8]
    assert [row["offset"] for row in platform.rows(tables.DUPLICATES)] == [6]
    rejected = {row["offset"]: row["reason"] for row in platform.rows(tables.QUARANTINE)}
    assert rejected == dict.fromkeys((3, 4, 5), "conflicting_trade_id")
    bars = {(row["symbol"], row["bar_at"]): row["revision"] for row in platform.rows(tables.BAR_REVISIONS)}
    assert bars == {("SPY", OPEN): 2, ("SPY", OPEN + timedelta(minutes=150)): 1, ("IBM", OPEN): 1}


@pytest.mark.parametrize("same_process", [True, False], ids=["same-process", "restarted"])
def test_sessions_do_not_know_of_each_other(platform: Platform, same_process: bool) -> None:
    process = Process(platform, TRADES)
    tuesday = {"ts": micros(OPEN + timedelta(days=1))}
    process.run(0, [trade(0), trade(1, **tuesday)], 0)
    process = process if same_process else Process(platform, TRADES)
    process.run(1, [trade(0, **tuesday), trade(0, price=7), trade(1, price=8), trade(1, **tuesday)], 2)
    assert sorted(row["offset"] for row in platform.rows(tables.TRADES)) == [0, 1, 2, 4]
    assert [row["offset"] for row in platform.rows(tables.QUARANTINE)] == [3]
    assert [row["offset"] for row in platform.rows(tables.DUPLICATES)] == [5]
    revisions = sorted((row["session_date"].day, row["revision"]) for row in platform.rows(tables.BAR_REVISIONS))
    assert revisions == [(7, 1), (7, 2), (8, 1), (8, 2)]


@pytest.mark.parametrize("split", range(7))
def test_the_same_id_in_two_sessions_is_two_trades_in_whatever_batches_they_come(
    platform: Platform, split: int
) -> None:
    tuesday = {"ts": micros(OPEN + timedelta(days=1))}
    messages = [trade(0), trade(0, **tuesday), trade(0), trade(0, price=7), trade(0, **tuesday, price=8), trade(1)]
    process = Process(platform, TRADES)
    process.run(0, messages[:split], 0)
    process.run(1, messages[split:], split)
    assert sorted(row["offset"] for row in platform.rows(tables.TRADES)) == [0, 1, 5]
    assert [row["offset"] for row in platform.rows(tables.DUPLICATES)] == [2]
    assert sorted(row["offset"] for row in platform.rows(tables.QUARANTINE)) == [3, 4]


@pytest.mark.parametrize("same_process", [True, False], ids=["same-process", "restarted"])
def test_a_vendor_bar_stated_anew_is_a_version_and_stated_again_a_duplicate(
    platform: Platform, same_process: bool
) -> None:
    process = Process(platform, VENDOR_BARS)
    process.run(0, [changed(BAR), changed(BAR), changed(BAR, close=11.5), changed(BAR, volume=-1)], 0)
    process = process if same_process else Process(platform, VENDOR_BARS)
    process.run(1, [changed(BAR, close=11.5), changed(BAR), changed(BAR, symbol="IBM")], 4)
    process = process if same_process else Process(platform, VENDOR_BARS)
    process.run(2, [changed(BAR), changed(BAR, close=11.5)], 7)
    assert sorted(row["offset"] for row in platform.rows(tables.VENDOR_BARS)) == [0, 2, 5, 6, 8]
    assert sorted(row["offset"] for row in platform.rows(tables.DUPLICATES)) == [1, 4, 7]
    assert [(row["offset"], row["reason"]) for row in platform.rows(tables.QUARANTINE)] == [(3, "bad_volume")]
    assert [counts["vendor_bars"] for counts in platform.postgres.counts()] == [2, 2, 1]
    published = platform.postgres.batches["query of bar", 1].vendor_bar_rows
    assert published is not None
    assert sorted(published.select(["symbol", "close"]).to_pylist(), key=str) == [
        {"symbol": "IBM", "close": Decimal(11)},
        {"symbol": "SPY", "close": Decimal(11)},
    ]


def test_quotes_are_stored_and_published_once(platform: Platform) -> None:
    process = Process(platform, QUOTES)
    first = [changed(QUOTE), changed(QUOTE, bid=99), changed(QUOTE, quote_id="q2", bid=None, bid_size=...)]
    process.run(0, first, 0)
    process.run(1, [changed(QUOTE), changed(QUOTE, quote_id="q2")], 3)
    stored = {row["offset"]: (row["bid"], row["bid_size"], row["ask"]) for row in platform.rows(tables.QUOTES)}
    assert stored == {0: (Decimal("99.5"), 300, Decimal("100.5")), 2: (None, None, Decimal("100.5"))}
    assert [row["offset"] for row in platform.rows(tables.DUPLICATES)] == [3]
    reasons = {row["offset"]: row["reason"] for row in platform.rows(tables.QUARANTINE)}
    assert reasons == {1: "conflicting_quote_id", 4: "conflicting_quote_id"}
    published = platform.postgres.batches["query of quote", 0].quote_rows
    assert published is not None
    assert sorted(published["bid"].to_pylist(), key=str) == [Decimal("99.5"), None]
    assert platform.postgres.batches["query of quote", 1].quote_rows is None
    assert [counts["quotes"] for counts in platform.postgres.counts()] == [2, 0]


def test_a_batch_without_a_good_message_is_counted_and_moves_the_offsets(platform: Platform) -> None:
    platform.run(TRADES, 0, [b"poison", None], 0)
    assert platform.rows(tables.TRADES) == []
    (batch,) = platform.postgres.batches.values()
    assert (batch.messages, batch.quarantined, batch.bars, batch.newest_event_at) == (2, 2, 0, None)
    assert batch.next_offsets == {(TRADES.topic.name, 0): 2}


def test_a_batch_without_messages_leaves_nothing(platform: Platform) -> None:
    platform.run(TRADES, 0, [], 0)
    assert set(map(len, platform.everything().values())) == {0}
    assert platform.postgres.batches == {}
