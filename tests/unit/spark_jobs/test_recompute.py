"""The deep path: what the stream stored comes out again, whatever is damaged is put right, and the stream goes on rightly."""

import random
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from market import tables
from market.errors import UsageError
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.locks import BesideRepairs
from spark_jobs.transforms.kinds import TRADES
from tests.unit.spark_jobs.deep_platform import DeepPlatform
from tests.unit.spark_jobs.fake_platform import Cut, Process
from tests.unit.spark_jobs.messages import OPEN, TRADE, changed, micros

SEED = 20131007
MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
DAY = 86_400_000_000
Row = dict[str, Any]


@pytest.fixture
def deep(tmp_path: Path) -> DeepPlatform:
    return DeepPlatform(tmp_path)


def trade(number: int, day: int = 0, **others: Any) -> bytes:
    at = {"ts": micros(OPEN) + day * DAY + number * 7_000_000, "trade_id": f"{day}t{number}", "sequence": number}
    return changed(TRADE, **{**at, "conditions": "", "price": 100 + number % 13, **others})


def amendment(kind: str, number: int, day: int = 0, **others: Any) -> bytes:
    said = {"kind": kind, "source": "lean", "symbol": "SPY", "ts": micros(OPEN) + 10**9, "ref_id": f"{day}t{number}"}
    return changed(said, **others)


def random_tape(chance: random.Random, messages: int) -> list[bytes | None]:
    """Return trades of two days and two symbols, late, repeated, contradicting, cancelled, corrected and broken ones."""
    tape: list[bytes | None] = []
    for _ in range(messages):
        number, day = chance.randrange(60), chance.randrange(2)
        symbol = chance.choice(["SPY", "IBM"])
        match chance.randrange(12):
            case 0:
                tape.append(amendment("cancel", number, day, symbol=symbol, ts=micros(OPEN) + chance.randrange(99)))
            case 1:
                stated = {"price": chance.choice([90, "101.5"]), "size": 7, "conditions": chance.choice(["", "20"])}
                tape.append(amendment("correction", number, day, symbol=symbol, **stated))
            case 2:
                tape.append(chance.choice([b"{", None, trade(number, day, size=-1)]))
            case 3:
                tape.append(trade(number, day, symbol=symbol, price=1))
            case _:
                tape.append(trade(number, day, symbol=symbol, conditions=chance.choice(["", "", "20"])))
    return tape


def fill(deep: DeepPlatform, tape: list[bytes | None], cuts: list[int]) -> None:
    for batch_id, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(tape)], strict=True)):
        deep.platform.run(TRADES, batch_id, tape[start:end], start)


def example(deep: DeepPlatform, chance: random.Random, messages: int = 150) -> list[bytes | None]:
    tape = random_tape(chance, messages)
    fill(deep, tape, sorted(chance.sample(range(messages), 6)))
    return tape


@pytest.mark.parametrize("number", range(2))
def test_what_the_stream_stored_comes_out_again_every_revision_of_it(deep: DeepPlatform, number: int) -> None:
    example(deep, random.Random(SEED + number))
    before = deep.everything()
    reports = deep.recompute(MONDAY, TUESDAY, dry_run=True, most_records=(10**6, 1)[number % 2])
    assert [(report.session_date, report.differences) for report in reports] == [
        (None, {}),
        (MONDAY, {}),
        (TUESDAY, {}),
    ], f"seed {SEED + number}"
    assert sum(report.trades for report in reports) == len(before["silver/trades"])
    assert sum(report.revisions for report in reports) == len(before["gold/bar_revisions_1m"])
    assert sum(report.bars for report in reports) == len(before["lake.bars_1m"])
    assert sum(report.amendments for report in reports) == len(before["silver/amendments"])
    assert deep.everything() == before


REPAIRED: list[Table] = [tables.TRADES, tables.AMENDMENTS, tables.BAR_REVISIONS, tables.DUPLICATES]


def other(value: Any) -> Any:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case Decimal():
            return value + Decimal("0.000001")
        case str():
            return f"{value}X"
        case _:
            return value


PINNED = {"topic", "partition", "offset", "ingested_at", "session_date", "bar_at", "revised_at", "symbol"}


def damage(deep: DeepPlatform, chance: random.Random) -> None:
    """Remove, repeat and change rows of the tables that the deep path puts right."""
    for table in REPAIRED:
        uri = f"{deep.platform.root}/{table.path}"
        stored = pl.read_delta(uri)
        rows = stored.to_dicts()
        damaged: list[Row] = []
        for row in rows:
            match chance.randrange(6):
                case 0:
                    continue
                case 1:
                    damaged += [row, row]
                case 2:
                    name = chance.choice([name for name in row if name not in PINNED and name != "revision"])
                    damaged.append({**row, name: other(row[name])})
                case _:
                    damaged.append(row)
        write_deltalake(uri, pl.DataFrame(damaged, schema=stored.schema, orient="row").to_arrow(), mode="overwrite")
    for key, row in list(deep.postgres.bars.items()):
        match chance.randrange(5):
            case 0:
                del deep.postgres.bars[key]
            case 1:
                deep.postgres.bars[key] = {**row, "revision": 99, "close": Decimal(1)}
            case 2:
                invented = {**row, "symbol": "ZZZ"}
                deep.postgres.bars["lean", "ZZZ", row["bar_at"]] = invented


@pytest.mark.parametrize("number", range(2))
def test_whatever_is_damaged_is_put_right(deep: DeepPlatform, number: int) -> None:
    chance = random.Random(SEED + number)
    example(deep, chance)
    before = deep.everything()
    damage(deep, chance)
    damaged = deep.everything()
    assert damaged != before
    found = deep.recompute(MONDAY, TUESDAY, dry_run=True)
    assert sum(report.differing for report in found) > 0
    assert deep.everything() == damaged, "a dry run changed something"
    reports = deep.recompute(MONDAY, TUESDAY, most_records=(10**6, 1)[number % 2])
    assert all(report.is_repaired == bool(report.differences) for report in reports)
    assert deep.everything() == before, f"seed {SEED + number}"
    again = deep.recompute(MONDAY, TUESDAY)
    assert [report.differing for report in again] == [0, 0, 0]


@dataclass(frozen=True, slots=True)
class DyingLake(Lake):
    """A lake whose process is killed at a change of a table: before it, or after it."""

    changes: list[Table] = field(default_factory=list)
    dies_at: int = 0
    is_done: bool = False

    def replace(self, table: Table, rows: pl.DataFrame, where: str) -> None:
        self.changes.append(table)
        dies = len(self.changes) - 1 == self.dies_at
        if dies and not self.is_done:
            raise Cut
        Lake.replace(self, table, rows, where)
        if dies:
            raise Cut


@pytest.mark.parametrize("is_done", [False, True])
def test_a_repair_that_is_killed_anywhere_is_completed_by_the_next(deep: DeepPlatform, is_done: bool) -> None:
    chance = random.Random(SEED)
    example(deep, chance)
    before = deep.everything()
    damage(deep, chance)
    for _ in range(20):  # each process gets one to three changes further, or dies at its first one
        lake = DyingLake(str(deep.platform.root), dies_at=chance.randrange(4), is_done=is_done)
        try:
            deep.recompute(MONDAY, TUESDAY, lake=lake)
        except Cut:
            continue
        break
    deep.postgres.fails = False
    deep.recompute(MONDAY, TUESDAY)
    assert deep.everything() == before


def test_bars_that_postgres_could_not_take_are_put_right_by_the_next(deep: DeepPlatform) -> None:
    chance = random.Random(SEED)
    example(deep, chance)
    before = deep.everything()
    damage(deep, chance)
    deep.postgres.fails = True
    with pytest.raises(Cut):
        deep.recompute(MONDAY, TUESDAY)
    deep.postgres.fails = False
    deep.recompute(MONDAY, TUESDAY)
    assert deep.everything() == before


def remove(deep: DeepPlatform, table: Table, condition: str) -> None:
    DeltaTable(f"{deep.platform.root}/{table.path}").delete(condition)


def test_only_the_asked_symbols_are_touched(deep: DeepPlatform) -> None:
    fill(deep, [trade(0), trade(0, symbol="IBM"), trade(1), trade(1, symbol="IBM")], [2])
    before = deep.everything()
    remove(deep, tables.TRADES, "sequence = 1")
    (_, report) = deep.recompute(MONDAY, symbols=("IBM",))
    assert report.differences["silver/trades"].missing == 1
    after = deep.everything()["silver/trades"]
    assert [row for row in after if row["symbol"] == "IBM"] == [
        row for row in before["silver/trades"] if row["symbol"] == "IBM"
    ]
    assert [row["sequence"] for row in after if row["symbol"] == "SPY"] == [0]


def test_other_sessions_are_not_touched(deep: DeepPlatform) -> None:
    fill(deep, [trade(0), trade(0, day=1)], [1])
    remove(deep, tables.TRADES, "sequence = 0")
    deep.recompute(TUESDAY)
    assert [row["session_date"] for row in deep.everything()["silver/trades"]] == [TUESDAY]


def test_a_batch_that_has_not_reached_postgres_is_left_alone(deep: DeepPlatform) -> None:
    fill(deep, [trade(0), trade(1)], [1])
    deep.publish()
    deep.platform.run(TRADES, 2, [trade(2), amendment("cancel", 0)], 2)
    in_flight = list(deep.platform.postgres.batches.values())[2]
    deep.postgres.seen = 3
    before = deep.everything()
    remove(deep, tables.TRADES, "sequence = 1")
    reports = deep.recompute(MONDAY)
    assert [report.differing for report in reports] == [0, 1]
    assert deep.everything() == before
    deep.postgres.seen = 2
    assert in_flight.bars == 1
    assert [report.differing for report in deep.recompute(MONDAY, dry_run=True)] == [0, 0]


def test_a_repeat_that_was_taken_for_the_record_goes_where_it_belongs(deep: DeepPlatform) -> None:
    deep.platform.run(TRADES, 0, [trade(0), trade(1)], 0)
    remove(deep, tables.TRADES, "sequence = 0")
    deep.platform.run(TRADES, 1, [trade(0), trade(1, price=7)], 2)
    damaged = deep.everything()
    assert sorted(row["offset"] for row in damaged["silver/trades"]) == [1, 2]
    deep.recompute(MONDAY)
    after = deep.everything()
    assert sorted(row["offset"] for row in after["silver/trades"]) == [0, 1]
    assert [row["offset"] for row in after["bronze/duplicates"]] == [2]
    assert [row["offset"] for row in after["bronze/quarantine"]] == [3]
    (bar,) = after["lake.bars_1m"]
    assert (bar["revision"], bar["trade_count"]) == (1, 2)


def test_a_row_without_a_valid_message_goes_and_its_message_is_in_quarantine(deep: DeepPlatform) -> None:
    deep.platform.run(TRADES, 0, [trade(0), trade(1, size=-1)], 0)
    before = deep.everything()
    uri = f"{deep.platform.root}/{tables.TRADES.path}"
    stored = pl.read_delta(uri)
    invented = stored.with_columns(offset=pl.lit(1, pl.Int64), trade_id=pl.lit("invented"))
    write_deltalake(uri, invented.to_arrow(), mode="append")
    remove(deep, tables.QUARANTINE, '"offset" = 1')
    deep.recompute(MONDAY)
    after = deep.everything()
    assert {**after, "bronze/quarantine": []} == {**before, "bronze/quarantine": []}
    assert [(row["offset"], row["reason"]) for row in after["bronze/quarantine"]] == [(1, "bad_size")]


def test_what_older_rules_rejected_waits_for_its_retry(deep: DeepPlatform) -> None:
    deep.platform.run(TRADES, 0, [trade(0), trade(1), trade(1)], 0)
    uri = f"{deep.platform.root}/{tables.QUARANTINE.path}"
    (kept,) = [row for row in deep.everything()["silver/trades"] if row["offset"] == 1]
    rejected = {name: kept[name] for name in ("topic", "partition", "offset", "ingested_at")}
    for table in (tables.TRADES, tables.DUPLICATES):
        remove(deep, table, '"offset" >= 1')
    rows = [{**rejected, "reason": "bad_size", "detail": None, "rules_version": None}]
    write_deltalake(uri, pl.DataFrame(rows, schema=pl.read_delta(uri).schema).to_arrow(), mode="append")
    deep.recompute(MONDAY)
    after = deep.everything()
    assert sorted(row["offset"] for row in after["silver/trades"]) == [0, 2]
    assert [row["offset"] for row in after["bronze/quarantine"]] == [1]


def continued(process: Process, watch: BesideRepairs, batch_id: int, tape: list[Any]) -> None:
    first = sum(len(batch) for batch in TAPES[:batch_id])
    with watch.batch():
        process.run(batch_id, tape, first)


TAPES: list[list[bytes | None]] = [
    [trade(0), trade(1), amendment("cancel", 1)],
    [trade(2), trade(0), trade(3, price=50)],
    [trade(3, price=50), trade(4), trade(2, price=1), amendment("correction", 0, price=500, size=1)],
]


def test_the_stream_goes_on_rightly_after_a_repair(tmp_path: Path) -> None:
    quiet, deep = DeepPlatform(tmp_path / "quiet"), DeepPlatform(tmp_path / "damaged")
    for platform in (quiet, deep):
        platform.root.mkdir()
        process = Process(platform.platform, TRADES)
        watch = BesideRepairs(platform.lock(TRADES), process.processor.forget, lambda: None)
        continued(process, watch, 0, TAPES[0])
        if platform is deep:  # what the process remembers from now on is wrong
            remove(deep, tables.TRADES, "sequence = 0")
            remove(deep, tables.AMENDMENTS, "true")
            process.processor.forget()
        continued(process, watch, 1, TAPES[1])
        if platform is deep:
            assert deep.everything() != quiet.everything()
            reports = deep.recompute(MONDAY)
            assert all(report.is_repaired for report in reports)
        continued(process, watch, 2, TAPES[2])
    assert deep.everything() == quiet.everything()


def test_a_range_without_a_session_is_refused(deep: DeepPlatform) -> None:
    with pytest.raises(UsageError, match="no session from 2013-10-05 to 2013-10-06"):
        deep.recompute(date(2013, 10, 5), date(2013, 10, 6))


def test_a_range_in_which_nothing_was_traded_is_right(deep: DeepPlatform) -> None:
    fill(deep, [trade(0), trade(1)], [1])
    assert [report.session_date for report in deep.recompute(date(2014, 1, 2), date(2014, 2, 3))] == [None]
    assert [report.differing for report in deep.recompute(MONDAY, date(2014, 2, 3))] == [0, 0]
