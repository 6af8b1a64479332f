"""Fixtures of the tiny lake."""

from pathlib import Path

import pytest

from tests.unit.verify.tiny_lake import (
    BARS_TOPIC,
    QUOTES_TOPIC,
    TRADES_TOPIC,
    TinyLake,
    fill_bars,
    fill_others,
    fill_trades,
)
from tests.unit.verify.tiny_marts import fill_marts


@pytest.fixture
def empty_lake(tmp_path: Path) -> TinyLake:
    """A lake without any table."""
    return TinyLake(tmp_path / "lake")


@pytest.fixture
def tiny_lake(empty_lake: TinyLake) -> TinyLake:
    """A lake and its PostgreSQL in which both laws hold."""
    fill_trades(empty_lake)
    fill_bars(empty_lake)
    fill_others(empty_lake)
    empty_lake.published.offsets = {(TRADES_TOPIC, 0): 11, (QUOTES_TOPIC, 0): 1, (BARS_TOPIC, 0): 2}
    return empty_lake


@pytest.fixture
def lake_with_marts(tiny_lake: TinyLake) -> TinyLake:
    """The same with marts that are built of all of it."""
    fill_marts(tiny_lake)
    return tiny_lake
