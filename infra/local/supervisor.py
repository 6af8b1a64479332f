"""Starts services in order, watches them, restarts what crashed, and stops them in reverse order.

What belongs here: when a process is started, again or not, and stopped. What does not: what the process is.

Linux ends a child with the thread that started it, so everything is started by the thread that calls the supervisor:
use one from a single thread that lives as long as the services shall.
"""

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from infra.local.disk import LEAST_FREE_BYTES_TO_GO_ON, require_space, space_message
from infra.local.home import Home, read_json, write_json
from infra.local.processes import Child, describe_exit, failure_message, stop_children, stop_process
from infra.local.service import Service
from market.errors import ServiceError

Report = Callable[[str], None]

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 60.0
"""A service that ran for this long had recovered: its next crash is a first one again."""
_POLL_SECONDS: Final = 0.05
_ORPHAN_GRACE_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Watched:
    """A service and what became of it."""

    service: Service
    child: Child
    group: int
    running_since: float
    ready: bool = False
    done: bool = False
    failure: str | None = None
    failures: int = 0
    start_again_at: float | None = None


class Supervisor:
    """The services of one home.

    Parameters
    ----------
    home
        Where pids are recorded; hold its lock.
    report
        Called with one plain line for every event that a user should know.
    most_failures
        After this many crashes in a row of one service :meth:`step` raises; ``None`` means to try for ever.
    """

    def __init__(self, home: Home, report: Report, *, most_failures: int | None = None) -> None:
        self._home = home
        self._report = report
        self._most_failures = most_failures
        self._watched: list[_Watched] = []
        self._groups = 0

    def start(self, services: Sequence[Service], *, wait: bool = True) -> None:
        """Start services together, after those started before, and wait until all are ready.

        Raises
        ------
        ServiceError
            If one cannot be prepared, ends, or does not become ready in time; holds the last lines of its log.
        """
        self._groups += 1
        with ThreadPoolExecutor(max_workers=max(1, len(services))) as pool:
            for preparation in [pool.submit(service.prepare) for service in services]:
                preparation.result()
        for service in services:
            self._watched.append(_Watched(service, Child(service.command), self._groups, time.monotonic()))
            self._record()
        if wait:
            self._wait_ready([watched for watched in self._watched if watched.group == self._groups])

    def wait_ready(self) -> None:
        """Wait until everything that was started without waiting is ready.

        Raises
        ------
        ServiceError
            As :meth:`start` does.
        """
        self._wait_ready([watched for watched in self._watched if not watched.ready and not watched.service.is_task])

    def step(self) -> None:
        """Look at every service once: report what ended, start again what is due.

        Raises
        ------
        ServiceError
            If a service failed too often.
        """
        for watched in self._watched:
            if watched.start_again_at is not None:
                if time.monotonic() >= watched.start_again_at:
                    self._start_again(watched)
            elif watched.done:
                continue
            elif (status := watched.child.exit_status()) is not None:
                if watched.service.is_task and (status == 0 or status in watched.service.final_statuses):
                    self._finish(watched, status)
                else:
                    self._ended(watched, describe_exit(status))
            elif not watched.ready and _is_ready(watched):
                watched.ready = True
                if watched.failures:
                    self._report(f"{watched.service.name} is up again.")

    def is_done(self, name: str) -> bool:
        """Return whether the task ``name`` ended, well or for good."""
        return any(watched.done for watched in self._watched if watched.service.name == name)

    def failure(self, name: str) -> str | None:
        """Return why the task ``name`` failed for good, or ``None`` if it did not."""
        return next((watched.failure for watched in self._watched if watched.service.name == name), None)

    def processes(self) -> dict[str, int]:
        """Return the pids of the running services by name."""
        return {
            watched.service.name: watched.child.pid for watched in self._watched if watched.child.exit_status() is None
        }

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop everything, the last started first; once ``hurry()`` is true what is left is killed at once."""
        for group in range(self._groups, 0, -1):
            children = [watched.child for watched in self._watched if watched.group == group]
            for name in stop_children(children, hurry=hurry):
                self._report(f"{name} did not stop in time and was killed.")
        self._watched.clear()
        self._home.pids_file.unlink(missing_ok=True)

    def _wait_ready(self, started: Sequence[_Watched]) -> None:
        while waiting := [watched for watched in started if not watched.ready]:
            for watched in waiting:
                status = watched.child.exit_status()
                late = time.monotonic() - watched.running_since > watched.service.ready_within_seconds
                # Looked at first: it may have been ready for long, while others were waited for.
                watched.ready = status is None and _is_ready(watched)
                if status is not None or (late and not watched.ready):
                    message = failure_message(watched.service.command, status, watched.child.fresh_log())
                    raise ServiceError(space_message(self._home.path) or message)
            time.sleep(_POLL_SECONDS)

    def _finish(self, watched: _Watched, status: int) -> None:
        watched.child.kill()  # what it had started and left behind
        watched.done = watched.ready = True
        self._record()
        if status == 0:
            self._report(f"{watched.service.name} is done.")
        else:
            watched.failure = failure_message(watched.service.command, status, watched.child.fresh_log())
            self._report(watched.failure)

    def _ended(self, watched: _Watched, how: str) -> None:
        watched.child.kill()  # what it had started and left behind
        ran_seconds = time.monotonic() - watched.running_since
        watched.failures = 1 if ran_seconds >= STEADY_SECONDS else watched.failures + 1
        name, log_file = watched.service.name, watched.service.command.log_file
        if self._most_failures is not None and watched.failures > self._most_failures:
            tail = watched.child.fresh_log()
            msg = f"{name} ended {watched.failures} times, at last with {how}. Its last lines:\n{tail}\nThe whole log: {log_file}"
            raise ServiceError(space_message(self._home.path, LEAST_FREE_BYTES_TO_GO_ON) or msg)
        delay = self._plan_another_start(watched)
        self._report(f"{name} ended with {how}; it starts again in {delay:g} s. Log: {log_file}")

    def _plan_another_start(self, watched: _Watched) -> float:
        delay = min(FIRST_DELAY_SECONDS * 2 ** (watched.failures - 1), LONGEST_DELAY_SECONDS)
        watched.start_again_at = time.monotonic() + delay
        return delay

    def _start_again(self, watched: _Watched) -> None:
        watched.start_again_at = None
        watched.ready = False
        watched.running_since = time.monotonic()
        try:
            require_space(self._home.path, LEAST_FREE_BYTES_TO_GO_ON)
            watched.service.prepare()
            watched.child = Child(watched.service.command)
        except ServiceError as error:
            watched.failures += 1
            delay = self._plan_another_start(watched)
            self._report(f"{watched.service.name} cannot start; it is tried again in {delay:g} s. {error}")
            return
        self._record()

    def _record(self) -> None:
        """Write down the children, so that the next start finds them should this process be killed."""
        children = {
            watched.service.name: {
                "pid": watched.child.pid,
                "started_at": watched.child.started_at,
                "stop_signal": int(watched.service.command.stop_signal),
            }
            for watched in self._watched
            if not watched.done
        }
        try:
            write_json(self._home.pids_file, children)
        except ServiceError as error:  # no reason to stop what runs: children end with this process too
            self._report(str(error))


def _is_ready(watched: _Watched) -> bool:
    text = watched.service.ready_text
    return watched.service.is_ready() and (text is None or watched.child.has_written(text))


def recorded_processes(home: Home) -> dict[str, dict[str, float]]:
    """Return the recorded children of the platform on this home: pid, started_at and stop_signal by name."""
    stored = read_json(home.pids_file)
    wanted = ("pid", "started_at", "stop_signal")
    return {
        name: {key: float(entry[key]) for key in wanted}
        for name, entry in stored.items()
        if isinstance(entry, dict) and all(isinstance(entry.get(key), int | float) for key in wanted)
    }


def stop_orphans(home: Home, report: Report) -> None:
    """Stop, in reverse order, what a platform that was killed left running on this home. Hold the home's lock."""
    for name, entry in reversed(recorded_processes(home).items()):
        pid, stop_signal = int(entry["pid"]), signal.Signals(int(entry["stop_signal"]))
        if stop_process(pid, entry["started_at"], stop_signal, _ORPHAN_GRACE_SECONDS):
            report(f"Stopped {name} (pid {pid}), left over from a run that was killed.")
    home.pids_file.unlink(missing_ok=True)
    home.remove_addresses()
