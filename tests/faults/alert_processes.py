"""The processes of alerts, to be killed: relays, runs that build what changed and evaluate, and Dagster's own.

Relays and runs are forks of a process that has imported everything and parsed the dbt project, so that a restart takes no
time: what runs is the relay's ``main``, and what the assets call, with a planted bug at times.
"""

import ctypes
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

import psutil
import pytest

from market.settings import Settings

EVALUATES: Final = "evaluates"
MODELS: Final = ("intraday_ohlcv", "intraday_analytics")
POLL_SECONDS: Final = 0.01

_PR_SET_PDEATHSIG: Final = 1
CONTEXT: Final = multiprocessing.get_context("forkserver")


def warm_up(settings: Settings) -> None:
    """Start the process of which all others are forks."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.child_environment().items():
            patch.setenv(name, value)
        CONTEXT.set_forkserver_preload(["tests.faults.alert_preloaded"])
        forkserver.ensure_running()


def prepare_marts(settings: Settings, log: Path, *selection: str) -> None:
    """Build the models of the marts on a database that has its tables."""
    process = CONTEXT.Process(target=_build, args=(settings, log, selection))
    process.start()
    process.join()
    assert process.exitcode == 0, log.read_text()


def _build(settings: Settings, log: Path, selection: tuple[str, ...]) -> None:
    from orchestration.dbt import Dbt

    become(settings, log, None)
    Dbt(settings).build(["--exclude-resource-type", "test", *selection], lambda _event: None)


def relay(settings: Settings, log: Path, bug: str | None) -> None:
    """Be the relay's process."""
    from orchestration import alert_relay

    become(settings, log, bug)
    sys.exit(alert_relay.main())


def run(settings: Settings, log: Path, bug: str | None, tell: Connection) -> None:
    """Be a run: build what changed of the marts, and have the rules look at it; as the assets do."""
    from orchestration.dbt import Dbt
    from orchestration.resources import Rules

    become(settings, log, bug)
    Dbt(settings).build(["--exclude-resource-type", "test", "--select", *MODELS], lambda _event: None, touched=True)
    tell.send(EVALUATES)
    Rules(settings).evaluate(datetime.now(UTC))


def die_with_parent() -> None:
    """Have Linux kill this process when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def become(settings: Settings, log: Path, bug: str | None) -> None:
    """Be a process of a platform from now on, with its log, and a planted bug."""
    die_with_parent()
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(settings.child_environment())
    if bug is not None:
        from tests.faults.alert_bugs import BUGS

        BUGS[bug].plant(pytest.MonkeyPatch())


@dataclass
class Run:
    """A run under way."""

    process: ForkServerProcess
    told: Connection
    is_evaluating: bool = False

    def look(self) -> None:
        with suppress(EOFError, OSError):
            self.is_evaluating = self.is_evaluating or (self.told.poll() and self.told.recv() == EVALUATES)


@dataclass
class Processes:
    """Two relays and two runs at a time; what ends or is killed starts again as soon as somebody waits.

    Attributes
    ----------
    settings, folder
        Of the platform; where the logs go.
    bug
        Planted into all of them.
    has_runs
        Whether runs are started: not while Dagster does.
    kills
        When a relay was killed, by the monotonic clock.
    beside
        Called whenever somebody waits: what else there is to be started again.
    done, failed
        How many runs came to their end, and how many by an error.
    """

    settings: Settings
    folder: Path
    bug: str | None = None
    has_runs: bool = True
    kills: list[float] = field(default_factory=list)
    beside: Callable[[], None] | None = None
    done: int = 0
    failed: int = 0
    _relays: list[ForkServerProcess] = field(default_factory=list)
    _runs: list[Run] = field(default_factory=list)

    def tend(self) -> None:
        """Start what is not there."""
        if self.beside is not None:
            self.beside()
        self._relays = [one for one in self._relays if one.is_alive()]
        while len(self._relays) < 2:  # of two relays one serves a channel
            self._relays.append(self._start_relay())
        for one in self._runs:
            one.look()
            if not one.process.is_alive():
                one.process.join()
                one.told.close()
                self.done += one.process.exitcode == 0
                self.failed += (one.process.exitcode or 0) > 0
        self._runs = [one for one in self._runs if one.process.is_alive()]
        while self.has_runs and len(self._runs) < 2:  # as two daemons would have
            self._runs.append(self._start_run())

    def wait_until(self, is_so: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        """Tend until something is so."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"{what} did not happen in {seconds:g} s\n{self.tail()}"
            self.tend()
            time.sleep(POLL_SECONDS)

    def pause(self, seconds: float) -> None:
        """Tend for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(POLL_SECONDS)

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return bool(self._runs)

    @staticmethod
    def after(seconds: float) -> Callable[[], bool]:
        """Return the question whether so much time has passed."""
        until = time.monotonic() + seconds
        return lambda: time.monotonic() >= until

    @staticmethod
    def every(seconds: float, act: Callable[[], None]) -> Callable[[], bool]:
        """Return what acts whenever so much time has passed, for a condition that is polled: it is false."""
        next_at = time.monotonic() + seconds

        def look() -> bool:
            nonlocal next_at
            if time.monotonic() >= next_at:
                act()
                next_at = time.monotonic() + seconds
            return False

        return look

    def end_relay(self, chance: random.Random, how: signal.Signals) -> None:
        """Kill a relay, or ask it to stop and wait until it has."""
        self.tend()
        victim = chance.choice(self._relays)
        if how is signal.SIGKILL:
            self.kills.append(time.monotonic())
        assert victim.pid is not None
        os.kill(victim.pid, how)
        self.wait_until(lambda: not victim.is_alive(), "the end of a relay", 20)

    def end_run(self, chance: random.Random, how: signal.Signals, seconds: float) -> None:
        """Kill a run, half of the time once it evaluates: at some moment of the next ``seconds``."""
        self.tend()
        victim = chance.choice(self._runs)
        if chance.random() < 0.5:
            self.wait_until(lambda: victim.is_evaluating or not victim.process.is_alive(), "an evaluation")
            seconds /= 5
        self.pause(chance.random() * seconds)
        if victim.process.is_alive() and victim.process.pid is not None:
            os.kill(victim.process.pid, how)

    def kill_all(self) -> None:
        """Kill everything at once, as a machine that goes down."""
        self.tend()
        self.kills += [time.monotonic()] * len(self._relays)
        for process in (*self._relays, *(one.process for one in self._runs)):
            process.kill()

    def kill_around_answer(self, port: int, answer: Callable[[], None], delay_seconds: float | None) -> None:
        """Kill the relay that has a port, after it was answered: before it can read that, or so many seconds later."""
        victim = next((one for one in self._relays if one.pid is not None and _has_port(one.pid, port)), None)
        if victim is None or victim.pid is None:
            answer()
            return
        self.kills.append(time.monotonic())
        if delay_seconds is None:
            os.kill(victim.pid, signal.SIGSTOP)
            answer()
        else:
            answer()
            time.sleep(delay_seconds)
        with suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)

    def run_to_end(self) -> None:
        """Let no other run be under way, and one come to its end, with everything that changed before."""
        self.has_runs = False
        self.wait_until(lambda: not self._runs, "the end of the runs", 120)
        self.run_once()

    def run_once(self) -> None:
        """Have a run come to its end that begins now."""
        run = self._start_run()
        self.wait_until(lambda: not run.process.is_alive(), "the end of a run", 120)
        assert run.process.exitcode == 0, self.tail()
        run.told.close()
        self.done += 1

    def stop(self) -> None:
        self.has_runs = False
        for process in (*self._relays, *(one.process for one in self._runs)):
            process.kill()
            process.join()

    def tail(self) -> str:
        return "\n".join(
            path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")) if path.is_file()
        )

    def _start_relay(self) -> ForkServerProcess:
        process = CONTEXT.Process(target=relay, args=(self.settings, self.folder / "relay.log", self.bug))
        process.start()
        return process

    def _start_run(self) -> Run:
        told, tell = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=run, args=(self.settings, self.folder / "run.log", self.bug, tell))
        process.start()
        tell.close()
        return Run(process, told)


def _has_port(pid: int, port: int) -> bool:
    with suppress(psutil.Error):
        return any(one.laddr and one.laddr.port == port for one in psutil.Process(pid).net_connections("tcp"))
    return False
