"""Disk space: turns a full or unwritable disk into one plain message that names the folder."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from market.errors import ServiceError

MEBIBYTE: Final = 1024 * 1024
LEAST_FREE_BYTES: Final = 512 * MEBIBYTE
"""Below this the platform is not started."""
LEAST_FREE_BYTES_TO_GO_ON: Final = 128 * MEBIBYTE
"""Below this a service that crashed is not started again: PostgreSQL alone preallocates its log in files of 16 MiB."""


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free for this user where ``folder`` is, or will be."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def space_message(folder: Path, least_bytes: int = LEAST_FREE_BYTES) -> str | None:
    """Return a message if less than ``least_bytes`` are free on the disk of ``folder``, else ``None``."""
    free = free_bytes(folder)
    if free >= least_bytes:
        return None
    return (
        f"The disk that holds {folder} is full: {free // MEBIBYTE} MiB are free, "
        f"at least {least_bytes // MEBIBYTE} MiB are needed. Free some space, or choose another folder by TAPEHOUSE_HOME."
    )


def require_space(folder: Path, least_bytes: int = LEAST_FREE_BYTES) -> None:
    """Check that there is room to start in ``folder``.

    Raises
    ------
    ServiceError
        If less than ``least_bytes`` are free.
    """
    message = space_message(folder, least_bytes)
    if message is not None:
        raise ServiceError(message)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn an operating-system error of the block into a :class:`ServiceError` that names ``folder``."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            msg = f"The disk that holds {folder} is full. Free some space, or choose another folder by TAPEHOUSE_HOME."
        else:
            msg = f"Cannot write to {folder}: {error.strerror or error}. Check the folder, or choose another by TAPEHOUSE_HOME."
        raise ServiceError(msg) from error
