"""One micro-batch of one topic, from messages to PostgreSQL.

Every write is idempotent by the batch's number, everything is derived from the batch's messages and from what earlier
batches stored, and Spark counts the batch as done only after the last step. A batch that was cut anywhere is run again
whole, with the same messages and the same ``ingested_at``.

1. Read the messages, parse and check those that are plain, and keep the result for the steps below. Count them, and find
   the offsets and the moments that they touch.
2. Append the messages as they are to bronze; parse and check those that are not plain, if there are any.
3. Find out which records are new, by what earlier batches stored around those moments.
4. Append the rejected, the repeated and the new records to their tables.
5. Trades only: recompute every touched bar from all of its trades; append the bars as revisions.
6. When all of that is written: publish what changed, the offsets and the batch's number to PostgreSQL in one transaction.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from market import tables
from market.tables import Table
from spark_jobs.io.delta import Lake, Windows, around
from spark_jobs.jobs.seen import Hashes, SeenKeys
from spark_jobs.transforms import silver, unique
from spark_jobs.transforms.bars import build_bars
from spark_jobs.transforms.kinds import QUOTES, TRADES, VENDOR_BARS, RecordKind
from spark_jobs.transforms.unique import CONFLICT, DUPLICATE, FRESH
from warehouse.batch import BatchOutput
from warehouse.staging import QUOTE_COLUMNS

log = structlog.get_logger()

_WRITERS: Final = 3
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_Bound = TypeVar("_Bound", int, datetime)
Publish = Callable[[BatchOutput], bool]


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
class Summary:
    """What steps 1 and 2 find out: counts, offsets, and the first and last moment of valid records by session."""

    messages: int
    odd: int
    valid: int
    ranges: Mapping[tuple[str, int], tuple[int, int]]
    windows: Windows

    @property
    def newest_event_at(self) -> datetime | None:
        """The newest moment of a valid record."""
        return max((last for _, last in self.windows.values()), default=None)

    def with_odd(self, odd: "Summary | None") -> "Summary":
        """Return the summary with what became of the messages that were not plain."""
        if odd is None:
            return self
        windows = {day: _spanning(self.windows.get(day), span) for day, span in odd.windows.items()}
        return replace(self, valid=self.valid + odd.valid, windows={**self.windows, **windows})


@dataclass(frozen=True, slots=True)
class Split:
    """The valid records of a batch by what they are: the new ones, and those that had to be judged (``verdict``)."""

    fresh: DataFrame
    counts: Mapping[str, int]
    judged: DataFrame | None = None

    def having(self, verdict: str) -> DataFrame | None:
        """Return the judged rows with that verdict, or ``None`` if there are none."""
        return (
            self.judged.where(f.col("verdict") == verdict) if self.judged is not None and self.counts[verdict] else None
        )


@dataclass(frozen=True, slots=True)
class BatchProcessor:
    """Processes the micro-batches of one topic; called again by Spark for a batch that was cut.

    Attributes
    ----------
    kind
        What the topic carries.
    lake
        The tables, already created.
    sessions
        The calendar, see :func:`spark_jobs.transforms.decode.place_in_session`.
    publish
        Writes a batch to PostgreSQL in one transaction; returns whether it was new there.
    """

    kind: RecordKind
    lake: Lake
    sessions: DataFrame
    publish: Publish
    seen: SeenKeys = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", SeenKeys(self._stored_keys))

    def process(self, messages: DataFrame, batch: BatchIdentity) -> None:
        """Run the steps of the module's docstring for one batch."""
        with ThreadPoolExecutor(max_workers=_WRITERS, thread_name_prefix="write") as pool:
            _Batch(self, messages, batch, pool).run()

    def _stored_keys(self, sessions: Sequence[date]) -> pa.Table:
        """Return the keys that are stored for some sessions: what :class:`SeenKeys` loads."""
        rows = self.lake.read(self.kind.table).where(f.col("session_date").between(min(sessions), max(sessions)))
        wanted = f.broadcast(
            self.lake.spark.createDataFrame(pa.table({"session_date": pa.array(sessions, pa.date32())}))
        )
        return rows.join(wanted, "session_date", "left_semi").select("session_date", _key_hash(self.kind)).toArrow()


class _Batch:
    """One batch on its way: what its steps share, what it holds in memory, what is being written."""

    def __init__(
        self, job: BatchProcessor, messages: DataFrame, identity: BatchIdentity, pool: ThreadPoolExecutor
    ) -> None:
        self._kind = job.kind
        self._lake = job.lake
        self._sessions = job.sessions
        self._publish = job.publish
        self._seen = job.seen
        self._identity = identity
        # As data, not as a constant of the query: Spark would compile every query anew for each batch's constant.
        stamp = self._lake.spark.createDataFrame(pa.table({"ingested_at": pa.array([identity.ingested_at], _MOMENT)}))
        self._stamp = f.broadcast(stamp)
        self._messages = messages.crossJoin(self._stamp)
        self._columns = (*self._kind.table.column_names, "valid", "ts", "bar_ts", "reason", "detail")
        self._pool = pool
        self._kept: list[DataFrame] = []
        self._writes: list[Future[None]] = []

    def run(self) -> None:
        started = time.monotonic()
        try:
            read = self._cut(self._kind.decode_plain(self._messages, self._sessions))
            summary = summarise(read)
            if summary is None:
                return
            self._append(tables.MESSAGES, read)
            decoded = read.where("is_plain").select(*self._columns)
            if summary.odd:
                others = read.where(~f.col("is_plain")).select(*tables.MESSAGES.column_names)
                odd = self._cut(self._kind.decode(others, self._sessions))
                summary = summary.with_odd(summarise(odd.withColumn("is_plain", f.lit(True))))  # noqa: FBT003
                decoded = decoded.unionByName(odd.select(*self._columns))
            stored = self._stored(summary)
            keys = self._new_keys(decoded, summary)
            split = self._split(decoded, self._candidates(keys, stored, summary), summary)
            self._append_rejected(decoded, summary, split)
            if split.counts[FRESH]:
                self._append(self._kind.table, split.fresh)
            bars = self._rebuild_bars(split, stored)
            output = self._output(summary, split, bars, started)
            for write in self._writes:
                write.result()
            self._publish(output)
            if keys is not None:
                self._seen.add(keys)
            log.info(
                "batch",
                topic=self._kind.topic.name,
                batch_id=self._identity.batch_id,
                messages=summary.messages,
                quarantined=output.quarantined,
                duplicates=output.duplicates,
                bars=output.bars,
                ms=round((time.monotonic() - started) * 1000),
            )
        finally:
            for write in self._writes:
                write.cancel() or write.exception()
            for frame in self._kept:
                frame._jdf.queryExecution().logical().rdd().unpersist(False)  # noqa: SLF001, FBT003

    def _cut(self, frame: DataFrame) -> DataFrame:
        """Keep the rows once they are computed, and forget how: Spark would plan the whole way again in every query."""
        kept = frame.localCheckpoint(eager=False, storageLevel=StorageLevel.MEMORY_AND_DISK_DESER)
        self._kept.append(kept)
        return kept

    def _append(self, table: Table, rows: DataFrame) -> None:
        append = functools.partial(
            self._lake.append, writer_id=self._identity.query_id, batch_id=self._identity.batch_id
        )
        self._writes.append(self._pool.submit(append, table, rows))

    def _stored(self, summary: Summary) -> DataFrame:
        """Return what earlier batches stored around the batch's moments; not what an earlier attempt at this one did."""
        table = self._kind.table
        nearby = self._lake.read(table).where(around(summary.windows, self._kind.moment))
        return self._cut(self._earlier(nearby).select(*table.column_names))

    def _earlier(self, rows: DataFrame) -> DataFrame:
        """Leave out what this batch, or an earlier attempt at it, wrote."""
        return rows.join(self._stamp.withColumnRenamed("ingested_at", "now"), f.col("ingested_at") < f.col("now"))

    def _new_keys(self, decoded: DataFrame, summary: Summary) -> pa.Table | None:
        """Return session and hash of the valid records' keys; ``None`` where equal keys have equal moments anyway."""
        if not summary.valid or self._kind.moment in self._kind.identity.key:
            return None
        return decoded.where("valid").select("session_date", _key_hash(self._kind)).toArrow()

    def _candidates(self, keys: pa.Table | None, stored: DataFrame, summary: Summary) -> DataFrame:
        """Return what is stored around the batch's moments, and whatever else of their sessions has the key of a new record."""
        known = self._seen.known(keys) if keys is not None else np.empty(0, np.int64)
        if not len(known):
            return stored
        nearby = stored.select(_key_hash(self._kind)).toArrow()["key_hash"].to_numpy()
        elsewhere = np.setdiff1d(known, nearby)
        return stored.unionByName(self._find(elsewhere, summary)) if len(elsewhere) else stored

    def _find(self, hashes: Hashes, summary: Summary) -> DataFrame:
        """Return what earlier batches stored in the batch's sessions under keys with these hashes."""
        table = self._kind.table
        wanted = f.broadcast(self._lake.spark.createDataFrame(pa.table({"key_hash": hashes})))
        rows = self._lake.read(table).where(f.col("session_date").between(min(summary.windows), max(summary.windows)))
        found = self._earlier(rows).select(*table.column_names, _key_hash(self._kind))
        return self._cut(found.join(wanted, "key_hash", "left_semi").select(*table.column_names))

    def _split(self, decoded: DataFrame, stored: DataFrame, summary: Summary) -> Split:
        """Step 3; only records whose key occurs more than once have to be judged."""
        identity = self._kind.identity
        new = decoded.where("valid").select(*self._kind.table.column_names)
        all_new = Split(new, {FRESH: summary.valid, DUPLICATE: 0, CONFLICT: 0})
        if not summary.valid:
            return all_new
        both = new.withColumn("is_new", f.lit(True)).unionByName(stored.withColumn("is_new", f.lit(False)))  # noqa: FBT003
        again = self._cut(unique.repeated(both, identity))
        if again.isEmpty():
            return all_new
        suspects = both.withColumn("key_hash", identity.hash()).join(again, "key_hash", "left_semi")
        judge = unique.judge_versions if self._kind.restated else unique.judge
        judged = self._cut(judge(suspects, identity))
        counts = {row["verdict"]: row["count"] for row in judged.groupBy("verdict").count().collect()}
        duplicates, conflicts = counts.get(DUPLICATE, 0), counts.get(CONFLICT, 0)
        others = new.withColumn("key_hash", identity.hash()).join(again, "key_hash", "left_anti")
        fresh = others.select(*new.columns).unionByName(judged.where(f.col("verdict") == FRESH).select(*new.columns))
        fresh_count = summary.valid - duplicates - conflicts
        return Split(fresh, {FRESH: fresh_count, DUPLICATE: duplicates, CONFLICT: conflicts}, judged)

    def _append_rejected(self, decoded: DataFrame, summary: Summary, split: Split) -> None:
        quarantine = [decoded.where(~f.col("valid"))] if summary.valid < summary.messages else []
        conflicting = split.having(CONFLICT)
        if conflicting is not None:
            quarantine.append(silver.conflicts_to_quarantine(conflicting, self._kind.identity))
        if quarantine:
            self._append(
                tables.QUARANTINE,
                functools.reduce(
                    DataFrame.unionByName, [rows.select(*tables.QUARANTINE.column_names) for rows in quarantine]
                ),
            )
        repeating = split.having(DUPLICATE)
        if repeating is not None:
            self._append(tables.DUPLICATES, repeating.withColumn("record_id", unique.record_id(self._kind.identity)))

    def _rebuild_bars(self, split: Split, stored: DataFrame) -> pa.Table | None:
        """Step 5: a touched bar is one whose newest trade came with this batch."""
        if self._kind is not TRADES or not split.counts[FRESH]:
            return None
        every_trade = split.fresh.unionByName(stored)
        bars = build_bars(every_trade).toArrow()
        bars = bars.filter(pc.equal(bars["revised_at"], pa.scalar(self._identity.ingested_at, _MOMENT)))
        self._append(tables.BAR_REVISIONS, self._lake.spark.createDataFrame(bars).coalesce(1))
        return bars

    def _output(self, summary: Summary, split: Split, bars: pa.Table | None, started: float) -> BatchOutput:
        fresh = split.counts[FRESH]
        return BatchOutput(
            query_id=self._identity.query_id,
            batch_id=self._identity.batch_id,
            ingested_at=self._identity.ingested_at,
            started_monotonic=started,
            messages=summary.messages,
            trades=fresh if self._kind is TRADES else 0,
            quotes=fresh if self._kind is QUOTES else 0,
            vendor_bars=fresh if self._kind is VENDOR_BARS else 0,
            quarantined=summary.messages - summary.valid + split.counts[CONFLICT],
            duplicates=split.counts[DUPLICATE],
            bars=bars.num_rows if bars is not None else 0,
            newest_event_at=summary.newest_event_at,
            bar_rows=bars,
            vendor_bar_rows=split.fresh.toArrow() if self._kind is VENDOR_BARS and fresh else None,
            quote_rows=split.fresh.select(*QUOTE_COLUMNS).toArrow() if self._kind is QUOTES and fresh else None,
            next_offsets={place: last + 1 for place, (_, last) in summary.ranges.items()},
        )


def _key_hash(kind: RecordKind) -> Column:
    return kind.identity.hash().alias("key_hash")


def summarise(decoded: DataFrame) -> Summary | None:
    """Return what the batch touches, or ``None`` if it holds no message."""
    rows = (
        decoded.groupBy(
            "topic",
            "partition",
            "is_plain",
            "valid",
            f.when(f.col("valid"), f.col("session_date")).alias("session_date"),
        )
        .agg(
            f.count("*").alias("messages"),
            f.min("offset").alias("first_offset"),
            f.max("offset").alias("last_offset"),
            f.min("bar_ts").alias("first_ts"),
            f.max("ts").alias("last_ts"),
        )
        .collect()
    )
    if not rows:
        return None
    ranges: dict[tuple[str, int], tuple[int, int]] = {}
    windows: dict[date, tuple[datetime, datetime]] = {}
    for row in rows:
        place = (row["topic"], row["partition"])
        ranges[place] = _spanning(ranges.get(place), (row["first_offset"], row["last_offset"]))
        if row["valid"]:
            moments = (_moment(row["first_ts"]), _moment(row["last_ts"]))
            windows[row["session_date"]] = _spanning(windows.get(row["session_date"]), moments)
    return Summary(
        messages=sum(row["messages"] for row in rows),
        odd=sum(row["messages"] for row in rows if not row["is_plain"]),
        valid=sum(row["messages"] for row in rows if row["valid"]),
        ranges=ranges,
        windows=windows,
    )


def _spanning(known: tuple[_Bound, _Bound] | None, span: tuple[_Bound, _Bound]) -> tuple[_Bound, _Bound]:
    return span if known is None else (min(known[0], span[0]), max(known[1], span[1]))


def _moment(epoch_microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=epoch_microseconds)
