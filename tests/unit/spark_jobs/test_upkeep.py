"""Many small files become few, old ones go, and nothing else changes: neither rows nor what is known to be written."""

import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from market.tables import DUPLICATES
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.upkeep import Upkeep
from tests.unit.spark_jobs.messages import INGESTED

APPENDS = 30


def rows(number: int) -> pl.DataFrame:
    values: dict[str, Any] = {"topic": "t", "partition": 0, "offset": number, "ingested_at": INGESTED, "record_id": "x"}
    return pl.DataFrame([values])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "a lake"))
    lake.create(DUPLICATES)
    for number in range(APPENDS):
        lake.append(DUPLICATES, rows(number), writer_id="a query", batch_id=number)
    return lake


def offsets(lake: Lake) -> list[int]:
    return sorted(lake.scan(DUPLICATES).collect()["offset"])


def test_small_files_are_put_together_and_no_row_changes(lake: Lake) -> None:
    before = lake.scan(DUPLICATES).sort("offset").collect()
    assert Upkeep(lake, many=APPENDS).put_together(DUPLICATES) == APPENDS
    assert len(DeltaTable(lake.uri(DUPLICATES)).file_uris()) == 1
    assert lake.scan(DUPLICATES).sort("offset").collect().equals(before)


def test_a_few_small_files_are_left_alone(lake: Lake) -> None:
    assert Upkeep(lake, many=APPENDS + 1).put_together(DUPLICATES) == 0
    assert len(DeltaTable(lake.uri(DUPLICATES)).file_uris()) == APPENDS


def test_what_was_written_stays_known_and_what_comes_next_is_written(lake: Lake) -> None:
    upkeep = Upkeep(lake, many=1)
    upkeep.put_together(DUPLICATES)
    upkeep.clean(DUPLICATES)
    again = Lake(lake.root)
    again.create(DUPLICATES)
    for writer in (lake, again):
        writer.append(DUPLICATES, rows(7), writer_id="a query", batch_id=APPENDS - 1)
    assert offsets(lake) == list(range(APPENDS))
    lake.append(DUPLICATES, rows(APPENDS), writer_id="a query", batch_id=APPENDS)
    again.append(DUPLICATES, rows(APPENDS), writer_id="a query", batch_id=APPENDS)
    assert offsets(lake) == list(range(APPENDS + 1))


def test_batches_that_are_written_meanwhile_are_kept(lake: Lake) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(APPENDS, 3 * APPENDS):
            lake.append(DUPLICATES, rows(number), writer_id="a query", batch_id=number)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    upkeep = Upkeep(lake, many=2)
    while not done.is_set():
        upkeep.put_together(DUPLICATES)
    writer.join()
    assert offsets(lake) == list(range(3 * APPENDS))


def test_a_file_that_was_replaced_can_be_read_for_days(lake: Lake) -> None:
    version = DeltaTable(lake.uri(DUPLICATES)).version()
    upkeep = Upkeep(lake, many=1)
    upkeep.put_together(DUPLICATES)
    upkeep.clean(DUPLICATES)
    assert DeltaTable(lake.uri(DUPLICATES), version=version).to_pyarrow_table().num_rows == APPENDS


def test_a_file_that_nobody_committed_is_deleted_when_it_is_old(lake: Lake) -> None:
    folder = Path(lake.uri(DUPLICATES))
    old, young = folder / "part-old.zstd.parquet", folder / "part-young.zstd.parquet"
    for path in (old, young):
        path.write_bytes(b"x")
    days_ago = time.time() - 4 * 86_400
    os.utime(old, (days_ago, days_ago))
    Upkeep(lake).clean(DUPLICATES)
    assert (old.exists(), young.exists()) == (False, True)
    assert offsets(lake) == list(range(APPENDS))


def test_rows_are_kept_as_long_as_their_table_says(lake: Lake) -> None:
    now = datetime.now(UTC)
    ages = (timedelta(days=200), timedelta(days=91), timedelta(days=89), timedelta(0))
    table = replace(DUPLICATES, retention_days=90)
    for number, age in enumerate(ages, APPENDS):
        new = rows(number).with_columns(pl.lit(now - age).alias("ingested_at"))
        lake.append(DUPLICATES, new, writer_id="a query", batch_id=number)
    assert Upkeep(lake).expire(DUPLICATES) == 0
    assert Upkeep(lake).expire(table) == APPENDS + 2
    assert offsets(lake) == [APPENDS + 2, APPENDS + 3]
    for number in (APPENDS + 1, APPENDS + 4):  # what was written stays known
        lake.append(DUPLICATES, rows(number), writer_id="a query", batch_id=number)
    assert offsets(lake) == [APPENDS + 2, APPENDS + 3, APPENDS + 4]


def test_rows_are_deleted_while_batches_come(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    table = replace(DUPLICATES, retention_days=90)

    def delete(stored: DeltaTable, where: str) -> Any:
        new = rows(APPENDS).with_columns(pl.lit(now).alias("ingested_at"))
        lake.append(DUPLICATES, new, writer_id="a query", batch_id=APPENDS)
        return really(stored, where)

    really = DeltaTable.delete
    monkeypatch.setattr(DeltaTable, "delete", delete)
    assert Upkeep(lake).expire(table) == APPENDS
    assert offsets(lake) == [APPENDS]
