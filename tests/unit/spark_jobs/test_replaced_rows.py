"""Rows are put in the place of others by one commit, whoever else writes."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from polars.testing import assert_frame_equal

from market import tables
from market.errors import ServiceError
from spark_jobs.io import delta
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.upkeep import Upkeep
from tests.unit.spark_jobs.test_lake_tables import bars, duplicates, stored


@pytest.fixture(params=["lake", "a lake with ä and 100% more"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    found = Lake(str(tmp_path / request.param))
    for table in (tables.DUPLICATES, tables.BAR_REVISIONS):
        found.create(table)
    return found


def test_rows_take_the_place_of_others_to_the_last_digit(lake: Lake) -> None:
    lake.append(tables.BAR_REVISIONS, bars(9), writer_id="w", batch_id=0)
    right = bars(9).head(4).with_columns(pl.col("volume") + 10**17)
    lake.replace(tables.BAR_REVISIONS, right, "volume < 4 or volume > 1000")
    found = stored(lake, tables.BAR_REVISIONS).sort("bar_at")
    assert_frame_equal(found, pl.concat([right, bars(9).tail(5)]))


def test_rows_go_without_others_in_their_place(lake: Lake) -> None:
    lake.append(tables.DUPLICATES, duplicates(1, 2, 3), writer_id="w", batch_id=0)
    lake.replace(tables.DUPLICATES, duplicates().clear(), '"offset" in (1, 3)')
    assert_frame_equal(stored(lake, tables.DUPLICATES), duplicates(2))


def test_a_batch_is_known_after_its_rows_were_replaced(lake: Lake) -> None:
    lake.append(tables.DUPLICATES, duplicates(1), writer_id="w", batch_id=7)
    lake.replace(tables.DUPLICATES, duplicates(2), '"offset" in (1, 2)')
    lake.append(tables.DUPLICATES, duplicates(1), writer_id="w", batch_id=7)
    assert stored(lake, tables.DUPLICATES)["offset"].to_list() == [2]


def test_nothing_is_lost_while_others_append_and_put_files_together(lake: Lake) -> None:
    done = threading.Event()
    failures: list[Exception] = []

    def write() -> None:
        try:
            for batch_id in range(40):
                lake.append(tables.DUPLICATES, duplicates(1000 + batch_id), writer_id="w", batch_id=batch_id)
        except Exception as error:  # noqa: BLE001 - it is looked at by the test
            failures.append(error)
        finally:
            done.set()

    lake.append(tables.DUPLICATES, duplicates(*range(10)), writer_id="first", batch_id=0)
    writer = threading.Thread(target=write)
    writer.start()
    rounds = 0
    while not done.is_set() or rounds < 3:
        lake.replace(tables.DUPLICATES, duplicates(*range(10)), '"offset" < 10')
        Upkeep(lake, many=5).put_together(tables.DUPLICATES)
        rounds += 1
    writer.join()
    assert failures == []
    assert sorted(stored(lake, tables.DUPLICATES)["offset"]) == [*range(10), *range(1000, 1040)]


@pytest.mark.parametrize(
    "others",
    [
        lambda other: other.replace(tables.DUPLICATES, duplicates(2), '"offset" < 10'),
        lambda other: DeltaTable(other.uri(tables.DUPLICATES)).delete('"offset" < 10'),
        lambda other: Upkeep(other, many=1).put_together(tables.DUPLICATES),
        lambda other: other.append(tables.DUPLICATES, duplicates(3), writer_id="other", batch_id=0),
    ],
    ids=["replaced", "deleted", "put together", "appended"],
)
def test_rows_are_appended_whatever_others_do_between_looking_and_committing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, others: Callable[[Lake], object]
) -> None:
    lake.append(tables.DUPLICATES, duplicates(1), writer_id="w", batch_id=0)
    lake.append(tables.DUPLICATES, duplicates(2), writer_id="w", batch_id=1)
    other = Lake(lake.root)
    other.create(tables.DUPLICATES)
    left = ["once"]

    def look(table: DeltaTable) -> None:
        really(table)
        if left:
            left.clear()
            others(other)

    really = DeltaTable.update_incremental
    monkeypatch.setattr(DeltaTable, "update_incremental", look)
    lake.append(tables.DUPLICATES, duplicates(1000), writer_id="w", batch_id=2)
    assert stored(lake, tables.DUPLICATES)["offset"].to_list().count(1000) == 1
    assert lake.newest_batch(tables.DUPLICATES, "w") == 2


def test_a_batch_that_somebody_else_commits_meanwhile_is_there_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Lake(lake.root)
    other.create(tables.DUPLICATES)
    left = ["once"]

    def look(table: DeltaTable) -> None:
        really(table)
        if left:
            left.clear()
            other.append(tables.DUPLICATES, duplicates(1), writer_id="w", batch_id=0)

    really = DeltaTable.update_incremental
    monkeypatch.setattr(DeltaTable, "update_incremental", look)
    lake.append(tables.DUPLICATES, duplicates(1), writer_id="w", batch_id=0)
    assert stored(lake, tables.DUPLICATES)["offset"].to_list() == [1]


def test_a_table_that_others_change_is_tried_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.append(tables.DUPLICATES, duplicates(1), writer_id="w", batch_id=0)
    left = 3

    def write(*arguments: Any, **options: Any) -> None:
        nonlocal left
        left -= 1
        if left > 0:
            raise CommitFailedError
        really(*arguments, **options)

    really = deltalake.write_deltalake
    monkeypatch.setattr(delta, "write_deltalake", write)
    lake.replace(tables.DUPLICATES, duplicates(2), '"offset" in (1, 2)')
    assert stored(lake, tables.DUPLICATES)["offset"].to_list() == [2]
    left = 10**6
    monkeypatch.setattr(delta, "_REPLACE_SECONDS", 0.1)
    version = DeltaTable(lake.uri(tables.DUPLICATES)).version()
    with pytest.raises(ServiceError, match="changed by others all the time"):
        lake.replace(tables.DUPLICATES, duplicates(3), '"offset" in (2, 3)')
    assert DeltaTable(lake.uri(tables.DUPLICATES)).version() == version
