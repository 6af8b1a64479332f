"""Files become part of a table once, with true bounds; a table that differs from its declaration is refused or mended."""

import dataclasses
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.schema import Schema
from polars.testing import assert_frame_equal

from market import tables
from market.errors import SchemaDriftError, ServiceError
from market.tables import Column, DataType, Table
from spark_jobs.io import delta
from spark_jobs.io.delta import FileWriter, Lake, in_sessions
from spark_jobs.schemas import frame_schema, lake_schema, to_arrow
from tests.unit.spark_jobs.messages import INGESTED, OPEN

LEDGER = {"topic": "t", "partition": 0, "ingested_at": INGESTED}


def duplicates(*offsets: int) -> pl.DataFrame:
    """Return rows of a small table."""
    rows = [{**LEDGER, "offset": offset, "record_id": f"r{offset}"} for offset in offsets]
    return pl.DataFrame(rows, schema=frame_schema(tables.DUPLICATES))


def bars(count: int, first: int = 0) -> pl.DataFrame:
    """Return bars one minute apart, every third without prices."""
    rows = [
        {
            "source": "lean",
            "symbol": "SPY",
            "segment": "regular",
            "session_date": OPEN.date(),
            "bar_at": OPEN + timedelta(minutes=number, microseconds=number),
            **dict.fromkeys(("open", "high", "low", "close"), None if number % 3 == 0 else 10**18 - 1 - number),
            "volume": number,
            "notional": 10**36 + number,
            "vwap": None if number % 3 == 0 else 1,
            "trade_count": 1,
            "excluded_trade_count": 0,
            "revision": 1,
            "revised_at": INGESTED,
        }
        for number in range(first, first + count)
    ]
    return pl.DataFrame(rows, schema=frame_schema(tables.BAR_REVISIONS))


def stored(lake: Lake, table: Table) -> pl.DataFrame:
    return lake.scan(table).collect()


@pytest.fixture(params=["lake", "a lake with ä and 100% more"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    made = Lake(str(tmp_path / request.param))
    for table in (tables.DUPLICATES, tables.BAR_REVISIONS):
        made.create(table)
    return made


def test_what_is_appended_is_read_back_to_the_last_digit(lake: Lake) -> None:
    lake.append(tables.BAR_REVISIONS, bars(7), writer_id="q", batch_id=0)
    assert_frame_equal(stored(lake, tables.BAR_REVISIONS).sort("bar_at"), bars(7))
    assert stored(lake, tables.DUPLICATES).schema == frame_schema(tables.DUPLICATES)


def test_another_engine_reads_the_declared_types(lake: Lake) -> None:
    lake.append(tables.BAR_REVISIONS, bars(2), writer_id="q", batch_id=0)
    found = DeltaTable(lake.uri(tables.BAR_REVISIONS)).to_pyarrow_table()
    assert found.schema == lake_schema(tables.BAR_REVISIONS)
    assert sorted(map(str, found["high"].to_pylist())) == ["999999999999.999998", "None"]
    assert sorted(map(str, found["notional"].to_pylist())) == [f"{10**30}.000000", f"{10**30}.000001"]


def test_a_batch_is_appended_once_for_each_writer(lake: Lake) -> None:
    for writer, batch_id, offset in [("a", 0, 0), ("a", 0, 1), ("b", 0, 2), ("a", 1, 3), ("a", 0, 4), ("b", 0, 5)]:
        lake.append(tables.DUPLICATES, duplicates(offset), writer_id=writer, batch_id=batch_id)
    assert sorted(stored(lake, tables.DUPLICATES)["offset"]) == [0, 2, 3]
    lake.append(tables.BAR_REVISIONS, bars(1), writer_id="a", batch_id=0)  # another table: counted by itself
    assert stored(lake, tables.BAR_REVISIONS).height == 1


def test_a_batch_is_known_to_a_lake_that_is_opened_anew(lake: Lake) -> None:
    lake.append(tables.DUPLICATES, duplicates(0), writer_id="a", batch_id=0)
    again = Lake(lake.root)
    again.create(tables.DUPLICATES)
    again.append(tables.DUPLICATES, duplicates(1), writer_id="a", batch_id=0)
    again.append(tables.DUPLICATES, duplicates(2), writer_id="a", batch_id=1)
    lake.append(tables.DUPLICATES, duplicates(3), writer_id="a", batch_id=1)  # the first one sees what the other wrote
    lake.append(tables.DUPLICATES, duplicates(4), writer_id="a", batch_id=2)
    assert sorted(stored(again, tables.DUPLICATES)["offset"]) == [0, 2, 4]


def test_a_table_that_is_created_again_keeps_its_rows_and_its_version(lake: Lake) -> None:
    lake.append(tables.DUPLICATES, duplicates(0), writer_id="a", batch_id=0)
    version = DeltaTable(lake.uri(tables.DUPLICATES)).version()
    lake.create(tables.DUPLICATES)
    Lake(lake.root).create(tables.DUPLICATES)
    assert DeltaTable(lake.uri(tables.DUPLICATES)).version() == version
    assert stored(lake, tables.DUPLICATES).height == 1


def test_writers_of_one_process_do_not_disturb_each_other(lake: Lake) -> None:
    def write(writer: str) -> None:
        for batch_id in range(4):
            lake.append(tables.DUPLICATES, duplicates(batch_id), writer_id=writer, batch_id=batch_id)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("trades", "quotes", "bars")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stored(lake, tables.DUPLICATES)["offset"]) == sorted([0, 1, 2, 3] * 3)


def test_a_file_states_the_true_bounds_of_its_rows(lake: Lake) -> None:
    table = tables.BAR_REVISIONS
    writer = FileWriter(lake.uri(table), table)
    shuffled = bars(10).sample(fraction=1, shuffle=True, seed=1)
    for piece in shuffled.iter_slices(3):
        writer.write(to_arrow(piece, table))
    lake.commit(table, [writer.close()], writer_id="q", batch_id=0)
    lake.append(table, bars(2, first=20), writer_id="q", batch_id=1)
    assert_frame_equal(stored(lake, table).sort("bar_at"), pl.concat([bars(10), bars(2, first=20)]))
    actions = pl.DataFrame(DeltaTable(lake.uri(table)).get_add_actions(flatten=True)).sort("num_records").to_dicts()
    bounds = [
        {name: action[name] for name in action if name.startswith(("num_records", "min.", "max.", "null_count."))}
        for action in actions
    ]
    assert bounds == [
        {
            "num_records": count,
            "null_count.session_date": 0,
            "min.session_date": OPEN.date(),
            "max.session_date": OPEN.date(),
            "null_count.bar_at": 0,
            "min.bar_at": OPEN + timedelta(minutes=first, microseconds=first),
            "max.bar_at": OPEN + timedelta(minutes=last, microseconds=last),
        }
        for count, first, last in ((2, 20, 21), (10, 0, 9))
    ]
    sizes = {action["path"]: action["size_bytes"] for action in actions}
    assert sizes == {path.name: path.stat().st_size for path in Path(lake.uri(table)).glob("*.parquet")}


def test_several_files_are_one_commit(lake: Lake) -> None:
    before = DeltaTable(lake.uri(tables.DUPLICATES)).version()
    files = [lake.write(tables.DUPLICATES, rows) for rows in duplicates(*range(10)).iter_slices(3)]
    lake.commit(tables.DUPLICATES, files, writer_id="q", batch_id=0)
    table = DeltaTable(lake.uri(tables.DUPLICATES))
    assert table.version() == before + 1
    counts = pl.DataFrame(table.get_add_actions(flatten=True))["num_records"].to_list()
    assert sum(counts) == 10
    assert max(counts) <= 3
    assert sorted(stored(lake, tables.DUPLICATES)["offset"]) == list(range(10))


def test_files_that_were_never_committed_are_no_part_of_the_table(lake: Lake) -> None:
    writer = FileWriter(lake.uri(tables.DUPLICATES), tables.DUPLICATES)
    writer.write(to_arrow(duplicates(0), tables.DUPLICATES))
    writer.close()
    assert lake.is_empty(tables.DUPLICATES)
    lake.append(tables.DUPLICATES, duplicates(1), writer_id="q", batch_id=0)
    assert not lake.is_empty(tables.DUPLICATES)
    assert stored(lake, tables.DUPLICATES)["offset"].to_list() == [1]


def test_the_rows_of_some_sessions_are_found(lake: Lake) -> None:
    days = [date(2013, 10, 7) + timedelta(days=number) for number in range(4)]
    for batch_id, day in enumerate(days):
        lake.append(tables.BAR_REVISIONS, bars(2).with_columns(session_date=day), writer_id="q", batch_id=batch_id)
    found = lake.scan(tables.BAR_REVISIONS).filter(in_sessions([days[0], days[2]])).collect()
    assert sorted(found["session_date"]) == [days[0], days[0], days[2], days[2]]


def test_chunks_hold_every_row_once_and_in_order(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "_ROWS_A_CHUNK", 3)
    for batch_id in range(3):
        lake.append(tables.DUPLICATES, duplicates(*range(batch_id, 24, 3)), writer_id="q", batch_id=batch_id)
    chunks = list(lake.in_chunks(lake.scan(tables.DUPLICATES).sort("offset")))
    assert len(chunks) > 1
    assert [offset for chunk in chunks for offset in chunk["offset"]] == list(range(24))


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PAR1 no more")], ids=["missing", "damaged"]
)
def test_a_missing_or_damaged_file_is_explained(lake: Lake, damage: Callable[[Path], object]) -> None:
    lake.append(tables.DUPLICATES, duplicates(0), writer_id="q", batch_id=0)
    (file,) = Path(lake.uri(tables.DUPLICATES)).glob("*.parquet")
    damage(file)
    with pytest.raises(ServiceError, match=r"cannot be read: .* A file of it is missing or damaged"):
        list(lake.in_chunks(lake.scan(tables.DUPLICATES)))


def changed_table(*columns: Column) -> Table:
    return dataclasses.replace(tables.DUPLICATES, columns=(*tables.DUPLICATES.columns, *columns))


NOTE = Column("note", DataType.PRICE, "A column that a later version declares.", nullable=True)


def test_a_table_of_an_older_version_gets_the_columns_that_it_lacks(lake: Lake) -> None:
    lake.append(tables.DUPLICATES, duplicates(0), writer_id="q", batch_id=0)
    newer = changed_table(NOTE)
    again = Lake(lake.root)
    again.create(newer)
    rows = duplicates(1).with_columns(pl.lit(1_500_000, pl.Int64).alias("note"))
    again.append(newer, rows, writer_id="q", batch_id=1)
    found = stored(again, newer).sort("offset")
    assert found.select("offset", "note").rows() == [(0, None), (1, 1_500_000)]
    assert found.schema == frame_schema(newer)


def test_a_stored_column_that_is_not_declared_is_refused(lake: Lake) -> None:
    lake.create(changed_table(NOTE))
    with pytest.raises(SchemaDriftError, match="bronze/duplicates: column note is stored but not declared"):
        lake.create(tables.DUPLICATES)


def test_a_stored_column_of_another_type_is_refused(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    other = lake_schema(tables.DUPLICATES)
    other = other.set(other.get_field_index("offset"), pa.field("offset", pa.string()))
    DeltaTable.create(lake.uri(tables.DUPLICATES), Schema.from_arrow(other))
    with pytest.raises(SchemaDriftError, match=r"column offset is string, declared as long. A column's type cannot"):
        lake.create(tables.DUPLICATES)


def test_a_refused_table_is_left_as_it_is(lake: Lake) -> None:
    drifted = changed_table(NOTE, Column("more", DataType.TEXT, "Another.", nullable=True))
    lake.create(changed_table(Column("more", DataType.INTEGER, "Another.", nullable=True)))
    version = DeltaTable(lake.uri(tables.DUPLICATES)).version()
    with pytest.raises(SchemaDriftError, match="column more is integer, declared as string"):
        lake.create(drifted)
    assert DeltaTable(lake.uri(tables.DUPLICATES)).version() == version


@pytest.mark.parametrize("table", tables.LAKE_TABLES, ids=lambda table: str(table.name))
def test_a_created_table_is_as_it_is_declared(table: Table, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    assert not lake.exists(table)
    lake.create(table)
    assert lake.exists(table)
    assert lake.is_empty(table)
    made = DeltaTable(lake.uri(table))
    assert [(field.name, field.nullable) for field in made.schema().fields] == [
        (name, True) for name in table.column_names
    ]
    metadata = made.metadata()
    assert (metadata.name, metadata.description) == (table.qualified_name, table.grain)
    assert metadata.configuration == {
        "delta.dataSkippingStatsColumns": ",".join(table.skip_by),
        "delta.logRetentionDuration": "interval 3 days",
        "delta.deletedFileRetentionDuration": "interval 3 days",
    }
    assert stored(lake, table).schema == frame_schema(table)
