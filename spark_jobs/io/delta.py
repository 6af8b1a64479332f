"""Delta tables: create, append exactly once, read what a batch touches."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from market.errors import SchemaDriftError
from market.tables import Table
from spark_jobs.schemas import spark_schema

OffsetRanges = Mapping[tuple[str, int], tuple[int, int]]
"""First and last offset of a batch, by topic and partition."""

Windows = Mapping[date, tuple[datetime, datetime]]
"""First and last moment of a batch, by session."""

_MOST_WINDOWS: Final = 32


@dataclass(frozen=True, slots=True)
class Lake:
    """The Delta tables below one root."""

    spark: SparkSession
    root: str

    def path(self, table: Table) -> str:
        """Return where the table lives."""
        return f"{self.root}/{table.path}"

    def exists(self, table: Table) -> bool:
        """Return whether the table has been created."""
        return DeltaTable.isDeltaTable(self.spark, self.path(table))

    def create(self, table: Table) -> None:
        """Create the table if it is not there, and add declared columns that it lacks.

        Raises
        ------
        SchemaDriftError
            If a stored column differs in type from its declaration, or is not declared.
        """
        declared = spark_schema(table)
        if not self.exists(table):
            builder = DeltaTable.createIfNotExists(self.spark).location(self.path(table)).addColumns(declared)
            builder = builder.comment(table.grain)
            (builder.partitionedBy(table.partition_by) if table.partition_by else builder).execute()
            return
        stored = {field.name: field.dataType for field in self.read(table).schema}
        for field in declared:
            if field.name in stored and stored[field.name] != field.dataType:
                msg = (
                    f"{self.path(table)}: column {field.name} is {stored[field.name].simpleString()}, declared as "
                    f"{field.dataType.simpleString()}. A column's type cannot change: declare a new column."
                )
                raise SchemaDriftError(msg)
        unknown = sorted(set(stored) - set(table.column_names))
        if unknown:
            msg = f"{self.path(table)}: column {unknown[0]} is stored but not declared. A column cannot be dropped."
            raise SchemaDriftError(msg)
        missing = [field for field in declared if field.name not in stored]
        if missing:
            columns = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in missing)
            self.spark.sql(f"alter table delta.`{self.path(table)}` add columns ({columns})")

    def read(self, table: Table) -> DataFrame:
        """Return the table as it is now."""
        return self.spark.read.format("delta").load(self.path(table))

    def append(self, table: Table, rows: DataFrame, *, writer_id: str, batch_id: int) -> None:
        """Append the rows; a second append with the same writer and batch changes nothing."""
        (
            rows.select(*table.column_names)
            .write.format("delta")
            .mode("append")
            .option("txnAppId", writer_id)
            .option("txnVersion", batch_id)
            .save(self.path(table))
        )


def outside(ranges: OffsetRanges) -> Column:
    """Return the condition that a row does not come from the given offsets.

    What a batch finds stored must not depend on whether an earlier attempt at the same batch got as far as storing.
    """
    inside = f.lit(False)  # noqa: FBT003
    for (topic, partition), (first, last) in ranges.items():
        place = (f.col("topic") == topic) & (f.col("partition") == partition)
        inside = inside | (place & f.col("offset").between(first, last))
    return ~inside


def within(windows: Windows, moment: str) -> Column:
    """Return the condition that a row's ``moment`` lies in one of the windows, both ends included.

    Many windows are taken as one that spans them: the condition only has to include what may matter, cheaply.
    """
    if len(windows) > _MOST_WINDOWS:
        span = (min(first for first, _ in windows.values()), max(last for _, last in windows.values()))
        return f.col("session_date").between(min(windows), max(windows)) & f.col(moment).between(*span)
    condition = f.lit(False)  # noqa: FBT003
    for session_date, (first, last) in windows.items():
        condition = condition | ((f.col("session_date") == session_date) & f.col(moment).between(first, last))
    return condition
