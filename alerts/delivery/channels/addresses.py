"""Which addresses of the network a webhook may reach: public ones, unless the user said otherwise.

What belongs here: resolving a name and connecting, with the check between the two. A name is resolved once and the connection
goes to the very address that was looked at, so that a name whose answer changes in between (DNS rebinding) gains nothing.
"""

import re
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

from alerts.delivery.channels.channel import RefusedError
from alerts.delivery.channels.deadline import Deadline

Resolve = Callable[[str, int], list[tuple[Any, ...]]]

_HOST: Final = re.compile(rb"[a-z0-9_.-]+|[0-9a-f:.]+(%[a-z0-9_.-]+)?", re.IGNORECASE)
"""What a host is called once it is ASCII, or an address of IPv6."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""What stands before an address of IPv4 in one of ISATAP (RFC 5214, 6.1)."""


def require_host_name(host: str) -> None:
    """Look whether a host can be called so, without asking for it.

    Raises
    ------
    UnicodeError
        If not, as with two dots in a row, or a space.
    """
    found = host.encode("idna")
    if host and _HOST.fullmatch(found) is None:
        msg = f"{host!r} has a character that no host has"
        raise UnicodeError(msg)


def resolve(host: str, port: int) -> list[tuple[Any, ...]]:
    """Return the addresses of a host, as ``socket.getaddrinfo`` does."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def is_public(text: str) -> bool:
    """Return whether an address is a public one: not private, loopback, link-local, shared, reserved, multicast or metadata.

    Addresses of IPv6 that stand for one of IPv4 are as public as that one is.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = _inner_address(address)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner_address(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64 or int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def connect_checked(
    host: str, port: int, limit: Deadline, *, is_private_allowed: bool, resolve: Resolve = resolve
) -> socket.socket:
    """Return a connection to the host, none of whose addresses may be private unless that is allowed; ``limit`` watches it.

    Raises
    ------
    RefusedError
        If one is: for good.
    OSError
        If the host is not known, or does not answer in time.
    """
    try:
        found = resolve(host, port)
    except UnicodeError as failure:  # no host can be called so, as with two dots in a row
        msg = f"{host} is not the name of a host"
        raise OSError(msg) from failure
    if not is_private_allowed:
        private = sorted({str(address[0]) for *_, address in found if not is_public(str(address[0]))})
        if private:
            msg = (
                f"{host} is at {private[0]}, which is not a public address. If that is meant, add the channel again with "
                "--allow-private."
            )
            raise RefusedError(msg, is_final=True)
    error: OSError | None = None
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            limit.watch(connection)
            connection.settimeout(limit.left())
            connection.connect(address)
        except OSError as failure:
            connection.close()
            error = failure
        else:
            return connection
    raise error or OSError(f"{host} has no address")
