"""The instance's files and processes."""

import stat
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from market.errors import SettingsError
from market.settings import Settings
from orchestration.code_server import _SERVER
from orchestration.instance import Service, instance_environment, service_commands, storage_url, write_instance_config

PASSWORD = "p@ss:w/rd %"
URL = "postgresql://tape:p%40ss%3Aw%2Frd%20%25@127.0.0.1:5433/tapehouse"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings().model_copy(update={"home": tmp_path, "database_url": SecretStr(URL)})


@pytest.fixture
def services(settings: Settings) -> list[Service]:
    return service_commands(settings, webserver_port=21_001, code_server_port=21_002)


def test_the_storage_keeps_its_tables_in_its_own_schema() -> None:
    url = make_url(storage_url(URL))
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "tape",
        PASSWORD,
        "127.0.0.1",
        5433,
        "tapehouse",
    )
    assert url.query["options"] == "-csearch_path=dagster"


def test_the_options_of_the_database_url_are_kept() -> None:
    url = make_url(storage_url("postgres://u:p@h/d?sslmode=require&options=-cwork_mem%3D8MB"))
    assert url.drivername == "postgresql"
    assert url.query == {"sslmode": "require", "options": "-cwork_mem=8MB -csearch_path=dagster"}


def test_a_database_url_of_another_kind_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="postgresql://"):
        storage_url("host=localhost dbname=tapehouse")


def test_without_a_database_there_is_no_instance(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        instance_environment(Settings().model_copy(update={"home": tmp_path, "database_url": None}))


def test_no_file_of_the_instance_holds_the_password(settings: Settings) -> None:
    home = write_instance_config(settings)
    assert home == settings.home / "dagster"
    assert stat.S_IMODE(home.stat().st_mode) & 0o077 == 0
    texts = [path.read_text() for path in home.iterdir()]
    assert len(texts) == 2
    assert not any("p%40ss" in text or PASSWORD in text for text in texts)


def test_dagster_accepts_the_configuration(settings: Settings) -> None:
    home = write_instance_config(settings)
    config, _ = dagster_instance_config(str(home))
    assert config["telemetry"] == {"enabled": False}
    assert config["run_monitoring"]["enabled"] is True
    assert config["freshness"] == {"enabled": True}
    assert config["run_queue"]["max_user_code_failure_retries"] == 20
    assert config["run_queue"]["dequeue_interval_seconds"] == 1
    assert config["sensors"]["use_threads"] is True
    assert config["concurrency"]["pools"] == {"default_limit": 1, "granularity": "run"}


def test_writing_the_configuration_twice_gives_the_same(settings: Settings) -> None:
    home = write_instance_config(settings)
    before = {path.name: path.read_text() for path in home.iterdir()}
    write_instance_config(settings)
    assert {path.name: path.read_text() for path in home.iterdir()} == before


def test_servers_listen_on_this_machine_only(services: list[Service]) -> None:
    webserver = services[1].argv
    assert webserver[webserver.index("--host") + 1] == "127.0.0.1"
    assert _SERVER[_SERVER.index("--host") + 1] == "127.0.0.1"


def test_the_password_is_in_no_command_line_and_no_text(services: list[Service]) -> None:
    for service in services:
        assert not any("p%40ss" in argument for argument in service.argv)
        assert "p%40ss" not in repr(service)


def test_the_processes_come_in_the_order_of_their_needs(services: list[Service]) -> None:
    assert [(service.name, service.port) for service in services] == [
        ("dagster-code", 21_002),
        ("dagster-webserver", 21_001),
        ("dagster-daemon", None),
    ]
    assert services[1].url == "http://127.0.0.1:21001/server_info"


def test_the_workspace_finds_the_code_server_by_the_environment(settings: Settings, services: list[Service]) -> None:
    home = write_instance_config(settings)
    (entry,) = yaml.safe_load((home / "workspace.yaml").read_text())["load_from"]
    assert entry["grpc_server"]["host"] == "127.0.0.1"
    variable = entry["grpc_server"]["port"]["env"]
    assert {service.environment[variable] for service in services} == {"21002"}


def test_dagster_does_not_phone_home(services: list[Service]) -> None:
    assert {service.environment["DAGSTER_DISABLE_TELEMETRY"] for service in services} == {"yes"}
