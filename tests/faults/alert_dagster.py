"""Dagster's own processes for the kills of alerts: the code server with its sensor and runs, and two daemons."""

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from cli.services import dagster_services
from infra.local.home import Home
from infra.local.ports import free_port
from infra.local.processes import Child
from infra.local.service import Service
from market.settings import Settings


@dataclass
class Dagster:
    """A code server and two daemons; what ends or is killed starts again at once."""

    settings: Settings
    _services: list[Service] = field(default_factory=list)
    _children: list[Child] = field(default_factory=list)

    def start(self, wait: Callable[[Callable[[], object], str, float], None]) -> None:
        """Start the code server, wait until it serves, and start the daemons: two, as no one should."""
        code_server, others, _ = dagster_services(Home(self.settings.home), self.settings, free_port())
        daemon = others[-1]
        self._services = [*code_server, daemon, daemon]
        self._children = [Child(code_server[0].command)]
        wait(code_server[0].is_ready, "the code server", 240)
        self._children += [Child(service.command) for service in self._services[1:]]

    def tend(self) -> None:
        """Start again what is not there."""
        for number, child in enumerate(self._children):
            if child.exit_status() is not None:
                child.kill()  # what it had started and left behind
                self._services[number].prepare()
                self._children[number] = Child(self._services[number].command)

    def end_daemon(self, chance: random.Random, how: signal.Signals) -> None:
        os.kill(chance.choice(self._children[1:]).pid, how)

    def kill_code_server(self) -> None:
        """Kill it with all that it runs: the sensor's tick and the runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._children[0].pid, signal.SIGKILL)

    def runs(self) -> list[psutil.Process]:
        """Return the processes of the runs under way: what the process forked that has imported everything."""
        with suppress(psutil.Error):
            servers = psutil.Process(self._children[0].pid).children()
            children = [child for server in servers for child in server.children()]
            return [child for child in children if not any("resource_tracker" in word for word in child.cmdline())]
        return []

    def stop(self) -> None:
        for child in self._children:
            child.kill()
        self._children = []
