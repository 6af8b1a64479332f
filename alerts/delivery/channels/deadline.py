"""A deadline for the whole of an exchange: timeouts of sockets count from each byte, so a receiver that trickles never ends.

Each connection is cut by a descriptor of our own, made before it connects: TLS takes the original away, and a library keeps its
own to itself.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Deadline:
    """What is left of an exchange, and the connections that are cut at its end.

    Parameters
    ----------
    seconds
        How long it may take, from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._connections: list[socket.socket] = []
        self._guard = threading.Lock()
        self._has_passed = False

    def left(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        TimeoutError
            If none are.
        """
        seconds = self._ends_at - time.monotonic()
        if self._has_passed or seconds <= 0:
            msg = f"no answer within {self._seconds:g} s"
            raise TimeoutError(msg)
        return seconds

    def watch(self, connection: socket.socket) -> None:
        """Have a connection cut at the end, whatever becomes of the object that is handed in; best before it connects.

        Raises
        ------
        TimeoutError
            If the end has come.
        """
        with self._guard:
            self.left()
            self._connections.append(socket.socket(fileno=os.dup(connection.fileno())))  # TLS has no dup of its own

    def cut(self) -> None:
        """End it now: whatever waits for one of the connections goes on with an error."""
        with self._guard:
            self._has_passed = True
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connections."""
        with self._guard:
            for connection in self._connections:
                connection.close()
            self._connections.clear()


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Yield what says how much is left, and cuts the connections that it watches once the block has run for so long.

    Raises
    ------
    TimeoutError
        If that happened.
    """
    limit = Deadline(seconds)
    timer = threading.Timer(seconds, limit.cut)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    except Exception as error:
        try:
            limit.left()
        except TimeoutError as late:
            raise late from error
        raise
    finally:
        timer.cancel()
        limit.close()
    limit.left()  # what was cut looks like an answer that is whole
