"""What a library connects to in a thread, while it is watched: no private address, and nothing after the deadline.

A library resolves names and connects by itself, also where an answer leads it. Python tells of each connection just before it is
made, with the very address (an audit hook, which stays for the life of the process and looks away from all other threads).
"""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from alerts.delivery.channels.addresses import is_public
from alerts.delivery.channels.deadline import Deadline

_EVENTS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


@dataclass(slots=True)
class Watch:
    """What is watched, and what it was kept from.

    Attributes
    ----------
    limit
        Cuts the connections at its end.
    is_private_allowed
        Whether they may lead to addresses that are not public.
    refused
        Addresses that were not connected to.
    """

    limit: Deadline
    is_private_allowed: bool
    refused: list[str] = field(default_factory=list)


_here: Final = threading.local()


@contextmanager
def watched(limit: Deadline, *, is_private_allowed: bool) -> Iterator[Watch]:
    """Watch this thread; a connection that must not be made fails with an ``OSError``, as one that nobody answers."""
    watch = Watch(limit, is_private_allowed)
    _here.watch = watch
    try:
        yield watch
    finally:
        _here.watch = None


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    watch: Watch | None = getattr(_here, "watch", None)
    if watch is None:
        return
    connection, address = arguments[0], arguments[1]
    if not (watch.is_private_allowed or _is_public(connection, address)):
        watch.refused.append(str(address[0] if isinstance(address, tuple) else address))
        msg = "not a public address"
        raise PermissionError(msg)
    if event == "socket.connect":
        watch.limit.watch(connection)


def _is_public(connection: socket.socket, address: Any) -> bool:  # noqa: ANN401 - as of a socket
    if connection.family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(address, tuple):
        return False
    try:
        return is_public(str(address[0]))
    except ValueError:  # a name, of which nobody knows yet where it leads
        return False


sys.addaudithook(_look)
