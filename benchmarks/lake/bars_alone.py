"""The peers' work done with Tapehouse's parts: 1-minute bars of the topic of trades, exactly once, and nothing else.

Spark's tasks read and decode ranges of offsets as the stream's do, and add up their trades; the driver adds that to what it
knows, and publishes the changed bars, the offsets and the number of the batch in one transaction, as the stream does, with
the sums behind the bars written before it commits. Left out is what the peers do not do either: bronze, quarantine,
trades, and telling new trades from repeated ones. It is the benchmark's own; the product has no such mode.

:func:`main` is a process of its own: it goes on where PostgreSQL is, to the end of the topic.
"""

import gc
import io
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
from pyspark import Broadcast

from ingest.topics import end_offsets
from market.settings import Settings, load_settings
from market.tables import BAR_REVISIONS
from market.topics import TRADES as TOPIC
from spark_jobs.io.kafka import OffsetRange, ranges_between, read_range
from spark_jobs.schemas import MOMENT, to_arrow
from spark_jobs.session import build_session
from spark_jobs.transforms.amend import amend
from spark_jobs.transforms.bars import BAR_KEY, SUM_SCHEMA, add_sums, finish, sum_trades
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.decode import decode
from spark_jobs.transforms.kinds import TRADES
from warehouse.batch import BatchOutput, publish_batch
from warehouse.connection import connect
from warehouse.progress import next_offsets

QUERY_ID: Final = "bars alone"
_MOST_MESSAGES_PER_TASK: Final = 125_000

Offsets = Mapping[int, int]


def main() -> None:
    """Take in what the topic holds."""
    settings = load_settings()
    servers = settings.require_kafka()
    spark = build_session(settings, "tapehouse-bars-alone")
    calendar = spark.sparkContext.broadcast(Calendar.load())
    ends = {partition: end for (topic, partition), end in end_offsets(servers).items() if topic == TOPIC.name}
    known = {partition: at for (topic, partition), at in next_offsets(settings).items() if topic == TOPIC.name}
    starts = {partition: known.get(partition, 0) for partition in ends}
    bars = _Bars(settings)
    with ThreadPoolExecutor(max_workers=1) as driver:  # adds and publishes a batch while the next one is read
        published: Future[None] | None = None
        while starts != ends:
            until = _batch_end(starts, ends, settings.max_messages_per_batch)
            ranges = ranges_between(starts, until, most_messages=_MOST_MESSAGES_PER_TASK)
            stamp = datetime.now(UTC)
            task = _task(servers, calendar, stamp)
            parts = spark.sparkContext.parallelize(ranges, len(ranges)).map(task).collect()
            if published is not None:
                published.result()
            published = driver.submit(bars.take, parts, until, stamp)
            starts = until
        if published is not None:
            published.result()
    spark.stop()


class _Bars:
    """What the messages before the offsets in PostgreSQL come to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home / "bars-alone"
        self._folder.mkdir(exist_ok=True)
        self._batch = _last_batch(settings)
        parts = [pl.read_parquet(self._file(number)) for number in range(self._batch + 1)]
        every = pl.concat([pl.DataFrame(schema=SUM_SCHEMA), *parts])
        self._sums = every.unique(BAR_KEY, keep="last", maintain_order=True)

    def take(self, parts: list[bytes], until: Offsets, stamp: datetime) -> None:
        """Add a batch's sums to those known and publish the bars that it changed."""
        self._batch += 1
        started = time.monotonic()
        fresh = add_sums(pl.concat(pl.read_ipc(io.BytesIO(part)) for part in parts))
        fresh = fresh.with_columns(pl.lit(1, pl.Int32).alias("revision"))
        touched = self._sums.join(fresh, on=BAR_KEY, how="semi")
        changed = add_sums(pl.concat([touched, fresh]))
        self._sums = pl.concat([self._sums.join(fresh, on=BAR_KEY, how="anti"), changed])
        output = BatchOutput(
            query_id=QUERY_ID,
            batch_id=self._batch,
            ingested_at=stamp,
            started_monotonic=started,
            messages=int(fresh["trade_count"].sum()),
            trades=int(fresh["trade_count"].sum()),
            bars=changed.height,
            bar_rows=to_arrow(finish(changed), BAR_REVISIONS),
            next_offsets={(TOPIC.name, partition): end for partition, end in until.items()},
        )
        with connect(self._settings) as connection:
            publish_batch(connection, output, lambda: changed.write_parquet(self._file(output.batch_id)))

    def _file(self, batch: int) -> Path:
        return self._folder / f"{batch}.parquet"


def _last_batch(settings: Settings) -> int:
    question = "select coalesce(max(batch_id), -1) from lake.stream_batches where query_id = %s"
    with connect(settings, read_only=True) as connection:
        row = connection.execute(question, (QUERY_ID,)).fetchone()
    return int(row[0]) if row else -1


def _batch_end(starts: Offsets, ends: Offsets, most: int) -> dict[int, int]:
    """Return where a batch ends that takes the same share of what is left of each partition."""
    left = sum(ends.values()) - sum(starts.values())
    share = min(1.0, most / left)
    return {number: start + -int(-(ends[number] - start) * share // 1) for number, start in starts.items()}


def _task(servers: str, calendar: Broadcast[Calendar], stamp: datetime) -> Callable[[OffsetRange], bytes]:
    def run(wanted: OffsetRange) -> bytes:
        gc.disable()  # as the stream's tasks do
        try:
            sums = [
                _sums_of(decode(TRADES, messages, calendar.value, stamp).valid, stamp)
                for messages in read_range(servers, TOPIC.name, wanted)
            ]
        finally:
            gc.enable()
        sink = io.BytesIO()
        add_sums(pl.concat(sums)).write_ipc(sink, compression="lz4")
        return sink.getvalue()

    return run


def _sums_of(valid: pl.DataFrame, stamp: datetime) -> pl.DataFrame:
    rows = valid.with_columns(pl.lit(TOPIC.name).alias("topic"), pl.lit(stamp, MOMENT).alias("ingested_at"))
    return sum_trades(amend(rows.select(TRADES.table.column_names), pl.DataFrame()))
