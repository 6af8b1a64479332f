import json
import os
import stat
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from infra.local.home import Home, connected_settings, generated_secret, process_is_alive, read_json, write_private
from market.errors import HomeBusyError, ServiceError
from market.settings import Settings, load_settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def settings(home: Home) -> Settings:
    unset = {"kafka_bootstrap_servers": None, "database_url": None}
    return load_settings().model_copy(update={"home": home.path, **unset})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_process_that_locked_the_home_is_its_owner_until_it_lets_go(home: Home) -> None:
    assert home.owner() is None
    with home.lock("./run up"):
        owner = home.owner()
        assert owner is not None
        assert (owner.pid, owner.command) == (os.getpid(), "./run up")
    assert home.owner() is None


def test_a_locked_home_names_who_holds_it_and_how_to_stop_it(home: Home) -> None:
    with (
        home.lock("./run up"),
        pytest.raises(HomeBusyError, match=rf"`\./run up` \(pid {os.getpid()}\).*\./run down"),
        home.lock("./run up"),
    ):
        pytest.fail("the home was given twice")


def test_a_pid_that_was_given_to_another_process_does_not_own_the_home(home: Home) -> None:
    home.create()
    long_ago = {"pid": os.getpid(), "started_at": psutil.Process().create_time() - 1000.0, "command": "./run up"}
    home.lock_file.write_text(json.dumps(long_ago))
    assert home.owner() is None


def test_addresses_count_only_while_the_platform_runs(home: Home, settings: Settings) -> None:
    with home.lock("./run up"):
        home.write_addresses(
            {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DATABASE_URL": "postgresql://u:p@127.0.0.1:2/d"}
        )
        connected = connected_settings(settings)
        assert connected.kafka_bootstrap_servers == "127.0.0.1:1"
        assert connected.database_url == SecretStr("postgresql://u:p@127.0.0.1:2/d")
    assert home.addresses_file.exists()
    assert connected_settings(settings).kafka_bootstrap_servers is None


def test_an_address_that_is_set_wins_over_the_embedded_one(home: Home, settings: Settings) -> None:
    mine = settings.model_copy(update={"kafka_bootstrap_servers": "kafka:9092"})
    with home.lock("./run up"):
        home.write_addresses({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
        assert connected_settings(mine).kafka_bootstrap_servers == "kafka:9092"


def test_folders_and_addresses_are_readable_by_their_owner_only(home: Home) -> None:
    with home.lock("./run up"):
        home.write_addresses({"DATABASE_URL": "secret"})
    assert {mode(path) for path in (home.path, home.run_folder, home.logs)} == {0o700}
    assert mode(home.addresses_file) == 0o600


def test_a_private_file_is_replaced_whole_and_stays_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_generated_secret_is_kept(tmp_path: Path) -> None:
    first = generated_secret(tmp_path / "password")
    assert len(first) >= 32
    assert generated_secret(tmp_path / "password") == first
    assert generated_secret(tmp_path / "another") != first


@pytest.mark.parametrize("content", ["", '{"pid": 1', "[1]", "nonsense"])
def test_a_file_cut_short_reads_as_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    assert read_json(tmp_path / "file") == {}


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match=r"file/home.*TAPEHOUSE_HOME"):
        Home(tmp_path / "file" / "home").create()


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    started_at = psutil.Process().create_time()
    assert process_is_alive(os.getpid(), started_at)
    assert not process_is_alive(os.getpid(), started_at - 60)
