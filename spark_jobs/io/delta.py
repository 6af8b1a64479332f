"""Delta tables: create, append exactly once, read what a batch touches."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from market.errors import SchemaDriftError
from market.tables import Table
from spark_jobs.schemas import spark_schema

Windows = Mapping[date, tuple[datetime, datetime]]
"""First and last moment of a batch, by session."""

_MOST_WINDOWS: Final = 32
_ROUNDED_MINUTES: Final = 5


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
            builder = builder.comment(table.grain).property("delta.dataSkippingStatsColumns", ",".join(table.skip_by))
            builder.execute()
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


def around(windows: Windows, moment: str) -> Column:
    """Return a condition that holds for every row whose ``moment`` lies in one of the windows, and for few others.

    It only has to leave out what cannot matter, by files. Its constants are rounded, because Spark compiles a query anew
    for each constant that it has not met: a stream would compile in every batch.
    """
    if len(windows) > _MOST_WINDOWS:
        span = (min(first for first, _ in windows.values()), max(last for _, last in windows.values()))
        return f.col("session_date").between(min(windows), max(windows)) & _between(moment, *span)
    condition = f.lit(False)  # noqa: FBT003
    for session_date, span in sorted(windows.items()):
        condition = condition | ((f.col("session_date") == session_date) & _between(moment, *span))
    return condition


def _between(moment: str, first: datetime, last: datetime) -> Column:
    return (f.col(moment) >= _rounded(first)) & (f.col(moment) < _rounded(last) + timedelta(minutes=_ROUNDED_MINUTES))


def _rounded(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute - moment.minute % _ROUNDED_MINUTES, second=0, microsecond=0)
