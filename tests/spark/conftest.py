"""One small Spark session for the whole tier, on a home of its own."""

from collections.abc import Iterator

import pytest
from pyspark.sql import DataFrame, SparkSession

from market.settings import load_settings
from spark_jobs.jobs.stream import sessions_frame
from spark_jobs.session import build_session


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session as the stream makes it."""
    home = tmp_path_factory.mktemp("spark_home")
    settings = load_settings().model_copy(update={"home": home, "spark_master": None, "spark_memory": "1g"})
    session = build_session(settings, "tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def sessions(spark: SparkSession) -> DataFrame:
    """The calendar as the stream reads it."""
    return sessions_frame(spark).cache()
