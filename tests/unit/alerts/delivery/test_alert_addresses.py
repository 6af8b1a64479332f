"""Which addresses a webhook may reach."""

import socket
from typing import Any

import pytest

from alerts.delivery.channels.addresses import connect_checked, is_public
from alerts.delivery.channels.channel import RefusedError
from alerts.delivery.channels.deadline import Deadline

PRIVATE = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.5", "169.254.169.254",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254",
    "ff02::1", "fec0::1", "2001:db9::5efe:a00:1", "2001:db9::200:5efe:7f00:1", "64:ff9b:1::7f00:1", "::7f00:1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
)  # fmt: skip
PUBLIC = (
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "2600::5efe:808:808",
    "64:ff9b::808:808",
)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_outside_are_public(address: str) -> None:
    assert is_public(address)


def resolved(*addresses: str) -> Any:
    return lambda _host, port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def test_a_name_with_one_private_address_among_public_ones_is_refused_for_good() -> None:
    answer = resolved("8.8.8.8", "127.0.0.1")
    with pytest.raises(RefusedError, match=r"rebind\.example is at 127\.0\.0\.1.*--allow-private") as refused:
        connect_checked("rebind.example", 80, Deadline(1), is_private_allowed=False, resolve=answer)
    assert refused.value.is_final


def test_a_name_is_resolved_once_and_that_address_is_connected_to() -> None:
    """DNS rebinding answers with a public address first and a private one afterwards: there is no afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = []

        def resolve(host: str, port: int) -> Any:
            asked.append(host)
            return resolved("127.0.0.1")(host, port)

        with connect_checked("name.invalid", port, Deadline(5), is_private_allowed=True, resolve=resolve) as made:
            assert made.getpeername() == ("127.0.0.1", port)
        assert asked == ["name.invalid"]
