"""The named points between two writes, and what happens when the stream reaches one.

The product has no hooks: its functions are wrapped from outside, in the process that runs it. What happens at the armed point:
``die`` (SIGKILL of the process group, the JVM included), ``stop`` (SIGSTOP of the driver, to go on later as an old writer would)
or ``cut`` (an exception, for what needs no death).
"""

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pytest
from deltalake import DeltaTable

from market.tables import Table
from spark_jobs.io.delta import Lake, NewFile
from spark_jobs.io.kafka import OffsetRange
from spark_jobs.jobs import intake, stream
from spark_jobs.jobs.intake import Intake
from warehouse import publisher

_KINDS: Final = {"market.trades.v1": "trades", "market.quotes.v1": "quotes", "market.bars.v1": "vendor_bars"}
_TABLES: Final = (
    *("messages", "quarantine", "duplicates"),
    *("trades", "amendments", "quotes", "vendor_bars", "bar_revisions_1m"),
)
"""The tables that the tape fills."""

POINTS: Final[tuple[str, ...]] = (
    "planned",
    "bronze_file_written",
    *(f"{table}_{where}" for table in _TABLES for where in ("written", "committed")),
    *(f"{kind}_{where}" for kind in _KINDS.values() for where in ("staged", "complete", "published")),
)
"""In the order of a batch.

``planned``: Spark has logged the batch, nothing is done. ``bronze_file_written``: a task has written its messages, and dies
with all others. ``<table>_written``: files of a table are there and not committed; ``<table>_committed``: they are.
``<kind>_staged``: the statements of the transaction are done, the lake perhaps not; ``<kind>_complete``: so is the lake, the
transaction is about to be committed; ``<kind>_published``: it is, Spark has not logged it yet.
"""


RACES: Final[tuple[str, ...]] = tuple(f"{table}_checked" for table in _TABLES)
"""Where two writers collide: the commit has seen that the batch is not in the table, and has not been made. For one that dies
it is the same as ``<table>_written``."""


class Cut(Exception):  # noqa: N818
    """The batch ends here."""


@dataclass
class Trap:
    """What happens at the ``nth`` passing of a point; nothing without a point."""

    point: str | None = None
    nth: int = 1
    action: str = "die"

    def __post_init__(self) -> None:
        assert self.point is None or self.point in POINTS + RACES, self.point
        self._lock = threading.Lock()
        self._passed = 0

    def is_due(self, point: str) -> bool:
        with self._lock:
            self._passed += point == self.point
            return point == self.point and self._passed == self.nth

    def reach(self, point: str) -> None:
        if not self.is_due(point):
            return
        if self.action == "die":
            os.killpg(os.getpgrp(), signal.SIGKILL)
            signal.pause()
        elif self.action == "stop":
            # To this thread: sent to the process, another thread may take it, and this one goes on for a while.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        else:
            raise Cut(point)


def set_trap(patch: pytest.MonkeyPatch, trap: Trap) -> None:
    """Wrap the functions between two writes, once per run of the stream."""
    _wrap_commits(patch, trap)
    _wrap_planning(patch, trap)
    _wrap_tasks(patch, trap)
    _wrap_publishing(patch, trap)


def _wrap_commits(patch: pytest.MonkeyPatch, trap: Trap) -> None:
    commit = Lake.commit

    def watched(self: Lake, table: Table, files: Iterable[NewFile], *, writer_id: str, batch_id: int) -> None:
        trap.reach(f"{table.name}_written")
        commit(self, table, files, writer_id=writer_id, batch_id=batch_id)
        trap.reach(f"{table.name}_committed")

    make = DeltaTable.create_write_transaction

    def watched_make(self: DeltaTable, *arguments: Any, **options: Any) -> None:
        trap.reach(f"{self.table_uri.rstrip('/').rpartition('/')[2]}_checked")
        make(self, *arguments, **options)

    patch.setattr(Lake, "commit", watched)
    patch.setattr(DeltaTable, "create_write_transaction", watched_make)


def _wrap_planning(patch: pytest.MonkeyPatch, trap: Trap) -> None:
    stamp_of = stream.Stamps.of  # asked once a batch, after its plan was read

    def watched(self: stream.Stamps, batch_id: int, planned_at: datetime) -> datetime:
        stamp = stamp_of(self, batch_id, planned_at)
        trap.reach("planned")
        return stamp

    patch.setattr(stream.Stamps, "of", watched)


def _wrap_tasks(patch: pytest.MonkeyPatch, trap: Trap) -> None:
    make_task = intake._task

    def make_watched(source: Intake, topic: str, ingested_at: Any) -> Callable[[OffsetRange], Any]:
        task = make_task(source, topic, ingested_at)
        return functools.partial(_die_after, task, os.getpgrp()) if trap.is_due("bronze_file_written") else task

    patch.setattr(intake, "_task", make_watched)


def _die_after(task: Callable[[OffsetRange], Any], group: int, wanted: OffsetRange) -> Any:
    """Do the task in its worker, then kill the stream that asked for it."""
    part = task(wanted)
    os.killpg(group, signal.SIGKILL)
    return part


def _wrap_publishing(patch: pytest.MonkeyPatch, trap: Trap) -> None:
    publish = publisher.publish_when_reachable

    def watched(settings: Any, batch: Any, stop: threading.Event, before_commit: Callable[[], None]) -> bool:
        kind = next(_KINDS.get(topic, topic) for topic, _ in batch.next_offsets)

        def finish_lake() -> None:
            trap.reach(f"{kind}_staged")
            before_commit()
            trap.reach(f"{kind}_complete")

        is_new = publish(settings, batch, stop, finish_lake)
        trap.reach(f"{kind}_published")
        return is_new

    patch.setattr(stream, "publish_when_reachable", watched)
