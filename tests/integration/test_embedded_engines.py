"""The embedded engines: where they listen, what they write, how they start, stop and come back."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from infra.local.home import Home, process_is_alive, read_json
from infra.local.kafka import broker_answers, kafka_service
from infra.local.ports import HOST
from infra.local.postgres import postgres_service
from infra.local.supervisor import Supervisor, stop_orphans
from market.errors import HomeBusyError, ServiceError
from market.settings import CHECKOUT, load_settings

pytestmark = pytest.mark.integration


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


@contextmanager
def supervised(home: Home) -> Iterator[tuple[Supervisor, list[str]]]:
    reported: list[str] = []
    with home.lock("pytest"):
        supervisor = Supervisor(home, reported.append)
        try:
            yield supervisor, reported
        finally:
            supervisor.stop()


def listening(pid: int) -> set[str]:
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    sockets = [connection for process in family for connection in process.net_connections()]
    return {connection.laddr.ip for connection in sockets if connection.status == psutil.CONN_LISTEN}


def test_both_engines_listen_on_the_loopback_address_only_and_leave_no_process(home: Home) -> None:
    settings = load_settings()
    with supervised(home) as (supervisor, _):
        kafka, bootstrap_servers = kafka_service(home, settings)
        postgres, url = postgres_service(home, settings)
        supervisor.start([kafka, postgres])
        pids = supervisor.processes()
        assert listening(pids["kafka"]) == {f"::ffff:{HOST}"} or listening(pids["kafka"]) == {HOST}
        assert listening(pids["postgres"]) == {HOST}
        broker_host, broker_port = bootstrap_servers.split(":")
        assert broker_answers(broker_host, int(broker_port))
        assert answers(url)
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert not home.pids_file.exists()


def test_the_database_refuses_a_wrong_password_and_keeps_its_own_to_the_owner(home: Home) -> None:
    with supervised(home) as (supervisor, _):
        service, url = postgres_service(home, load_settings())
        supervisor.start([service])
        password = (home.postgres / "password").read_text().strip()
        assert password in url
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(password, "wrong"))
        assert not any(
            password in " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
        )
    assert stat.S_IMODE((home.postgres / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_a_second_start_keeps_address_and_data(home: Home) -> None:
    urls = []
    for statement in ("create table kept as select 42 as answer", "select answer from kept"):
        with supervised(home) as (supervisor, _):
            service, url = postgres_service(home, load_settings())
            supervisor.start([service])
            urls.append(url)
            with psycopg.connect(url) as connection:
                cursor = connection.execute(statement)
    assert urls[0] == urls[1]
    assert cursor.statusmessage == "SELECT 1"


def test_a_remembered_port_that_is_taken_is_replaced(home: Home) -> None:
    home.create()
    _, before = kafka_service(home, load_settings())
    with supervised(home) as (supervisor, _):
        service, address = kafka_service(home, load_settings())
        assert address == before
        supervisor.start([service])
    with socket.create_server((HOST, int(before.split(":")[1]))), supervised(home) as (supervisor, _):
        service, address = kafka_service(home, load_settings())
        assert address != before
        supervisor.start([service])
        assert broker_answers(HOST, int(address.split(":")[1]))


def test_a_killed_database_is_started_again_with_what_it_had_committed(home: Home) -> None:
    with supervised(home) as (supervisor, reported):
        service, url = postgres_service(home, load_settings())
        supervisor.start([service])
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 42 as answer")
        os.kill(supervisor.processes()["postgres"], signal.SIGKILL)

        def is_back() -> bool:
            supervisor.step()
            return "postgres is up again." in reported

        wait_until(is_back)
        with psycopg.connect(url) as connection:
            assert connection.execute("select answer from kept").fetchone() == (42,)
    assert reported[0].startswith("postgres ended with signal SIGKILL; it starts again in 1 s.")


def test_a_home_in_use_is_refused_with_the_pid_that_uses_it(home: Home) -> None:
    with (
        home.lock("./run up"),
        pytest.raises(HomeBusyError, match=rf"`\./run up` \(pid {os.getpid()}\).*\./run down"),
        home.lock("./run up"),
    ):
        pytest.fail("the home was given twice")
    with home.lock("./run up"):
        pass


ORPHAN_MAKER = """
import os, signal, sys, pathlib, time
from infra.local.home import Home
from infra.local.postgres import postgres_service
from infra.local.supervisor import Supervisor
from market.settings import load_settings
import infra.local.processes as processes
processes.dies_with_parent = lambda stop_signal: []
home = Home(pathlib.Path(sys.argv[1]))
with home.lock("./run up"):
    supervisor = Supervisor(home, print)
    supervisor.start([postgres_service(home, load_settings())[0]])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_platform_left_running_is_stopped_first(home: Home, tmp_path: Path) -> None:
    script = tmp_path / "orphan_maker.py"
    script.write_text(ORPHAN_MAKER)
    environment = load_settings().child_environment() | {"PYTHONPATH": str(CHECKOUT)}
    maker = subprocess.run([sys.executable, script, home.path], env=environment, check=False, timeout=60)
    assert maker.returncode == -signal.SIGKILL
    entry = read_json(home.pids_file)["postgres"]
    assert isinstance(entry, dict)
    assert process_is_alive(entry["pid"], entry["started_at"])
    assert home.owner() is None

    with supervised(home) as (supervisor, reported):
        stop_orphans(home, reported.append)
        assert not process_is_alive(entry["pid"], entry["started_at"])
        service, url = postgres_service(home, load_settings())
        supervisor.start([service])
        assert answers(url)
    assert reported == [f"Stopped postgres (pid {entry['pid']}), left over from a run that was killed."]


def test_the_engines_end_with_the_process_that_started_them(home: Home, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(ORPHAN_MAKER.replace("processes.dies_with_parent = lambda stop_signal: []\n", ""))
    subprocess.run(
        [sys.executable, script, home.path], env=load_settings().child_environment(), check=False, timeout=60
    )
    entry = read_json(home.pids_file)["postgres"]
    assert isinstance(entry, dict)
    wait_until(lambda: not process_is_alive(entry["pid"], entry["started_at"]))


def test_a_start_that_fails_says_why_and_where_the_log_is(home: Home) -> None:
    with supervised(home) as (supervisor, _):
        service, url = kafka_service(home, load_settings())
        with socket.create_server((HOST, int(url.split(":")[1]))), pytest.raises(ServiceError) as failure:
            supervisor.start([service])
    assert "kafka ended with exit code 1" in str(failure.value)
    assert "Address already in use" in str(failure.value)
    assert str(home.log_file("kafka")) in str(failure.value)
