"""The platform's own records in PostgreSQL: what users chose, and what was asked of whom. No market data.

They are declared as those of :mod:`market.tables`, which hold what came from the market and what follows from it.
"""

from typing import Final

from market.alert_tables import ALERT_TABLES
from market.columns import Column, DataType, Store, Table
from market.delivery_tables import DELIVERY_TABLES

WATCHLIST: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="watchlist",
    grain="one row per symbol that history is collected of",
    key=("symbol",),
    columns=(
        Column("symbol", DataType.TEXT, "Ticker, upper case."),
        Column("symbol_group", DataType.TEXT, "The group that it is collected with: a partition in Dagster."),
        Column("added_at", DataType.TIMESTAMP, "When it was added to its group."),
    ),
)
COLLECTED_HISTORY: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="collected_history",
    grain="one row per source, symbol and interval that history was asked for",
    key=("source", "symbol", "interval"),
    columns=(
        Column("source", DataType.TEXT, "Feed that was asked."),
        Column("symbol", DataType.TEXT, "Ticker, upper case."),
        Column("interval", DataType.TEXT, "Length of the bars: 1d, 1h, 15m, 5m or 1m."),
        Column(
            "covered",
            DataType.SPANS,
            "Of which time all bars that the source has are in the lake: the sessions that it was asked for.",
        ),
        Column("is_unknown", DataType.BOOLEAN, "Whether the source did not know the symbol when it was asked last."),
        Column("asked_at", DataType.TIMESTAMP, "When it was asked last."),
        Column(
            "without_bars",
            DataType.SPANS,
            "The sessions of covered that were asked for once, and had no bar: they are asked for once more.",
            nullable=True,
        ),
        Column("without_bars_at", DataType.TIMESTAMP, "When without_bars was added to last.", nullable=True),
        Column(
            "unknown",
            DataType.SPANS,
            "The sessions of covered for which the source did not know the symbol: missing again once it has a bar of it.",
            nullable=True,
        ),
        Column(
            "withheld",
            DataType.SPANS,
            "The sessions of covered that the source has for other plans only: they are asked for again after a month.",
            nullable=True,
        ),
        Column("withheld_at", DataType.TIMESTAMP, "When withheld was added to last.", nullable=True),
    ),
)
COLLECTED_ACTIONS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="collected_actions",
    grain="one row per source and symbol that all corporate actions were asked for",
    key=("source", "symbol"),
    columns=(
        Column("source", DataType.TEXT, "Feed that was asked."),
        Column("symbol", DataType.TEXT, "Ticker, upper case."),
        Column("is_unknown", DataType.BOOLEAN, "Whether the source did not know the symbol when it was asked last."),
        Column("asked_at", DataType.TIMESTAMP, "When it was asked last; the lake has what it answered."),
    ),
)
QUALITY_MARKS: Final = Table(
    store=Store.POSTGRES,
    layer="app",
    name="quality_marks",
    grain="one row per table whose values were looked at",
    key=("table_name",),
    columns=(
        Column("table_name", DataType.TEXT, "The table, with its schema or its layer of the lake."),
        Column("checked_until_at", DataType.TIMESTAMP, "Newest change up to which every value was possible."),
    ),
)

APP_TABLES: Final = (WATCHLIST, COLLECTED_HISTORY, COLLECTED_ACTIONS, QUALITY_MARKS, *ALERT_TABLES, *DELIVERY_TABLES)
