"""A WebSocket server on this machine that does what a test says, one connection after the other.

Nothing in here comes from the code under test. What the vendors say is in ``alpaca_stream.py`` and ``yahoo_stream.py``.
"""

import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.sync.server import Server, ServerConnection, serve

Script = Callable[["Peer"], None]


class Peer:
    """The server's end of a connection."""

    def __init__(self, connection: ServerConnection, server: "StreamServer") -> None:
        self.connection = connection
        self.server = server

    def send(self, frame: bytes | str) -> None:
        self.connection.send(frame)

    def receive(self) -> bytes | str:
        return self.connection.recv(timeout=20)

    def cut(self) -> None:
        """End the connection without a word, as a cable does."""
        self.connection.socket.shutdown(socket.SHUT_RDWR)

    def stay_silent(self) -> None:
        """Say nothing until the test is over or the client has gone."""
        try:
            while not self.server.closing.is_set():
                try:
                    self.connection.recv(timeout=0.05)
                except TimeoutError:
                    continue
        except ConnectionClosed:
            return


class StreamServer:
    """The server.

    Attributes
    ----------
    scripts
        What the next connections meet, one each; the last goes on for all that follow.
    refusals
        HTTP statuses that the next handshakes get instead of a connection.
    paths
        What was asked for, by connection.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = deque(scripts)
        self.refusals: deque[int] = deque()
        self.paths: list[str] = []
        self.closing = threading.Event()
        self._server: Server = serve(self._meet, "127.0.0.1", 0, process_request=self._hands, ping_interval=None)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def _hands(self, connection: ServerConnection, request: Any) -> Response | None:
        self.paths.append(request.path)
        return connection.respond(self.refusals.popleft(), "no\n") if self.refusals else None

    def _meet(self, connection: ServerConnection) -> None:
        script = self.scripts.popleft() if len(self.scripts) > 1 else self.scripts[0]
        try:
            script(Peer(connection, self))
        except (ConnectionClosed, OSError, TimeoutError):
            return
