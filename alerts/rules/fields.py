"""The fields that a condition may name: those of the marts of indicators, each with what it can be and from which bar it counts.

What belongs here: names, bounds, warm-up. What does not: what a condition asks of them.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from alerts.rules.spans import Span
from market.indicators import family_of, indicators
from market.records import DAILY
from warehouse.dbt import dbt_variables

INTERVALS: Final = ("1m", "5m", "15m", "1h", DAILY)
ALIASES: Final[Mapping[str, str]] = {"price": "close"}
PERCENTS: Final = frozenset({"gap", "change"})
"""What is in percent: a field, and a function."""

QUOTES: Final = ("bid", "ask", "spread")
"""The fields of bars within the day that are of the quotes of their feed, and in no mart."""

_OTHER_QUOTES: Final = frozenset({"bid_size", "ask_size", "mid"})
_BAR: Final = ("open", "high", "low", "close", "volume", "bar_vwap")
_PRICES: Final = ("bid", "ask", "open", "high", "low", "close", "bar_vwap", "vwap", "sma", "ema", "high_52w", "low_52w")
_NEVER_NEGATIVE: Final = (
    *("volume", "session_volume", "session_notional", "avg_gain", "avg_loss", "atr", "realised_volatility"),
    *("relative_volume", "bb_bandwidth", "plus_dm", "minus_dm", "dm_range", "low_52w_distance"),
)
_OF_A_HUNDRED: Final = ("rsi", "stoch_fast_k", "stoch_k", "stoch_d", "adx", "plus_di", "minus_di")
_ORDERS: Final = (
    *(("low", name) for name in ("open", "close", "high")),
    *((name, "high") for name in ("open", "close")),
    *(("bb_lower", "bb_middle"), ("bb_middle", "bb_upper"), ("bb_lower", "bb_upper"), ("low_52w", "high_52w")),
    *((name, "high_52w") for name in ("low", "open", "close", "high")),  # of 52 weeks, this session included
    *(("low_52w", name) for name in ("low", "open", "close", "high")),
    ("spread", "ask"),
)
ORDERED: Final = frozenset(_ORDERS)
"""Pairs of fields of which the first is never above the second."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    Attributes
    ----------
    name
        Its column in the mart, or ``gap``.
    lowest, highest
        What it never goes below and above; infinite without a bound.
    stable_from
        Number of the bar in its series from which on it no longer depends on where the series begins; ``None`` if it always does.
    """

    name: str
    lowest: float
    highest: float
    stable_from: int | None


def mart_of(interval: str) -> str:
    """Return the mart that has the bars of an interval."""
    return "daily_analytics" if interval == DAILY else "intraday_analytics"


@cache
def fields_of(mart: str) -> Mapping[str, Field]:
    """Return the fields of a mart by name."""
    columns = indicators(dbt_variables()["indicators"], daily=mart == "daily_analytics")
    found = {name: _field(name, 1) for name in _BAR} | {"gap": Field("gap", -100.0, math.inf, 2)}
    if mart == mart_of("1m"):
        found |= {name: _field(name, 1) for name in QUOTES}
    return found | {column.name: _field(column.name, column.stable_from) for column in columns}


def find_field(name: str, interval: str) -> Field | str:
    """Return the field of a name, or why there is none."""
    known = fields_of(mart_of(interval))
    name = ALIASES.get(name, name)
    if name in known:
        return known[name]
    if name in _OTHER_QUOTES:
        return f"{name} is of quotes: of these a condition on bars of 1h and shorter may name {', '.join(QUOTES)}."
    other = fields_of("intraday_analytics" if interval == DAILY else "daily_analytics")
    if name in other:
        return (
            f"{name} is a field of {'bars of 1h and shorter' if interval == DAILY else 'days (--interval 1d)'} alone."
        )
    family = name.rpartition("_")[0]
    periods = [field for field in known if family and field.rpartition("_")[0] == family and field[-1].isdecimal()]
    if periods and name[len(family) + 1 :].isdecimal():
        return (
            f"{name} is not computed: there is {', '.join(periods)}. Add its period to the variable indicators of "
            "dbt_project/dbt_project.yml."
        )
    indicator = family_of(name)
    if indicator is not None and not dbt_variables()["indicators"][indicator]:
        return (
            f"{name} is not computed: the variable indicators of dbt_project/dbt_project.yml has no period of {indicator}. "
            "Add it there."
        )
    nearest = difflib.get_close_matches(name, [*known, *ALIASES], n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(nearest)}?" if nearest else " docs/indicators.md lists the fields."
    return f"There is no field {name}.{hint}"


def bounds_of(name: str, function: str, interval: str) -> Span:
    """Return what a field, or a function of it, can be; the field has to be known."""
    field = find_field(name, interval)
    assert isinstance(field, Field)
    if function == "change":
        return Span(low=-100.0) if field.lowest >= 0 else Span()
    if function == "difference":
        most = field.highest - field.lowest
        return Span(-most, most)
    return Span(field.lowest, field.highest)


def never_forgets(name: str) -> bool:
    """Return whether every value of a field depends on where its series begins."""
    marts = (fields_of(mart_of(interval)) for interval in (INTERVALS[0], DAILY))
    return any(name in fields and fields[name].stable_from is None for fields in marts)


def _field(name: str, stable_from: int | None) -> Field:
    lowest, highest = -math.inf, math.inf
    if _is_of(name, _OF_A_HUNDRED):
        lowest, highest = 0.0, 100.0
    elif name in {"low_52w", "high_52w"} or (_is_of(name, _PRICES) and not name.endswith("_distance")):
        lowest = math.nextafter(0.0, 1.0)
    elif _is_of(name, _NEVER_NEGATIVE):
        lowest = 0.0
    elif name == "high_52w_distance":
        lowest, highest = -1.0, 0.0
    elif name == "return_1":
        lowest = -1.0
    elif name.startswith("roc_"):
        lowest = -100.0
    return Field(name, lowest, highest, stable_from)


def _is_of(name: str, families: tuple[str, ...]) -> bool:
    """Return whether a name is one of some, or one of them with periods behind it."""
    return any(name == family or name.removeprefix(f"{family}_").replace("_", "").isdecimal() for family in families)
