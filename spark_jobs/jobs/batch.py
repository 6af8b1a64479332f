"""One micro-batch of one topic, from messages to PostgreSQL.

Every write is idempotent by the batch's number, everything is derived from the batch's messages and from what earlier
batches stored, and Spark counts the batch as done only after the last step. A batch that was cut anywhere is run again
whole, with the same messages and the same ``ingested_at``.

1. In Spark's tasks: write the messages as they are to files of bronze, parse and check them.
2. Find out which records are new, by what is known of their sessions.
3. Commit bronze; append the rejected, the repeated and the new records to their tables.
4. Trades only: add the new ones to the bars that they touch, and build anew, from all of their trades, those of which one was
   cancelled or corrected; append the bars as revisions.
5. Publish what changed, the offsets and the batch's number to PostgreSQL in one transaction, which is committed when all of
   the above is written.
6. Take note of what is stored now.
"""

import functools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl
import structlog

from market import tables
from market.tables import DataType, Table
from spark_jobs.io.checkpoint import Plan
from spark_jobs.io.delta import Lake, NewFile
from spark_jobs.jobs.amendments import Amendments
from spark_jobs.jobs.intake import TakenIn
from spark_jobs.jobs.sessions import Sessions
from spark_jobs.schemas import MOMENT, to_arrow
from spark_jobs.transforms import unique
from spark_jobs.transforms.amend import amend
from spark_jobs.transforms.bars import BAR_KEY, SUM_SCHEMA, finish, sum_trades
from spark_jobs.transforms.kinds import AMENDMENTS, QUOTES, STATUSES, TRADES, VENDOR_BARS, RecordKind
from spark_jobs.transforms.unique import CONFLICT, DUPLICATE, FRESH
from warehouse.batch import BatchOutput
from warehouse.staging import QUOTE_COLUMNS

log = structlog.get_logger()

_WRITERS: Final = 4

Publish = Callable[[BatchOutput, Callable[[], None]], bool]
TakeIn = Callable[[RecordKind, Plan, datetime], TakenIn | None]


@dataclass(frozen=True, slots=True)
class BatchIdentity:
    """Which batch it is: the same however often it is run.

    Attributes
    ----------
    query_id, batch_id
        The checkpoint and the number of the batch in it.
    ingested_at
        When Spark planned the batch, as it logged it; later than that of the batch before, of the same topic.
    """

    query_id: str
    batch_id: int
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class Split:
    """The valid records of a batch by what they are: the new ones, those that repeat and those that contradict one.

    ``amendments`` are the new cancels and corrections, ``repeated_amendments`` those that were stated before.
    """

    fresh: pl.DataFrame
    duplicates: pl.DataFrame
    conflicts: pl.DataFrame
    amendments: pl.DataFrame
    repeated_amendments: pl.DataFrame


@dataclass(frozen=True, slots=True)
class BatchProcessor:
    """Processes the micro-batches of one topic; called again by Spark for a batch that was cut.

    Attributes
    ----------
    kind
        What the topic carries.
    lake
        The tables, already created.
    take_in
        Writes the messages of a batch to bronze and decodes them.
    publish
        Writes a batch to PostgreSQL in one transaction, and does what it is given before the commit; returns whether the batch
        was new there.
    """

    kind: RecordKind
    lake: Lake
    take_in: TakeIn
    publish: Publish
    amendments: Amendments = field(init=False)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "amendments", Amendments(self.lake))
        object.__setattr__(self, "sessions", Sessions(self.kind, self.lake, amendments=self.amendments))

    def process(self, plan: Plan, batch: BatchIdentity) -> None:
        """Run the steps of the module's docstring for one batch."""
        started = time.monotonic()
        try:
            taken = self.take_in(self.kind, plan, batch.ingested_at)
            if taken is not None:
                with ThreadPoolExecutor(max_workers=_WRITERS, thread_name_prefix="write") as pool:
                    _Batch(self, taken, batch, pool, started).run()
        except BaseException:
            self.sessions.forget()
            self.amendments.forget()
            raise


class _Batch:
    """One batch on its way: what its steps share, and what is being written."""

    def __init__(
        self,
        job: BatchProcessor,
        taken: TakenIn,
        identity: BatchIdentity,
        pool: ThreadPoolExecutor,
        started_monotonic: float,
    ) -> None:
        self._kind = job.kind
        self._lake = job.lake
        self._publish = job.publish
        self._sessions = job.sessions
        self._amendments = job.amendments
        self._identity = identity
        self._started = started_monotonic
        self._files = taken.files
        self._valid = self._stamped(taken.decoded.valid)
        beside = dict(zip(job.kind.beside, map(self._stamped, taken.decoded.beside), strict=True))
        self._amending = beside.get(AMENDMENTS, pl.DataFrame())
        self._statuses = beside.get(STATUSES, pl.DataFrame())
        self._rejected = self._stamped(taken.decoded.rejected)
        self._pool = pool
        self._writes: list[Future[None]] = []

    def run(self) -> None:
        self._commit(tables.MESSAGES, self._files)
        self._sessions.meet(self._valid["session_date"].unique().to_list(), self._identity.ingested_at)
        split = self._split()
        self._append_rejected(split)
        self._append(self._kind.table, split.fresh)
        self._append(tables.AMENDMENTS, split.amendments)
        self._append(tables.FEED_STATUS, self._statuses)
        sums = self._sums(split)
        bars = finish(sums) if sums is not None else None
        if bars is not None:
            self._append(tables.BAR_REVISIONS, bars)
        output = self._output(split, bars)
        self._publish(output, self._finish_writes)
        self._finish_writes()  # those of a batch that PostgreSQL has already
        self._sessions.remember(split.fresh, sums)
        self._amendments.remember(split.amendments)
        log.info(
            "batch",
            topic=self._kind.topic.name,
            batch_id=self._identity.batch_id,
            messages=output.messages,
            quarantined=output.quarantined,
            duplicates=output.duplicates,
            bars=output.bars,
            ms=round((time.monotonic() - self._started) * 1000),
        )

    def _finish_writes(self) -> None:
        for write in self._writes:
            write.result()

    def _stamped(self, rows: pl.DataFrame) -> pl.DataFrame:
        stamp = pl.lit(self._identity.ingested_at, MOMENT).alias("ingested_at")
        return rows.with_columns(pl.lit(self._kind.topic.name).alias("topic"), stamp)

    def _commit(self, table: Table, files: tuple[NewFile, ...]) -> None:
        commit = functools.partial(
            self._lake.commit, writer_id=self._identity.query_id, batch_id=self._identity.batch_id
        )
        self._writes.append(self._pool.submit(commit, table, files))

    def _append(self, table: Table, rows: pl.DataFrame) -> None:
        if rows.height:
            append = functools.partial(
                self._lake.append, writer_id=self._identity.query_id, batch_id=self._identity.batch_id
            )
            self._writes.append(self._pool.submit(append, table, rows))

    def _split(self) -> Split:
        """Step 2; only records whose key occurs more than once have to be judged."""
        rows, amending = self._valid, self._amending
        before = self._identity.ingested_at
        amendments = self._amendments.split(amending, before) if amending.height else (amending, amending)
        if not rows.height:
            return Split(rows, rows, rows, *amendments)
        stored = self._sessions.stored_payloads(rows)
        again = rows["key_hash"].is_duplicated() | stored.is_not_null()
        if not again.any():
            return Split(rows, rows.clear(), rows.clear(), *amendments)
        judge = unique.judge_versions if self._kind.restated else unique.judge
        judged = judge(rows.with_columns(stored).filter(again))
        of = {verdict: judged.filter(pl.col("verdict") == verdict) for verdict in (FRESH, DUPLICATE, CONFLICT)}
        fresh = pl.concat([rows.filter(~again), of[FRESH].select(rows.columns)])
        return Split(fresh, of[DUPLICATE], of[CONFLICT], *amendments)

    def _append_rejected(self, split: Split) -> None:
        identity = self._kind.identity
        conflicts = split.conflicts.with_columns(
            pl.lit(f"conflicting_{identity.key[-1]}").alias("reason"),
            unique.conflict_detail(split.conflicts, identity, _prices(self._kind.table)),
        )
        names = tables.QUARANTINE.column_names
        self._append(tables.QUARANTINE, pl.concat([self._rejected.select(names), conflicts.select(names)]))
        names = tables.DUPLICATES.column_names
        repeating = [split.duplicates.with_columns(unique.record_id(identity.key).alias("record_id")).select(names)]
        if split.repeated_amendments.height:
            repeated = split.repeated_amendments.with_columns(
                unique.record_id(unique.TRADE_REFERENCE).alias("record_id")
            )
            repeating.append(repeated.select(names))
        self._append(tables.DUPLICATES, pl.concat(repeating))

    def _sums(self, split: Split) -> pl.DataFrame | None:
        """Step 4."""
        if self._kind is not TRADES or not (split.fresh.height or split.amendments.height):
            return None
        before, columns = self._identity.ingested_at, TRADES.table.column_names
        known = self._amendments.stored(before)
        every_amendment = pl.concat([known, split.amendments]) if split.amendments.height else known
        fresh = amend(split.fresh.select(columns), every_amendment)
        if not split.amendments.height:
            return self._sessions.add_to_bars(sum_trades(fresh))
        stored = self._sessions.trades_around(split.amendments, before)
        bars = stored.select(*BAR_KEY, "session_date").unique()
        self._sessions.meet(bars["session_date"].unique().to_list(), before)
        with_them = fresh.join(bars, on=BAR_KEY, how="semi")
        others = fresh.join(bars, on=BAR_KEY, how="anti")
        built = sum_trades(pl.concat([amend(stored.select(columns), every_amendment), with_them]))
        before_it = self._sessions.stored_sums(bars).select(*BAR_KEY, "revision")
        built = built.drop("revision").join(before_it, on=BAR_KEY).with_columns(pl.col("revision") + 1)
        return pl.concat([built.select(*SUM_SCHEMA), self._sessions.add_to_bars(sum_trades(others))])

    def _output(self, split: Split, bars: pl.DataFrame | None) -> BatchOutput:
        kind, fresh = self._kind, split.fresh
        parts = (self._valid, self._rejected, self._amending, self._statuses)
        places = pl.concat([part.select("partition", "offset") for part in parts if part.height])
        last = places.group_by("partition").agg(pl.col("offset").max()).iter_rows()
        return BatchOutput(
            query_id=self._identity.query_id,
            batch_id=self._identity.batch_id,
            ingested_at=self._identity.ingested_at,
            started_monotonic=self._started,
            messages=places.height,
            trades=fresh.height if kind is TRADES else 0,
            amendments=split.amendments.height,
            statuses=self._statuses.height,
            quotes=fresh.height if kind is QUOTES else 0,
            vendor_bars=fresh.height if kind is VENDOR_BARS else 0,
            quarantined=self._rejected.height + split.conflicts.height,
            duplicates=split.duplicates.height + split.repeated_amendments.height,
            bars=bars.height if bars is not None else 0,
            newest_event_at=self._valid[kind.moment].max() if self._valid.height else None,  # type: ignore[arg-type]
            bar_rows=to_arrow(bars, tables.BAR_REVISIONS) if bars is not None else None,
            vendor_bar_rows=to_arrow(fresh, tables.VENDOR_BARS) if kind is VENDOR_BARS and fresh.height else None,
            quote_rows=to_arrow(fresh, tables.QUOTES, QUOTE_COLUMNS) if kind is QUOTES and fresh.height else None,
            status_rows=to_arrow(self._statuses, tables.FEED_STATUS) if self._statuses.height else None,
            next_offsets={(kind.topic.name, partition): offset + 1 for partition, offset in last},
        )


def _prices(table: Table) -> frozenset[str]:
    return frozenset(column.name for column in table.columns if column.type is DataType.PRICE)
