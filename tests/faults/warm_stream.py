"""A process that runs the stream as often as it is told, on one Spark session that is started ahead.

Starting Spark takes several seconds, so it is done while another stream still runs. What is run then is the real ``main`` of the
stream, with a trap or a planted bug. A line of JSON on the standard input is one run; its end is a line on the
descriptor ``--answers``. A run that is killed takes the process with it.
"""

import argparse
import json
import os
import sys
import threading
import time
from typing import Any, Final

import pytest

from market.settings import load_settings
from spark_jobs.io.checkpoint import Plan
from spark_jobs.jobs import intake, stream
from spark_jobs.jobs.batch import BatchIdentity, BatchProcessor
from spark_jobs.session import build_session
from tests.faults.bugs import BUGS
from tests.faults.points import Trap, set_trap

_POLL_SECONDS: Final = 0.02


class Work:
    """Counts the batches at hand, to end the queries of a run before the next one; a process that exits takes them with it."""

    def __init__(self, spark: Any) -> None:
        self._spark = spark
        self._lock = threading.Lock()
        self._batches = 0

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        process = BatchProcessor.process

        def counted(processor: BatchProcessor, plan: Plan, identity: BatchIdentity) -> None:
            self._count(1)
            try:
                process(processor, plan, identity)
            finally:
                self._count(-1)

        patch.setattr(BatchProcessor, "process", counted)

    def _count(self, step: int) -> None:
        with self._lock:
            self._batches += step

    def end(self) -> None:
        """Stop the queries that are left, and wait for what they had begun."""
        for query in self._spark.streams.active:
            query.stop()
        while self._batches:
            time.sleep(_POLL_SECONDS)


def run(spark: Any, order: dict[str, Any]) -> int:
    """Run the stream once with the settings, the bug and the trap of the order; return its exit code."""
    os.environ.update(order["environment"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "build_session", lambda _settings, _name: spark)
        if order["bug"] is not None:
            BUGS[order["bug"]].plant(patch)
        set_trap(patch, Trap(order["point"], order["nth"], order["action"]))
        work = Work(spark)
        work.watch(patch)
        code = stream.main(order["arguments"])
        work.end()
        return code


def main() -> None:
    """Start Spark, say so, and run what is ordered until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=int, required=True)
    answers = os.fdopen(parser.parse_args().answers, "w", buffering=1)
    spark = build_session(load_settings(), "faults")
    spark.stop = lambda: None  # a run ends, the session stays for the next
    spark.sparkContext.parallelize([0], 1).map(_load).collect()
    answers.write("ready\n")
    for line in sys.stdin:
        answers.write(f"{run(spark, json.loads(line))}\n")


def _load(number: int) -> int:
    """Make a worker import what the tasks of the stream need."""
    return number + len(intake.__name__)


if __name__ == "__main__":
    main()
