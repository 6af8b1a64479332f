"""The definitions, loaded once: parsing the dbt project takes seconds."""

import dagster as dg
import pytest

from market.settings import Settings
from orchestration.build import build_definitions


@pytest.fixture(scope="session")
def unconnected(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an empty home without any engine."""
    home = tmp_path_factory.mktemp("dagster_home")
    update = {"home": home, "database_url": None, "kafka_bootstrap_servers": None, "lake_uri": "s3://bucket/lake"}
    return Settings().model_copy(update=update)


@pytest.fixture(scope="session")
def definitions(unconnected: Settings) -> dg.Definitions:
    """All of Dagster's definitions."""
    return build_definitions(settings=unconnected)
