"""What the values of a column may be, by the column's name: a name means the same in every table (``docs/naming.md``).

What belongs here: the values that a column by itself allows, and which column of a row is never below which. What does not: types
and nulls, which the declarations of tables have; what follows from other rows, which laws and the tests of models say.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from market.eligibility import REASONS
from market.instruments import SYMBOL_PATTERN
from market.topics import TOPICS


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of a column; null is not spoken of.

    Attributes
    ----------
    values
        All that there are; empty if they cannot be listed.
    pattern
        What a text matches from its start to its end.
    least, most
        The bounds of a number, themselves included.
    excludes_least
        Whether the lower bound itself is left out.
    """

    values: tuple[str, ...] = ()
    pattern: str | None = None
    least: float | None = None
    most: float | None = None
    excludes_least: bool = False


_SLACK: Final = 1e-9
"""By how much a double may pass a bound that its formula has: sums of doubles are rounded."""

FEED_PATTERN: Final = r"^[a-z][a-z0-9_]{0,31}$"
"""What the name of a feed looks like."""

_TICKER: Final = Domain(pattern=SYMBOL_PATTERN)
_FEED: Final = Domain(pattern=FEED_PATTERN)
_ABOVE_ZERO: Final = Domain(least=0, excludes_least=True)
_NOT_NEGATIVE: Final = Domain(least=0)
_FROM_ONE: Final = Domain(least=1)
_PERCENT: Final = Domain(least=-_SLACK, most=100 + _SLACK)
_SHARE: Final = Domain(least=-_SLACK, most=1 + _SLACK)
GREATEST: Final = 1e300
"""No number of a column is further from zero: neither an infinite one, nor what is not a number."""
_FINITE: Final = Domain(least=-GREATEST, most=GREATEST)
_MINUTES: Final = Domain(least=0, most=24 * 60)
_CHANGE: Final = Domain(least=-1 - _SLACK)
"""A change against what was before, which is above zero, as a fraction of it; in percent :data:`_PERCENT_CHANGE`."""
_PERCENT_CHANGE: Final = Domain(least=-100 - _SLACK)

_BY_NAME: Final = MappingProxyType(
    {
        **dict.fromkeys(("symbol", "current_symbol", "new_symbol", "other_symbol"), _TICKER),
        "company": Domain(pattern=SYMBOL_PATTERN.removesuffix("$") + "(:gone)?$"),
        **dict.fromkeys(("source", "origin", "other_origin"), _FEED),
        "topic": Domain(values=tuple(topic.name for topic in TOPICS)),
        "left_out_for": Domain(values=REASONS),
        "segment": Domain(values=("pre", "regular", "post")),
        "interval": Domain(values=("1m", "5m", "15m", "1h", "1d")),
        "action": Domain(values=("split", "dividend", "symbol_change")),
        **dict.fromkeys(
            (
                "open",
                "high",
                "low",
                "close",
                "vwap",
                "bar_vwap",
                "price",
                "bid",
                "ask",
                "mid",
                "new_shares",
                "old_shares",
                "cash",
                "other_open",
                "other_high",
                "other_low",
                "other_close",
                "price_before",
                "price_after",
                "likely_ratio",
            ),
            _ABOVE_ZERO,
        ),
        **dict.fromkeys(  # so many old shares for a new one that nothing is left of the price, when it is rounded
            (
                "previous_close",
                "split_adjusted_open",
                "split_adjusted_high",
                "split_adjusted_low",
                "split_adjusted_close",
                "total_return_open",
                "total_return_high",
                "total_return_low",
                "total_return_close",
                "observed_ratio",
            ),
            _NOT_NEGATIVE,
        ),
        **dict.fromkeys(("split_factor", "total_return_factor", "high_52w", "low_52w"), _ABOVE_ZERO),
        **dict.fromkeys(
            (
                "volume",
                "notional",
                "trade_count",
                "excluded_trade_count",
                "cancelled_trade_count",
                "corrected_trade_count",
                "bid_size",
                "ask_size",
                "bar_count",
                "untraded_bars",
                "session_volume",
                "session_notional",
                "split_adjusted_volume",
                "partition",
                "offset",
                "sequence",
                "bid_sequence",
                "ask_sequence",
                "messages",
                "trades",
                "late_trades",
                "rejected_messages",
                "duration_ms",
                "other_volume",
                "average_volume_20",
                "volume_ratio",
                "staleness_seconds",
                "revised_bars",
                "revisions",
                "cancelled_trades",
                "corrected_trades",
                "compared_bars",
                "prices_differ_bars",
                "volume_differs_bars",
                "one_sided_bars",
                "advancing",
                "declining",
                "unchanged",
                "not_compared",
                "advancing_volume",
                "declining_volume",
                "unchanged_volume",
                "new_highs",
                "new_lows",
                "symbols_52_weeks",
                "symbols_50",
                "symbols_200",
                "mad",
                "median_volume",
            ),
            _NOT_NEGATIVE,
        ),
        **dict.fromkeys(
            (
                "size",
                "revision",
                "eligibility_version",
                "bar_number",
                "defined_from_bar",
                "stable_from_bar",
                "missing_bars",
                "feeds",
                "symbols",
                "sessions_used",
                "rank",
                "rule_id",
                "rule_version",
                "session_number",
            ),
            _FROM_ONE,
        ),
        **dict.fromkeys(
            (
                "expected_minutes",
                "present_minutes",
                "no_trade_minutes",
                "halted_minutes",
                "feed_down_minutes",
                "not_collected_minutes",
                "pre_minutes",
                "regular_minutes",
                "post_minutes",
            ),
            _MINUTES,
        ),
        **dict.fromkeys(
            ("coverage", "share_above_average_50", "share_above_average_200", "range_position"),
            _SHARE,
        ),
        **dict.fromkeys(
            (
                "log_return_1",
                "obv",
                "advance_decline_line",
                "change",
                "open_difference",
                "high_difference",
                "low_difference",
                "close_difference",
                "open_difference_bps",
                "high_difference_bps",
                "low_difference_bps",
                "close_difference_bps",
                "announced_ratio",
                "z",
                "median",
            ),
            _FINITE,
        ),
        "correlation": Domain(least=-1 - _SLACK, most=1 + _SLACK),
        "return_1": _CHANGE,
        "change_pct": _PERCENT_CHANGE,
        "day_of_week": Domain(least=1, most=7),
        "month": Domain(least=1, most=12),
        "quarter": Domain(least=1, most=4),
        "year": Domain(least=1990),
        "high_52w_distance": Domain(most=_SLACK),
        "low_52w_distance": Domain(least=-_SLACK),
    }
)
_BY_SHAPE: Final = tuple(
    (re.compile(shape), domain)
    for shape, domain in (
        (r"(rsi|adx|plus_di|minus_di|stoch_fast_k|stoch_k|stoch_d)(_[\d_]+)?", _PERCENT),
        (r"(sma|ema)_\d+|bb_middle(_[\d_]+)?", _ABOVE_ZERO),
        (r"(atr|avg_gain|avg_loss|plus_dm|minus_dm|dm_range)_\d+", _NOT_NEGATIVE),
        (r"(realised_volatility|relative_volume)_\d+|bb_bandwidth(_[\d_]+)?", _NOT_NEGATIVE),
        (r"roc_\d+", _PERCENT_CHANGE),
        (r"(macd|macd_signal|macd_hist|bb_percent_b|bb_upper|bb_lower)(_[\d_]+)?", _FINITE),
    )
)
"""Columns of indicators, whose names have their periods in them."""

_OF_TABLE: Final = MappingProxyType(
    {
        ("silver.amendments", "kind"): Domain(values=("cancel", "correction")),
        ("silver.feed_status", "kind"): Domain(values=("heartbeat", "halt", "resume")),
        ("lake.trading_halts", "kind"): Domain(values=("halt", "resume")),
        ("lake.vendor_bar_sessions", "interval"): Domain(values=("1m", "5m", "15m", "1h")),
        ("marts.intraday_ohlcv", "interval"): Domain(values=("1m", "5m", "15m", "1h")),
        ("marts.historical_ohlcv", "interval"): Domain(values=("1d",)),
        ("marts.historical_ohlcv", "segment"): Domain(values=("regular",)),
        ("marts.bar_gaps", "interval"): Domain(values=("1m",)),
        ("marts.bar_gaps", "segment"): Domain(values=("regular",)),
        ("marts.bar_gaps", "reason"): Domain(values=("no_trade", "halted", "feed_down", "not_collected")),
        ("marts.bar_reconciliation", "agreement"): Domain(
            values=("agrees", "prices_differ", "volume_differs", "only_own", "only_vendor", "only_shown", "only_other")
        ),
        ("marts.corporate_actions", "status"): Domain(
            values=("applied", "duplicate", "suspicious", "pending", "nothing_before")
        ),
        ("marts.anomalies", "value"): _FINITE,
        ("marts.intraday_quotes", "spread"): _FINITE,
        ("marts.anomalies", "kind"): Domain(values=("return", "overnight_gap", "volume")),
        ("marts.anomalies", "direction"): Domain(values=("high", "low")),
        ("marts.anomalies", "spread"): _NOT_NEGATIVE,
        ("marts.anomalies", "spread_from"): Domain(values=("mad", "mean_distance", "constant")),
        ("marts.indicator_definitions", "source"): Domain(pattern="^.+$"),  # a book, not a feed
        ("marts.top_movers", "ranking"): Domain(values=("gainers", "losers", "most_active", "unusual_volume")),
        ("lake.tiers", "tier"): Domain(values=("realtime", "intraday", "daily")),
    }
)
"""Names that mean something else in each table, or of whose values a table has only some."""

_ADJUSTED: Final = frozenset({"marts.daily_analytics", "marts.daily_analytics_total_return"})
"""Tables whose prices are adjusted ones: of a tiny price before many splits nothing is left when it is rounded."""

_ORDERS: Final = (
    ("low", "open"),
    ("low", "close"),
    ("low", "high"),
    ("open", "high"),
    ("close", "high"),
    ("bb_lower", "bb_middle"),
    ("bb_middle", "bb_upper"),
    ("low_52w", "high_52w"),
    ("pre_open_at", "open_at"),
    ("open_at", "close_at"),
    ("close_at", "post_close_at"),
    ("excluded_trade_count", "trade_count"),
    ("corrected_trade_count", "trade_count"),
    ("late_trades", "trades"),
)


def domain_of(table: str, column: str) -> Domain | None:
    """Return what the values of a column may be, or ``None`` if every value of its type may stand there.

    Parameters
    ----------
    table
        Qualified name, as ``lake.bars_1m``.
    column
        The column's name.
    """
    found = _OF_TABLE.get((table, column)) or _BY_NAME.get(column)
    if found is None:
        found = next((domain for shape, domain in _BY_SHAPE if shape.fullmatch(column)), None)
    return _NOT_NEGATIVE if found is _ABOVE_ZERO and table in _ADJUSTED else found


def orders_of(columns: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of these columns of which the first is never above the second in a row that has both."""
    there = set(columns)
    return [(lower, upper) for lower, upper in _ORDERS if lower in there and upper in there]


def spoken_of(table: str, columns: Iterable[str]) -> list[str]:
    """Return those of the columns of which something is said here, by themselves or beside another one."""
    names = list(columns)
    ordered = {name for pair in orders_of(names) for name in pair}
    return [name for name in names if name in ordered or domain_of(table, name) is not None]
