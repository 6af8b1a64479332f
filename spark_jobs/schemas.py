"""The declared tables as frames in memory and as files of the lake.

In memory prices and notionals are whole millionths, so that all arithmetic is exact; in the lake they are decimals.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from market.records import PRICE_DECIMALS
from market.tables import Column, DataType, Table

MICROS_PER_UNIT: Final = 10**PRICE_DECIMALS
MOMENT: Final = pl.Datetime("us", "UTC")

_FRAME_TYPES: Final[Mapping[DataType, pl.DataType]] = {
    DataType.TEXT: pl.String(),
    DataType.INTEGER: pl.Int32(),
    DataType.BIGINT: pl.Int64(),
    DataType.PRICE: pl.Int64(),
    DataType.NOTIONAL: pl.Int128(),
    DataType.TIMESTAMP: MOMENT,
    DataType.DATE: pl.Date(),
    DataType.BOOLEAN: pl.Boolean(),
    DataType.BINARY: pl.Binary(),
}
_LAKE_TYPES: Final[Mapping[DataType, pa.DataType]] = {
    DataType.TEXT: pa.string(),
    DataType.INTEGER: pa.int32(),
    DataType.BIGINT: pa.int64(),
    DataType.PRICE: pa.decimal128(18, PRICE_DECIMALS),
    DataType.NOTIONAL: pa.decimal128(38, PRICE_DECIMALS),
    DataType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    DataType.DATE: pa.date32(),
    DataType.BOOLEAN: pa.bool_(),
    DataType.BINARY: pa.binary(),
}
_DECIMALS: Final = frozenset({DataType.PRICE, DataType.NOTIONAL})


def frame_schema(table: Table) -> dict[str, pl.DataType]:
    """Return the types of a declared table in memory."""
    return frame_types(table.columns)


def frame_types(columns: Sequence[Column]) -> dict[str, pl.DataType]:
    """Return the types of declared columns in memory."""
    return {column.name: _FRAME_TYPES[column.type] for column in columns}


def lake_schema(table: Table) -> pa.Schema:
    """Return the types of a declared table in the lake; every column is nullable, as Delta's files are written."""
    return pa.schema([pa.field(column.name, _LAKE_TYPES[column.type]) for column in table.columns])


def to_arrow(frame: pl.DataFrame, table: Table, names: tuple[str, ...] | None = None) -> pa.Table:
    """Return a frame as the lake stores it: the table's columns, or those of ``names``, in the declared order."""
    return columns_to_arrow(frame, [column for column in table.columns if names is None or column.name in names])


def columns_to_arrow(frame: pl.DataFrame, columns: Sequence[Column]) -> pa.Table:
    """Return declared columns of a frame with prices and notionals as decimals."""
    return pa.table({column.name: _to_array(frame[column.name], column.type) for column in columns})


def _to_array(values: pl.Series, data_type: DataType) -> pa.Array:
    if data_type not in _DECIMALS:
        return values.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(_LAKE_TYPES[data_type])
    whole = values.cast(pl.Decimal(38, 0)).to_arrow()
    # The same digits, read as millionths.
    return pa.Array.from_buffers(_LAKE_TYPES[data_type], len(whole), whole.buffers(), offset=whole.offset)


def in_millionths(table: Table) -> list[pl.Expr]:
    """Return expressions that read the columns of a stored table in their types in memory."""
    return [
        (
            pl.col(column.name).cast(pl.Decimal(38, PRICE_DECIMALS)).to_physical()
            if column.type in _DECIMALS
            else pl.col(column.name)
        ).cast(_FRAME_TYPES[column.type])
        for column in table.columns
    ]
