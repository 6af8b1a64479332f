"""One child process: started with its own log file and session, stopped by a signal with a deadline.

What belongs here: the life of a single process. What is started, and in which order, is :mod:`infra.local.supervisor`.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from infra.local.disk import disk_errors
from infra.local.home import is_same_moment, process_is_alive
from market.errors import ServiceError

_MAX_LOG_BYTES: Final = 20_000_000
_TAIL_LINES: Final = 6
_TAIL_BYTES: Final = 256_000
_STACK_FRAME: Final = re.compile(r"^\s+(at |\.\.\. \d+ more|File \"|\^|~)")
_ERROR: Final = re.compile(r"\b(ERROR|FATAL|PANIC|Error|Exception)\b|Error:|Exception:|^Caused by")
_POLL_SECONDS: Final = 0.05
_KILL_WAIT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run as a child process.

    Attributes
    ----------
    name
        Name for users and for the log file.
    arguments
        Program and arguments.
    prefix
        Program and arguments that start it as another user.
    log_file
        Where its output is appended.
    environment
        Its whole environment.
    folder
        Its working folder.
    stop_signal
        The signal that asks it to finish cleanly.
    grace_seconds
        How long it may take to finish before it is killed.
    """

    name: str
    arguments: Sequence[str]
    log_file: Path
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 20.0
    prefix: Sequence[str] = ()


class Child:
    """A running child process, the leader of its own session, so that a Ctrl-C reaches only its parent."""

    def __init__(self, command: Command) -> None:
        self.command = command
        with disk_errors(command.log_file.parent):
            _rotate(command.log_file)
            with command.log_file.open("ab") as log:
                self.log_start = log.tell()
                self._process = subprocess.Popen(
                    [*command.prefix, *dies_with_parent(command.stop_signal), *command.arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(command.environment),
                    cwd=command.folder,
                    start_new_session=True,
                )
        self.pid = self._process.pid
        self.started_at = psutil.Process(self.pid).create_time()

    def exit_status(self) -> int | None:
        """Return how it ended (negative: the signal), or ``None`` while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send the signal that lets it finish cleanly."""
        if self.exit_status() is None:
            self._process.send_signal(self.command.stop_signal)

    def kill(self) -> None:
        """End it and everything it started in its session, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_WAIT_SECONDS)
        _wait_until_gone(self.pid)

    def has_written(self, text: str) -> bool:
        """Return whether ``text`` is in its log since its start."""
        try:
            with self.command.log_file.open("rb") as file:
                file.seek(self.log_start)
                return text.encode() in file.read()
        except OSError:
            return False

    def fresh_log(self) -> str:
        """Return the last lines that it wrote since its start."""
        return log_tail(self.command.log_file, since=self.log_start)


def run_to_end(command: Command, *, stdin: str = "", timeout_seconds: float = 120.0) -> None:
    """Run a short command to its end, its output appended to its log file.

    Raises
    ------
    ServiceError
        If it fails or takes longer than ``timeout_seconds``; holds the last lines of its log.
    """
    with disk_errors(command.log_file.parent), command.log_file.open("ab") as log:
        start = log.tell()
        try:
            done = subprocess.run(
                [*command.prefix, *command.arguments],
                input=stdin.encode(),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(command.environment),
                cwd=command.folder,
                timeout=timeout_seconds,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            msg = f"{command.name} took longer than {timeout_seconds:g} s. See {command.log_file}."
            raise ServiceError(msg) from None
    if done.returncode != 0:
        raise ServiceError(failure_message(command, done.returncode, log_tail(command.log_file, since=start)))


def failure_message(command: Command, status: int | None, tail: str) -> str:
    """Return the message for a command that failed: how it ended, its last log lines, and where the log is."""
    ended = f"ended with {describe_exit(status)}" if status is not None else "did not become ready"
    lines = f" Its last lines:\n{tail}\n" if tail else " It wrote nothing.\n"
    return f"{command.name} {ended}.{lines}The whole log: {command.log_file}"


def describe_exit(status: int) -> str:
    """Return an exit status in words: ``exit code 3`` or ``signal SIGKILL``."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def log_tail(path: Path, *, since: int = 0, lines: int = _TAIL_LINES) -> str:
    """Return the lines of ``path`` after the byte ``since`` that say most: the last errors, or else the last lines.

    Stack frames are left out: they are in the log.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= size else 0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    told = [line for line in text.splitlines() if line.strip() and not _STACK_FRAME.match(line)]
    errors = [line for line in told if _ERROR.search(line)]
    return "\n".join((errors or told)[-lines:])


def stop_children(children: Sequence[Child], *, hurry: Callable[[], bool]) -> list[str]:
    """Stop children together: ask, wait for each within its grace, then kill.

    Parameters
    ----------
    hurry
        Asked while waiting; once it is true, what still runs is killed.

    Returns
    -------
    list of str
        The names of those that were killed.
    """
    for child in children:
        child.ask_to_stop()
    asked_at = time.monotonic()
    killed = []
    for child in children:
        deadline = asked_at + child.command.grace_seconds
        while child.exit_status() is None and time.monotonic() < deadline and not hurry():
            time.sleep(_POLL_SECONDS)
        if child.exit_status() is None:
            killed.append(child.command.name)
        child.kill()  # the process itself, and what it may have left behind in its session
    return killed


def stop_process(pid: int, started_at: float, stop_signal: signal.Signals, grace_seconds: float) -> bool:
    """Stop a session leader that is not our child, if it is still the one that started at ``started_at``, and its session.

    Returns
    -------
    bool
        Whether there was something to stop.
    """
    was_running = process_is_alive(pid, started_at)
    if was_running:
        with suppress(ProcessLookupError):
            os.kill(pid, stop_signal)
        deadline = time.monotonic() + grace_seconds
        while process_is_alive(pid, started_at) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    left_behind = [] if _is_another(pid, started_at) else _living_members(pid)
    for process in left_behind:
        with suppress(psutil.Error):
            process.kill()
    _wait_until_gone(pid)
    return was_running or bool(left_behind)


def _is_another(pid: int, started_at: float) -> bool:
    """Return whether ``pid`` now belongs to a process that started at another time."""
    try:
        return not is_same_moment(psutil.Process(pid).create_time(), started_at)
    except psutil.Error:
        return False


def _living_members(group: int) -> list[psutil.Process]:
    """Return the living processes of a process group; it keeps its number while one member is there."""
    members = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def _wait_until_gone(group: int) -> None:
    """Wait until the killed members of a process group have let go of their ports and locks."""
    deadline = time.monotonic() + _KILL_WAIT_SECONDS
    while _living_members(group) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def dies_with_parent(stop_signal: signal.Signals) -> list[str]:
    """Return the words before a command by which Linux stops it when the thread that started it dies, however that dies.

    They stand after a change of user, which would undo them; there are none where the system has no ``setpriv``.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--"] if setpriv else []


def _rotate(path: Path) -> None:
    """Keep one older log once it is large; the running ones are small but for a crash loop."""
    if path.is_file() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
