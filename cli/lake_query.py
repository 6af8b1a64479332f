"""One question to the lake, asked by a user: its tables as they are now, or as they were at a moment of the last days."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from market.errors import QueryError, ServiceError, UsageError
from market.settings import Settings
from market.tables import BAR_REVISIONS, LAKE_TABLES, Table
from spark_jobs.schemas import lake_schema
from warehouse.query import Answer

_ASKS: Final = re.compile(r"\s*(select|with|values|show|explain)\b", re.IGNORECASE)
_OF_POSTGRES: Final = re.compile(r'\b"?(lake|marts|staging)"?\."?(\w+)"?', re.IGNORECASE)
INSTEAD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bars_1m": "bar_revisions_1m",
        "bar_sessions": "bar_revisions_1m",
        "vendor_bars": "vendor_bars",
        "corporate_actions": "corporate_actions",
        "vendor_bar_sessions": "vendor_bars",
        "latest_quotes": "quotes",
        "quotes_1m": "quotes",
        "intraday_quotes": "quotes",
        "session_arrivals": "trades",
        "feed_coverage": "feed_status",
        "trading_halts": "feed_status",
        "stream_offsets": "messages",
        "stream_batches": "messages",
        "intraday_ohlcv": "bar_revisions_1m",
        "realtime_prices": "bar_revisions_1m",
        "bar_gaps": "feed_status",
        "bar_reconciliation": "vendor_bars",
        "historical_ohlcv": "vendor_bars",
        "top_movers": "vendor_bars",
        "data_quality": "feed_status",
        "market_breadth": "vendor_bars",
        "anomalies": "vendor_bars",
        "correlations": "vendor_bars",
    }
)
"""The table of the lake that has what a table of PostgreSQL shows."""


def parse_moment(text: str) -> datetime:
    """Return a moment in ISO 8601; without a zone it is UTC.

    Raises
    ------
    UsageError
        If it is no moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{text!r} is not a moment. Write it as 2026-01-05T16:00 (UTC), or with a zone: 2026-01-05T11:00-05:00."
        raise UsageError(msg) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def ask_lake(settings: Settings, question: str, as_of: datetime | None = None) -> Answer:
    """Ask the lake a question in SQL; its tables go by their names without the layer, such as ``trades``.

    Raises
    ------
    UsageError
        If the question is empty, or the lake does not know that moment.
    QueryError
        If the question cannot be answered.
    ServiceError
        If there is no lake yet, or it cannot be read.
    """
    if not question.strip():
        msg = 'The question is empty. Ask for example: ./run sql --lake "select count(*) from trades"'
        raise UsageError(msg)
    frames = _tables(settings.lake, as_of)
    if not frames:
        msg = f"There is no lake at {settings.lake} yet. Start the platform with ./run up."
        raise ServiceError(msg)
    try:
        if not _ASKS.match(question):
            msg = "That statement gives no rows. Ask with select or with."
            raise QueryError(msg)
        found = pl.SQLContext(frames).execute(question.strip().rstrip(";"), eager=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        said = _about_postgres(question) or f"The lake says: {str(error).splitlines()[0]}."
        msg = f"{said} Its tables are: {', '.join(sorted(frames))}."
        raise QueryError(msg) from error
    return Answer(tuple(found.columns), found.iter_rows())


def _about_postgres(question: str) -> str | None:
    """Return what to ask in place of the first table of PostgreSQL that a question names, if it names one."""
    named = _OF_POSTGRES.search(question)
    if named is None:
        return None
    instead = INSTEAD.get(named[2].lower())
    remedy = f" Ask the lake's {instead}." if instead else ""
    rows = (
        " It has a row per revision of a bar; the one with the greatest is the bar."
        if instead == BAR_REVISIONS.name
        else ""
    )
    return f"{named[1]}.{named[2]} is a table of PostgreSQL, which knows only the present; this asks the lake.{remedy}{rows}"


def _tables(lake: str, as_of: datetime | None) -> dict[str, pl.LazyFrame]:
    frames = {}
    for table in LAKE_TABLES:
        uri = f"{lake}/{table.path}"
        try:
            if not DeltaTable.is_deltatable(uri):
                continue
            delta = DeltaTable(uri)
            if as_of is not None:
                _refuse_before(delta, as_of)
                delta.load_as_version(as_of)
        except (DeltaError, OSError) as error:
            reason = str(error).splitlines()[0]
            if as_of is None:
                msg = f"The lake table at {uri} cannot be opened: {reason}. Check LAKE_URI and its credentials."
                raise ServiceError(msg) from error
            msg = f"{uri} is not known as of {as_of.isoformat()}: {reason}. Ask for a later moment of the last three days."
            raise UsageError(msg) from error
        frames[table.name] = _frame(delta, table)
    return frames


def _refuse_before(delta: DeltaTable, as_of: datetime) -> None:
    created = datetime.fromtimestamp((delta.metadata().created_time or 0) / 1000, UTC)
    if as_of < created:
        msg = f"{delta.table_uri} did not exist on {as_of.isoformat()}: it was created on {created.isoformat()}."
        raise UsageError(msg)


def _frame(delta: DeltaTable, table: Table) -> pl.LazyFrame:
    if "%" not in delta.table_uri:
        return pl.scan_delta(delta)
    # polars looks for the files of a local path with a space under the path's percent-encoded name.
    schema = pl.Schema(lake_schema(table))
    files = [unquote(uri) for uri in delta.file_uris()]
    return pl.scan_parquet(files, schema=schema, missing_columns="insert") if files else pl.LazyFrame(schema=schema)
