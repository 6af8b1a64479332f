"""The lake as delta-rs and polars read it: every table pinned to one version.

What belongs here: opening and scanning Delta tables. What does not: what their rows ought to be. A table that does not
exist yet reads as an empty one. Options of object storage come from the environment, as delta-rs reads them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from market.errors import ServiceError
from market.tables import BAR_REVISIONS, LAKE_TABLES, MESSAGES, DataType, Table
from market.topics import TRADES

MICROS: Final = 1_000_000
"""Prices and notionals are compared as whole millionths, never as floats."""

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_A_CHUNK: Final = 250_000
_TYPES: Final[dict[DataType, pl.DataType]] = {
    DataType.TEXT: pl.String(),
    DataType.INTEGER: pl.Int32(),
    DataType.BIGINT: pl.Int64(),
    DataType.PRICE: pl.Int64(),
    DataType.NOTIONAL: pl.Int128(),
    DataType.TIMESTAMP: pl.Datetime("us", "UTC"),
    DataType.DATE: pl.Date(),
    DataType.BOOLEAN: pl.Boolean(),
    DataType.BINARY: pl.Binary(),
}


def schema_of(table: Table) -> dict[str, pl.DataType]:
    """Return the polars types in which a table is compared: prices are Int64 and notionals Int128, in millionths."""
    return {column.name: _TYPES[column.type] for column in table.columns}


class Lake:
    """Every table of the lake at the version it had when this was made.

    Parameters
    ----------
    uri
        Root of the lake: a folder or an object-storage URI.

    Raises
    ------
    ServiceError
        If a table is there but cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._tables = {table.path: _open(f"{uri}/{table.path}") for table in LAKE_TABLES}
        self._until: Mapping[str, datetime] | None = None

    @property
    def is_missing(self) -> bool:
        """Whether nothing was ever taken in."""
        return self._tables[MESSAGES.path] is None

    def cut(self, until: Mapping[str, datetime]) -> None:
        """Leave out what batches wrote that began after ``until``, by topic; each topic has batches of its own."""
        self._until = until

    def scan(self, table: Table) -> pl.LazyFrame:
        """Return the rows of a table up to the cut, in the types of :func:`schema_of`."""
        rows = self.scan_whole(table)
        return rows if self._until is None else rows.filter(self._is_before_the_cut(table, self._until))

    def scan_beyond(self, table: Table, columns: Sequence[str]) -> pl.LazyFrame:
        """Return some columns of the rows of a table that :meth:`scan` leaves out, those of the cut among them."""
        is_before = pl.lit(value=True) if self._until is None else self._is_before_the_cut(table, self._until)
        # No file is passed over by its statistics: Delta cuts moments to milliseconds there, and so makes them earlier.
        every = self.scan_whole(table).select(columns)
        every = every.map_batches(lambda rows: rows, predicate_pushdown=False, streamable=True)
        return every.filter(~is_before.fill_null(value=False))

    @staticmethod
    def _is_before_the_cut(table: Table, until: Mapping[str, datetime]) -> pl.Expr:
        if table is BAR_REVISIONS:
            return pl.col("revised_at") <= until.get(TRADES.name, _BEGINNING)
        return pl.any_horizontal(
            pl.lit(value=False),
            *((pl.col("topic") == topic) & (pl.col("ingested_at") <= newest) for topic, newest in until.items()),
        )

    def reopened(self) -> "Lake":
        """Return the lake as it is now, whole."""
        return Lake(self.uri)

    def scan_whole(self, table: Table) -> pl.LazyFrame:
        """Return all rows of a table, in the types of :func:`schema_of`."""
        delta = self._tables[table.path]
        if delta is None:
            return pl.LazyFrame(schema=schema_of(table))
        # polars looks for the files of a local path with a space under the path's percent-encoded name; pyarrow does not.
        rows = pl.scan_delta(delta, use_pyarrow="%" in delta.table_uri)
        stored = {column.name for column in delta.schema().fields}
        return rows.select(
            _as_compared(column.name, column.type)
            if column.name in stored
            else pl.lit(None, _TYPES[column.type]).alias(column.name)  # the stream adds it when it starts
            for column in table.columns
        )

    def read(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return the rows of a scan.

        Raises
        ------
        ServiceError
            If a file of the table is missing or damaged.
        """
        try:
            return rows.collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(error) from error

    def read_in_chunks(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """Yield the rows of a scan some hundred thousand at a time.

        Raises
        ------
        ServiceError
            If a file of the table is missing or damaged.
        """
        try:
            for chunk in rows.collect_batches(chunk_size=_ROWS_A_CHUNK):
                for start in range(0, chunk.height, _ROWS_A_CHUNK):
                    yield chunk.slice(start, _ROWS_A_CHUNK)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ServiceError:
        reason = str(error).splitlines()[0][:300]
        return ServiceError(f"The lake at {self.uri} cannot be read: {reason}. A file of it is missing or damaged.")


def _open(uri: str) -> DeltaTable | None:
    try:
        return DeltaTable(uri) if DeltaTable.is_deltatable(uri) else None
    except (DeltaError, OSError) as error:
        reason = str(error).splitlines()[0][:300]
        msg = f"The lake table at {uri} cannot be opened: {reason}. Check LAKE_URI and its credentials."
        raise ServiceError(msg) from error


def _as_compared(name: str, data_type: DataType) -> pl.Expr:
    column = pl.col(name)
    if data_type in {DataType.PRICE, DataType.NOTIONAL}:
        column = column.cast(pl.Decimal(38, 6)).to_physical()
    return column.cast(_TYPES[data_type])
