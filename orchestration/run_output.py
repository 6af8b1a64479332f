"""What the steps of a run print: kept as files for the UI, and shown where it went before, by a thread of the run.

Dagster does the same with four processes a run, two of them of Python. They cost a short run much of its time, outlive a run that
is killed, and print tracebacks of their own at a terminal's Ctrl-C.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import Any, Final, Self, TextIO

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

SHOWN_EVERY_SECONDS: Final = 0.2


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
    is_over = threading.Event()
    with os.fdopen(before, "wb", buffering=0) as shown, path.open("rb") as written:
        written.seek(0, os.SEEK_END)

        def show() -> None:
            with suppress(OSError):  # nobody looks any more
                while not is_over.wait(SHOWN_EVERY_SECONDS):
                    shown.write(written.read())
                shown.write(written.read())

        thread = threading.Thread(target=show, name=f"shows {path.name}", daemon=True)
        thread.start()
        try:
            with redirect_to_file(stream, str(path)):
                yield
        finally:
            is_over.set()
            thread.join()
