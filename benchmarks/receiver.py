"""A receiver of alerts on this machine, in the process of the benchmark, that says 200 to all."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from market.errors import ServiceError

TIMEOUT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A request: its body, and by the wall clock when it was answered."""

    body: bytes
    at: float


class Receiver:
    """Keeps the requests that it took, and says when there are as many as are waited for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._taken: list[Taken] = []
        self._changed = threading.Condition()

    def take(self, body: bytes) -> None:
        """Keep a request."""
        with self._changed:
            self._taken.append(Taken(body, time.time()))
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """How many were taken."""
        with self._changed:
            return len(self._taken)

    @property
    def taken(self) -> list[Taken]:
        """Those that were taken, in order."""
        with self._changed:
            return list(self._taken)

    def wait_for(self, count: int, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Wait until so many were taken.

        Raises
        ------
        ServiceError
            If they were not in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._taken) >= count, timeout_seconds):
                msg = f"Only {len(self._taken)} of {count} alerts arrived in {timeout_seconds:g} s."
                raise ServiceError(msg)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Yield a receiver that listens."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            receiver.take(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
