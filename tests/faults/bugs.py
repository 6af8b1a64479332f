"""Bugs that streams of this kind are known for, planted into the real one: the oracle has to catch each.

A bug replaces functions of the product in the process that runs it, for one run. What does not belong here: what the oracle
says, which the tests compare with ``caught_as``.
"""

import functools
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pytest
from confluent_kafka import Consumer
from pyspark.sql import DataFrame, SparkSession

from market import tables
from market.tables import Table
from market.topics import Topic
from spark_jobs.io import kafka
from spark_jobs.io.checkpoint import Plan
from spark_jobs.io.delta import Lake, NewFile
from spark_jobs.io.kafka import OffsetRange
from spark_jobs.jobs import batch, intake, stream
from spark_jobs.jobs.amendments import Amendments
from spark_jobs.jobs.batch import BatchIdentity, BatchProcessor
from spark_jobs.jobs.sessions import Sessions
from spark_jobs.transforms import amend, bars, unique
from spark_jobs.transforms.kinds import TRADES
from tests.faults.points import Cut
from warehouse import batch as warehouse_batch
from warehouse import staging


@dataclass(frozen=True)
class Bug:
    """A planted bug.

    Attributes
    ----------
    plant
        Replaces what is replaced.
    caught_as
        A law that the oracle must report as broken.
    cut_at
        The point at which a batch has to be cut for the bug to show.
    """

    plant: Callable[[pytest.MonkeyPatch], None]
    caught_as: str
    cut_at: str | None = None


def _no_txn_version(patch: pytest.MonkeyPatch) -> None:
    """Commit without the number of the batch: a batch that is run again is appended again."""
    commit = Lake.commit

    def unversioned(self: Lake, table: Table, files: Iterable[NewFile], *, writer_id: str, batch_id: int) -> None:
        commit(self, table, files, writer_id=f"{writer_id}/{uuid.uuid4()}", batch_id=batch_id)

    patch.setattr(Lake, "commit", unversioned)
    patch.setattr(Lake, "newest_batch", lambda *_arguments: 0)  # else the next start refuses the checkpoint


def _offset_before_write(patch: pytest.MonkeyPatch) -> None:
    """Let Spark log a batch as done before it is written: each is written when the next one comes."""
    process = BatchProcessor.process
    waiting: dict[str, tuple[Plan, BatchIdentity]] = {}

    def later(self: BatchProcessor, plan: Plan, identity: BatchIdentity) -> None:
        before = waiting.pop(self.kind.name, None)
        waiting[self.kind.name] = (plan, identity)
        if before is not None:
            process(self, *before)

    patch.setattr(BatchProcessor, "process", later)


def _errors_swallowed(patch: pytest.MonkeyPatch) -> None:
    """Go on with the next batch after one that failed."""
    process = BatchProcessor.process

    def bravely(self: BatchProcessor, plan: Plan, identity: BatchIdentity) -> None:
        with suppress(Cut):
            process(self, plan, identity)

    patch.setattr(BatchProcessor, "process", bravely)


def _watermark_drops(patch: pytest.MonkeyPatch) -> None:
    """Drop trades that are more than five minutes behind the newest one."""
    add = batch._Batch._add_records
    newest: list[datetime] = []

    def add_on_time(self: Any, rows: pl.DataFrame) -> None:
        if self._kind is TRADES:
            newest[:] = [max([*newest, rows["traded_at"].max()])]  # type: ignore[type-var, list-item]
            rows = rows.filter(pl.col("traded_at") > newest[0] - timedelta(minutes=5))
        add(self, rows)

    patch.setattr(batch._Batch, "_add_records", add_on_time)


def _merge_adds_twice(patch: pytest.MonkeyPatch) -> None:
    """Add a changed bar to the stored one instead of putting it in its place."""
    change = warehouse_batch._change_bars

    def adding(connection: Any, rows: Any) -> None:
        change(connection, rows)
        if rows is not None and max(rows["revision"].to_pylist(), default=1) > 1:
            connection.execute(
                "update lake.bars_1m as stored set volume = stored.volume + staged.volume, "
                "trade_count = stored.trade_count + staged.trade_count from staged_bars as staged "
                "where (stored.source, stored.symbol, stored.bar_at) = (staged.source, staged.symbol, staged.bar_at) "
                "and staged.revision > 1"
            )

    patch.setattr(warehouse_batch, "_change_bars", adding)


def _quotes_carried_over(patch: pytest.MonkeyPatch) -> None:
    """Give a minute in which a side was not named the one from before."""
    of_minutes = staging.minute_quotes
    sides = [name for name in tables.PG_QUOTES_1M.column_names if name.startswith(("bid", "ask"))]

    def carrying(quotes: pa.Table) -> pa.Table:
        minutes = pl.DataFrame(of_minutes(quotes)).sort("symbol", "bar_at")
        return minutes.with_columns(pl.col(sides).forward_fill().over("symbol")).to_arrow()

    patch.setattr(staging, "minute_quotes", carrying)


def _sees_its_own_rows(patch: pytest.MonkeyPatch) -> None:
    """Take what a cut attempt of the same batch wrote for what batches before it wrote."""
    meet = Sessions.meet

    def meet_everything(self: Sessions, dates: Sequence[date], before: datetime) -> None:
        del before
        meet(self, dates, datetime(2200, 1, 1, tzinfo=UTC))

    patch.setattr(Sessions, "meet", meet_everything)


def _repeats_counted(patch: pytest.MonkeyPatch) -> None:
    """Take every record for a new one."""
    patch.setattr(unique, "judge", lambda rows: rows.with_columns(pl.lit(unique.FRESH).alias("verdict")))


def _amendments_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Apply a cancel or a correction only to what is stored when it comes, not to what comes later."""
    stored = Amendments.stored
    patch.setattr(Amendments, "stored", lambda self, before: stored(self, before).clear())


def _last_to_arrive_holds(patch: pytest.MonkeyPatch) -> None:
    """Let of several amendments of a trade the last to arrive hold."""
    patch.setattr(amend, "_PRECEDENCE", ("ingested_at", "partition", "offset"))


def _poison_dropped(patch: pytest.MonkeyPatch) -> None:
    """Leave out what cannot be decoded instead of keeping it in quarantine."""
    append = batch._Batch._append

    def without_poison(self: Any, table: Table, frames: Sequence[pl.DataFrame]) -> None:
        if table is not tables.QUARANTINE:
            append(self, table, frames)

    patch.setattr(batch._Batch, "_append", without_poison)


def _last_message_skipped(patch: pytest.MonkeyPatch) -> None:
    """Take the end of a range for inclusive where it is not."""
    ranges = kafka.ranges_between

    def short(*arguments: Any, **options: Any) -> list[OffsetRange]:
        return [replace(found, end=found.end - 1) for found in ranges(*arguments, **options)]

    patch.setattr(intake, "ranges_between", short)


def _vwap_truncated(patch: pytest.MonkeyPatch) -> None:
    """Round the vwap down."""
    finish = bars.finish

    def truncating(sums: pl.DataFrame) -> pl.DataFrame:
        floor = (pl.col("notional") // pl.col("volume").cast(pl.Int128)).cast(pl.Int64)
        return finish(sums).with_columns(pl.when(pl.col("volume") > 0).then(floor).alias("vwap"))

    patch.setattr(batch, "finish", truncating)


def _sequence_ignored(patch: pytest.MonkeyPatch) -> None:
    """Order trades of the same moment by their price alone."""
    patch.setattr(bars, "_position", _by_time_and_price)


def _by_time_and_price() -> pl.Expr:
    within = (pl.col("traded_at") - pl.col("bar_at")).dt.total_microseconds()
    return within.cast(pl.Int128) * bars._SEQUENCE_SPACE * bars._PRICE_SPACE + pl.col("price")


def _bars_start_anew(patch: pytest.MonkeyPatch) -> None:
    """Forget with each batch what the bars came to before."""
    patch.setattr(Sessions, "remember_bars", lambda _self, _sums: None)


def _retention_skips(patch: pytest.MonkeyPatch) -> None:
    """Go on with what the broker still has, where messages were dropped unread."""
    make_task = intake._task

    def plan(spark: SparkSession, servers: str, topic: Topic, *, max_messages_per_batch: int) -> DataFrame:
        source = spark.readStream.format("kafka").option("kafka.bootstrap.servers", servers)
        source = source.option("subscribe", topic.name).option("startingOffsets", "earliest")
        return source.option("failOnDataLoss", "false").option("maxOffsetsPerTrigger", max_messages_per_batch).load()

    def make_lossy(*arguments: Any) -> Callable[[OffsetRange], Any]:
        return functools.partial(_reading_on, make_task(*arguments))

    patch.setattr(stream, "plan_batches", plan)
    patch.setattr(intake, "_task", make_lossy)


def _reading_on(task: Callable[[OffsetRange], Any], wanted: OffsetRange) -> Any:
    setattr(kafka, "_consumer", _lossy_consumer)  # noqa: B010 - in a worker of Spark
    return task(wanted)


def _lossy_consumer(servers: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "lossy",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )


BUGS: Final[dict[str, Bug]] = {
    "no_txn_version": Bug(_no_txn_version, "bronze: an offset more than once", cut_at="trades_committed"),
    "offset_before_write": Bug(_offset_before_write, "bronze: a gap in the offsets"),
    "errors_swallowed": Bug(_errors_swallowed, "acknowledged and not in bronze", cut_at="messages_written"),
    "watermark_drops": Bug(_watermark_drops, "a message in no table"),
    "quotes_carried_over": Bug(_quotes_carried_over, "quotes of minutes: wrong"),
    "merge_adds_twice": Bug(_merge_adds_twice, "bars in PostgreSQL: wrong"),
    "sees_its_own_rows": Bug(_sees_its_own_rows, "counts in PostgreSQL: wrong", cut_at="trades_committed"),
    "repeats_counted": Bug(_repeats_counted, "trades: not expected"),
    "amendments_forgotten": Bug(_amendments_forgotten, "bars in the lake: wrong"),
    "last_to_arrive_holds": Bug(_last_to_arrive_holds, "bars in the lake: wrong"),
    "poison_dropped": Bug(_poison_dropped, "quarantine: missing"),
    "last_message_skipped": Bug(_last_message_skipped, "bronze: a gap in the offsets"),
    "vwap_truncated": Bug(_vwap_truncated, "bars in the lake: wrong"),
    "sequence_ignored": Bug(_sequence_ignored, "bars in the lake: wrong"),
    "bars_start_anew": Bug(_bars_start_anew, "bars: a revision more than once"),
    "retention_skips": Bug(_retention_skips, "bronze: a gap in the offsets"),
}
