"""What cuts an exchange that takes too long."""

import socket
import ssl

from alerts.delivery.channels.deadline import Deadline


def test_a_socket_that_was_wrapped_in_tls_before_it_connects_is_cut_too() -> None:
    """Such a one has no ``dup`` of its own."""
    limit, secure = Deadline(60), ssl.create_default_context()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket() as plain,
        secure.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False) as wrapped,
    ):
        limit.watch(wrapped)
        wrapped.connect(server.getsockname())
        limit.cut()
        accepted, _ = server.accept()
        accepted.settimeout(5)
        with accepted:
            assert accepted.recv(1) == b"", "the connection has ended"
    limit.close()
