"""One micro-batch of one topic, from messages to PostgreSQL.

Every write is idempotent by the batch's number, everything is derived from the batch's messages and from what earlier
batches stored, and Spark counts the batch as done only after the last step. A batch that was cut anywhere is run again
whole, with the same messages and the same ``ingested_at``.

1. In Spark's tasks: write the messages as they are to files of bronze, parse and check them.
2. Find out which records are new, by what is known of their sessions; write them to files. Trades only: sum them up.
3. Commit the files of bronze and of the new records; append the rejected and the repeated ones.
4. Trades only: add the sums to the bars that they touch, and build anew, from all of their trades, those of which one was
   cancelled or corrected; append the bars as revisions.
5. Publish what changed, the offsets and the batch's number to PostgreSQL in one transaction, which is committed when all of
   the above is written.

A large batch comes from the tasks in portions, in the order of the ledger: steps 1 and 2 of different portions run at the same
time. Nothing depends on how a batch is cut into portions.
"""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

import polars as pl
import structlog

from market import tables
from market.tables import Table
from spark_jobs.io.checkpoint import Plan
from spark_jobs.io.delta import Lake, NewFile
from spark_jobs.jobs.amendments import Amendments, split
from spark_jobs.jobs.intake import TakenIn
from spark_jobs.jobs.sessions import Sessions
from spark_jobs.schemas import MOMENT, frame_schema, to_arrow
from spark_jobs.transforms import unique
from spark_jobs.transforms.amend import amend
from spark_jobs.transforms.bars import BAR_KEY, SUM_SCHEMA, add_sums, finish, sum_trades
from spark_jobs.transforms.kinds import AMENDMENTS, CORPORATE_ACTIONS, QUOTES, STATUSES, TRADES, VENDOR_BARS, RecordKind
from spark_jobs.transforms.set_aside import conflict_rows, duplicate_rows, rejected_rows
from spark_jobs.transforms.unique import CONFLICT, DUPLICATE, FRESH
from warehouse.batch import BatchOutput
from warehouse.staging import PLACED_QUOTE_COLUMNS

log = structlog.get_logger()

_WRITERS: Final = 4

Publish = Callable[[BatchOutput, Callable[[], None]], bool]
TakeIn = Callable[[RecordKind, Plan, datetime], Iterable[TakenIn]]


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
            with ThreadPoolExecutor(max_workers=_WRITERS, thread_name_prefix="write") as pool:
                work = _Batch(self, batch, pool, started)
                for portion in self.take_in(self.kind, plan, batch.ingested_at):
                    work.add(portion)
                work.finish()
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Forget what is stored: it is read again when it is needed."""
        self.sessions.forget()
        self.amendments.forget()


@dataclass(slots=True)
class _Found:
    """What was found in a batch so far, by what it is; a frame for each portion that has some of it."""

    rejected: list[pl.DataFrame] = field(default_factory=list)
    repeated: list[pl.DataFrame] = field(default_factory=list)
    fresh: list[pl.DataFrame] = field(default_factory=list)
    amendments: list[pl.DataFrame] = field(default_factory=list)
    statuses: list[pl.DataFrame] = field(default_factory=list)
    sums: list[pl.DataFrame] = field(default_factory=list)

    def count(self, name: str) -> int:
        """Return how many rows of a kind there are."""
        return sum(frame.height for frame in getattr(self, name))


class _Batch:
    """One batch on its way: what its steps share, and what is being written."""

    def __init__(
        self, job: BatchProcessor, identity: BatchIdentity, pool: ThreadPoolExecutor, started_monotonic: float
    ) -> None:
        self._kind = job.kind
        self._lake = job.lake
        self._publish = job.publish
        self._sessions = job.sessions
        self._amendments = job.amendments
        self._identity = identity
        self._started = started_monotonic
        self._pool = pool
        self._found = _Found()
        self._files: list[NewFile] = []
        self._fresh_files: list[Future[NewFile]] = []
        self._writes: list[Future[None]] = []
        self._remembering: Future[None] | None = None
        self._next_offsets: dict[int, int] = {}
        self._messages = 0
        self._newest: datetime | None = None
        self._dates: set[date] = set()

    def add(self, portion: TakenIn) -> None:
        """Take in some of the batch's messages: those that come next in the order of the ledger."""
        self._files += portion.files
        decoded = portion.decoded
        valid, rejected = self._stamped(decoded.valid), self._stamped(decoded.rejected)
        beside = dict(zip(self._kind.beside, map(self._stamped, decoded.beside), strict=True))
        self._count(valid, rejected, *beside.values())
        _keep(self._found.rejected, rejected_rows(rejected))
        _keep(self._found.statuses, beside.get(STATUSES))
        if (amending := beside.get(AMENDMENTS)) is not None and amending.height:
            self._add_amendments(amending)
        if valid.height:
            self._add_records(valid)

    def finish(self) -> None:
        """Do the steps that need all of the batch's messages."""
        if not self._messages:
            return
        self._remembered()
        found = self._found
        self._commit(tables.MESSAGES, self._files)
        self._append(tables.QUARANTINE, found.rejected)
        self._append(tables.DUPLICATES, found.repeated)
        self._append(tables.AMENDMENTS, found.amendments)
        self._append(tables.FEED_STATUS, found.statuses)
        sums = self._sums()
        bars = finish(sums) if sums is not None else None
        if bars is not None:
            self._append(tables.BAR_REVISIONS, [bars])
        if self._fresh_files:
            self._commit(self._kind.table, [file.result() for file in self._fresh_files])
        output = self._output(bars)
        self._publish(output, self._finish_writes)
        self._finish_writes()  # those of a batch that PostgreSQL has already
        if sums is not None:
            self._sessions.remember_bars(sums)
        self._sessions.shrink(self._dates)
        self._amendments.remember(found.amendments)
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

    def _stamped(self, rows: pl.DataFrame) -> pl.DataFrame:
        stamp = pl.lit(self._identity.ingested_at, MOMENT).alias("ingested_at")
        return rows.with_columns(pl.lit(self._kind.topic.name).alias("topic"), stamp)

    def _count(self, valid: pl.DataFrame, *others: pl.DataFrame) -> None:
        places = pl.concat([part.select("partition", "offset") for part in (valid, *others) if part.height])
        self._messages += places.height
        for partition, offset in places.group_by("partition").agg(pl.col("offset").max()).iter_rows():
            self._next_offsets[partition] = max(self._next_offsets.get(partition, 0), offset + 1)
        newest = valid[self._kind.moment].max()
        if isinstance(newest, datetime):
            self._newest = max(self._newest or newest, newest)

    def _add_amendments(self, rows: pl.DataFrame) -> None:
        fresh, repeated = split(rows, self._every_amendment())
        _keep(self._found.amendments, fresh)
        self._repeat(repeated, unique.TRADE_REFERENCE)

    def _add_records(self, rows: pl.DataFrame) -> None:
        """Step 2; only records whose key occurs more than once have to be judged."""
        dates = set(rows["session_date"].unique().to_list())
        self._dates |= dates
        self._remembered()
        self._sessions.meet(dates, self._identity.ingested_at)
        stored = self._sessions.stored_payloads(rows)
        again = rows["key_hash"].is_duplicated() | stored.is_not_null()
        fresh = rows
        if again.any():
            judge = unique.judge_versions if self._kind.restated else unique.judge
            judged = judge(rows.with_columns(stored).filter(again))
            of = {verdict: judged.filter(pl.col("verdict") == verdict) for verdict in (FRESH, DUPLICATE, CONFLICT)}
            fresh = pl.concat([rows.filter(~again), of[FRESH].select(rows.columns)])
            self._repeat(of[DUPLICATE], self._kind.identity.key)
            _keep(self._found.rejected, conflict_rows(of[CONFLICT], self._kind))
        if fresh.height:
            self._found.fresh.append(fresh)
            self._fresh_files.append(self._pool.submit(self._lake.write, self._kind.table, fresh))
            self._remembering = self._pool.submit(self._sessions.remember_records, fresh)
            if self._kind is TRADES:
                columns = TRADES.table.column_names
                self._found.sums.append(sum_trades(amend(fresh.select(columns), self._every_amendment())))

    def _remembered(self) -> None:
        """Wait until the records of the portion before are known."""
        if self._remembering is not None:
            self._remembering.result()

    def _repeat(self, rows: pl.DataFrame, key: Sequence[str]) -> None:
        _keep(self._found.repeated, duplicate_rows(rows, key))

    def _every_amendment(self) -> pl.DataFrame:
        """Return what is known of cancels and corrections, those of this batch so far among them."""
        return pl.concat([self._amendments.stored(self._identity.ingested_at), *self._found.amendments])

    def _commit(self, table: Table, files: Sequence[NewFile]) -> None:
        commit = functools.partial(
            self._lake.commit, writer_id=self._identity.query_id, batch_id=self._identity.batch_id
        )
        self._writes.append(self._pool.submit(commit, table, files))

    def _append(self, table: Table, frames: Sequence[pl.DataFrame]) -> None:
        if frames:
            append = functools.partial(
                self._lake.append, writer_id=self._identity.query_id, batch_id=self._identity.batch_id
            )
            rows = pl.concat([frame.select(table.column_names) for frame in frames])
            self._writes.append(self._pool.submit(append, table, rows))

    def _finish_writes(self) -> None:
        for write in self._writes:
            write.result()

    def _sums(self) -> pl.DataFrame | None:
        """Step 4: return what the changed bars come to."""
        found = self._found
        if self._kind is not TRADES or not (found.fresh or found.amendments):
            return None
        own = add_sums(pl.concat([pl.DataFrame(schema=SUM_SCHEMA), *found.sums]))
        own = own.with_columns(pl.lit(1, pl.Int32).alias("revision"))  # one batch, whatever portions it came in
        if not found.amendments:
            return self._sessions.add_to_bars(own)
        before, every = self._identity.ingested_at, self._every_amendment()
        columns = TRADES.table.column_names
        amendments = pl.concat(found.amendments)
        fresh = pl.concat(
            [pl.DataFrame(schema=frame_schema(TRADES.table)), *(part.select(columns) for part in found.fresh)]
        )
        stored = self._sessions.trades_around(amendments, before).select(columns)
        bars = stored.select(*BAR_KEY, "session_date").unique()
        self._sessions.meet(bars["session_date"].unique().to_list(), before)
        amended = fresh.join(amendments, on=unique.TRADE_REFERENCE, how="semi")
        again = pl.concat([bars.select(BAR_KEY), amended.select(BAR_KEY)]).unique()
        counted = amend(fresh.join(again, on=BAR_KEY, how="semi"), every)
        others = pl.concat(
            [own.join(again, on=BAR_KEY, how="anti"), sum_trades(counted.join(bars, on=BAR_KEY, how="anti"))]
        )
        built = sum_trades(pl.concat([amend(stored, every), counted.join(bars, on=BAR_KEY, how="semi")]))
        before_it = self._sessions.stored_sums(bars).select(*BAR_KEY, "revision")
        built = built.drop("revision").join(before_it, on=BAR_KEY).with_columns(pl.col("revision") + 1)
        return pl.concat([built.select(*SUM_SCHEMA), self._sessions.add_to_bars(others)])

    def _output(self, bars: pl.DataFrame | None) -> BatchOutput:
        kind, found = self._kind, self._found
        fresh = found.count("fresh")
        return BatchOutput(
            query_id=self._identity.query_id,
            batch_id=self._identity.batch_id,
            ingested_at=self._identity.ingested_at,
            started_monotonic=self._started,
            messages=self._messages,
            trades=fresh if kind is TRADES else 0,
            amendments=found.count("amendments"),
            statuses=found.count("statuses"),
            quotes=fresh if kind is QUOTES else 0,
            vendor_bars=fresh if kind is VENDOR_BARS else 0,
            corporate_actions=fresh if kind is CORPORATE_ACTIONS else 0,
            quarantined=found.count("rejected"),
            duplicates=found.count("repeated"),
            bars=bars.height if bars is not None else 0,
            newest_event_at=self._newest,
            bar_rows=to_arrow(bars, tables.BAR_REVISIONS) if bars is not None else None,
            vendor_bar_rows=to_arrow(pl.concat(found.fresh), tables.VENDOR_BARS)
            if kind is VENDOR_BARS and fresh
            else None,
            action_rows=to_arrow(pl.concat(found.fresh), tables.CORPORATE_ACTIONS)
            if kind is CORPORATE_ACTIONS and fresh
            else None,
            quote_rows=to_arrow(pl.concat(found.fresh), tables.QUOTES, PLACED_QUOTE_COLUMNS)
            if kind is QUOTES and fresh
            else None,
            status_rows=to_arrow(pl.concat(found.statuses), tables.FEED_STATUS) if found.statuses else None,
            next_offsets={(kind.topic.name, partition): offset for partition, offset in self._next_offsets.items()},
        )


def _keep(frames: list[pl.DataFrame], rows: pl.DataFrame | None) -> None:
    """Add the rows to the frames, if there are any."""
    if rows is not None and rows.height:
        frames.append(rows)
