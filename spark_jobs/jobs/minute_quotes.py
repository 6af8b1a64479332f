"""The last bids and asks of minutes as the deep path works them out: of all quotes of some symbols of a session.

What belongs here: which minutes are told, and what must be in ``lake.quotes_1m``. What does not: which of two quotes is newer,
which is :func:`warehouse.staging.minute_quotes`.
"""

from typing import Final

import polars as pl

from market import tables
from spark_jobs.jobs.compared import PostgresRows
from spark_jobs.schemas import in_millionths, to_arrow
from warehouse.staging import PLACED_QUOTE_COLUMNS, minute_quotes

_TABLE: Final = tables.PG_QUOTES_1M


def minute_rows(quotes: pl.DataFrame, stored: pl.DataFrame, forgotten: pl.DataFrame) -> PostgresRows:
    """Return the stored minutes beside what they must be.

    Parameters
    ----------
    quotes
        All quotes that there are of some symbols of a session, with the columns of ``silver/quotes``.
    stored
        What ``lake.quotes_1m`` has of these symbols and the session.
    forgotten
        Messages about quotes whose rows may be gone: the stream may have taken another message for the record, so nothing is said
        of their minutes.
    """
    right = pl.DataFrame(minute_quotes(to_arrow(quotes, tables.QUOTES, PLACED_QUOTE_COLUMNS)))
    unknown = forgotten.select("source", "symbol", pl.col("quoted_at").dt.truncate("1m").alias("bar_at")).unique()
    told, known = (
        rows.join(unknown, on=_TABLE.key, how="anti") for rows in (right.select(in_millionths(_TABLE)), stored)
    )
    return PostgresRows(_TABLE, told, known)
