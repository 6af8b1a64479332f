"""The rows of what counts for nothing: rejected, conflicting and repeated messages."""

from collections.abc import Sequence

import polars as pl

from market.rules import RULES_VERSION
from market.tables import DUPLICATES, QUARANTINE, DataType, Table
from spark_jobs.transforms.kinds import RecordKind
from spark_jobs.transforms.unique import conflict_detail, record_id


def rejected_rows(rejected: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of ``bronze/quarantine``, of messages that break a rule, with their reason and detail."""
    version = pl.lit(RULES_VERSION, pl.Int32).alias("rules_version")
    return rejected.with_columns(version).select(QUARANTINE.column_names)


def conflict_rows(conflicts: pl.DataFrame, kind: RecordKind) -> pl.DataFrame:
    """Return the columns of ``bronze/quarantine``, of records that contradict one of the same identity."""
    reason = pl.lit(f"conflicting_{kind.identity.key[-1]}").alias("reason")
    detail = conflict_detail(conflicts, kind.identity, _prices(kind.table))
    return rejected_rows(conflicts.with_columns(reason, detail))


def duplicate_rows(duplicates: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the columns of ``bronze/duplicates``, of records that repeat the one of the same ``key``."""
    return duplicates.with_columns(record_id(key).alias("record_id")).select(DUPLICATES.column_names)


def _prices(table: Table) -> frozenset[str]:
    return frozenset(column.name for column in table.columns if column.type is DataType.PRICE)
