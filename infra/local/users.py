"""Running a program as another OS user: PostgreSQL refuses to run as root.

The other user owns the data folder. Folders above it, or above the programs, may be closed to that user (a checkout
below ``/root``, a home made by ``mktemp -d``); then the program gets the one Linux capability that lets it pass through.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from market.errors import ServiceError

_CANDIDATES: Final = ("postgres", "nobody")
_CAPABILITIES: Final = {"dac_read_search": 2, "dac_override": 1}
"""Capabilities that let a process pass through closed folders, the lesser power first, with their bit numbers."""


@dataclass(frozen=True, slots=True)
class OtherUser:
    """A user to run as, and the command-line prefix that becomes that user; empty prefix for the present user."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


def unprivileged_user(data_folder: Path, passed_through: Iterable[Path]) -> OtherUser:
    """Return the user that a server which refuses root runs as: the present one unless that is root.

    Parameters
    ----------
    data_folder
        The folder that the user owns; if it exists, its owner is kept.
    passed_through
        Files and folders that the program must reach.

    Raises
    ------
    ServiceError
        If this process is root but cannot become another user who reaches those folders.
    """
    if os.geteuid() != 0:
        return OtherUser(os.geteuid(), os.getegid())
    uid, gid = _identity(data_folder)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        msg = (
            "PostgreSQL cannot run as root, and the program setpriv that changes the user is missing. "
            "Install the package util-linux, run as another user, or set DATABASE_URL."
        )
        raise ServiceError(msg)
    prefix = (setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    closed = _first_closed([data_folder.parent, *passed_through])
    if closed is None:
        return OtherUser(uid, gid, (*prefix, "--"))
    capability = _capability()
    if capability is None:
        msg = (
            f"PostgreSQL cannot run as root, and another user cannot pass through {closed}. "
            f"Open it with `chmod o+x {closed}`, choose another TAPEHOUSE_HOME, run as another user, or set DATABASE_URL."
        )
        raise ServiceError(msg)
    # Without this bit access(2), by which initdb looks for its programs, disregards the capabilities of any user but root.
    heeded = "--securebits=+no_setuid_fixup"
    return OtherUser(uid, gid, (*prefix, heeded, f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}", "--"))


def _identity(data_folder: Path) -> tuple[int, int]:
    if data_folder.exists() and data_folder.stat().st_uid != 0:
        status = data_folder.stat()
        return status.st_uid, status.st_gid
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    msg = "PostgreSQL cannot run as root, and there is no user `postgres` or `nobody` to run it as. Add one, or set DATABASE_URL."
    raise ServiceError(msg)


def _first_closed(paths: Iterable[Path]) -> Path | None:
    """Return the first folder on the way to ``paths`` that other users cannot pass through."""
    folders = dict.fromkeys(folder for path in paths for folder in (path.resolve(), *path.resolve().parents))
    for folder in folders:
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def _capability() -> str | None:
    """Return the least capability that this process has and can pass on."""
    status = Path("/proc/self/status").read_text()
    held = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapPrm:")), 16)
    return next((name for name, bit in _CAPABILITIES.items() if held >> bit & 1), None)
