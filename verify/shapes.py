"""What is compared of PostgreSQL's marts, and of what stands beside them: names, columns and types.

What belongs here: shapes. What does not: reading them, which is :mod:`verify.published`.
"""

from typing import Final

import polars as pl

from market.tables import PG_BAR_SESSIONS
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
    "revised_at": MOMENT,
}
"""What is compared of the bars of marts; prices are millionths."""
DAY_SCHEMA: Final = {**MART_SCHEMA, "is_vendor_bar": pl.Boolean()}
"""What is compared of the days."""
BIG: Final = pl.Int128()
ADJUSTED_SCHEMA: Final = {
    **{name: MART_SCHEMA[name] for name in ("symbol", "session_date", "open", "high", "low", "close", "volume")},
    "current_symbol": pl.String(),
    "split_factor": BIG,
    "total_return_factor": BIG,
    **{f"split_adjusted_{name}": BIG for name in ("open", "high", "low", "close", "volume")},
    **{f"total_return_{name}": BIG for name in ("open", "high", "low", "close")},
}
"""What is compared of adjusted days: factors in units of 10^-18, prices in millionths."""
BELIEVED: Final = "marts.corporate_actions"
BELIEVED_SCHEMA: Final = {
    "symbol": pl.String(),
    "action": pl.String(),
    "session_date": pl.Date(),
    "source": pl.String(),
}
"""Which source of an action the marts believe."""
PRICE_SCHEMA: Final = {
    "symbol": pl.String(),
    "session_date": pl.Date(),
    "origin": pl.String(),
    "price": pl.Int64(),
    "price_at": MOMENT,
    "segment": pl.String(),
    **{name: MART_SCHEMA[name] for name in ("open", "high", "low", "close", "volume", "vwap", "trade_count")},
}
"""What is compared of the newest prices."""
MART_PRICES: Final = frozenset({"open", "high", "low", "close", "vwap", "price"})

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
COVERAGE_SCHEMA: Final = {
    "source": pl.String(),
    "symbol": pl.String(),
    "session_date": pl.Date(),
    "since_at": MOMENT,
    "until_at": MOMENT,
}
