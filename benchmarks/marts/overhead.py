"""What Dagster and dbt add to a refresh of the marts, against the stock way of running dbt with Dagster.

Both times nothing has changed, so that all of the time is what they add: from the start of the run's process to its end, with
its record in the same kind of instance. Here a run is a fork of a process that has imported everything, and dbt runs in it; the
stock way is ``dagster job execute`` with a process for each step, which starts dbt as another one.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from statistics import median
from typing import Final

import structlog

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, spread
from market.errors import ServiceError
from market.settings import CHECKOUT, Settings
from orchestration.assets.marts import TOUCHED_MODELS
from orchestration.dbt import Dbt
from orchestration.instance import instance_environment, write_instance_config
from orchestration.run import run_jobs
from orchestration.warm_runs import PRELOADED
from warehouse.dbt import DBT_PROJECT, dbt_environment
from warehouse.schema import migrate

REPEATS: Final = 5
MOST: Final = 0.25
_PATIENCE_SECONDS: Final = 300.0

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figure."""
    with scratch_engines(settings, broker=False) as engines:
        migrate(engines)
        dbt = Dbt(engines)
        manifest = engines.home / "manifest.json"
        dbt.build([], lambda _event: None)
        manifest.write_bytes(
            next(dbt.folder.glob("manifest-*.json"), dbt.folder / "target" / "manifest.json").read_bytes()
        )
        write_instance_config(engines)
        os.environ.update(engines.child_environment())  # the forked processes find the home by it
        way = multiprocessing.get_context("forkserver")
        way.set_forkserver_preload([PRELOADED])
        forkserver.ensure_running()
        own, stock = [], []
        for turn in range(REPEATS + 1):  # the first warms both up
            times = (_own(way, engines), _stock(engines, manifest))
            _log.info("refreshed", own=round(times[0], 2), stock=round(times[1], 2))
            if turn:
                own.append(times[0])
                stock.append(times[1])
    ratio = median(own) / median(stock)
    yield Figure(
        figure="Dagster and dbt for a refresh with nothing new",
        value=median(own),
        unit="s",
        peer="dagster-dbt: multiprocess executor; dbt as a process",
        peer_value=median(stock),
        ratio=ratio,
        goal=f"ratio <= {MOST:g}",
        holds=ratio <= MOST,
        spread=spread(own),
    )


def _own(way: multiprocessing.context.ForkServerContext, settings: Settings) -> float:
    begun = time.monotonic()
    process = way.Process(target=_refresh, args=[settings])
    process.start()
    process.join()
    if process.exitcode:
        msg = f"The refresh ended with {process.exitcode}."
        raise ServiceError(msg)
    return time.monotonic() - begun


def _refresh(settings: Settings) -> None:
    run_jobs(settings, ["touched_marts"])


def _stock(settings: Settings, manifest: Path) -> float:
    environment = {
        **settings.child_environment(),
        **instance_environment(settings),
        **dbt_environment(settings),
        "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), settings.child_environment().get("PATH", "")]),
        "PGOPTIONS": "-c tapehouse.look=touched",
        "BENCH_MANIFEST": str(manifest),
        "BENCH_PROJECT": str(DBT_PROJECT),
        "BENCH_MODELS": " ".join(TOUCHED_MODELS),
        "DBT_TARGET_PATH": str(settings.home / "stock"),
        "DBT_LOG_PATH": str(settings.home / "stock"),
    }
    command = ["dagster", "job", "execute", "-m", "benchmarks.peers.stock_dagster", "-j", "refresh"]
    begun = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / command[0]), *command[1:]],
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    seconds = time.monotonic() - begun
    if done.returncode:
        msg = f"The stock way failed: {done.stderr[-2000:]}"
        raise ServiceError(msg)
    return seconds
