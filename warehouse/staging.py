"""Arrow tables into PostgreSQL's temporary tables by COPY, and what is worked out in Arrow before that.

Rows travel as CSV that Arrow writes column by column: no Python object per value, and decimals as their exact digits.
"""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection
from pyarrow import csv

from market.tables import PG_LATEST_QUOTES, PG_QUOTES_1M, QUOTES, Column, DataType
from warehouse.ddl import COLUMN_TYPES, quote_name, quote_names

ARROW_TYPES: Final = {
    DataType.TEXT: pa.string(),
    DataType.INTEGER: pa.int32(),
    DataType.BIGINT: pa.int64(),
    DataType.PRICE: pa.decimal128(18, 6),
    DataType.NOTIONAL: pa.decimal128(38, 6),
    DataType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    DataType.DATE: pa.date32(),
    DataType.BOOLEAN: pa.bool_(),
}
"""The Arrow type of each declared type that can be staged."""

QUOTE_COLUMNS: Final = ("source", "symbol", "quoted_at", "sequence", "bid", "bid_size", "ask", "ask_size")
"""The columns of :data:`market.tables.QUOTES` that the latest quotes are worked out from."""
PLACED_QUOTE_COLUMNS: Final = (*QUOTE_COLUMNS, "session_date", "segment", "ingested_at")
"""The same for the quotes of minutes."""

LATEST_QUOTE_COLUMNS: Final = PG_LATEST_QUOTES.columns

_COPY_CHUNK_BYTES: Final = 1 << 20


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of the declared columns."""
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.type], column.nullable) for column in columns])


def conform(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Return ``rows`` with the declared columns in the declared order and types, without any loss.

    Raises
    ------
    TypeError
        If a column is missing, or a float would become a decimal.
    pyarrow.ArrowInvalid
        If a value does not fit its declared type exactly.
    """
    arrays = []
    for column in columns:
        if column.name not in rows.column_names:
            msg = f"The rows lack the column {column.name}. They have: {', '.join(rows.column_names)}."
            raise TypeError(msg)
        array = rows.column(column.name)
        if pa.types.is_floating(array.type):
            msg = f"The column {column.name} is {array.type}; a {column.type} is never carried as a float."
            raise TypeError(msg)
        arrays.append(array.cast(ARROW_TYPES[column.type]))
    return pa.table(arrays, names=[column.name for column in columns])


def copy_in(connection: Connection[Any], name: str, columns: Sequence[Column], rows: pa.Table) -> None:
    """Create the temporary table ``name``, which lives until the transaction's end, and copy the rows into it."""
    body = ", ".join(f"{quote_name(column.name)} {COLUMN_TYPES[column.type]}" for column in columns)
    connection.execute(f"create temporary table {quote_name(name)} ({body}) on commit drop")
    copy_rows(connection, quote_name(name), columns, rows)


def copy_rows(connection: Connection[Any], table: str, columns: Sequence[Column], rows: pa.Table) -> None:
    """Copy the rows into ``table``, named as in SQL."""
    buffer = pa.BufferOutputStream()
    csv.write_csv(_with_moments_as_texts(conform(rows, columns)), buffer, csv.WriteOptions(include_header=False))
    data = memoryview(buffer.getvalue())
    names = quote_names(tuple(column.name for column in columns))
    # Arrow writes null as nothing and the empty string as "": what COPY's csv format reads as null and ''.
    with connection.cursor().copy(f"copy {table} ({names}) from stdin (format csv)") as copy:
        for start in range(0, len(data), _COPY_CHUNK_BYTES):
            copy.write(data[start : start + _COPY_CHUNK_BYTES])


def _with_moments_as_texts(rows: pa.Table) -> pa.Table:
    """Return the rows with their moments written out: Arrow's CSV writer takes twenty times as long where there is a zone."""
    columns = []
    for column in rows.columns:
        if pa.types.is_timestamp(column.type):
            text = column.cast(pa.timestamp("us")).cast(pa.string())
            columns.append(pc.binary_join_element_wise(text, "Z", ""))
        else:
            columns.append(column)
    return pa.table(columns, names=rows.column_names)


def latest_quotes(quotes: pa.Table) -> pa.Table:
    """Return per source and symbol the newest bid and the newest ask among ``quotes``.

    Parameters
    ----------
    quotes
        Any quotes, with :data:`QUOTE_COLUMNS`; a null side did not change.

    Returns
    -------
    pyarrow.Table
        One row per source and symbol with :data:`LATEST_QUOTE_COLUMNS`. Of two quotes the one with the later
        ``quoted_at`` is newer, then that with the higher ``sequence``, price and size.
    """
    quotes = _conform_quotes(quotes, QUOTE_COLUMNS)
    key = list(PG_LATEST_QUOTES.key)
    latest = quotes.group_by(key).aggregate([("quoted_at", "max")]).rename_columns([*key, "quoted_at"])
    return _with_newest_sides(latest, quotes, key).select(PG_LATEST_QUOTES.column_names)


def minute_quotes(quotes: pa.Table) -> pa.Table:
    """Return per source, symbol and minute the last bid and the last ask that ``quotes`` name within it.

    Parameters
    ----------
    quotes
        Any quotes, with :data:`PLACED_QUOTE_COLUMNS`; a null side did not change.

    Returns
    -------
    pyarrow.Table
        One row per source, symbol and minute with the columns of ``lake.quotes_1m``. Which of two quotes is newer is as in
        :func:`latest_quotes`.
    """
    quotes = _conform_quotes(quotes, PLACED_QUOTE_COLUMNS)
    quotes = quotes.append_column("bar_at", pc.floor_temporal(quotes["quoted_at"], unit="minute"))
    key = list(PG_QUOTES_1M.key)
    # Segments begin and end with a minute: all quotes of one are of the same session and segment.
    minutes = quotes.group_by([*key, "session_date", "segment"]).aggregate([])
    rows = _with_newest_sides(minutes, quotes, key, ("ingested_at",))
    # Neither of both newest ones was there before it came, and nothing changed after.
    arrivals = (
        rows[f"{side}_ingested_at"].cast(pa.int64()) for side in ("bid", "ask")
    )  # of moments Arrow knows no maximum
    revised_at = pc.max_element_wise(*arrivals).cast(ARROW_TYPES[DataType.TIMESTAMP])
    return rows.append_column("revised_at", revised_at).select(PG_QUOTES_1M.column_names)


def _conform_quotes(quotes: pa.Table, names: Sequence[str]) -> pa.Table:
    declared = {column.name: column for column in QUOTES.columns}
    return conform(quotes, [declared[name] for name in names])


def _with_newest_sides(rows: pa.Table, quotes: pa.Table, key: list[str], also: tuple[str, ...] = ()) -> pa.Table:
    for side in ("bid", "ask"):
        rows = rows.join(_newest_side(quotes, side, key, also), keys=key, join_type="left outer")
    return rows


def _newest_side(quotes: pa.Table, side: str, key: list[str], also: tuple[str, ...]) -> pa.Table:
    """Return the newest quotes that name a side; of those that say the same the one that is first by ``also``."""
    values = ["quoted_at", "sequence", side, f"{side}_size"]
    changed = quotes.filter(pc.is_valid(quotes[side])).select([*key, *also, *values])
    # An unknown size sorts first, as it does in PostgreSQL when the side is compared with the stored one.
    sized = changed.set_column(changed.num_columns - 1, f"{side}_size", pc.fill_null(changed[f"{side}_size"], -1))
    order = [*((name, "ascending") for name in values), *((name, "descending") for name in also)]
    ordered = changed.take(pc.sort_indices(sized, sort_keys=order))
    numbered = ordered.append_column("position", pa.array(range(ordered.num_rows), pa.int64()))
    newest = ordered.take(numbered.group_by(key).aggregate([("position", "max")])["position_max"])
    renamed = [f"{side}_{name}" for name in also]
    return newest.rename_columns([*key, *renamed, f"{side}_at", f"{side}_sequence", side, f"{side}_size"])
