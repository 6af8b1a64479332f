"""The cached manifest of the dbt project, on a project of one model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from market.errors import ServiceError, SettingsError
from market.settings import CHECKOUT, Settings
from orchestration.dbt import Dbt
from warehouse.dbt import DBT_PROJECT

PARSE = """
import sys
from pathlib import Path
from market.settings import Settings
from orchestration.dbt import Dbt
settings = Settings().model_copy(update={"home": Path(sys.argv[1]), "database_url": None})
print(len(Dbt(settings, Path(sys.argv[2])).manifest()["nodes"]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one model that needs no table."""
    folder = tmp_path / "project"
    (folder / "models" / "staging").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: tiny\nversion: '1.0'\nconfig-version: 2\nprofile: tapehouse\n")
    (folder / "profiles.yml").write_text((DBT_PROJECT / "profiles.yml").read_text())
    (folder / "models" / "staging" / "one.sql").write_text("select 1 as number\n")
    return folder


@pytest.fixture
def dbt(project: Path, tmp_path: Path) -> Dbt:
    return Dbt(Settings().model_copy(update={"home": tmp_path / "home", "database_url": None}), project)


def test_a_manifest_is_parsed_once_and_again_after_a_change(dbt: Dbt, project: Path) -> None:
    assert list(dbt.manifest()["nodes"]) == ["model.tiny.one"]
    (first,) = dbt.folder.glob("manifest-*.json")
    stamp = first.stat().st_mtime_ns

    dbt.manifest()
    assert first.stat().st_mtime_ns == stamp

    (project / "models" / "staging" / "two.sql").write_text("select 2 as number\n")
    assert sorted(dbt.manifest()["nodes"]) == ["model.tiny.one", "model.tiny.two"]
    (second,) = dbt.folder.glob("manifest-*.json")
    assert second != first


def test_what_dbt_generates_does_not_count_as_a_change(dbt: Dbt, project: Path) -> None:
    dbt.manifest()
    before = list(dbt.folder.glob("manifest-*.json"))
    (project / "target").mkdir()
    (project / "target" / "run_results.json").write_text("{}")
    dbt.manifest()
    assert list(dbt.folder.glob("manifest-*.json")) == before


def test_a_project_that_cannot_be_parsed_is_an_error_that_says_why_and_leaves_no_manifest(
    dbt: Dbt, project: Path
) -> None:
    (project / "models" / "staging" / "broken.sql").write_text("select * from {{ ref('nowhere') }}\n")
    with pytest.raises(ServiceError, match="nowhere"):
        dbt.manifest()
    assert not list(dbt.folder.glob("manifest-*.json"))


def test_two_processes_at_once_get_the_same_whole_manifest(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARSE, str(tmp_path / "home"), str(project)]
    both = [subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs == [b"1\n", b"1\n"]
    (manifest,) = (tmp_path / "home" / "dbt").glob("manifest-*.json")
    assert json.loads(manifest.read_bytes())["nodes"]


def test_building_without_a_database_is_an_error(dbt: Dbt) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        dbt.build([], lambda _event: None)
