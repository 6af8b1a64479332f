"""A deadline for the whole of an exchange: timeouts of sockets count from each byte, so a receiver that trickles never ends."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer


@contextmanager
def deadline(seconds: float, current_socket: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Cut the connection once the block has run for so long, which ends whatever waits for it.

    Raises
    ------
    TimeoutError
        If that happened.
    """
    has_passed = False

    def cut() -> None:
        nonlocal has_passed
        has_passed = True
        connection = current_socket()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if has_passed:
            raise _too_late(seconds) from error
        raise
    finally:
        timer.cancel()
    if has_passed:  # what was cut looks like an answer that is whole
        raise _too_late(seconds)


def _too_late(seconds: float) -> TimeoutError:
    return TimeoutError(f"no answer within {seconds:g} s")
