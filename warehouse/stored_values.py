"""The vendors' bars that the lake has, with their values, in bulk: what a file says is compared with them."""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Final

import polars as pl

from market.records import PRICE_DECIMALS
from market.settings import Settings
from warehouse.connection import connect

STORED_SCHEMA: Final = {
    "symbol": pl.String(),
    "ts": pl.Int64(),
    **dict.fromkeys(("open", "high", "low", "close"), pl.Decimal(38, PRICE_DECIMALS)),
    "volume": pl.Int64(),
}
"""``ts`` is the start of the bar in UTC epoch microseconds."""

_VALUES: Final = """
select string_agg(concat_ws(',', symbol, (extract(epoch from bar_at) * 1000000)::bigint, open, high, low, close, volume), E'\\n')
from lake.vendor_bars
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
    and bar_at >= %(start)s and bar_at < %(end)s
group by symbol, date_trunc('year', session_date)
"""
"""A million rows, one by one, take longer on the way than the database needs for them: some thousand bars come as one text."""


def stored_values(
    settings: Settings, source: str, interval: str, symbols: Sequence[str], *, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return the newest versions of a source's bars with :data:`STORED_SCHEMA`, in any order.

    Parameters
    ----------
    settings
        Says where the database is.
    source, interval, symbols
        Of whose bars.
    start, end
        They begin from ``start`` until before ``end``.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {"source": source, "interval": interval, "symbols": list(symbols), "start": start, "end": end}
    with connect(settings, read_only=True, application_name="tapehouse history") as connection:
        found = [text for (text,) in connection.execute(_VALUES, values)]
    if not found:
        return pl.DataFrame(schema=STORED_SCHEMA)
    return pl.read_csv(BytesIO("\n".join(found).encode()), has_header=False, schema=STORED_SCHEMA)
