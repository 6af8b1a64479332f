"""What the stream remembers of its sessions is what the lake holds, however little it remembers."""

import random
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from market.tables import Table
from spark_jobs.io import delta
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.sessions import MOST_RECORDS, Payloads, Sessions
from spark_jobs.schemas import MOMENT, frame_schema
from spark_jobs.transforms.amend import amend
from spark_jobs.transforms.bars import sum_trades
from spark_jobs.transforms.kinds import AMENDMENTS, QUOTES, TRADES, VENDOR_BARS, RecordKind
from tests.unit.spark_jobs.fake_platform import Platform, Process
from tests.unit.spark_jobs.messages import BAR, INGESTED, OPEN, QUOTE, TRADE, changed, decode_all, micros

BATCHES = 5
Records = list[tuple[int, int]]
"""Hashes of keys and payloads."""

hashes = st.integers(0, 9) | st.integers(2**63 - 2, 2**63 + 1) | st.integers(2**64 - 3, 2**64 - 1)
batches = st.lists(st.lists(st.tuples(hashes, hashes | st.integers(0, 2**64 - 1)), max_size=25), max_size=12)


def columns(records: Records) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], ...]:
    keys, payloads = ([record[number] for record in records] for number in range(2))
    return np.array(keys, np.uint64), np.array(payloads, np.uint64)


@given(batches, st.lists(hashes))
def test_the_last_payload_of_a_key_is_the_one_that_is_stored(content: list[Records], others: list[int]) -> None:
    payloads, oracle = Payloads(), dict[int, int]()
    for records in [*content, []]:
        asked = sorted([key for key, _ in records] + others)
        known, found = payloads.find(np.array(asked, np.uint64))
        assert known.tolist() == [key in oracle for key in asked]
        assert [int(payload) for payload in found[known]] == [oracle[key] for key in asked if key in oracle]
        payloads.add(*columns(records))
        oracle.update(records)
        assert len(oracle) <= len(payloads) <= sum(map(len, content))


@given(st.lists(hashes, min_size=1, max_size=40))
def test_runs_of_one_record_each_are_few(keys: list[int]) -> None:
    payloads = Payloads()
    for key in keys:
        payloads.add(*columns([(key, 1)]))
    assert len(payloads._runs) <= len(set(keys)).bit_length() + 1


def random_message(kind: RecordKind, chance: random.Random) -> bytes:
    """Return a message that often repeats, contradicts or restates another one, in one of three sessions."""
    number = chance.randrange(12)
    at = micros(OPEN + timedelta(days=number % 3, minutes=chance.randrange(3)))  # an id belongs to one session
    common = {"symbol": chance.choice(["SPY", "IBM"]), "source": chance.choice(["lean", "other"])}
    conditions = chance.choice(["", "20", "1000000"])
    match kind.name:
        case "trade":
            price, size = chance.choice([5, "7.25", 999_999_999_999]), chance.choice([1, 10**12])
            return changed(TRADE, **common, ts=at, trade_id=f"t{number}", price=price, size=size, conditions=conditions)
        case "quote":
            return changed(QUOTE, **common, ts=at, quote_id=f"q{number}", bid=chance.choice([None, 5, 6]))
        case _:
            return changed(BAR, **common, ts=at, interval=chance.choice(["1m", "1d"]), close=chance.choice([10, 11]))


def stamp(batch_id: int) -> datetime:
    return INGESTED + timedelta(seconds=batch_id)


def known_of(sessions: Sessions, rows: pl.DataFrame, before: datetime) -> pl.DataFrame:
    """Return what is stored of the rows, as of a moment."""
    sessions.meet(rows["session_date"].unique().to_list(), before)
    return rows.select("session_date", "key_hash", sessions.stored_payloads(rows)).sort(pl.all())


def sums_of(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the sums of trades that nobody amended."""
    return sum_trades(amend(trades, pl.DataFrame(schema=frame_schema(AMENDMENTS.table))))


def bars_of(sessions: Sessions, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the sums of every bar that the rows touch, with one batch of all of the rows."""
    stamped = rows.with_columns(pl.lit(INGESTED, MOMENT).alias("ingested_at"))
    return sessions.add_to_bars(sums_of(stamped)).sort("source", "symbol", "bar_at")


def by_ledger(kind: RecordKind, stored: dict[tuple[date, int], int], rows: pl.DataFrame) -> None:
    """Take in a batch one row at a time: the first statement of a record holds, of one that is restated the last."""
    for session_date, key, payload in (
        rows.sort("offset").select("session_date", "key_hash", "payload_hash").iter_rows()
    ):
        if kind.restated:
            stored[session_date, key] = payload
        else:
            stored.setdefault((session_date, key), payload)


@pytest.mark.parametrize("most", [MOST_RECORDS, 8, 0])
@pytest.mark.parametrize("kind", [TRADES, QUOTES, VENDOR_BARS], ids=lambda kind: str(kind.name))
@pytest.mark.parametrize("seed", range(2))
def test_a_process_that_starts_anew_knows_what_the_one_before_knew(
    kind: RecordKind, seed: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "_ROWS_A_CHUNK", 3)
    chance = random.Random(seed)
    content = [[random_message(kind, chance) for _ in range(chance.randrange(15))] for _ in range(BATCHES)]
    every = decode_all(kind, [value for values in content for value in values]).valid
    process = Process(Platform(tmp_path), kind, most=most)
    running = process.processor.sessions
    stored: dict[tuple[date, int], int] = {}
    first_offset = 0
    for batch_id, values in enumerate(content):
        process.run(batch_id, values, first_offset)
        if values:
            by_ledger(kind, stored, decode_all(kind, values).valid)
        first_offset += len(values)
        remembered = known_of(running, every, stamp(batch_id + 1))
        read = Sessions(kind, Lake(str(tmp_path)))
        assert_frame_equal(known_of(read, every, stamp(batch_id + 1)), remembered)
        asked = every.select("session_date", "key_hash").rows()
        found = {row[:2]: row[2] for row in remembered.iter_rows() if row[2] is not None}
        assert found == {key: stored[key] for key in asked if key in stored}, f"seed {seed}, batch {batch_id}"
        if kind is TRADES:
            assert_frame_equal(bars_of(read, every), bars_of(running, every))


@pytest.mark.parametrize("seed", range(2))
def test_a_batch_that_is_run_again_does_not_know_its_own_rows(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    content = [[random_message(TRADES, chance) for _ in range(10)] for _ in range(BATCHES)]
    every = decode_all(TRADES, [value for values in content for value in values]).valid
    process = Process(Platform(tmp_path), TRADES)
    known = []
    for batch_id, values in enumerate(content):
        known.append(known_of(process.processor.sessions, every, stamp(batch_id)))
        process.run(batch_id, values, 10 * batch_id)
    for batch_id, before in enumerate(known):
        read = Sessions(TRADES, Lake(str(tmp_path)))
        assert_frame_equal(known_of(read, every, stamp(batch_id)), before)


@dataclass(frozen=True, slots=True)
class CountingLake(Lake):
    """A lake that counts how often a table is read."""

    reads: list[Table] = field(default_factory=list)

    def scan(self, table: Table) -> pl.LazyFrame:
        self.reads.append(table)
        return Lake.scan(self, table)


def two_trades(day: int) -> pl.DataFrame:
    at = micros(OPEN + timedelta(days=day))
    return decode_all(TRADES, [changed(TRADE, ts=at, trade_id=f"{day}-{number}") for number in range(2)]).valid


def test_the_session_that_was_not_met_for_longest_is_forgotten_first_and_read_again(tmp_path: Path) -> None:
    lake = CountingLake(str(tmp_path))
    lake.create(TRADES.table)
    lake.create(AMENDMENTS.table)
    sessions = Sessions(TRADES, lake, most=4)
    for batch_id, day in enumerate((0, 1, 0, 2)):
        rows = two_trades(day)
        sessions.meet(rows["session_date"].unique().to_list(), stamp(batch_id))
        known = sessions.stored_payloads(rows).is_not_null()
        assert known.to_list() == ([True, True] if batch_id == 2 else [False, False])
        fresh = rows.filter(~known)
        ledger = fresh.with_columns(pl.lit(stamp(batch_id), MOMENT).alias("ingested_at"), topic=pl.lit("t"))
        if fresh.height:
            lake.append(TRADES.table, ledger, writer_id="a query", batch_id=batch_id)
        sessions.remember_records(fresh)
        sessions.remember_bars(sums_of(ledger))
        sessions.shrink(set(fresh["session_date"]))
    lake.reads.clear()
    both = pl.concat([two_trades(0), two_trades(2)])
    sessions.meet(both["session_date"].unique().to_list(), stamp(9))
    assert sessions.stored_payloads(both).to_list() == both["payload_hash"].to_list()
    assert lake.reads == []
    sessions.meet(two_trades(1)["session_date"].unique().to_list(), stamp(9))
    assert sessions.stored_payloads(two_trades(1)).to_list() == two_trades(1)["payload_hash"].to_list()
    assert TRADES.table in lake.reads
    again = sessions.add_to_bars(sums_of(ledger_of(two_trades(1))))
    assert again.select("trade_count", "revision").rows() == [(4, 2)]


def ledger_of(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.lit(INGESTED, MOMENT).alias("ingested_at"))


def test_a_session_is_read_once_while_it_is_remembered(tmp_path: Path) -> None:
    lake = CountingLake(str(tmp_path))
    lake.create(TRADES.table)
    lake.create(AMENDMENTS.table)
    sessions = Sessions(TRADES, lake)
    for batch_id, day in enumerate((0, 1, 0, 1, 2, 0)):
        rows = two_trades(day)
        sessions.meet(rows["session_date"].unique().to_list(), stamp(batch_id))
        sessions.remember_records(rows)
    assert lake.reads.count(TRADES.table) == 3
