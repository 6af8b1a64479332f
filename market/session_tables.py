"""What PostgreSQL knows of whole sessions: which have bars, kept by triggers, and how their messages came, counted in the lake.

They are declared as those of :mod:`market.tables`, whose rows they count.
"""

from typing import Final

from market.columns import Column, DataType, Store, Table

_CHANGE: Final = Column(
    "change_number", DataType.BIGINT, "Another number after every change of a bar; compare for equality only."
)

PG_BAR_SESSIONS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="bar_sessions",
    grain="one row per source, symbol and session that has or had 1-minute bars; kept by triggers on bars_1m",
    key=("source", "symbol", "session_date"),
    columns=(
        Column("source", DataType.TEXT, "Feed that the record came from."),
        Column("symbol", DataType.TEXT, "Ticker, upper case."),
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column("bar_count", DataType.BIGINT, "1-minute bars of the session."),
        Column("newest_bar_at", DataType.TIMESTAMP, "Start of the newest bar; null without bars.", nullable=True),
        Column("revised_at", DataType.TIMESTAMP, "Newest revised_at of a bar; null without bars.", nullable=True),
        _CHANGE,
    ),
)
PG_VENDOR_BAR_SESSIONS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="vendor_bar_sessions",
    grain=(
        "one row per source, symbol, interval and session that has or had vendor bars shorter than a day; kept by triggers on "
        "vendor_bars"
    ),
    key=("source", "symbol", "interval", "session_date"),
    columns=(
        Column("source", DataType.TEXT, "Feed that the bars came from."),
        Column("symbol", DataType.TEXT, "Ticker, upper case."),
        Column("interval", DataType.TEXT, "Length of the bars: 1h, 15m, 5m or 1m. A daily bar is a session by itself."),
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column("bar_count", DataType.BIGINT, "Bars of that length in the session."),
        Column("revised_at", DataType.TIMESTAMP, "Newest ingested_at of a bar; null without bars.", nullable=True),
        _CHANGE,
    ),
)
PG_SESSION_ARRIVALS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="session_arrivals",
    grain="one row per source, symbol and session of which trades came or a message was rejected",
    key=("source", "symbol", "session_date"),
    columns=(
        Column("source", DataType.TEXT, "Feed that the messages came from."),
        Column("symbol", DataType.TEXT, "Ticker, upper case."),
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column("trades", DataType.BIGINT, "Trades taken in, those that were cancelled among them."),
        Column(
            "late_trades", DataType.BIGINT, "Of these, those that came after a trade of a later minute of the symbol."
        ),
        Column(
            "rejected_messages",
            DataType.BIGINT,
            "Messages of all kinds that were rejected: those that name the symbol, by their own time, or else by when they came.",
        ),
        Column("counted_at", DataType.TIMESTAMP, "When they were counted."),
    ),
)
