"""What the steps of a run print: kept as files for the UI, and shown where it went before, by a thread of the run.

Dagster does the same with four processes a run, two of them of Python. They cost a short run much of its time, outlive a run that
is killed, and print tracebacks of their own at a terminal's Ctrl-C.
"""

import os
import select
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import RawIOBase, UnsupportedOperation
from pathlib import Path
from typing import Any, Final, Self, TextIO

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

SHOWN_EVERY_SECONDS: Final = 0.2
SHOWN_WITHIN_SECONDS: Final = 5.0
"""So long a run waits at its end for the next byte to be read of what it shows: a terminal whose pager is stopped reads none."""

_PIECE_BYTES: Final = 4096


class RunOutput(LocalComputeLogManager):
    """Dagster's local files of what steps print, written without further processes."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Return what ``dagster.yaml`` describes."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Keep what is printed within the block; the last file says that it is over."""
        out, err = (
            Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        )
        with _kept(sys.stdout, out), _kept(sys.stderr, err):
            yield CapturedLogContext(log_key)
        Path(str(self.complete_artifact_path(log_key))).touch()  # type: ignore[no-untyped-call]


@contextmanager
def _kept(stream: TextIO, path: Path) -> Iterator[None]:
    """Write what a stream gets to the end of a file, and from there to where the stream led."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        before = os.dup(stream.fileno())
    except UnsupportedOperation:  # a stream of a test, without a file
        yield
        return
    showing = _Showing(before, path)
    try:
        with redirect_to_file(stream, str(path)):
            yield
    finally:
        showing.end()


class _Showing:
    """A thread that writes what comes to the end of a file to where a stream led. It owns both: it may be held up for ever."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._path = path
        self._begin = path.stat().st_size
        self._count = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(descriptor,), name=f"shows {path.name}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait until everything is shown, but not for ever; what was not is said at the end of the file, which has it all."""
        self._is_over.set()
        before = -1
        while self._thread.is_alive() and self._count != before:  # whoever reads slowly gets all of it
            before = self._count
            self._thread.join(SHOWN_WITHIN_SECONDS)
        if self._thread.is_alive():
            left = self._path.stat().st_size - self._begin - self._count
            with self._path.open("a") as file:
                file.write(
                    f"tapehouse: the last {left:,} bytes are in this file only. Where the run was started nobody read them "
                    f"within {SHOWN_WITHIN_SECONDS:g} s.\n"
                )

    def _run(self, descriptor: int) -> None:
        with suppress(OSError), os.fdopen(descriptor, "wb", buffering=0) as shown, self._path.open("rb") as written:
            written.seek(self._begin)
            while not self._is_over.wait(SHOWN_EVERY_SECONDS):
                self._show(shown, written.read())
            self._show(shown, written.read())

    def _show(self, shown: RawIOBase, data: bytes) -> None:
        """Write all of it, in whatever pieces it is taken."""
        room = select.poll()
        room.register(shown, select.POLLOUT)
        while data:
            count = shown.write(data[:_PIECE_BYTES])
            if count is None:
                # It is full, and somebody made it non-blocking: for all who write to it, so that it is not undone here.
                room.poll()
                continue
            self._count += count
            data = data[count:]
