"""The tables of corporate actions: splits, dividends and changes of symbol, in the lake and in PostgreSQL.

They are declared as those of :mod:`market.tables`, where whoever reads tables finds them.
"""

from typing import Final

from market.columns import Column, DataType, Store, Table
from market.common_columns import INSTRUMENT, LEDGER

_KEY: Final = ("source", "symbol", "action", "session_date", "topic", "partition", "offset")
_COLUMNS: Final = (
    *INSTRUMENT,
    Column("action", DataType.TEXT, "split, dividend or symbol_change."),
    Column(
        "session_date",
        DataType.DATE,
        "Session from which on it holds: of a split or a dividend the ex-date, of a change the first one under the new symbol.",
    ),
    Column("known_at", DataType.TIMESTAMP, "When this version became known, as its source says, UTC."),
    Column("is_withdrawn", DataType.BOOLEAN, "Whether the source took it back; then it has no values."),
    Column("new_shares", DataType.PRICE, "Of a split: shares after it, for each old_shares before.", nullable=True),
    Column("old_shares", DataType.PRICE, "Of a split: shares before it.", nullable=True),
    Column(
        "cash",
        DataType.PRICE,
        "Of a dividend: all cash of that day for a share held at the close before, in that share's terms.",
        nullable=True,
    ),
    Column("new_symbol", DataType.TEXT, "Of a change: the symbol from then on.", nullable=True),
    *LEDGER,
)

CORPORATE_ACTIONS: Final = Table(
    store=Store.LAKE,
    layer="silver",
    name="corporate_actions",
    grain="one row per version of a source's split, dividend or change of symbol; the newest ledger entry is what it says",
    key=_KEY,
    columns=_COLUMNS,
    skip_by=("session_date", "ingested_at"),
)
PG_CORPORATE_ACTIONS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="corporate_actions",
    grain="one row per version of a source's split, dividend or change of symbol: every version",
    key=_KEY,
    columns=_COLUMNS,
)
