"""The peer: DuckDB over the same rows as Parquet files, in this process, on all cores."""

import tempfile
from pathlib import Path
from typing import Final

import duckdb
import structlog

from benchmarks.marts.universe import Connection

NAME: Final = f"DuckDB {duckdb.__version__} on Parquet"
AS_KNOWN: Final = "historical_ohlcv_as_known"
_COLUMNS: Final = """
select attname, format_type(atttypid, atttypmod) from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped and attname <> 'built_from' order by attnum
"""
_TYPES: Final = {"text": "varchar", "double precision": "double", "timestamp with time zone": "timestamptz"}
_SESSION: Final = (
    "set TimeZone = 'UTC'",
    "create schema marts",
    "create macro to_char(moment, form) as strftime(moment, '%H:%M')",  # the one form that the questions use
)

_log = structlog.get_logger(__name__)


def parquet_of(connection: Connection, relations: list[str], folder: Path) -> duckdb.DuckDBPyConnection:
    """Return DuckDB with the relations of the schema ``marts`` as Parquet files, views as the rows that they show now."""
    peer = duckdb.connect()
    for statement in _SESSION:
        peer.execute(statement)
    for relation in relations:
        _log.info("exporting", relation=relation)
        path = folder / f"{relation}.parquet"
        if relation == AS_KNOWN:
            # A function has no rows of its own: as good as the day that the questions name.
            source, columns = f"marts.{AS_KNOWN}('2005-02-27')", _columns(connection, "marts.historical_ohlcv")
        else:
            source, columns = f"marts.{relation}", _columns(connection, f"marts.{relation}")
        _export(connection, peer, source, columns, path)
        if relation == AS_KNOWN:
            rows = f"from read_parquet('{path}') where list_contains(symbols, symbol)"
            peer.execute(f"create macro marts.{relation}(day, symbols) as table {rows}")
        else:
            peer.execute(f"create view marts.{relation} as from read_parquet('{path}')")
    return peer


def _columns(connection: Connection, relation: str) -> dict[str, str]:
    rows = connection.execute(_COLUMNS, [relation]).fetchall()
    return {name: _TYPES.get(declared, declared) for name, declared in rows}


def _export(
    connection: Connection, peer: duckdb.DuckDBPyConnection, source: str, columns: dict[str, str], path: Path
) -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".csv") as file:
        with connection.cursor().copy(
            f"copy (select {names} from {source}) to stdout (format csv)".encode()  # noqa: S608 - names of the marts
        ) as copy:
            for block in copy:
                file.write(block)
        file.flush()
        rows = f"read_csv('{file.name}', header = false, columns = {columns!r})"
        peer.execute(f"copy (from {rows}) to '{path}' (format parquet)")
