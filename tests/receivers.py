"""Receivers of alerts that behave and misbehave as they are told: HTTP on this machine, each request noted."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behavior = Callable[[BaseHTTPRequestHandler], None]

HANDSHAKE = (bytes.fromhex("16 03 03 40 00 02 00 3f fc"), b"\0")
"""How a server begins that shakes hands for TLS: a record of 16,384 bytes that holds its greeting; and a byte of the rest."""


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(slots=True)
class Receiver:
    """A server; ``behavior`` answers the next requests."""

    behavior: Behavior
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    ends: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.requests]


def answers(status: int, **headers: str) -> Behavior:
    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return behave


def closes(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


@contextmanager
def receiving(behavior: Behavior | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Yield a receiver that says 200, or behaves as told; with ``tls`` it speaks HTTPS."""
    receiver = Receiver(behavior or answers(200))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Request(self.path, headers, body, time.monotonic()))
            receiver.behavior(self)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is what some tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ends.set()
        server.shutdown()
        server.server_close()


def hangs(receiver: Receiver) -> Behavior:
    """Return a behavior that says nothing until the receiver ends."""

    def behave(_: BaseHTTPRequestHandler) -> None:
        receiver.ends.wait(60)

    return behave


def trickles(receiver: Receiver) -> Behavior:
    """Return a behavior that sends a byte of a header now and then, for ever."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.flush_headers()
        while not receiver.ends.wait(0.05):
            request.wfile.write(b"X")

    return behave


@contextmanager
def trickling(beginning: bytes, rest: bytes) -> Iterator[int]:
    """Yield the port of a server that says the beginning to whom connects, and the rest again and again, for ever."""
    ends = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError), server.accept()[0] as connection:
                connection.sendall(beginning)
                while not ends.wait(0.05):
                    connection.sendall(rest)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ends.set()
            with suppress(OSError), socket.create_connection(server.getsockname(), 1):
                thread.join()  # who never connected lets it wait for somebody
