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

_BY_NAME: Final = MappingProxyType(
    {
        **dict.fromkeys(("symbol", "current_symbol", "new_symbol"), _TICKER),
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
                "new_shares",
                "old_shares",
                "cash",
            ),
            _ABOVE_ZERO,
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
            ),
            _NOT_NEGATIVE,
        ),
        **dict.fromkeys(("size", "revision", "eligibility_version", "bar_number"), _FROM_ONE),
        "high_52w_distance": Domain(most=_SLACK),
        "low_52w_distance": Domain(least=-_SLACK),
    }
)
_BY_SHAPE: Final = tuple(
    (re.compile(shape), domain)
    for shape, domain in (
        (r"(rsi|adx|stoch_fast_k|stoch_k|stoch_d)(_[\d_]+)?", _PERCENT),
        (r"(sma|ema)_\d+|bb_middle(_[\d_]+)?", _ABOVE_ZERO),
        (r"(atr|avg_gain|avg_loss|plus_dm|minus_dm|dm_range)_\d+", _NOT_NEGATIVE),
        (r"(realised_volatility|relative_volume)_\d+", _NOT_NEGATIVE),
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
        ("lake.tiers", "tier"): Domain(values=("realtime", "intraday", "daily")),
    }
)
"""Names that mean something else in each table, or of whose values a table has only some."""

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
        return next((domain for shape, domain in _BY_SHAPE if shape.fullmatch(column)), None)
    return found


def orders_of(columns: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of these columns of which the first is never above the second in a row that has both."""
    there = set(columns)
    return [(lower, upper) for lower, upper in _ORDERS if lower in there and upper in there]


def spoken_of(table: str, columns: Iterable[str]) -> list[str]:
    """Return those of the columns of which something is said here, by themselves or beside another one."""
    names = list(columns)
    ordered = {name for pair in orders_of(names) for name in pair}
    return [name for name in names if name in ordered or domain_of(table, name) is not None]
