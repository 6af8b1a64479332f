"""Ports on 127.0.0.1: chosen free, remembered per home, so that the addresses stay the same from start to start."""

import random
import socket
from typing import Final

from infra.local.home import Home, read_json, write_json
from market.errors import ServiceError

HOST: Final = "127.0.0.1"
FIRST_PORT: Final = 20_000
LAST_PORT: Final = 32_000
"""Below the range that operating systems hand to outgoing connections, which could take a remembered port at any time."""
_ATTEMPTS: Final = 200


def is_free(port: int) -> bool:
    """Return whether a server could listen on ``port`` of this machine now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(*, besides: frozenset[int] = frozenset()) -> int:
    """Return a random free port that is not among ``besides``.

    Raises
    ------
    ServiceError
        If none was found.
    """
    for _ in range(_ATTEMPTS):
        port = random.SystemRandom().randint(FIRST_PORT, LAST_PORT)
        if port not in besides and is_free(port):
            return port
    msg = f"No free port was found between {FIRST_PORT} and {LAST_PORT}. Stop some of the servers that run on this machine."
    raise ServiceError(msg)


def claim_ports(home: Home, *names: str) -> dict[str, int]:
    """Return a port for each server: the one it had last if that is still free, else a new one, remembered."""
    stored = read_json(home.ports_file)
    ports = {name: port for name, port in stored.items() if isinstance(port, int)}
    for name in names:
        last = ports.pop(name, None)
        taken = frozenset(ports.values())
        ports[name] = last if last is not None and last not in taken and is_free(last) else free_port(besides=taken)
    if ports != stored:
        write_json(home.ports_file, ports)
    return {name: ports[name] for name in names}


def require_free(port: int, option: str) -> int:
    """Return ``port`` if it is free.

    Raises
    ------
    ServiceError
        If something listens there already; names the option that chooses another.
    """
    if is_free(port):
        return port
    msg = f"Port {port} of {HOST} is taken by another program. Choose another by {option}."
    raise ServiceError(msg)


def accepts_connections(host: str, port: int, timeout_seconds: float = 1.0) -> bool:
    """Return whether something accepts a TCP connection there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds):
            return True
    except OSError:
        return False
