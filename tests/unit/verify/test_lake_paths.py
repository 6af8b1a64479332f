"""Where the lake lies must not matter to whoever reads it."""

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
