"""The stream's processes: one is started ahead, so that a restart costs no start of Spark."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from market.settings import CHECKOUT, Settings

DEADLINE_SECONDS: Final = 150.0
_POLL_SECONDS: Final = 0.02
_LAST: Final = 8_000

# They live for seconds: the quick compiler is enough.
_JAVA: Final = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}


class StreamProcess:
    """One process of :mod:`tests.faults.warm_stream`, its output in a file."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.log = log
        read_end, write_end = os.pipe()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.warm_stream", "--answers", str(write_end)],
                cwd=CHECKOUT,
                env=settings.child_environment() | _JAVA,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                start_new_session=True,
            )
        os.close(write_end)
        os.set_blocking(read_end, False)
        self._answers = os.fdopen(read_end, "rb", buffering=0)
        self._received = b""
        self._is_ready = False

    def go(
        self,
        settings: Settings,
        *arguments: str,
        point: str | None = None,
        nth: int = 1,
        action: str = "die",
        bug: str | None = None,
    ) -> None:
        """Run the stream on a platform; ``arguments`` are the stream's."""
        if not self._is_ready:
            assert self._answer() == "ready", self.tail()
            self._is_ready = True
        order = {
            "environment": settings.environment(),
            "arguments": arguments,
            "point": point,
            "nth": nth,
            "action": action,
            "bug": bug,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def finish(self) -> int:
        """Wait for the end of the run and return the stream's exit code."""
        return int(self._answer())

    def ended(self) -> int | None:
        """Return the stream's exit code if the run has ended by itself."""
        return int(self._answer()) if self._has_answered() else None

    def wait_ended_or(self, condition: Callable[[], bool]) -> bool:
        """Poll until the condition holds or the run has ended by itself; return whether it has ended."""
        code: int | None = None

        def is_over() -> bool:
            nonlocal code
            code = self.ended()
            return code is not None or condition()

        self.wait_until(is_over)
        return code is not None

    def wait_until(self, condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        """Poll until the condition holds; fail if the deadline passes or the process dies before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the stream died with {self.process.poll()}\n{self.tail()}"
            assert time.monotonic() < deadline, f"nothing came of it in {seconds:g} s\n{self.tail()}"
            time.sleep(_POLL_SECONDS)

    def wait_killed(self, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until the process was killed by its own trap."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            msg = f"the stream did not get to the point\n{self.tail()}"
            raise AssertionError(msg) from None
        assert code == -signal.SIGKILL, f"the stream ended with {code}\n{self.tail()}"
        self.kill()

    def wait_stopped(self) -> None:
        """Wait until the driver has stopped itself."""
        watched = psutil.Process(self.process.pid)
        self.wait_until(lambda: watched.status() == psutil.STATUS_STOPPED)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the group: driver, JVM and what they started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if not self._answers.closed:
            self._answers.close()

    def tail(self) -> str:
        """Return the end of the output, without the JVM's frames."""
        return "\n".join(line for line in self._lines() if not line.startswith("\tat "))[-_LAST:]

    def says(self, event: str) -> str:
        """Return the last line of the log of an event; nothing if there is none."""
        return next((line for line in reversed(self._lines()) if event in line), "")

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def _has_answered(self) -> bool:
        self._received += self._answers.read() or b""
        return b"\n" in self._received

    def _answer(self) -> str:
        self.wait_until(self._has_answered)
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()


@dataclass
class Streams:
    """Hands out processes that have started Spark already.

    Attributes
    ----------
    settings
        What they start with.
    folder
        Where their logs go.
    """

    settings: Settings
    folder: Path
    _started: list[StreamProcess] = field(default_factory=list)
    _spare: StreamProcess | None = None

    def take(self, *, prepare_next: bool = False) -> StreamProcess:
        """Return a process that runs nothing yet, and start the next one if it will be wanted soon."""
        taken = self._spare or self._start()
        self._spare = self._start() if prepare_next else None
        return taken

    def kill_used(self) -> None:
        """Kill all but the spare one."""
        for process in self._started:
            if process is not self._spare:
                process.kill()
        self._started = [self._spare] if self._spare is not None else []

    def kill(self) -> None:
        self._spare = None
        self.kill_used()

    def _start(self) -> StreamProcess:
        number = len(list(self.folder.glob("stream-*.log")))
        process = StreamProcess(self.settings, self.folder / f"stream-{number}.log")
        self._started.append(process)
        return process
