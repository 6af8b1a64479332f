"""``python -m orchestration.code_server PORT``: Dagster's code server, which ends the runs that its predecessor left."""

import sys
import time
from threading import Thread
from typing import Final

import dagster as dg
from dagster._cli import main as dagster_command

from infra.local.ports import accepts_connections
from orchestration.instance import HOST, LOCATION
from orchestration.orphans import ask_again, end_runs, find_orphans
from orchestration.warm_runs import start_runs_warm

_READY_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.2
_ASK_AGAIN_SECONDS: Final = 30.0
"""The daemon looks for failures every five seconds."""
_SERVER: Final = (
    *(
        "dagster",
        "api",
        "grpc",
        "--host",
        HOST,
        "--module-name",
        "orchestration.definitions",
        "--location-name",
        LOCATION,
    ),
    *(
        "--use-python-environment-entry-point",
        "--inject-env-vars-from-instance",
        "--max-workers",
        "8",
        "--log-level",
        "warning",
    ),
)


def main() -> None:
    """Serve until SIGTERM."""
    port = int(sys.argv[1])
    with dg.DagsterInstance.get() as instance:
        orphans = find_orphans(instance, served=True)
    if orphans:
        Thread(target=_end_once_serving, args=(port, orphans), daemon=True).start()
    start_runs_warm()
    sys.argv = [*_SERVER, "--port", str(port)]
    dagster_command()  # type: ignore[no-untyped-call]  # Dagster leaves it untyped


def _end_once_serving(port: int, orphans: list[str]) -> None:
    """End the orphans when this server answers, and see that the daemon runs them again."""
    deadline = time.monotonic() + _READY_SECONDS
    while not accepts_connections(HOST, port) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    with dg.DagsterInstance.get() as instance:
        waiting = end_runs(instance, orphans)
        deadline = time.monotonic() + _READY_SECONDS
        while waiting and time.monotonic() < deadline:
            time.sleep(_ASK_AGAIN_SECONDS)
            waiting = ask_again(instance, waiting)


if __name__ == "__main__":
    main()
