"""Spark schemas of the declared tables."""

from collections.abc import Mapping
from typing import Final

from pyspark.sql import types as t

from market.tables import DataType, Table

PRICE: Final = t.DecimalType(18, 6)
NOTIONAL: Final = t.DecimalType(38, 6)
WIRE_PRICE: Final = t.DecimalType(38, 26)
"""What prices are read as: more digits than a price may have, so that one with too many is seen and not rounded."""

_TYPES: Final[Mapping[DataType, t.DataType]] = {
    DataType.TEXT: t.StringType(),
    DataType.INTEGER: t.IntegerType(),
    DataType.BIGINT: t.LongType(),
    DataType.PRICE: PRICE,
    DataType.NOTIONAL: NOTIONAL,
    DataType.TIMESTAMP: t.TimestampType(),
    DataType.DATE: t.DateType(),
    DataType.BOOLEAN: t.BooleanType(),
    DataType.BINARY: t.BinaryType(),
}


def spark_schema(table: Table) -> t.StructType:
    """Return the schema of a declared table; every column is nullable, as Delta's files are written."""
    return t.StructType([t.StructField(column.name, _TYPES[column.type]) for column in table.columns])
