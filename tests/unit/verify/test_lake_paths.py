"""Where the lake lies must not matter to whoever reads it, nor how Delta describes its files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from deltalake import write_deltalake

from market.tables import DUPLICATES, QUARANTINE
from verify.lake import Lake, schema_of


def test_a_lake_below_a_folder_with_a_space_is_read(tmp_path: Path) -> None:
    rows = pl.DataFrame({name: [None] for name in DUPLICATES.column_names}, schema=schema_of(DUPLICATES))
    write_deltalake(tmp_path / "a lake" / DUPLICATES.path, rows.to_arrow())
    lake = Lake(str(tmp_path / "a lake"))
    assert lake.read(lake.scan_whole(DUPLICATES)).height == 1


def test_a_column_that_the_stream_has_not_added_yet_is_null(tmp_path: Path) -> None:
    schema = {name: own for name, own in schema_of(QUARANTINE).items() if name != "rules_version"}
    write_deltalake(tmp_path / QUARANTINE.path, pl.DataFrame([[None]] * len(schema), schema=schema).to_arrow())
    lake = Lake(str(tmp_path))
    (row,) = lake.read(lake.scan_whole(QUARANTINE)).to_dicts()
    assert row == dict.fromkeys(QUARANTINE.column_names)


def test_what_lies_a_microsecond_beyond_the_cut_is_beyond_it(tmp_path: Path) -> None:
    """Delta's statistics are cut to milliseconds: of a file of one row they name an earlier moment."""
    until = datetime(2026, 1, 5, 12, 0, 0, 500, tzinfo=UTC)
    for moment in (until, until + timedelta(microseconds=1)):
        row = {**dict.fromkeys(DUPLICATES.column_names), "topic": "market.trades.v1", "ingested_at": moment}
        frame = pl.DataFrame([row], schema=schema_of(DUPLICATES), orient="row")
        write_deltalake(tmp_path / DUPLICATES.path, frame.to_arrow(), mode="append")
    lake = Lake(str(tmp_path))
    lake.cut({"market.trades.v1": until})
    within, beyond = (
        lake.read(rows)["ingested_at"].to_list()
        for rows in (lake.scan(DUPLICATES), lake.scan_beyond(DUPLICATES, DUPLICATES.column_names))
    )
    assert (within, beyond) == ([until], [until + timedelta(microseconds=1)])
