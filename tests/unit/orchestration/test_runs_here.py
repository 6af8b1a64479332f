"""Jobs that run in this process."""

from pathlib import Path

import dagster as dg
import pytest
from dagster_postgres.utils import DagsterPostgresException
from pydantic import SecretStr

from market.errors import ServiceError
from market.settings import load_settings
from orchestration.run import run_jobs


def test_where_the_record_of_runs_goes_away_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get() -> dg.DagsterInstance:
        msg = "too many retries for DB connection"
        raise DagsterPostgresException(msg)

    monkeypatch.setattr(dg.DagsterInstance, "get", get)
    monkeypatch.setattr("orchestration.build.build_definitions", lambda settings: dg.Definitions())  # noqa: ARG005
    monkeypatch.setattr("orchestration.run.instance_environment", lambda _: {})
    place = {"home": tmp_path, "database_url": SecretStr("postgresql://nobody@127.0.0.1:1/none")}
    settings = load_settings().model_copy(update=place)
    with pytest.raises(ServiceError, match=r"keeps the record of the runs, went away\. See \./run status"):
        run_jobs(settings, ["marts"])
