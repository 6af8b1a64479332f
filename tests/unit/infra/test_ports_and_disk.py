import errno
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.local import disk
from infra.local.home import Home
from infra.local.kafka import broker_answers
from infra.local.ports import FIRST_PORT, HOST, LAST_PORT, claim_ports, is_free, require_free
from market.errors import ServiceError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_ports_are_free_different_and_below_the_outgoing_range(home: Home) -> None:
    ports = claim_ports(home, "a", "b", "c")
    assert len(set(ports.values())) == 3
    assert all(is_free(port) and FIRST_PORT <= port <= LAST_PORT < 32_768 for port in ports.values())


def test_ports_are_remembered(home: Home) -> None:
    assert claim_ports(home, "a", "b") == claim_ports(home, "a", "b")


def test_a_port_that_another_program_took_is_replaced_and_the_others_stay(home: Home) -> None:
    before = claim_ports(home, "a", "b")
    with socket.create_server((HOST, before["a"])):
        after = claim_ports(home, "a", "b")
    assert after["a"] != before["a"]
    assert after["b"] == before["b"]


def test_a_wanted_port_that_is_taken_is_refused_with_the_option_to_change() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"Port {port} .* taken.*--dagster-port"):
            require_free(port, "--dagster-port")


def test_something_that_listens_but_is_no_broker_does_not_count_as_one() -> None:
    with socket.create_server((HOST, 0)) as server:
        assert not broker_answers(HOST, server.getsockname()[1], timeout_seconds=0.2)


def test_nothing_that_listens_is_no_broker() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
    assert not broker_answers(HOST, port, timeout_seconds=0.2)


def test_a_full_disk_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * disk.MEBIBYTE))
    with pytest.raises(ServiceError, match=rf"{tmp_path}/home is full: 3 MiB are free"):
        disk.require_space(tmp_path / "home")


def test_a_disk_with_room_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk.LEAST_FREE_BYTES))
    disk.require_space(tmp_path / "not" / "yet" / "there")


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, "is full"), (errno.EACCES, "Permission denied")])
def test_an_error_of_the_disk_names_the_folder(tmp_path: Path, code: int, said: str) -> None:
    with pytest.raises(ServiceError, match=rf"{tmp_path}.*{said}"), disk.disk_errors(tmp_path):
        raise OSError(code, "Permission denied" if code == errno.EACCES else "No space left on device")
