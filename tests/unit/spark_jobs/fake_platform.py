"""The stream without Spark and PostgreSQL: real Delta tables, batches of given messages, and writes that can fail."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl

from market import tables
from market.tables import Table
from spark_jobs.io.checkpoint import Plan
from spark_jobs.io.delta import Lake, NewFile
from spark_jobs.jobs import intake
from spark_jobs.jobs.batch import BatchIdentity, BatchProcessor
from spark_jobs.jobs.intake import TakenIn
from spark_jobs.jobs.sessions import MOST_RECORDS, Sessions
from spark_jobs.transforms.kinds import RecordKind
from tests.unit.spark_jobs.messages import INGESTED, as_messages, calendar
from warehouse.batch import BatchOutput

_CHUNK = 4
"""Messages of a task are read a few at a time, so that most batches have several chunks."""


class Cut(Exception):  # noqa: N818
    """The process died here."""


@dataclass
class Cuts:
    """Which tables fail, and where: when they are read, before a file is written, before the commit, or after it."""

    tables: frozenset[Table] = frozenset()
    where: Literal["read", "file", "commit", "done"] = "file"


@dataclass(frozen=True, slots=True)
class CuttingLake(Lake):
    """A lake in which some tables cannot be read or written: the batch ends there."""

    cuts: Cuts = field(default_factory=Cuts)

    def write(self, table: Table, rows: pl.DataFrame) -> NewFile:
        if table in self.cuts.tables and self.cuts.where == "file":
            raise Cut
        return Lake.write(self, table, rows)

    def commit(self, table: Table, files: Sequence[NewFile], *, writer_id: str, batch_id: int) -> None:  # type: ignore[override]
        if table in self.cuts.tables and self.cuts.where == "commit":
            raise Cut
        Lake.commit(self, table, files, writer_id=writer_id, batch_id=batch_id)
        if table in self.cuts.tables and self.cuts.where == "done":
            raise Cut

    def scan(self, table: Table) -> pl.LazyFrame:
        if table in self.cuts.tables and self.cuts.where == "read":
            raise Cut
        return Lake.scan(self, table)


@dataclass
class FakePostgres:
    """Keeps each batch once, as PostgreSQL does by the batch's number."""

    batches: dict[tuple[str, int], BatchOutput] = field(default_factory=dict)
    fails: Literal["", "before", "after"] = ""

    def publish(self, batch: BatchOutput, before_commit: Callable[[], None]) -> bool:
        if self.fails == "before":
            raise Cut
        before_commit()
        known = (batch.query_id, batch.batch_id) in self.batches
        self.batches.setdefault((batch.query_id, batch.batch_id), batch)
        if self.fails == "after":
            raise Cut
        return not known

    def counts(self) -> list[dict[str, int]]:
        names = ("messages", "trades", "quotes", "vendor_bars", "quarantined", "duplicates", "bars")
        return [{name: getattr(batch, name) for name in names} for _, batch in sorted(self.batches.items())]

    def bars(self, batch_id: int) -> list[dict[str, Any]]:
        published = self.batches["query of trade", batch_id].bar_rows
        assert published is not None
        return sorted(published.to_pylist(), key=str)


@dataclass
class Platform:
    """A lake of its own with a fake PostgreSQL; what is stored outlives the processes that write it."""

    root: Path
    tasks: int = 1
    tasks_per_portion: int = 1
    postgres: FakePostgres = field(default_factory=FakePostgres)

    def run(self, kind: RecordKind, batch_id: int, values: Sequence[bytes | None], first_offset: int) -> None:
        """Run one batch in a process that was started for it."""
        Process(self, kind).run(batch_id, values, first_offset)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Return the table's rows as another engine reads them."""
        return sorted(pl.read_delta(f"{self.root}/{table.path}").to_dicts(), key=str)

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        return {table.name: self.rows(table) for table in tables.LAKE_TABLES}


class Process:
    """A run of the stream for one topic: what it remembers ends with it."""

    def __init__(
        self, platform: Platform, kind: RecordKind, cuts: Cuts | None = None, most: int = MOST_RECORDS
    ) -> None:
        self.cuts = cuts or Cuts()
        self._tasks = platform.tasks
        self._tasks_per_portion = platform.tasks_per_portion
        self._kind = kind
        self._values: Sequence[bytes | None] = ()
        self._lake = CuttingLake(str(platform.root), cuts=self.cuts)
        for table in tables.LAKE_TABLES:
            self._lake.create(table)
        self.processor = BatchProcessor(kind, self._lake, self._take_in, platform.postgres.publish)
        object.__setattr__(
            self.processor, "sessions", Sessions(kind, self._lake, most, amendments=self.processor.amendments)
        )

    def run(self, batch_id: int, values: Sequence[bytes | None], first_offset: int) -> None:
        moment = INGESTED + timedelta(seconds=batch_id)
        self._values = values
        plan = Plan(moment, {0: first_offset}, {0: first_offset + len(values)})
        self.processor.process(plan, BatchIdentity(f"query of {self._kind.name}", batch_id, moment))

    def _take_in(self, kind: RecordKind, plan: Plan, ingested_at: Any) -> Iterator[TakenIn]:
        """Do what Spark's tasks do, each with some of the messages, in one portion or several."""
        count, first = len(self._values), plan.starts[0]
        cuts = [count * number // self._tasks for number in range(self._tasks + 1)]
        parts = []
        for start, end in itertools.pairwise(cuts):
            pieces = range(start, end, _CHUNK)
            chunks = (as_messages(self._values[at : min(at + _CHUNK, end)], first + at) for at in pieces)
            part = intake.take_in(chunks, kind, calendar(), ingested_at, self._lake.uri(tables.MESSAGES))
            parts.append(part)
        for at in range(0, len(parts), self._tasks_per_portion):
            if taken := intake.together(parts[at : at + self._tasks_per_portion]):
                yield taken
