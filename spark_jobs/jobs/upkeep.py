"""Keeps the lake's files few, while the stream writes: a file a batch and table would be tens of thousands a day.

Small files are put together, rows that are kept no longer are deleted, and so are files that no version of the last days
refers to and old entries of the log. Batches only add files: a commit that collides with one of these is
made again.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from deltalake import DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError

from market.tables import LAKE_TABLES, Table
from spark_jobs.io.delta import Lake

_log = structlog.get_logger(__name__)

EVERY: Final = timedelta(minutes=10)
"""How often the tables are looked at."""
CLEANED_EVERY: Final = timedelta(days=1)
"""How often what is no longer needed is deleted."""
MANY_SMALL_FILES: Final = 100
"""From so many on, small files are put together."""
SMALL_BYTES: Final = 32 * 2**20
TARGET_BYTES: Final = 128 * 2**20


class Upkeep:
    """Looks after the tables of a lake.

    Parameters
    ----------
    lake
        The tables.
    many
        How many small files a table may have.
    """

    def __init__(self, lake: Lake, many: int = MANY_SMALL_FILES) -> None:
        self._lake = lake
        self._many = many
        self._cleaned_at: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Look after the tables again and again until ``stop`` is set; what fails is logged and tried again later."""
        while not stop.wait(EVERY.total_seconds()):
            clean = self._cleaned_at is None or time.monotonic() - self._cleaned_at > CLEANED_EVERY.total_seconds()
            for table in LAKE_TABLES:
                if stop.is_set():
                    return
                try:
                    self.put_together(table)
                    if clean:
                        self.expire(table)
                        self.clean(table)
                except Exception as error:  # noqa: BLE001 - the stream must not suffer, whatever it is
                    _log.warning("upkeep_failed", table=table.path, error=str(error)[:300])
            self._cleaned_at = time.monotonic() if clean else self._cleaned_at

    def put_together(self, table: Table) -> int:
        """Put the small files of a table together if there are many; return how many there were."""
        delta = DeltaTable(self._lake.uri(table))
        sizes = delta.get_add_actions(flatten=True)["size_bytes"].to_pylist()
        small = sum(size < SMALL_BYTES for size in sizes)
        if small < self._many:
            return 0
        try:
            delta.optimize.compact(
                target_size=TARGET_BYTES,
                max_concurrent_tasks=1,
                writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
            )
        except CommitFailedError as error:
            _log.info("compaction_given_up", table=table.path, error=str(error)[:300])
            return 0
        _log.info("files_put_together", table=table.path, files=small)
        return small

    def expire(self, table: Table) -> int:
        """Delete the rows that are kept no longer; return how many there were. Their files go days later."""
        if table.retention_days is None:
            return 0
        oldest = datetime.now(UTC) - timedelta(days=table.retention_days)
        done = DeltaTable(self._lake.uri(table)).delete(f"ingested_at < '{oldest:%Y-%m-%dT%H:%M:%SZ}'")
        _log.info("rows_expired", table=table.path, rows=done["num_deleted_rows"])
        return int(done["num_deleted_rows"])

    def clean(self, table: Table) -> None:
        """Delete what no version within the table's retention of files and of its log refers to."""
        delta = DeltaTable(self._lake.uri(table))
        deleted = delta.vacuum(dry_run=False, full=True)  # also what a killed task wrote and nobody committed
        delta.create_checkpoint()
        delta.cleanup_metadata()
        _log.info("files_deleted", table=table.path, files=len(deleted))
