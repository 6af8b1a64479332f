import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from infra.local import supervisor as supervisor_module
from infra.local.home import Home
from infra.local.processes import Command, describe_exit, log_tail, run_to_end
from infra.local.service import Service
from infra.local.supervisor import Supervisor, recorded_processes, stop_orphans
from market.errors import ServiceError

FOR_EVER = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)"
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def service_factory(home: Home) -> Callable[..., Service]:
    def factory(code: str, name: str = "thing", **options: object) -> Service:
        arguments = [sys.executable, "-S", "-c", code]
        command = Command(name, arguments, home.log_file(name), dict(os.environ), home.path, grace_seconds=5)
        return replace(Service(command), **options)  # type: ignore[arg-type]

    return factory


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def supervisor(home: Home, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervisor_module, "FIRST_DELAY_SECONDS", 0.02)
    supervisor = Supervisor(home, lines.append, most_failures=3)
    yield supervisor
    supervisor.stop(hurry=lambda: True)


def step_until(supervisor: Supervisor, condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        supervisor.step()
        time.sleep(0.01)


def wait_for_log(home: Home, name: str) -> str:
    deadline = time.monotonic() + 20
    while not (text := home.log_file(name).read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return text


def has_content(path: Path) -> bool:
    return path.stat().st_size > 0


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_service_is_started_again_and_said_so(
    supervisor: Supervisor, service_factory: Callable[..., Service], lines: list[str]
) -> None:
    supervisor.start([service_factory(FOR_EVER)])
    before = supervisor.processes()["thing"]
    os.kill(before, signal.SIGKILL)
    step_until(supervisor, lambda: "thing is up again." in lines)
    assert supervisor.processes()["thing"] != before
    assert lines[0].startswith("thing ended with signal SIGKILL; it starts again in 0.02 s. Log: ")


def test_the_pause_before_another_start_doubles_and_at_last_it_gives_up_with_the_reason(
    supervisor: Supervisor, service_factory: Callable[..., Service], lines: list[str]
) -> None:
    supervisor.start([service_factory("import sys; sys.exit('no such luck')")], wait=False)
    with pytest.raises(ServiceError, match=r"(?s)thing ended 4 times, at last with exit code 1.*no such luck"):
        step_until(supervisor, lambda: False)
    pauses = [line.split("again in ")[1].split(" s")[0] for line in lines if "starts again" in line]
    assert pauses == ["0.02", "0.04", "0.08"]


def test_a_service_that_ends_while_it_starts_is_an_error_with_its_last_lines(
    supervisor: Supervisor, service_factory: Callable[..., Service], home: Home
) -> None:
    service = service_factory("print('wrong'); raise SystemExit(3)", is_ready=lambda: False)
    with pytest.raises(ServiceError, match=rf"(?s)thing ended with exit code 3.*wrong.*{home.log_file('thing')}"):
        supervisor.start([service])


def test_a_service_that_is_not_ready_in_time_is_an_error(
    supervisor: Supervisor, service_factory: Callable[..., Service]
) -> None:
    service = service_factory(FOR_EVER, is_ready=lambda: False, ready_within_seconds=0.1)
    with pytest.raises(ServiceError, match="thing did not become ready"):
        supervisor.start([service])


def test_a_service_that_was_ready_in_time_may_be_looked_at_late(
    supervisor: Supervisor, service_factory: Callable[..., Service]
) -> None:
    supervisor.start([service_factory(FOR_EVER, ready_within_seconds=0.0)], wait=False)
    supervisor.wait_ready()
    assert "thing" in supervisor.processes()


def test_a_task_that_ended_well_is_done_and_not_started_again(
    supervisor: Supervisor, service_factory: Callable[..., Service], lines: list[str], home: Home
) -> None:
    supervisor.start([service_factory("pass", is_task=True)], wait=False)
    step_until(supervisor, lambda: supervisor.is_done("thing"))
    supervisor.step()
    assert lines == ["thing is done."]
    assert recorded_processes(home) == {}


def test_a_task_that_failed_is_tried_again(
    supervisor: Supervisor, service_factory: Callable[..., Service], tmp_path: Path, lines: list[str]
) -> None:
    marker = tmp_path / "tried"
    code = f"import os, sys\nif not os.path.exists({str(marker)!r}): open({str(marker)!r}, 'w'); sys.exit(1)"
    supervisor.start([service_factory(code, is_task=True)], wait=False)
    step_until(supervisor, lambda: supervisor.is_done("thing"))
    assert lines[0].startswith("thing ended with exit code 1")
    assert lines[-1] == "thing is done."


def test_a_task_that_would_fail_again_is_told_once_and_not_started_again(
    supervisor: Supervisor, service_factory: Callable[..., Service], lines: list[str], home: Home
) -> None:
    code = "import sys; print('Error: a test of the marts failed'); sys.exit(3)"
    supervisor.start([service_factory(code, is_task=True, final_statuses=frozenset({3}))], wait=False)
    step_until(supervisor, lambda: supervisor.is_done("thing"))
    supervisor.step()
    (line,) = lines
    assert line == supervisor.failure("thing")
    assert line.startswith("thing ended with exit code 3. Its last lines:\nError: a test of the marts failed")
    assert recorded_processes(home) == {}


def test_another_exit_code_of_such_a_task_is_a_crash(
    supervisor: Supervisor, service_factory: Callable[..., Service], lines: list[str]
) -> None:
    service = service_factory("import sys; sys.exit(1)", is_task=True, final_statuses=frozenset({3}))
    supervisor.start([service], wait=False)
    step_until(supervisor, lambda: len(lines) > 1)
    assert not supervisor.is_done("thing")
    assert supervisor.failure("thing") is None


def test_what_was_started_last_is_stopped_first(
    supervisor: Supervisor, service_factory: Callable[..., Service], tmp_path: Path
) -> None:
    order = tmp_path / "order"
    order.touch()
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n    open({order!r}, 'a').write('{name} '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    )
    for name in ("engine", "stream", "pages"):
        service = service_factory(code.format(order=str(order), name=name), name=name)
        log = service.command.log_file
        supervisor.start([replace(service, is_ready=partial(has_content, log))])
    supervisor.stop()
    assert order.read_text().split() == ["pages", "stream", "engine"]


def test_a_service_that_does_not_listen_is_killed_when_the_user_is_in_a_hurry(
    supervisor: Supervisor, service_factory: Callable[..., Service], home: Home, lines: list[str]
) -> None:
    supervisor.start([service_factory(DEAF)])
    wait_for_log(home, "thing")
    pid = supervisor.processes()["thing"]
    supervisor.stop(hurry=lambda: True)
    assert is_gone(pid)
    assert lines == ["thing did not stop in time and was killed."]


def test_what_a_service_had_started_ends_with_it(
    supervisor: Supervisor, service_factory: Callable[..., Service], home: Home
) -> None:
    supervisor.start([service_factory(PARENT)])
    grandchild = int(wait_for_log(home, "thing"))
    supervisor.stop()
    assert is_gone(grandchild)


def test_what_a_killed_platform_left_behind_is_stopped_with_all_it_had_started(
    supervisor: Supervisor, service_factory: Callable[..., Service], home: Home
) -> None:
    supervisor.start([service_factory(PARENT)])
    grandchild = int(wait_for_log(home, "thing"))
    pid = supervisor.processes()["thing"]
    os.kill(pid, signal.SIGKILL)
    said: list[str] = []
    stop_orphans(home, said.append)
    assert is_gone(grandchild)
    assert said == [f"Stopped thing (pid {pid}), left over from a run that was killed."]
    assert not home.pids_file.exists()


def test_a_recorded_pid_that_belongs_to_another_process_now_is_left_alone(
    supervisor: Supervisor, service_factory: Callable[..., Service], home: Home
) -> None:
    supervisor.start([service_factory(FOR_EVER)])
    pid = supervisor.processes()["thing"]
    record = home.pids_file.read_text()
    started_at = recorded_processes(home)["thing"]["started_at"]
    home.pids_file.write_text(record.replace(str(started_at), str(started_at - 100)))
    said: list[str] = []
    stop_orphans(home, said.append)
    assert said == []
    assert not is_gone(pid)


def test_the_tail_of_a_log_shows_the_errors_without_their_stack(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "INFO starting\n"
        "ERROR Exiting Kafka due to fatal exception (Kafka$)\n"
        "java.net.BindException: Address already in use\n"
        "\tat java.base/sun.nio.ch.Net.bind(Net.java:555)\n"
        "\t... 7 more\n"
        "INFO shut down\n"
    )
    assert log_tail(log).splitlines() == [
        "ERROR Exiting Kafka due to fatal exception (Kafka$)",
        "java.net.BindException: Address already in use",
    ]


def test_the_tail_of_a_log_without_errors_is_its_end_since_the_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    start = log.stat().st_size
    log.write_text("old\n" + "".join(f"line {number}\n" for number in range(20)))
    assert log_tail(log, since=start, lines=2) == "line 18\nline 19"
    assert log_tail(tmp_path / "absent") == ""


def test_a_short_command_that_fails_says_why(home: Home) -> None:
    arguments = [sys.executable, "-S", "-c", "import sys; print(sys.stdin.read()); sys.exit(2)"]
    command = Command("The preparation", arguments, home.log_file("x"), dict(os.environ), home.path)
    with pytest.raises(ServiceError, match=r"(?s)The preparation ended with exit code 2.*because of this"):
        run_to_end(command, stdin="because of this")


@pytest.mark.parametrize(("status", "words"), [(0, "exit code 0"), (-9, "signal SIGKILL"), (-250, "signal 250")])
def test_an_exit_status_is_told_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words


def test_a_service_that_crashed_on_a_full_disk_waits_for_room_and_then_starts(
    supervisor: Supervisor,
    service_factory: Callable[..., Service],
    lines: list[str],
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor.start([service_factory(FOR_EVER)])
    free = {"bytes": 0}
    monkeypatch.setattr("infra.local.disk.free_bytes", lambda _: free["bytes"])
    os.kill(supervisor.processes()["thing"], signal.SIGKILL)
    step_until(supervisor, lambda: len(lines) > 2)
    assert lines[1].startswith("thing cannot start; it is tried again in 0.04 s. The disk that holds")
    assert str(home.path) in lines[1]
    free["bytes"] = 10**12
    step_until(supervisor, lambda: lines[-1] == "thing is up again.")


def test_a_list_of_processes_that_cannot_be_written_is_said_and_stops_nothing(
    supervisor: Supervisor, service_factory: Callable[..., Service], lines: list[str], home: Home
) -> None:
    home.pids_file.mkdir()
    supervisor.start([service_factory(FOR_EVER)])
    assert "thing" in supervisor.processes()
    assert str(home.run_folder) in lines[0]
    home.pids_file.rmdir()
