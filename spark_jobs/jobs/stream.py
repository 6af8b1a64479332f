"""The stream as a process: ``python -m spark_jobs.jobs.stream [--to-the-end]``.

Runs until SIGTERM or SIGINT, then finishes the batch at hand and exits with 0. With ``--to-the-end`` it takes in what the
topics hold and exits.
"""

import argparse
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from types import FrameType
from typing import Final

import structlog
from pyspark import Broadcast
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from market import tables
from market.errors import CheckpointError, ServiceError, TapehouseError
from market.settings import Settings, load_settings
from spark_jobs.io.checkpoint import checkpoints_of, newest_plan, read_plan, read_query_id
from spark_jobs.io.delta import Lake
from spark_jobs.io.kafka import MessagesLostError, plan_batches
from spark_jobs.jobs.batch import BatchIdentity, BatchProcessor
from spark_jobs.jobs.intake import Intake
from spark_jobs.jobs.locks import BatchLock, BesideRepairs, single_writer
from spark_jobs.jobs.upkeep import Upkeep
from spark_jobs.session import build_session
from spark_jobs.transforms.calendar import Calendar
from spark_jobs.transforms.kinds import KINDS, RecordKind
from warehouse.batch import BatchOutput
from warehouse.progress import newest_ingested_at, next_offsets
from warehouse.publisher import publish_when_reachable

log = structlog.get_logger()

_POLL_SECONDS: Final = 0.2
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_CAUSE: Final = "↳"
"""How delta-rs begins each cause of an error, on a line of its own."""
_STEP: Final = timedelta(milliseconds=1)


class StopRequested(Exception):  # noqa: N818
    """Raised inside a batch that has not begun its work, to end the query between two batches."""


class Stream:
    """The queries, one per topic, and the way to stop them between two batches."""

    def __init__(self, settings: Settings, spark: SparkSession) -> None:
        self._settings = settings
        self._spark = spark
        self._lake = Lake(settings.lake)
        self._checkpoints = checkpoints_of(settings.lake)
        self._stop = threading.Event()
        self._failure: Exception | None = None

    def request_stop(self) -> None:
        """Ask the queries to end after the batches at hand."""
        self._stop.set()

    def run(self, *, to_the_end: bool = False) -> None:
        """Run the queries until they are asked to stop, or to the end of the topics.

        Raises
        ------
        CheckpointError
            If the checkpoints and the lake do not belong together.
        ServiceError
            If a query failed.
        """
        self._check_checkpoints()
        for table in tables.LAKE_TABLES:
            self._lake.create(table)
        calendar = self._spark.sparkContext.broadcast(Calendar.load())
        queries = [self._start(kind, calendar, to_the_end=to_the_end) for kind in KINDS]
        log.info("stream_started", lake=self._settings.lake)
        if not to_the_end:
            threading.Thread(target=Upkeep(self._lake).run, args=(self._stop,), name="upkeep", daemon=True).start()
        try:
            while running := [query for query in queries if query.isActive]:
                running[0].awaitTermination(_POLL_SECONDS)
                self._end_idle(running)
            for query in queries:
                query.awaitTermination()  # raises what ended the query
        except StreamingQueryException as error:
            cause = self._failure or error
            if not isinstance(cause, StopRequested):
                raise ServiceError(_what_failed(cause)) from cause
        log.info("stream_stopped")

    def _end_idle(self, queries: Sequence[StreamingQuery]) -> None:
        """Stop the queries that are between two batches, if a stop is requested or another query has failed."""
        if self._failure is not None:
            self._stop.set()
        if self._stop.is_set():
            for query in queries:
                if not query.status["isTriggerActive"]:
                    query.stop()

    def _start(self, kind: RecordKind, calendar: Broadcast[Calendar], *, to_the_end: bool) -> StreamingQuery:
        plans = plan_batches(
            self._spark,
            self._settings.require_kafka(),
            kind.topic,
            max_messages_per_batch=self._settings.max_messages_per_batch,
        )
        checkpoint = f"{self._checkpoints}/{kind.topic.name}"
        intake = Intake(self._spark, self._settings.require_kafka(), calendar, self._lake.uri(tables.MESSAGES))
        processor = BatchProcessor(kind, self._lake, intake, self._publish)
        beside_repairs = BesideRepairs(BatchLock(self._settings, kind.name), processor.forget, self._raise_if_stopping)
        query_id: Future[str] = Future()
        stamps = Stamps(lambda batch_id: newest_ingested_at(self._settings, query_id.result(), before_batch=batch_id))

        def process(_: DataFrame, batch_id: int) -> None:
            try:
                self._raise_if_stopping()
                plan = read_plan(checkpoint, kind.topic.name, batch_id)
                stamp = stamps.of(batch_id, plan.planned_at)
                with beside_repairs.batch():
                    processor.process(plan, BatchIdentity(query_id.result(), batch_id, stamp))
            except Exception as error:
                self._failure = self._failure or error
                raise

        writer = plans.writeStream.foreachBatch(process).option("checkpointLocation", checkpoint)
        interval = f"{round(self._settings.batch_interval_seconds * 1000)} milliseconds"
        writer = writer.trigger(availableNow=True) if to_the_end else writer.trigger(processingTime=interval)
        query = writer.queryName(kind.topic.name).start()
        query_id.set_result(query.id)
        return query

    def _raise_if_stopping(self) -> None:
        """End the query, like any other failure would, if a stop is requested."""
        if self._stop.is_set():
            raise StopRequested

    def _publish(self, batch: BatchOutput, before_commit: Callable[[], None]) -> bool:
        return publish_when_reachable(self._settings, batch, self._stop, before_commit)

    def _check_checkpoints(self) -> None:
        """Refuse a lake, its checkpoints and a database that do not belong together: data would be doubled, lost or stale."""
        has_lake = self._lake.exists(tables.MESSAGES) and not self._lake.is_empty(tables.MESSAGES)
        path = self._spark._jvm.org.apache.hadoop.fs.Path(self._checkpoints)  # noqa: SLF001
        files = path.getFileSystem(self._spark._jsc.hadoopConfiguration())  # noqa: SLF001
        batches = files.globStatus(self._spark._jvm.org.apache.hadoop.fs.Path(path, "*/offsets/*"))  # noqa: SLF001
        has_checkpoint = batches is not None and len(batches) > 0
        if has_lake and not has_checkpoint:
            msg = (
                f"The lake {self._settings.lake} holds data but its checkpoints {self._checkpoints} are missing. Put them "
                f"back. {self._rebuild()}"
            )
            raise CheckpointError(msg)
        if has_checkpoint and not self._lake.exists(tables.MESSAGES):
            msg = (
                f"The checkpoints {self._checkpoints} belong to a lake that is missing from {self._settings.lake}. Put the "
                f"lake back. {self._rebuild()}"
            )
            raise CheckpointError(msg)
        published = {topic for topic, _ in next_offsets(self._settings)}
        if not has_lake and not has_checkpoint and published:
            msg = (
                f"The database holds what another lake published, and {self._settings.lake} is empty. Point LAKE_URI at that "
                f"lake, or put it back. {self._rebuild()}"
            )
            raise CheckpointError(msg)
        for kind in KINDS:
            self._check_checkpoint(kind.topic.name, is_published=kind.topic.name in published)

    def _check_checkpoint(self, topic: str, *, is_published: bool) -> None:
        """Refuse a topic's checkpoint that is damaged, or does not reach to what the lake holds of it.

        Spark would plan other batches under numbers that the lake knows: their messages would be taken for written.
        """
        checkpoint = f"{self._checkpoints}/{topic}"
        newest = newest_plan(checkpoint)
        if newest is None:
            if is_published:
                msg = f"The lake holds {topic} but the checkpoint {checkpoint} is missing. Put it back. "
                raise CheckpointError(msg + self._rebuild())
            return
        read_plan(checkpoint, topic, newest)
        done = self._lake.newest_batch(tables.MESSAGES, read_query_id(checkpoint))
        if is_published and done is None:
            msg = f"The checkpoint {checkpoint} belongs to another lake. Put back the right one. "
            raise CheckpointError(msg + self._rebuild())
        if done is not None and done > newest:
            msg = (
                f"The checkpoint {checkpoint} ends with batch {newest}, the lake with batch {done}: it is an older copy, or was "
                f"cut short. Put back the newest one. {self._rebuild()}"
            )
            raise CheckpointError(msg)

    def _rebuild(self) -> str:
        return (
            "To build anew from what Kafka still holds, start with an empty lake and an empty database: move "
            f"{self._settings.lake} and {self._settings.home / 'postgres'} away, or set LAKE_URI and DATABASE_URL to new ones."
        )


class Stamps:
    """Gives each batch of a query its ``ingested_at``: when it was planned, but always later than the batch before.

    A clock that is set back would otherwise hide from a batch what earlier ones stored. The same batch has the same stamp
    however often it is run: it depends on nothing but its plan and the batches that were done before.

    Parameters
    ----------
    newest_before
        Returns the greatest stamp of the batches before a batch; asked once.
    """

    def __init__(self, newest_before: Callable[[int], datetime | None]) -> None:
        self._newest_before = newest_before
        self._last: tuple[int, datetime] | None = None

    def of(self, batch_id: int, planned_at: datetime) -> datetime:
        """Return the stamp of a batch; ask for batches in order."""
        last_id, last_stamp = self._last or (batch_id, None)
        newest = last_stamp if last_id < batch_id else self._newest_before(batch_id)
        stamp = planned_at if newest is None else max(planned_at, newest + _STEP)
        self._last = (batch_id, stamp)
        return stamp


def _what_failed(cause: BaseException) -> str:
    reason = _reason(cause).rstrip(".")
    if MessagesLostError.__name__ in str(cause):
        return f"{reason}."
    return f"The stream failed: {reason}. Nothing is lost: started again, it goes on with this batch."


def _reason(error: BaseException) -> str:
    """Return what went wrong in one line; of an error in a task, what the task said; of one of delta-rs, its causes too."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    traces = [number for number, line in enumerate(lines) if line.startswith("Traceback ")]
    if traces:
        said = [line for line in str(error).splitlines() if line.strip()][traces[-1] + 1 :]
        said = [line for line in said if not line.startswith(" ")]
        lines = (
            [said[0].removeprefix(f"{MessagesLostError.__module__}.{MessagesLostError.__name__}: ")] if said else lines
        )
    causes = [line.removeprefix(_CAUSE).strip() for line in lines[1:] if line.startswith(_CAUSE)]
    return ": ".join([*lines[:1], *causes])[:500] or type(error).__name__


def main(arguments: list[str] | None = None) -> int:
    """Run the stream; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m spark_jobs.jobs.stream", description=__doc__)
    parser.add_argument("--to-the-end", action="store_true", help="take in what the topics hold, then exit")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        settings.require_kafka()
        settings.require_database()
        with single_writer(settings):
            spark = build_session(settings, "tapehouse-stream")
            stream = Stream(settings, spark)

            def on_signal(_number: int, _frame: FrameType | None) -> None:
                stream.request_stop()

            signal.signal(signal.SIGTERM, on_signal)
            signal.signal(signal.SIGINT, on_signal)
            try:
                stream.run(to_the_end=options.to_the_end)
            finally:
                spark.stop()
    except TapehouseError as error:
        log.error("stream_failed", error=str(error))  # noqa: TRY400 - the text is the explanation, a traceback adds nothing
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
