"""Delta tables: create, write files, commit them exactly once, read what a session holds.

Files are written by whoever has the rows, the stream's tasks among them; a commit makes them part of the table. Both use
delta-rs and Arrow: a commit takes milliseconds, and its atomicity on a local disk does not depend on a lock inside one JVM.
Options of object storage come from the environment, as delta-rs reads them.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Field, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.fs import DeltaStorageHandler
from deltalake.schema import Schema
from deltalake.transaction import AddAction, RemoveAction
from pyarrow import fs

from market.errors import SchemaDriftError, ServiceError
from market.tables import Table
from spark_jobs.schemas import in_millionths, lake_schema, to_arrow

_COMPRESSION_LEVEL: Final = 1
_ROWS_A_CHUNK: Final = 250_000
_APPEND_SECONDS: Final = 10.0
_REPLACE_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 1.0
_RETENTION: Final[Mapping[str, str]] = {
    # A commit a second and table: the default of 30 days would be millions of entries.
    "delta.logRetentionDuration": "interval 3 days",
    "delta.deletedFileRetentionDuration": "interval 3 days",
}
"""How far back the versions of a table can be read."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is not yet part of its table: its name, and what readers skip it by (``stats``, as Delta writes it)."""

    name: str
    size: int
    stats: str


class FileWriter:
    """Writes one file of a table, some rows at a time.

    Parameters
    ----------
    uri
        Where the table lives.
    table
        Its declaration.
    """

    def __init__(self, uri: str, table: Table) -> None:
        self._table = table
        self._name = f"part-{uuid.uuid4()}.zstd.parquet"
        self._files, root = filesystem(uri)
        self._path = f"{root}/{self._name}"
        self._sink = self._files.open_output_stream(self._path)
        self._writer = pq.ParquetWriter(
            self._sink,
            lake_schema(table),
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            store_decimal_as_integer=True,
            store_schema=False,
            write_statistics=list(table.skip_by),
        )
        self._rows = 0
        self._least: dict[str, Any] = {}
        self._greatest: dict[str, Any] = {}

    def write(self, rows: pa.Table) -> None:
        """Write rows that have the columns of the table."""
        self._writer.write_table(rows)
        self._rows += rows.num_rows
        for name in self._table.skip_by:
            bounds = pc.min_max(rows[name]).as_py()
            if bounds["min"] is not None:
                self._least[name] = min(self._least.get(name, bounds["min"]), bounds["min"])
                self._greatest[name] = max(self._greatest.get(name, bounds["max"]), bounds["max"])

    def close(self) -> NewFile:
        """Finish the file."""
        self._writer.close()
        self._sink.close()
        stats = {
            "numRecords": self._rows,
            "minValues": {name: _as_text(value) for name, value in self._least.items()},
            "maxValues": {name: _as_text(value) for name, value in self._greatest.items()},
            "nullCount": dict.fromkeys(self._least, 0),
        }
        return NewFile(self._name, self._files.get_file_info(self._path).size, json.dumps(stats))


def filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a table and the table's path in it."""
    if "://" in uri:
        return fs.PyFileSystem(DeltaStorageHandler(uri)), ""
    return fs.LocalFileSystem(), uri


def _as_text(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, date) else value


@dataclass(frozen=True, slots=True)
class Lake:
    """The Delta tables below one root; one process writes them."""

    root: str
    _opened: dict[str, DeltaTable] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def uri(self, table: Table) -> str:
        """Return where the table lives."""
        return f"{self.root}/{table.path}"

    def exists(self, table: Table) -> bool:
        """Return whether the table has been created."""
        return DeltaTable.is_deltatable(self.uri(table))

    def is_empty(self, table: Table) -> bool:
        """Return whether the table has no rows."""
        return DeltaTable(self.uri(table)).count() == 0

    def newest_batch(self, table: Table, writer_id: str) -> int | None:
        """Return the newest batch of a writer that was committed to the table, or ``None`` if there is none."""
        return DeltaTable(self.uri(table)).transaction_version(writer_id)

    def create(self, table: Table) -> None:
        """Create the table if it is not there, and add declared columns that it lacks.

        Raises
        ------
        SchemaDriftError
            If a stored column differs in type from its declaration, or is not declared.
        """
        declared = Schema.from_arrow(lake_schema(table))
        if "://" not in self.root:
            Path(self.uri(table)).mkdir(parents=True, exist_ok=True)
        if not self.exists(table):
            DeltaTable.create(
                self.uri(table),
                declared,
                mode="ignore",
                name=table.qualified_name,
                description=table.grain,
                configuration={"delta.dataSkippingStatsColumns": ",".join(table.skip_by), **_RETENTION},
            )
        stored = {column.name: column for column in DeltaTable(self.uri(table)).schema().fields}
        missing = [_checked(self.uri(table), column, stored) for column in declared.fields if column.name not in stored]
        for column in declared.fields:
            _checked(self.uri(table), column, stored)
        unknown = sorted(set(stored) - set(table.column_names))
        if unknown:
            msg = f"{self.uri(table)}: column {unknown[0]} is stored but not declared. A column cannot be dropped."
            raise SchemaDriftError(msg)
        if missing:
            DeltaTable(self.uri(table)).alter.add_columns(missing)
        self._locks[table.path] = threading.Lock()
        self._opened[table.path] = DeltaTable(self.uri(table))

    def append(self, table: Table, rows: pl.DataFrame, *, writer_id: str, batch_id: int) -> None:
        """Append rows with the columns of the table, at least one; the same writer and batch again change nothing."""
        self.commit(table, [self.write(table, rows)], writer_id=writer_id, batch_id=batch_id)

    def write(self, table: Table, rows: pl.DataFrame) -> NewFile:
        """Write rows with the columns of the table, at least one, to a file that is not yet part of it."""
        writer = FileWriter(self.uri(table), table)
        writer.write(to_arrow(rows, table))
        return writer.close()

    def commit(self, table: Table, files: Iterable[NewFile], *, writer_id: str, batch_id: int) -> None:
        """Make the files part of the table; a second commit with the same writer and batch changes nothing.

        Raises
        ------
        ServiceError
            If others changed the table again and again.
        """
        now = round((datetime.now(UTC) - _EPOCH).total_seconds() * 1000)
        adds: list[AddAction | RemoveAction] = [
            AddAction(new.name, new.size, {}, now, True, new.stats)  # noqa: FBT003
            for new in files
        ]
        delta = self._opened[table.path]

        def attempt() -> None:
            delta.update_incremental()
            done = delta.transaction_version(writer_id)
            if done is not None and done >= batch_id:
                return
            delta.create_write_transaction(
                adds,
                mode="append",
                schema=delta.schema(),
                commit_properties=CommitProperties(app_transactions=[Transaction(writer_id, batch_id)]),
            )

        with self._locks[table.path]:
            self._among_others(table, attempt, _APPEND_SECONDS)

    def replace(self, table: Table, rows: pl.DataFrame, where: str) -> None:
        """Put rows in the place of all those that meet a condition, in one commit; whoever else writes may go on.

        Parameters
        ----------
        table
            The table.
        rows
            Rows with its columns that meet the condition, or none.
        where
            The condition, in SQL.

        Raises
        ------
        ServiceError
            If others changed the same files again and again.
        """

        def attempt() -> None:
            write_deltalake(
                DeltaTable(self.uri(table)),
                to_arrow(rows, table),
                mode="overwrite",
                predicate=where,
                writer_properties=WriterProperties(compression="ZSTD", compression_level=_COMPRESSION_LEVEL),
            )

        self._among_others(table, attempt, _REPLACE_SECONDS)

    def _among_others(self, table: Table, attempt: Callable[[], None], seconds: float) -> None:
        """Commit, again and again while others change the table between what is read and what is written.

        delta-rs refuses even a commit that only adds files, if rows were deleted since the table was read.
        """
        deadline = time.monotonic() + seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return attempt()
            except CommitFailedError as error:
                if time.monotonic() > deadline:
                    reason = str(error).splitlines()[0] if str(error) else "no reason given"
                    msg = f"The table {self.uri(table)} is being changed by others all the time: {reason}. Try again later."
                    raise ServiceError(msg) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def scan(self, table: Table) -> pl.LazyFrame:
        """Return the table as it is now, in its types in memory."""
        # polars looks for the files of a local path with a space under the path's percent-encoded name; pyarrow does not.
        delta = DeltaTable(self.uri(table))
        return pl.scan_delta(delta, use_pyarrow="%" in delta.table_uri).select(in_millionths(table))

    def read(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return the rows of a scan.

        Raises
        ------
        ServiceError
            If a file of the table is missing or damaged.
        """
        empty = pl.DataFrame(schema=rows.collect_schema())
        return pl.concat([empty, *self.in_chunks(rows)])

    def in_chunks(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """Yield the rows of a scan some hundred thousand at a time.

        Raises
        ------
        ServiceError
            If a file of the table is missing or damaged.
        """
        try:
            yield from rows.collect_batches(chunk_size=_ROWS_A_CHUNK)
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0][:300]
            msg = f"The lake at {self.root} cannot be read: {reason}. A file of it is missing or damaged."
            raise ServiceError(msg) from error


def _checked(uri: str, declared: Field, stored: Mapping[str, Field]) -> Field:
    """Return the declared column, if what is stored under its name has its type."""
    found = stored.get(declared.name)
    if found is not None and found.type != declared.type:
        msg = (
            f"{uri}: column {declared.name} is {_type_name(found)}, declared as {_type_name(declared)}. "
            "A column's type cannot change: declare a new column."
        )
        raise SchemaDriftError(msg)
    return declared


def _type_name(column: Field) -> str:
    return str(json.loads(column.to_json())["type"])


def in_sessions(sessions: Sequence[date]) -> pl.Expr:
    """Return the condition that a row lies in one of the sessions; readers skip files by it."""
    return pl.col("session_date").is_between(min(sessions), max(sessions)) & pl.col("session_date").is_in(sessions)
