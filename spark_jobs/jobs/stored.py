"""What is stored of some trades, beside what ought to be: compared, and put right by one commit a table.

The tables are compared one by one with what bronze gives, never with each other. So a repair that is cut anywhere leaves
behind tables that are right and tables that still differ, and the next one goes on there.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Protocol, cast

import polars as pl
import pyarrow as pa

from market import tables
from market.settings import Settings
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.report import Differences
from spark_jobs.schemas import MOMENT, frame_schema, to_arrow
from spark_jobs.transforms.bars import BAR_KEY
from spark_jobs.transforms.decode import PLACE
from spark_jobs.transforms.differences import find_differences, wrong_keys
from spark_jobs.transforms.kinds import TRADES
from spark_jobs.transforms.rightful import Rightful, newest_revisions
from warehouse.repair import BarSnapshot, open_bars, repair_bars

_PLACES_A_COMMIT: Final = 5_000


class Snapshot(Protocol):
    """PostgreSQL as of one moment: see :class:`warehouse.repair.BarSnapshot`."""

    def next_offsets(self, topic: str) -> Any:  # noqa: ANN401, D102 - described there
        ...

    def sessions(self, start: date, end: date) -> set[date]:  # noqa: D102
        ...

    def symbols(self, session_date: date) -> set[str]:  # noqa: D102
        ...

    def bars(self, session_date: date, symbols: Collection[str]) -> list[tuple[Any, ...]]:  # noqa: D102
        ...


class Database(Protocol):
    """Where the bars of PostgreSQL are."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return what is there as of now."""

    def repair(self, wrong: pa.Table, right: pa.Table) -> None:
        """Put right bars in the place of wrong ones, in one transaction."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """The database of the settings."""

    settings: Settings

    def snapshot(self) -> AbstractContextManager[BarSnapshot]:
        """Return what is there as of now."""
        return open_bars(self.settings)

    def repair(self, wrong: pa.Table, right: pa.Table) -> None:
        """Put right bars in the place of wrong ones, in one transaction."""
        repair_bars(self.settings, wrong, right)


@dataclass(frozen=True, slots=True)
class LakeRows:
    """Some rows of a table of the lake.

    Attributes
    ----------
    lake, table
        The table.
    right, stored
        What ought to be there and what is.
    key
        The columns that name a row.
    where
        In SQL, which rows of the table these are, or lie among: see ``by_place``.
    by_place
        Whether other rows lie among them: then only those at places where something is wrong are replaced.
    """

    lake: Lake
    table: Table
    right: pl.DataFrame
    stored: pl.DataFrame
    key: Sequence[str]
    where: str
    by_place: bool = False

    @property
    def name(self) -> str:
        """The table's path."""
        return self.table.path

    def differences(self) -> Differences:
        """Return where the rows differ from what they ought to be."""
        return find_differences(self.right, self.stored, self.key)

    def repair(self) -> None:
        """Put the right rows in the place of those that are stored."""
        if not self.by_place:
            self.lake.replace(self.table, self.right, self.where)
            return
        wrong = wrong_keys(self.right, self.stored, PLACE).sort(PLACE)
        for places in wrong.iter_slices(_PLACES_A_COMMIT):
            self.lake.replace(
                self.table, self.right.join(places, on=PLACE, how="semi"), f"{self.where} and {_at(places)}"
            )


@dataclass(frozen=True, slots=True)
class BarRows:
    """Some bars of PostgreSQL; the attributes are those of :class:`LakeRows`."""

    database: Database
    right: pl.DataFrame
    stored: pl.DataFrame

    @property
    def name(self) -> str:
        """The table's name."""
        return tables.PG_BARS.qualified_name

    def differences(self) -> Differences:
        """Return where the bars differ from what they ought to be."""
        return find_differences(self.right, self.stored, BAR_KEY)

    def repair(self) -> None:
        """Put the right bars in the place of those that are stored."""
        wrong = wrong_keys(self.right, self.stored, BAR_KEY)
        right = self.right.join(wrong, on=BAR_KEY, how="semi")
        self.database.repair(to_arrow(wrong, tables.PG_BARS, BAR_KEY), to_arrow(right, tables.PG_BARS))


Rows = LakeRows | BarRows


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Reads what is stored, up to a batch.

    Attributes
    ----------
    lake, database, snapshot
        Where it is stored; the snapshot of PostgreSQL was taken before the lake is read.
    until
        The stamp of the newest batch of trades that is in the snapshot.
    """

    lake: Lake
    database: Database
    snapshot: Snapshot
    until: datetime

    def trades(self, session_date: date, symbols: Collection[str]) -> pl.DataFrame:
        """Return the trades that are stored of some symbols of a session."""
        return self._read(tables.TRADES, _of(session_date, symbols) & self._until("ingested_at"))

    def trade_rows(
        self, session_date: date, symbols: Collection[str], right: Rightful, stored: pl.DataFrame
    ) -> LakeRows:
        """Return the trades of some symbols of a session beside what they ought to be."""
        where = f"{_of_sql(session_date, symbols)} and {self._sql('ingested_at')}"
        return LakeRows(self.lake, tables.TRADES, right.records, stored, PLACE, where)

    def bar_rows(self, session_date: date, symbols: Collection[str], revisions: pl.DataFrame) -> list[Rows]:
        """Return the bars of some symbols of a session beside what they ought to be, in the lake and in PostgreSQL."""
        table = tables.BAR_REVISIONS
        stored = self._read(table, _of(session_date, symbols) & self._until("revised_at"))
        where = f"{_of_sql(session_date, symbols)} and {self._sql('revised_at')}"
        rows = self.snapshot.bars(session_date, symbols)
        bars = pl.DataFrame(rows, schema=frame_schema(tables.PG_BARS), orient="row")
        return [
            LakeRows(self.lake, table, revisions, stored, table.key, where),
            BarRows(self.database, newest_revisions(revisions), bars),
        ]

    def amendments(self, since: datetime, symbols: Collection[str]) -> pl.DataFrame:
        """Return the cancels and corrections that are stored of some symbols, or of all if none is given, from a moment on."""
        of_symbols = pl.col("symbol").is_in(list(symbols)) if symbols else pl.lit(value=True)
        is_new = pl.col("ingested_at") >= pl.lit(since, MOMENT)
        return self._read(tables.AMENDMENTS, of_symbols & is_new & self._until("ingested_at"))

    def amendment_rows(
        self, since: datetime, symbols: Collection[str], right: Rightful, stored: pl.DataFrame
    ) -> LakeRows:
        """Return the cancels and corrections beside what they ought to be."""
        where = f"ingested_at >= {_moment(since)} and {self._sql('ingested_at')}"
        where += f" and symbol in ({_texts(symbols)})" if symbols else ""
        return LakeRows(self.lake, tables.AMENDMENTS, right.records, stored, PLACE, where)

    def amendments_before(self, since: datetime) -> pl.DataFrame:
        """Return the cancels and corrections that were taken in before a moment."""
        return self._read(tables.AMENDMENTS, pl.col("ingested_at") < pl.lit(since, MOMENT))

    def rows_set_aside(self, right: Rightful, places: pl.DataFrame) -> list[Rows]:
        """Return duplicates and quarantine beside what they ought to be.

        Parameters
        ----------
        right
            What must become of some messages.
        places
            ``partition, offset, ingested_at`` of these messages.
        """
        if not places.height:
            return []
        stamps = places["ingested_at"]
        first, last = cast("datetime", stamps.min()), cast("datetime", stamps.max())
        # Later batches of other topics write these tables meanwhile: the bounds tell that their files do not matter.
        where = f"ingested_at >= {_moment(first)} and ingested_at <= {_moment(last)}"
        of_topic = (pl.col("topic") == TRADES.topic.name) & pl.col("ingested_at").is_between(first, last)
        rows: list[Rows] = []
        for table, expected in ((tables.DUPLICATES, right.duplicates), (tables.QUARANTINE, right.quarantine)):
            stored = self._read(table, of_topic).join(places, on=PLACE, how="semi")
            rows.append(LakeRows(self.lake, table, expected, stored, PLACE, where, by_place=True))
        return rows

    def _read(self, table: Table, condition: pl.Expr) -> pl.DataFrame:
        return self.lake.read(self.lake.scan(table).filter(condition))

    def _until(self, column: str) -> pl.Expr:
        return pl.col(column) <= pl.lit(self.until, MOMENT)

    def _sql(self, column: str) -> str:
        return f"{column} <= {_moment(self.until)}"


def _of(session_date: date, symbols: Collection[str]) -> pl.Expr:
    return (pl.col("session_date") == session_date) & pl.col("symbol").is_in(list(symbols))


def _of_sql(session_date: date, symbols: Collection[str]) -> str:
    return f"session_date = date '{session_date}' and symbol in ({_texts(symbols)})"


def _moment(moment: datetime) -> str:
    return f"'{moment:%Y-%m-%dT%H:%M:%S.%f}Z'"


def _texts(texts: Collection[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in sorted(texts))


def _at(places: pl.DataFrame) -> str:
    """Return the condition that a row of the topic is at one of some places."""
    of_partitions = [
        f'(partition = {partition} and "offset" in ({", ".join(map(str, part["offset"].to_list()))}))'
        for (partition,), part in places.partition_by("partition", as_dict=True).items()
    ]
    return f"topic = '{TRADES.topic.name}' and ({' or '.join(of_partitions)})"
