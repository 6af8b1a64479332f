"""The home folder: where everything of one platform lives, who runs it, and at which addresses.

What belongs here: paths below ``TAPEHOUSE_HOME``, its lock, and the two small files that other commands read
(``run/addresses.json``, ``run/ports.json``). What does not: starting anything.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil

from infra.local.disk import disk_errors
from market.errors import HomeBusyError, ServiceError
from market.settings import Settings

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_SAME_MOMENT_SECONDS: Final = 0.5
"""Process start times are read with a resolution of 10 ms; a reused pid starts much later than this."""


class Phase(StrEnum):
    """What the platform of a home is about."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a home: its pid, when it started (epoch seconds) and what it runs."""

    pid: int
    started_at: float
    command: str

    def is_alive(self) -> bool:
        """Return whether that very process still runs, not another one with its pid."""
        return process_is_alive(self.pid, self.started_at)


def is_same_moment(one: float, other: float) -> bool:
    """Return whether two start times of processes (epoch seconds) are the same but for their resolution."""
    return abs(one - other) < _SAME_MOMENT_SECONDS


def process_is_alive(pid: int, started_at: float) -> bool:
    """Return whether the process ``pid`` that started at ``started_at`` (epoch seconds) still runs."""
    try:
        process = psutil.Process(pid)
        return is_same_moment(process.create_time(), started_at) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below one ``TAPEHOUSE_HOME``."""

    path: Path

    @property
    def run_folder(self) -> Path:
        """Lock, addresses and pids of the running platform."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.path / "logs"

    @property
    def kafka(self) -> Path:
        """The embedded broker's configuration and data."""
        return self.path / "kafka"

    @property
    def postgres(self) -> Path:
        """The embedded database's password and data."""
        return self.path / "postgres"

    @property
    def analyst_password_file(self) -> Path:
        """The password of the database's role for BI tools, where it was made by this home."""
        return self.postgres / "analyst_password"

    @property
    def addresses_file(self) -> Path:
        """Addresses of the running platform, named like the environment variables; holds the database's password."""
        return self.run_folder / "addresses.json"

    @property
    def phase_file(self) -> Path:
        """What the running platform is about."""
        return self.run_folder / "phase.json"

    @property
    def ports_file(self) -> Path:
        """Ports that were used last, kept so that the next start has the same addresses."""
        return self.run_folder / "ports.json"

    @property
    def pids_file(self) -> Path:
        """The child processes of the running platform."""
        return self.run_folder / "pids.json"

    @property
    def lock_file(self) -> Path:
        """Held by the process that runs the platform; says which one it is."""
        return self.run_folder / "lock"

    def log_file(self, name: str) -> Path:
        """Return the log file of the process ``name``."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Create the folders, readable by the owner only.

        Raises
        ------
        ServiceError
            If they cannot be written.
        """
        with disk_errors(self.path):
            for folder in (self.path, self.run_folder, self.logs):
                folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)

    @contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Hold this home while the block runs, as ``command``.

        Raises
        ------
        HomeBusyError
            If another process holds it.
        ServiceError
            If the home cannot be written.
        """
        self.create()
        with disk_errors(self.path):
            file = self.lock_file.open("a+")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeBusyError(self._busy_message()) from None
            owner = {"pid": os.getpid(), "started_at": psutil.Process().create_time(), "command": command}
            with disk_errors(self.path):
                file.truncate(0)  # in place: a new file would not be the locked one
                file.write(json.dumps(owner) + "\n")
                file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def owner(self) -> Owner | None:
        """Return the process that holds this home, or ``None`` if none does."""
        match read_json(self.lock_file):
            case {"pid": int(pid), "started_at": float(started_at), "command": str(command)}:
                owner = Owner(pid, started_at, command)
                return owner if owner.is_alive() else None
        return None

    def addresses(self) -> dict[str, str]:
        """Return the addresses of the running platform, empty if none runs."""
        if self.owner() is None:
            return {}
        return {str(name): str(value) for name, value in read_json(self.addresses_file).items()}

    def phase(self) -> Phase | None:
        """Return what the platform of this home is about, or ``None`` if none runs."""
        if self.owner() is None:
            return None
        match read_json(self.phase_file):
            case {"phase": "starting" | "running" | "stopping" as phase}:
                return Phase(phase)
        return Phase.RUNNING

    def write_phase(self, phase: Phase) -> None:
        """Tell the other commands what the platform is about."""
        write_json(self.phase_file, {"phase": phase.value})

    def write_addresses(self, addresses: Mapping[str, str]) -> None:
        """Publish the addresses to the other commands."""
        write_json(self.addresses_file, addresses)

    def remove_addresses(self) -> None:
        """Say that nothing runs any more."""
        self.addresses_file.unlink(missing_ok=True)

    def _busy_message(self) -> str:
        owner = self.owner()
        who = f"`{owner.command}` (pid {owner.pid})" if owner else "another process"
        return (
            f"The home {self.path} is in use by {who}. ./run status says how it is, its live feed too. Stop it with ./run down, "
            "also to start it with another feed or key, or choose another home by TAPEHOUSE_HOME."
        )


def connected_settings(settings: Settings) -> Settings:
    """Return the settings with unset addresses taken from the platform that runs on this home, if one does."""
    return settings.with_addresses(Home(settings.home).addresses())


def generated_secret(path: Path) -> str:
    """Return the secret kept in ``path``, readable by its owner only; generate it the first time."""
    if path.is_file():
        return path.read_text().strip()
    secret = secrets.token_urlsafe(24)
    write_private(path, secret + "\n")
    return secret


def read_json(path: Path) -> dict[str, object]:
    """Return the object in ``path``; empty if the file is absent or was cut short.

    Raises
    ------
    ServiceError
        If the file may not be read.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    except PermissionError as error:
        msg = f"{path} belongs to another user. Act as that user, or choose another home by TAPEHOUSE_HOME."
        raise ServiceError(msg) from error
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write ``content`` to ``path`` for its owner only."""
    write_private(path, json.dumps(content, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` whole or not at all, readable by its owner only from the first byte.

    Raises
    ------
    ServiceError
        If it cannot be written: a full disk, for example.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with disk_errors(path.parent):
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        new.replace(path)
