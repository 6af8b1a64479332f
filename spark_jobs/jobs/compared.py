"""Rows of a table beside what they ought to be: compared, and put right.

Tables are compared with what bronze gives, never with each other. So a repair that is cut anywhere leaves behind tables that are
right and tables that still differ, and the next one goes on there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from market import tables
from market.tables import Table
from spark_jobs.io.delta import Lake
from spark_jobs.report import Differences
from spark_jobs.schemas import MOMENT, columns_to_arrow, to_arrow
from spark_jobs.transforms.coverage import SPAN_KEY
from spark_jobs.transforms.decode import PLACE
from spark_jobs.transforms.differences import find_differences, wrong_keys
from warehouse.repair import Repair, repaired_columns

_PLACES_A_COMMIT: Final = 5_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Which stored rows of a topic are of batches that are done: the others are left alone.

    A batch that is on its way, or was cut, is later than all that are done, and so are its offsets; and the tables that it has
    written to bear its number. A row that lacks any of these is none of its rows, whatever its stamp says.

    Attributes
    ----------
    topic
        The topic.
    until
        The stamp of the newest batch that is done.
    next_offsets
        Per partition the offset after the last one of these batches.
    on_their_way
        The paths of the tables that a later batch had written to, or may have, when this was looked at.
    """

    topic: str
    until: datetime
    next_offsets: Mapping[int, int] = field(default_factory=dict)
    on_their_way: frozenset[str] = frozenset()

    def done(self, table: Table) -> pl.Expr:
        """Return the condition that a row is not later than the batches that are done, by its stamp or its offset."""
        stamped = pl.col(_stamp(table)) <= pl.lit(self.until, MOMENT)
        if "offset" not in table.column_names:
            return stamped
        return pl.any_horizontal(stamped, *(_below(partition, end) for partition, end in self.next_offsets.items()))

    def sql(self, table: Table) -> str:
        """Return in SQL that a row is of a batch that is done, or of none; holds while no batch is being written."""
        if table.path not in self.on_their_way:
            return "true"
        done = [f"{_stamp(table)} <= {moment_sql(self.until)}"]
        if "offset" in table.column_names:
            done += [
                f'(partition = {partition} and "offset" < {end})'
                for partition, end in sorted(self.next_offsets.items())
            ]
        return f"({' or '.join(done)})"


def _stamp(table: Table) -> str:
    return "revised_at" if table is tables.BAR_REVISIONS else "ingested_at"


def _below(partition: int, end: int) -> pl.Expr:
    return (pl.col("partition") == partition) & (pl.col("offset") < end)


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
        In SQL, which rows of the table these are, or lie among: see ``others`` and ``by_place``.
    others
        Stored rows that lie among them and are left as they are.
    by_place
        Whether only the rows at places where something is wrong are replaced, instead of all.
    """

    lake: Lake
    table: Table
    right: pl.DataFrame
    stored: pl.DataFrame
    key: Sequence[str]
    where: str
    others: pl.DataFrame | None = None
    by_place: bool = False

    @property
    def name(self) -> str:
        """The table's path."""
        return self.table.path

    def differences(self) -> Differences:
        """Return where the rows differ from what they ought to be."""
        return find_differences(self.right, self.stored, self.key)

    def repair(self, cut: Cut) -> None:
        """Put the right rows in the place of those that are stored, but for those of batches that are not done."""
        columns = self.table.column_names
        parts = [self.right.select(columns)] + ([] if self.others is None else [self.others.select(columns)])
        rows, where = pl.concat(parts), f"{self.where} and {cut.sql(self.table)}"
        if not self.by_place:
            self.lake.replace(self.table, rows, where)
            return
        wrong = wrong_keys(self.right, self.stored, PLACE).sort(PLACE)
        for places in wrong.iter_slices(_PLACES_A_COMMIT):
            self.lake.replace(self.table, rows.join(places, on=PLACE, how="semi"), f"{where} and {_at(places)}")


@dataclass(frozen=True, slots=True)
class PostgresRows:
    """Some rows of a table of PostgreSQL; the attributes are those of :class:`LakeRows`. Coverage is a row a span."""

    table: Table
    right: pl.DataFrame
    stored: pl.DataFrame

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.qualified_name

    def differences(self) -> Differences:
        """Return where the rows differ from what they ought to be."""
        key = SPAN_KEY if self.table is tables.PG_FEED_COVERAGE else self.table.key
        return find_differences(self.right, self.stored, key)

    def repair(self) -> Repair:
        """Return what puts the right rows in the place of those that are stored."""
        wrong = wrong_keys(self.right, self.stored, self.table.key)
        right = self.right.join(wrong, on=self.table.key, how="semi", nulls_equal=True)
        columns = columns_to_arrow(right, repaired_columns(self.table))
        return Repair(self.table, to_arrow(wrong, self.table, self.table.key), columns)


Rows = LakeRows | PostgresRows


def moment_sql(moment: datetime) -> str:
    """Return a moment in SQL."""
    return f"'{moment:%Y-%m-%dT%H:%M:%S.%f}Z'"


def texts_sql(texts: Collection[str]) -> str:
    """Return a list of texts in SQL."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in sorted(texts))


def _at(places: pl.DataFrame) -> str:
    """Return the condition that a row is at one of some places."""
    of_partitions = [
        f'(partition = {partition} and "offset" in ({", ".join(map(str, part["offset"].to_list()))}))'
        for (partition,), part in places.partition_by("partition", as_dict=True).items()
    ]
    return f"({' or '.join(of_partitions)})"
