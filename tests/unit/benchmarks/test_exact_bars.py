"""The exact bars that peers are compared with, by hand-written messages."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from benchmarks.lake.exact import exact_bars, share_equal
from market.settings import Settings

MINUTE = 60_000_000
START = 28_452_060


@pytest.fixture
def engines(tmp_path: Path) -> Settings:
    """A lake whose bronze holds: a trade, a later one, a later minute, and one that comes an hour and a minute late."""
    stated = [
        (0, 10.0, 100),
        (30_000_000, 11.5, 50),
        (MINUTE + 5, 9.0, 10),
        (62 * MINUTE, 12.0, 1),
        (1_000, 8.0, 7),
        (1_000, 8.0, 7),
    ]
    values = [
        json.dumps({"kind": "trade", "symbol": "IBM", "ts": START * MINUTE + ts, "price": price, "size": size}).encode()
        for ts, price, size in stated
    ]
    frame = pl.DataFrame({"offset": range(len(values)), "value": values}).with_columns(
        pl.lit("market.trades.v1").alias("topic"),
        pl.lit(0, pl.Int32).alias("partition"),
        pl.lit(datetime(2024, 2, 5, tzinfo=UTC)).alias("ingested_at"),
    )
    (tmp_path / "lake" / "bronze").mkdir(parents=True)
    frame.write_delta(str(tmp_path / "lake" / "bronze" / "messages"))
    return Settings.model_construct(home=tmp_path, lake_uri=None)


def test_every_message_before_the_end_counts(engines: Settings) -> None:
    bars = exact_bars(engines, {0: 5}).sort("minute")
    assert bars.row(0) == ("IBM", START, 10.0, 11.5, 8.0, 11.5, 157, 3)
    assert bars["trade_count"].to_list() == [3, 1, 1]
    assert exact_bars(engines, {0: 2})["volume"].to_list() == [150]


def test_the_same_twice_counts_twice(engines: Settings) -> None:
    assert exact_bars(engines, {0: 6}).sort("minute")["volume"].to_list()[0] == 164


def test_with_a_grace_what_is_too_late_is_left_out_and_open_minutes_too(engines: Settings) -> None:
    bars = exact_bars(engines, {0: 6}, grace_seconds=3600).sort("minute")
    assert bars.rows() == [
        ("IBM", START, 10.0, 11.5, 10.0, 11.5, 150, 2),
        ("IBM", START + 1, 9.0, 9.0, 9.0, 9.0, 10, 1),
    ]


def test_a_peer_with_one_wrong_bar_has_not_all(engines: Settings) -> None:
    exact = exact_bars(engines, {0: 6})
    wrong = exact.with_columns(
        pl.when(pl.col("minute") == START).then(pl.col("close") + 0.01).otherwise("close").alias("close")
    )
    assert share_equal(exact, exact) == 1.0
    assert share_equal(wrong, exact) == pytest.approx(2 / 3)
    assert share_equal(pl.concat([exact, exact]), exact) == 0.0
