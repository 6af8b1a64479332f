"""The lake's tables are plain Delta tables: Spark's own reader sees what was written, whole and by the files' statistics."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession

from market.settings import load_settings
from market.tables import BAR_REVISIONS, TRADES
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.upkeep import Upkeep
from spark_jobs.session import build_session
from spark_jobs.transforms import kinds
from tests.unit.spark_jobs.fake_platform import Platform
from tests.unit.spark_jobs.messages import OPEN, TRADE, changed, micros

pytestmark = pytest.mark.integration

DAYS = 4


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    home = tmp_path_factory.mktemp("spark_home")
    session = build_session(load_settings().model_copy(update={"home": home, "spark_master": None}), "tests")
    yield session
    session.stop()


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """A lake with trades of a few days, a day a batch; the last one corrects a trade of the first."""
    platform = Platform(tmp_path / "lake")
    for day in range(DAYS):
        at = micros(OPEN + timedelta(days=day))
        values = [
            changed(TRADE, ts=at + number, trade_id=f"{day}-{number}", price=f"999999999.00000{number}")
            for number in range(5)
        ]
        platform.run(kinds.TRADES, day, values, 5 * day)
    return platform


def test_spark_reads_every_row_to_the_last_digit(spark: SparkSession, platform: Platform) -> None:
    for table in (TRADES, BAR_REVISIONS):
        path = f"{platform.root}/{table.path}"
        found = pl.from_arrow(spark.read.format("delta").load(path).toArrow())
        assert isinstance(found, pl.DataFrame)
        stored = pl.read_delta(path)
        key = list(table.key)
        assert found.sort(key).to_dicts() == stored.sort(key).to_dicts()
        assert stored.height == (5 * DAYS if table is TRADES else DAYS)


@pytest.mark.parametrize("is_compacted", [False, True], ids=["as written", "put together"])
def test_spark_skips_files_by_their_statistics_and_misses_nothing(
    spark: SparkSession, platform: Platform, is_compacted: bool
) -> None:
    if is_compacted:
        Upkeep(Lake(str(platform.root)), many=1).put_together(TRADES)
    rows = spark.read.format("delta").load(f"{platform.root}/{TRADES.path}")
    second = OPEN.date() + timedelta(days=1)
    of_day = rows.where(f"session_date = date'{second}'")
    assert {row["trade_id"] for row in of_day.collect()} == {f"1-{number}" for number in range(5)}
    minute = rows.where(f"bar_at between timestamp'{OPEN:%Y-%m-%d %H:%M:%S}' and timestamp'{OPEN:%Y-%m-%d %H:%M:59}'")
    assert minute.count() == 5
    files = {row[0] for row in of_day.selectExpr("input_file_name()").collect()}
    assert len(files) == 1
    assert len(rows.inputFiles()) == (1 if is_compacted else DAYS)
