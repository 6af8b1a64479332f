"""Ctrl-C and its kin: the first asks to stop, the second hurries."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """How often the user asked to stop.

    The first signal raises :class:`KeyboardInterrupt` in the main thread, wherever it is; later ones are only counted, so that
    a clean stop is never broken off half-way but can ask :meth:`is_in_a_hurry`.
    """

    def __init__(self) -> None:
        self._received = 0
        self._stopping = False

    def is_in_a_hurry(self) -> bool:
        """Return whether the user asked again after the stop had begun."""
        return self._received > 1

    def stopping(self) -> None:
        """Say that the stop has begun for another reason: from now on signals are only counted, the first one hurries."""
        if not self._stopping:
            self._stopping = True
            self._received = max(self._received, 1)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals while the block runs, but for those that whoever started this process had ignored (nohup).

        SIGTERM is handled in any case: ``./run down`` has to be heard. A signal that was ignored gets a handler that does
        nothing: what a process ignores its children would ignore too, and Dagster's then pay no heed to SIGTERM either.
        """
        ignored = {number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN} - {signal.SIGTERM}
        before = {
            number: signal.signal(number, _do_nothing if number in ignored else self._on_signal) for number in _SIGNALS
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._received += 1
        if not self._stopping:
            self._stopping = True
            raise KeyboardInterrupt


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


@contextmanager
def setting(stop: Event, *, second_ends: bool = False) -> Iterator[list[int]]:
    """Set the event on Ctrl-C and SIGTERM while the block runs, and yield the list that the signals' numbers are put into.

    With ``second_ends`` another signal ends the process at once.
    """
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if received and second_ends:
            raise SystemExit(128 + number)
        received.append(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
