"""What ``up`` does with and without ``--once``: hold the home, tell what happens, stop everything at the end.

What belongs here: the frame around the services. What does not: which services there are (:mod:`cli.services`).
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

import typer

from cli.services import admit_analyst, prepare_stores, start_engines
from cli.signals import StopSignals
from infra.local.disk import require_space
from infra.local.home import Home, Phase
from infra.local.supervisor import Supervisor, stop_orphans
from market.errors import ServiceError
from market.settings import Settings

Result = TypeVar("Result")

STEP_SECONDS: Final = 0.2


def say(line: str) -> None:
    """Tell the user something that happened now; a terminal that is gone is no reason to fail."""
    with suppress(OSError):
        typer.echo(f"{time.strftime('%H:%M:%S')}  {line}")


@dataclass(slots=True)
class Platform:
    """A platform that is being run by this process.

    Attributes
    ----------
    home, settings
        Where everything is; the settings have the addresses of the running engines.
    supervisor
        Runs the services.
    addresses
        Addresses that other commands can read, named like the environment variables.
    """

    home: Home
    settings: Settings
    supervisor: Supervisor
    addresses: dict[str, str] = field(default_factory=dict, repr=False)

    def started(self) -> None:
        """Tell the other commands that everything runs."""
        self.home.write_phase(Phase.RUNNING)

    def publish_address(self, name: str, address: str) -> None:
        """Add an address to those that other commands can read."""
        self.addresses[name] = address
        self.home.write_addresses(self.addresses)

    def while_supervised(self, work: Callable[[], Result]) -> Result:
        """Return what ``work`` returns; meanwhile services that crash are started again.

        The work is done by another thread: this one, which started the services, must go on looking after them.

        Raises
        ------
        ServiceError
            If a service failed too often.
        """
        outcome: Future[Result] = Future()

        def run() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
                outcome.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        while not outcome.done():
            self.supervisor.step()
            with suppress(TimeoutError):
                outcome.exception(timeout=STEP_SECONDS)
        return outcome.result()

    def wait_for_task(self, name: str) -> str | None:
        """Wait until the task ``name`` is done; meanwhile services that crash are started again.

        Returns
        -------
        str or None
            Why it failed for good, or ``None`` if it ended well.

        Raises
        ------
        ServiceError
            If a service, or the task, crashed too often.
        """
        while not self.supervisor.is_done(name):
            self.supervisor.step()
            time.sleep(STEP_SECONDS)
        return self.supervisor.failure(name)


@contextmanager
def running_platform(settings: Settings, command: str, *, most_failures: int | None = None) -> Iterator[Platform]:
    """Start the engines and prepare their stores; stop everything, services of the block included, at the end.

    Parameters
    ----------
    settings
        Addresses that are set are used; engines are started for the others.
    command
        What the user called, for those who find the home in use.
    most_failures
        After how many crashes of one service in a row to give up; ``None`` means never.

    Raises
    ------
    HomeBusyError
        If another process runs the platform of this home.
    ServiceError
        If an engine cannot be started.
    """
    home, signals = Home(settings.home), StopSignals()
    with signals.installed(), home.lock(command):
        require_space(home.path)
        home.write_phase(Phase.STARTING)
        stop_orphans(home, say)
        platform = Platform(home, settings, Supervisor(home, say, most_failures=most_failures))
        try:
            _start(platform)
            yield platform
        finally:
            signals.stopping()
            with suppress(ServiceError):  # a full disk is no reason to leave anything running
                home.write_phase(Phase.STOPPING)
            home.remove_addresses()
            platform.supervisor.stop(hurry=signals.is_in_a_hurry)


def _start(platform: Platform) -> None:
    addresses = start_engines(platform.home, platform.settings, platform.supervisor)
    if addresses:
        say(f"Starting {' and '.join(sorted(platform.supervisor.processes()))} …")
    platform.supervisor.wait_ready()
    platform.settings = platform.settings.with_addresses(addresses)
    prepare_stores(platform.settings)
    for line in admit_analyst(platform.home, platform.settings, owns_server="DATABASE_URL" in addresses):
        say(line)
    platform.addresses |= addresses
    platform.home.write_addresses(platform.addresses)
