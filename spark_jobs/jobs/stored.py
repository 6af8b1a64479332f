"""What is stored, as the deep path reads it: the lake up to the batches that are done, and PostgreSQL as of one moment."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import polars as pl

from market import tables
from market.settings import Settings
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.jobs.compared import Cut
from spark_jobs.schemas import frame_schema, frame_types
from spark_jobs.transforms.coverage import SPAN_SCHEMA
from warehouse.repair import SESSION_COLUMNS, VENDOR_SESSION_COLUMNS, LakeSnapshot, Repair, open_snapshot, repair_rows


class Snapshot(Protocol):
    """PostgreSQL as of one moment: see :class:`warehouse.repair.LakeSnapshot`."""

    def next_offsets(self, topic: str) -> Any:  # noqa: ANN401, D102 - described there
        ...

    def newest_batch(self, query_id: str) -> int | None:  # noqa: D102
        ...

    def sessions(self, start: date, end: date) -> set[date]:  # noqa: D102
        ...

    def symbols(self, session_date: date) -> set[str]:  # noqa: D102
        ...

    def bars(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def sessions_with_bars(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def corporate_actions(self, start: date, end: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def sessions_with_vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def coverage(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def halts(self, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def latest_quotes(self, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...

    def quoted_sessions(self, start: date, end: date) -> set[date]:  # noqa: D102
        ...

    def quoted_symbols(self, session_date: date) -> set[str]:  # noqa: D102
        ...

    def minute_quotes(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...


class Database(Protocol):
    """Where the rows of PostgreSQL are."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return what is there as of now."""

    def repair(self, repairs: Sequence[Repair]) -> None:
        """Put right rows in the place of wrong ones, in one transaction."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """The database of the settings."""

    settings: Settings

    def snapshot(self) -> AbstractContextManager[LakeSnapshot]:
        """Return what is there as of now."""
        return open_snapshot(self.settings)

    def repair(self, repairs: Sequence[Repair]) -> None:
        """Put right rows in the place of wrong ones, in one transaction."""
        repair_rows(self.settings, repairs)


@dataclass(frozen=True, slots=True)
class Stored:
    """Reads what is stored of a topic.

    Attributes
    ----------
    lake, snapshot
        Where it is stored; the snapshot of PostgreSQL was taken before the lake is read.
    cut
        Which rows count: see :class:`spark_jobs.jobs.compared.Cut`.
    is_ahead
        Whether by now a batch has written to a table that the snapshot does not have, or may have.
    """

    lake: Lake
    snapshot: Snapshot
    cut: Cut
    is_ahead: Callable[[Table], bool]

    def rows(self, table: Table, *conditions: pl.Expr) -> pl.DataFrame:
        """Return the rows of a table of the lake that meet the conditions; of shared tables those of the topic.

        The stream goes on meanwhile. Whether later rows may be of a batch on its way is asked *after* they were read: if they
        are, its number is on the table by then.
        """
        found = self.lake.read(self._scan(table, *conditions))
        done = found.filter(self.cut.done(table))
        return done if done.height < found.height and self.is_ahead(table) else found

    def values(self, table: Table, value: pl.Expr, *conditions: pl.Expr) -> set[Any]:
        """Return the different values of an expression over such rows, those on their way among them, but for null."""
        found = self.lake.read(self._scan(table, *conditions).select(value.alias("value").unique()))
        return set(found["value"].drop_nulls())

    def _scan(self, table: Table, *conditions: pl.Expr) -> pl.LazyFrame:
        own = pl.col("topic") == self.cut.topic if table in SHARED else pl.lit(value=True)
        return self.lake.scan(table).filter(own, *conditions)

    def bars(self, session_date: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the bars of PostgreSQL of some symbols of a session."""
        return _frame(self.snapshot.bars(session_date, symbols), frame_schema(tables.PG_BARS))

    def sessions_with_bars(self, session_date: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return what PostgreSQL says of the bars of some symbols of a session."""
        return _frame(self.snapshot.sessions_with_bars(session_date, symbols), frame_types(SESSION_COLUMNS))

    def vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the vendor bars of PostgreSQL of some symbols between two sessions."""
        return _frame(self.snapshot.vendor_bars(start, end, symbols), frame_schema(tables.PG_VENDOR_BARS))

    def corporate_actions(self, start: date, end: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the corporate actions of PostgreSQL of some symbols between two sessions."""
        found = self.snapshot.corporate_actions(start, end, symbols)
        return _frame(found, frame_schema(tables.PG_CORPORATE_ACTIONS))

    def sessions_with_vendor_bars(self, start: date, end: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return what PostgreSQL says of the vendor bars of some symbols between two sessions."""
        rows = self.snapshot.sessions_with_vendor_bars(start, end, symbols)
        return _frame(rows, frame_types(VENDOR_SESSION_COLUMNS))

    def coverage(self, session_date: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the spans that feeds cover of a session."""
        return _frame(self.snapshot.coverage(session_date, symbols), SPAN_SCHEMA)

    def halts(self, symbols: Collection[str]) -> pl.DataFrame:
        """Return the halts and resumes of PostgreSQL."""
        return _frame(self.snapshot.halts(symbols), frame_schema(tables.PG_TRADING_HALTS))

    def latest_quotes(self, symbols: Collection[str]) -> pl.DataFrame:
        """Return the last known bids and asks of PostgreSQL."""
        return _frame(self.snapshot.latest_quotes(symbols), frame_schema(tables.PG_LATEST_QUOTES))

    def minute_quotes(self, session_date: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the last bids and asks of PostgreSQL of the minutes of some symbols of a session."""
        return _frame(self.snapshot.minute_quotes(session_date, symbols), frame_schema(tables.PG_QUOTES_1M))


SHARED = frozenset({tables.QUARANTINE, tables.DUPLICATES})
"""The tables to which the batches of all topics write."""


def _frame(rows: list[tuple[Any, ...]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema, orient="row")
