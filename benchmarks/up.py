"""``./run up --once`` on real ticks as a user runs it: the whole wall time, engines' start included."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from statistics import median
from typing import Final

import structlog

from benchmarks.figures import Figure, spread
from market.errors import ServiceError
from market.settings import CHECKOUT, Settings

REPEATS: Final = 3
GOAL_SECONDS: Final = 90
LEAN_FOLDER: Final = CHECKOUT.parent / "shared" / "data" / "lean"
_DAY: Final = "2013-10-07"

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the wall time; skipped, and that is logged, if the data are absent."""
    if not LEAN_FOLDER.is_dir():
        _log.warning("figure_skipped", figure="up --once", reason=f"{LEAN_FOLDER} does not exist")
        return
    seconds = [_once(settings) for _ in range(REPEATS)]
    value = median(seconds)
    yield Figure(
        figure="up --once on SPY and IBM of one day, trades and quotes, to the proof of the laws",
        value=value,
        unit="s",
        peer=None,
        peer_value=None,
        ratio=None,
        goal=f"value < {GOAL_SECONDS}",
        holds=value < GOAL_SECONDS,
        spread=spread(seconds),
    )


def _once(settings: Settings) -> float:
    feed = ["--feed", "lean", "--path", str(LEAN_FOLDER), "--symbols", "spy,ibm", "--start", _DAY, "--end", _DAY]
    with tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder:
        environment = {**settings.child_environment(), "TAPEHOUSE_HOME": folder}
        for address in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "LAKE_URI"):
            environment.pop(address, None)
        started = time.monotonic()
        finished = subprocess.run(
            [str(CHECKOUT / "run"), "up", "--once", *feed], env=environment, capture_output=True, text=True, check=False
        )
        taken = time.monotonic() - started
    if finished.returncode:
        msg = f"up --once ended with {finished.returncode}:\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}"
        raise ServiceError(msg)
    return taken
