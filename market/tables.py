"""Every table of the lake and of PostgreSQL, declared once.

Spark schemas, PostgreSQL DDL, dbt sources, comments and the tests against drift derive from these declarations.
What belongs here: names, grain, key, columns with unit and meaning, retention. What does not: how a table is filled.
"""

from typing import Final

from market.action_tables import CORPORATE_ACTIONS as CORPORATE_ACTIONS  # noqa: PLC0414 - whoever reads tables finds these here
from market.action_tables import PG_CORPORATE_ACTIONS as PG_CORPORATE_ACTIONS  # noqa: PLC0414
from market.columns import Column as Column  # noqa: PLC0414
from market.columns import DataType as DataType  # noqa: PLC0414
from market.columns import Store as Store  # noqa: PLC0414
from market.columns import Table as Table  # noqa: PLC0414
from market.common_columns import IN_SESSION as _IN_SESSION
from market.common_columns import INSTRUMENT as _INSTRUMENT
from market.common_columns import LEDGER as _LEDGER
from market.quote_tables import PG_LATEST_QUOTES as PG_LATEST_QUOTES  # noqa: PLC0414
from market.quote_tables import PG_QUOTES_1M as PG_QUOTES_1M  # noqa: PLC0414
from market.session_tables import PG_BAR_SESSIONS as PG_BAR_SESSIONS  # noqa: PLC0414
from market.session_tables import PG_SESSION_ARRIVALS as PG_SESSION_ARRIVALS  # noqa: PLC0414
from market.session_tables import PG_VENDOR_BAR_SESSIONS as PG_VENDOR_BAR_SESSIONS  # noqa: PLC0414
from market.tiers import PG_TIERS as PG_TIERS  # noqa: PLC0414

MESSAGES: Final = Table(
    store=Store.LAKE,
    layer="bronze",
    name="messages",
    grain="one row per message that the broker acknowledged",
    key=("topic", "partition", "offset"),
    columns=(
        *_LEDGER,
        Column("kafka_at", DataType.TIMESTAMP, "The message's Kafka timestamp."),
        Column("key", DataType.BINARY, "The message's key as it came.", nullable=True),
        Column("value", DataType.BINARY, "The message as it came.", nullable=True),
    ),
    skip_by=("offset", "ingested_at"),
)
QUARANTINE: Final = Table(
    store=Store.LAKE,
    layer="bronze",
    name="quarantine",
    grain="one row per message that was rejected",
    key=("topic", "partition", "offset"),
    columns=(
        *_LEDGER,
        Column("reason", DataType.TEXT, "Why it was rejected: a short code."),
        Column(
            "detail",
            DataType.TEXT,
            "The fields as they were read, or the start of what is no JSON object; shortened, as JSON.",
            nullable=True,
        ),
        Column(
            "rules_version",
            DataType.INTEGER,
            "Version of the rules that rejected it; null where it was rejected before versions were recorded.",
            nullable=True,
        ),
    ),
    skip_by=("ingested_at",),
)
DUPLICATES: Final = Table(
    store=Store.LAKE,
    layer="bronze",
    name="duplicates",
    grain="one row per message that repeated a record already taken in",
    key=("topic", "partition", "offset"),
    columns=(
        *_LEDGER,
        Column("record_id", DataType.TEXT, "Identity of the repeated record."),
    ),
    skip_by=("ingested_at",),
)
TRADES: Final = Table(
    store=Store.LAKE,
    layer="silver",
    name="trades",
    grain="one row per trade, as it was reported; what amends it is in silver/amendments",
    key=("source", "symbol", "session_date", "trade_id"),
    columns=(
        *_INSTRUMENT,
        Column("trade_id", DataType.TEXT, "Identity of the trade within source, symbol and session."),
        Column("traded_at", DataType.TIMESTAMP, "Execution time, UTC, microseconds."),
        Column("bar_at", DataType.TIMESTAMP, "Start of the minute that the trade belongs to."),
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column(
            "segment",
            DataType.TEXT,
            "Part of the session that it belongs to: pre, regular or post. The closing auction is regular, though it is reported "
            "after the close.",
        ),
        Column("price", DataType.PRICE, "Price per share."),
        Column("size", DataType.BIGINT, "Shares."),
        Column("sequence", DataType.BIGINT, "Order among trades with equal traded_at."),
        Column("exchange", DataType.TEXT, "Venue code of the feed."),
        Column("conditions", DataType.TEXT, "Sale conditions in the feed's notation."),
        Column("counts_for_open_close", DataType.BOOLEAN, "Whether it may set open and close."),
        Column("counts_for_high_low", DataType.BOOLEAN, "Whether it may set high and low."),
        Column("counts_for_volume", DataType.BOOLEAN, "Whether it counts for volume and vwap."),
        Column("left_out_for", DataType.TEXT, "Why it does not count for all of these; else null.", nullable=True),
        Column("eligibility_version", DataType.INTEGER, "Version of the feed's eligibility rule that decided so."),
        *_LEDGER,
    ),
    skip_by=("session_date", "bar_at"),
)
AMENDMENTS: Final = Table(
    store=Store.LAKE,
    layer="silver",
    name="amendments",
    grain="one row per cancel or correction of a trade",
    key=("topic", "partition", "offset"),
    columns=(
        *_INSTRUMENT,
        Column("trade_id", DataType.TEXT, "Identity of the trade that it amends; that may not have come yet."),
        Column("kind", DataType.TEXT, "cancel or correction."),
        Column("amended_at", DataType.TIMESTAMP, "When it was cancelled or corrected, UTC, microseconds."),
        Column("price", DataType.PRICE, "Of a correction: the price per share.", nullable=True),
        Column("size", DataType.BIGINT, "Of a correction: the shares.", nullable=True),
        Column("exchange", DataType.TEXT, "Of a correction: the venue code of the feed."),
        Column("conditions", DataType.TEXT, "Of a correction: the sale conditions in the feed's notation."),
        *_LEDGER,
    ),
    skip_by=("ingested_at",),
)
FEED_STATUS: Final = Table(
    store=Store.LAKE,
    layer="silver",
    name="feed_status",
    grain="one row per heartbeat, halt or resume, as often as it was said",
    key=("topic", "partition", "offset"),
    columns=(
        *_INSTRUMENT,
        Column("kind", DataType.TEXT, "heartbeat, halt or resume."),
        Column("since_at", DataType.TIMESTAMP, "Of a heartbeat: from when every trade was delivered.", nullable=True),
        Column(
            "status_at",
            DataType.TIMESTAMP,
            "Of a heartbeat: until when, that moment excluded; of a halt or resume: when it happened. UTC, microseconds.",
        ),
        Column("session_date", DataType.DATE, "Of a heartbeat: the session that it lies in.", nullable=True),
        Column("reason", DataType.TEXT, "Of a halt: why, in the feed's notation; may be empty."),
        *_LEDGER,
    ),
    skip_by=("ingested_at",),
)
QUOTES: Final = Table(
    store=Store.LAKE,
    layer="silver",
    name="quotes",
    grain="one row per quote",
    key=("source", "symbol", "session_date", "quote_id"),
    columns=(
        *_INSTRUMENT,
        Column("quote_id", DataType.TEXT, "Identity of the quote within source, symbol and session."),
        Column("quoted_at", DataType.TIMESTAMP, "Time of the quote, UTC, microseconds."),
        *_IN_SESSION,
        Column("bid", DataType.PRICE, "Best bid per share; null where that side did not change.", nullable=True),
        Column("bid_size", DataType.BIGINT, "Shares bid for.", nullable=True),
        Column("ask", DataType.PRICE, "Best offer per share; null where that side did not change.", nullable=True),
        Column("ask_size", DataType.BIGINT, "Shares offered.", nullable=True),
        Column("sequence", DataType.BIGINT, "Order among quotes with equal quoted_at."),
        Column("exchange", DataType.TEXT, "Venue code of the feed."),
        Column("conditions", DataType.TEXT, "Quote conditions in the feed's notation."),
        *_LEDGER,
    ),
    skip_by=("session_date", "quoted_at", "ingested_at"),
    retention_days=90,
)
VENDOR_BARS: Final = Table(
    store=Store.LAKE,
    layer="silver",
    name="vendor_bars",
    grain="one row per version of a vendor's bar; the newest ledger entry of a bar is the bar",
    key=("source", "symbol", "interval", "bar_at", "topic", "partition", "offset"),
    columns=(
        *_INSTRUMENT,
        Column("interval", DataType.TEXT, "Length of the bar: 1d, 1h, 15m, 5m or 1m."),
        Column("bar_at", DataType.TIMESTAMP, "Start of the bar, UTC."),
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column("open", DataType.PRICE, "First price, unadjusted."),
        Column("high", DataType.PRICE, "Highest price, unadjusted."),
        Column("low", DataType.PRICE, "Lowest price, unadjusted."),
        Column("close", DataType.PRICE, "Last price, unadjusted."),
        Column("volume", DataType.BIGINT, "Shares traded."),
        *_LEDGER,
    ),
    skip_by=("bar_at",),
)

_BAR_VALUES: Final = (
    Column("open", DataType.PRICE, "First price; null if no trade of the minute may set a price.", nullable=True),
    Column("high", DataType.PRICE, "Highest price.", nullable=True),
    Column("low", DataType.PRICE, "Lowest price.", nullable=True),
    Column("close", DataType.PRICE, "Last price.", nullable=True),
    Column("volume", DataType.BIGINT, "Shares traded, of the trades that count for volume."),
    Column("notional", DataType.NOTIONAL, "Sum of price times size of the trades that count for volume."),
    Column("vwap", DataType.PRICE, "notional / volume, rounded half up.", nullable=True),
    Column("trade_count", DataType.BIGINT, "All trades of the minute that were not cancelled."),
    Column(
        "excluded_trade_count",
        DataType.BIGINT,
        "Of these, the trades whose conditions bar them from open and close, from high and low, or from volume.",
    ),
    Column(
        "left_out",
        DataType.TEXT,
        "excluded_trade_count by reason, as a JSON object; null if there is none.",
        nullable=True,
    ),
    Column(
        "cancelled_trade_count", DataType.BIGINT, "Trades of the minute that were cancelled: they count for nothing."
    ),
    Column(
        "corrected_trade_count", DataType.BIGINT, "Trades of trade_count that were corrected: they count as corrected."
    ),
    Column(
        "revision",
        DataType.INTEGER,
        "Number of batches that brought a trade of the bar or amended one; 1 is the first.",
    ),
    Column("revised_at", DataType.TIMESTAMP, "ingested_at of the batch that last changed the bar."),
)
_BAR_COLUMNS: Final = (
    *_INSTRUMENT,
    Column("bar_at", DataType.TIMESTAMP, "Start of the minute, UTC."),
    *_IN_SESSION,
    *_BAR_VALUES,
)
BAR_REVISIONS: Final = Table(
    store=Store.LAKE,
    layer="gold",
    name="bar_revisions_1m",
    grain="one row per revision of a 1-minute bar; the highest revision is the bar",
    key=("source", "symbol", "bar_at", "revision"),
    columns=_BAR_COLUMNS,
    skip_by=("session_date", "bar_at"),
)

PG_BARS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="bars_1m",
    grain="one row per source, symbol and minute with trades: the newest revision of the bar",
    key=("source", "symbol", "bar_at"),
    columns=_BAR_COLUMNS,
)
PG_VENDOR_BARS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="vendor_bars",
    grain="one row per source, symbol, interval and bar: the vendor's newest version",
    key=("source", "symbol", "interval", "bar_at"),
    columns=(
        *VENDOR_BARS.columns,
        Column("revision", DataType.INTEGER, "Number of versions with other prices or volume; 1 is the first."),
    ),
)
PG_FEED_COVERAGE: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="feed_coverage",
    grain="one row per source, symbol and session with heartbeats",
    key=("source", "symbol", "session_date"),
    columns=(
        *_INSTRUMENT,
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column("covered", DataType.SPANS, "When the feed has delivered every trade: all heartbeats together."),
    ),
)
PG_TRADING_HALTS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="trading_halts",
    grain="one row per source, symbol and halt or resume of its trading",
    key=("source", "symbol", "changed_at", "kind", "reason"),
    columns=(
        *_INSTRUMENT,
        Column("changed_at", DataType.TIMESTAMP, "When trading stopped or went on, UTC."),
        Column("kind", DataType.TEXT, "halt or resume."),
        Column("reason", DataType.TEXT, "Of a halt: why, in the feed's notation; may be empty."),
    ),
)
PG_SESSIONS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="sessions",
    grain="one row per trading session of the exchange calendar",
    key=("session_date",),
    columns=(
        Column("session_date", DataType.DATE, "Session of the exchange calendar."),
        Column("pre_open_at", DataType.TIMESTAMP, "Start of the pre segment, UTC."),
        Column("open_at", DataType.TIMESTAMP, "Start of the regular segment, UTC."),
        Column("close_at", DataType.TIMESTAMP, "End of the regular segment, UTC."),
        Column("post_close_at", DataType.TIMESTAMP, "End of the post segment, UTC."),
        Column("is_half_day", DataType.BOOLEAN, "Whether the exchange closes early."),
    ),
)
PG_STREAM_OFFSETS: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="stream_offsets",
    grain="one row per topic and partition",
    key=("topic", "partition"),
    columns=(
        Column("topic", DataType.TEXT, "Kafka topic."),
        Column("partition", DataType.INTEGER, "Kafka partition."),
        Column("next_offset", DataType.BIGINT, "Everything below this offset is in the lake and in PostgreSQL."),
    ),
)
PG_STREAM_BATCHES: Final = Table(
    store=Store.POSTGRES,
    layer="lake",
    name="stream_batches",
    grain="one row per micro-batch that reached PostgreSQL",
    key=("query_id", "batch_id"),
    columns=(
        Column("query_id", DataType.TEXT, "Identity of the stream's checkpoint."),
        Column("batch_id", DataType.BIGINT, "Number of the micro-batch within the checkpoint."),
        Column("ingested_at", DataType.TIMESTAMP, "When the batch began."),
        Column("published_at", DataType.TIMESTAMP, "When its transaction in PostgreSQL began."),
        Column("duration_ms", DataType.BIGINT, "Milliseconds from the start of the batch's work to published_at."),
        Column("messages", DataType.BIGINT, "Messages taken in."),
        Column("trades", DataType.BIGINT, "New trades."),
        Column("amendments", DataType.BIGINT, "New cancels and corrections of trades."),
        Column("statuses", DataType.BIGINT, "Heartbeats, halts and resumes."),
        Column("quotes", DataType.BIGINT, "New quotes."),
        Column("vendor_bars", DataType.BIGINT, "New versions of vendor bars."),
        Column("corporate_actions", DataType.BIGINT, "New versions of corporate actions."),
        Column("quarantined", DataType.BIGINT, "Messages rejected."),
        Column("duplicates", DataType.BIGINT, "Messages that repeated a record."),
        Column("bars", DataType.BIGINT, "1-minute bars changed."),
        Column("newest_event_at", DataType.TIMESTAMP, "Newest trade or quote time in the batch.", nullable=True),
    ),
    retention_days=30,
)

LAKE_TABLES: Final = (
    MESSAGES,
    QUARANTINE,
    DUPLICATES,
    TRADES,
    AMENDMENTS,
    FEED_STATUS,
    QUOTES,
    VENDOR_BARS,
    CORPORATE_ACTIONS,
    BAR_REVISIONS,
)
POSTGRES_TABLES: Final = (
    PG_BARS,
    PG_BAR_SESSIONS,
    PG_FEED_COVERAGE,
    PG_TRADING_HALTS,
    PG_VENDOR_BARS,
    PG_CORPORATE_ACTIONS,
    PG_VENDOR_BAR_SESSIONS,
    PG_LATEST_QUOTES,
    PG_QUOTES_1M,
    PG_SESSION_ARRIVALS,
    PG_SESSIONS,
    PG_TIERS,
    PG_STREAM_OFFSETS,
    PG_STREAM_BATCHES,
)
TABLES: Final = LAKE_TABLES + POSTGRES_TABLES
