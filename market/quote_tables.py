"""What PostgreSQL has of quotes: the last known bid and ask of each symbol, ever and of each minute.

What belongs here: declarations. What does not: the quotes themselves, which are in the lake (:data:`market.tables.QUOTES`).
"""

from typing import Final

from market.columns import Column, DataType, Store, Table
from market.common_columns import IN_SESSION, INSTRUMENT

_SIDES: Final = (
    Column("bid", DataType.PRICE, "Last known best bid per share.", nullable=True),
    Column("bid_size", DataType.BIGINT, "Shares bid for.", nullable=True),
    Column("bid_at", DataType.TIMESTAMP, "Time of the quote that set the bid.", nullable=True),
    Column("bid_sequence", DataType.BIGINT, "Order of that quote among those with equal bid_at.", nullable=True),
    Column("ask", DataType.PRICE, "Last known best offer per share.", nullable=True),
    Column("ask_size", DataType.BIGINT, "Shares offered.", nullable=True),
    Column("ask_at", DataType.TIMESTAMP, "Time of the quote that set the ask.", nullable=True),
    Column("ask_sequence", DataType.BIGINT, "Order of that quote among those with equal ask_at.", nullable=True),
)

PG_LATEST_QUOTES: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="latest_quotes",
    grain="one row per source and symbol: the last known bid and the last known ask",
    key=("source", "symbol"),
    columns=(
        *INSTRUMENT,
        Column("quoted_at", DataType.TIMESTAMP, "Time of the newest quote, UTC."),
        *_SIDES,
    ),
)
PG_QUOTES_1M: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="quotes_1m",
    grain="one row per source, symbol and minute with quotes: the last bid and the last ask that were named within it",
    key=("source", "symbol", "bar_at"),
    columns=(
        *INSTRUMENT,
        Column("bar_at", DataType.TIMESTAMP, "Start of the minute, UTC."),
        *IN_SESSION,
        *_SIDES,
        Column("revised_at", DataType.TIMESTAMP, "ingested_at of the batch that last changed the bid or the ask."),
    ),
)
