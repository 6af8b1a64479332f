"""What is compared of PostgreSQL's marts and of what it says of sessions: names, columns, types.

What belongs here: declarations. What does not: how the rows are read, which is :mod:`verify.published`.
"""

from typing import Final

import polars as pl

from market.tables import PG_BAR_SESSIONS, PG_VENDOR_BAR_SESSIONS
from verify.lake import schema_of

MOMENT: Final = pl.Datetime("us", "UTC")

INTRADAY: Final = "marts.intraday_ohlcv"
HISTORICAL: Final = "marts.historical_ohlcv"
REALTIME: Final = "marts.realtime_prices"
MART_SCHEMA: Final = {
    "symbol": pl.String(),
    "interval": pl.String(),
    "bar_at": MOMENT,
    "open": pl.Int64(),
    "high": pl.Int64(),
    "low": pl.Int64(),
    "close": pl.Int64(),
    "volume": pl.Int64(),
    "vwap": pl.Int64(),
    "trade_count": pl.Int64(),
    "session_date": pl.Date(),
    "segment": pl.String(),
    "is_final": pl.Boolean(),
    "revision": pl.Int64(),
    "origin": pl.String(),
    "is_vendor_bar": pl.Boolean(),
    "revised_at": MOMENT,
}
"""What is compared of the bars of marts, and of the days; prices are millionths."""
PRICE_SCHEMA: Final = {
    "symbol": pl.String(),
    "session_date": pl.Date(),
    "origin": pl.String(),
    "price": pl.Int64(),
    "price_at": MOMENT,
    "segment": pl.String(),
    **{name: MART_SCHEMA[name] for name in ("open", "high", "low", "close", "volume", "vwap", "trade_count")},
    "previous_close": pl.Int64(),
    "change": pl.Int64(),
}
"""What is compared of the newest prices."""

RECONCILIATION: Final = "marts.bar_reconciliation"
RECONCILIATION_KEY: Final = ("symbol", "interval", "bar_at", "other_origin", "is_other_vendor_bar")
PRICES: Final = ("open", "high", "low", "close")
RECONCILIATION_SCHEMA: Final = {
    **{name: MART_SCHEMA[name] for name in ("symbol", "interval", "bar_at", "session_date", "segment")},
    "origin": pl.String(),
    "is_vendor_bar": pl.Boolean(),
    "other_origin": pl.String(),
    "is_other_vendor_bar": pl.Boolean(),
    "agreement": pl.String(),
    **{f"{side}{name}": pl.Int64() for side in ("", "other_") for name in (*PRICES, "volume")},
    **{f"{name}_difference": pl.Int64() for name in PRICES},
    **{f"{name}_difference_bps": pl.Int64() for name in PRICES},
    "volume_ratio": pl.Int64(),
    "revised_at": MOMENT,
    "other_revised_at": MOMENT,
}
"""What is compared of the reconciliation: prices and ratios are millionths, basis points hundredths of one."""

BPS_LIMIT: Final = 10**18
"""What hundredths of basis points are compared up to; beyond, two bars have nothing to do with each other."""

DECIMALS: Final = frozenset(
    {
        *("price", "previous_close", "change", "vwap", "volume_ratio"),
        *(f"{side}{name}" for name in PRICES for side in ("", "other_")),
        *(f"{name}_difference" for name in PRICES),
    }
)
"""The columns of marts that are compared in millionths."""

GAPS: Final = "marts.bar_gaps"
GAP_STATE: Final = "staging.int_session_gaps"
"""What the mart of gaps is unfolded from; it says of each session by which batches it was built."""

GAP_SCHEMA: Final = {
    "source": pl.String(),
    "symbol": pl.String(),
    "session_date": pl.Date(),
    "gap_at": MOMENT,
    "gap_end_at": MOMENT,
    "missing_bars": pl.Int64(),
    "reason": pl.String(),
}
"""What is compared of the gaps; in the mart the source is called ``origin``."""
BAR_SESSION_SCHEMA: Final = {
    name: schema_of(PG_BAR_SESSIONS)[name] for name in PG_BAR_SESSIONS.column_names if name != "change_number"
}
"""What is compared of the sessions with bars."""
VENDOR_BAR_SESSION_SCHEMA: Final = {
    name: schema_of(PG_VENDOR_BAR_SESSIONS)[name]
    for name in PG_VENDOR_BAR_SESSIONS.column_names
    if name != "change_number"
}
"""What is compared of the sessions with vendors' bars."""
COVERAGE_SCHEMA: Final = {
    "source": pl.String(),
    "symbol": pl.String(),
    "session_date": pl.Date(),
    "since_at": MOMENT,
    "until_at": MOMENT,
}
