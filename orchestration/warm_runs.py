"""Runs of the code server start as forks of a process that has imported everything, not as processes that begin with nothing.

Dagster's server starts each run by ``multiprocessing`` in the way ``spawn``: seconds of imports before the first step, most of
what a build of a new minute takes. The way ``forkserver`` is the same to it: a process of its own for each run, given the same.
"""

import multiprocessing
from multiprocessing import forkserver
from types import SimpleNamespace
from typing import Any, Final

from dagster._grpc import server

PRELOADED: Final = "orchestration.preloaded"


def start_runs_warm() -> None:
    """Have the code server of this process start its runs so, and begin with the imports now."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()
    # The server asks for the way by its name when it is made, and has no setting for it.
    of_the_server: Any = server
    of_the_server.multiprocessing = SimpleNamespace(get_context=lambda _way: context)
