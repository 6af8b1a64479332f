"""Where the lake lies must not matter to whoever reads it, and in which order its tables are opened does."""

from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from market.tables import DUPLICATES, LAKE_TABLES, MESSAGES, QUARANTINE
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


def test_bronze_is_opened_last_so_that_a_row_that_is_seen_has_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("verify.lake._open", opened.append)
    Lake(str(tmp_path))
    assert sorted(opened) == sorted(f"{tmp_path}/{table.path}" for table in LAKE_TABLES)
    assert opened[-1] == f"{tmp_path}/{MESSAGES.path}"
