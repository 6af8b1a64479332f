"""The indicators: what each column of the marts of indicators is called, what it means, and where the definition is from.

What belongs here: names, formulas, units and sources, for the periods that the dbt project is configured with. What does not: how
they are computed, which is dbt's (``dbt_project/macros/indicators``), and which periods there are (``dbt_project.yml``).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from market.errors import SettingsError

DOUBLE: Final = "double precision"

_SINGLE: Final = ("sma", "ema", "rsi", "atr", "adx", "roc", "realised_volatility", "relative_volume")
_SEVERAL: Final = {
    "macd": ("fast", "slow", "signal"),
    "bollinger": ("period", "deviations"),
    "stochastic": ("period", "smoothing of %K", "period of %D"),
}
_AT_LEAST_TWO: Final = frozenset({"realised_volatility"})
_PERIODS: Final = re.compile(r"(_[0-9]+)+$")
MOST_BARS: Final = 2_000
"""The longest period: the bars of a period are held while a series is computed."""

WILDER: Final = "Wilder, New Concepts in Technical Trading Systems, 1978"


@dataclass(frozen=True, slots=True)
class Indicator:
    """One column.

    Attributes
    ----------
    name
        The column's name.
    description
        The formula in words, with the unit.
    source
        Where the definition is from.
    defined_from
        Number of the bar in its series, from 1, at which the value is defined first; before it is null. ``None`` if the calendar
        says so instead, as for what is of 52 weeks.
    stable_from
        Number of the bar from which on the value no longer depends on where the series begins: the start weighs less than
        :data:`FORGOTTEN`. ``None`` if it depends on it for ever.
    type
        The column's type in PostgreSQL.
    """

    name: str
    description: str
    source: str
    defined_from: int | None
    stable_from: int | None
    type: str = DOUBLE


FORGOTTEN: Final = 1e-9
"""The weight of the start of a recursion below which it no longer matters."""


def bars_to_forget(weight: float) -> int:
    """Return after how many bars a start weighs less than :data:`FORGOTTEN`, if the newest bar weighs ``weight``."""
    return math.ceil(math.log(FORGOTTEN) / math.log(1 - weight)) if weight < 1 else 1


def parse_periods(chosen: object) -> dict[str, list[tuple[float, ...]]]:
    """Return the configured periods by family, each as a tuple.

    Parameters
    ----------
    chosen
        The variable ``indicators`` of the dbt project: by family a list of periods, or of lists of periods.

    Raises
    ------
    SettingsError
        If a family is missing or unknown, or a period is none.
    """
    families = (*_SINGLE, *_SEVERAL)
    if not isinstance(chosen, Mapping):
        msg = f"The variable indicators of dbt_project.yml is {chosen!r}. Give it by indicator: {', '.join(families)}."
        raise SettingsError(msg)
    unknown = [name for name in chosen if name not in families]
    missing = [name for name in families if name not in chosen]
    if unknown or missing:
        wrong = f"has no indicator {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        msg = f"The variable indicators of dbt_project.yml {wrong}. The indicators are: {', '.join(families)}."
        raise SettingsError(msg)
    return {family: _entries(family, chosen[family]) for family in families}


def indicators(chosen: Mapping[str, Any], *, daily: bool = False) -> list[Indicator]:
    """Return the columns of indicators that the configured periods give, in the order of the marts.

    Raises
    ------
    SettingsError
        If the periods cannot be used.
    """
    periods = parse_periods(chosen)
    crossed = {length for entry in periods["macd"] for length in entry[:2]}
    averaged = sorted({length for (length,) in periods["ema"]} | crossed)
    columns = list(_RETURNS)
    for family, describe in _FAMILIES.items():
        entries = [(length,) for length in averaged] if family == "ema" else periods[family]
        for position, entry in enumerate(entries):
            columns += describe("" if position == 0 else _ending_of(entry), *entry)
        if family == "adx":
            columns += [_OBV, *(_DAY if daily else _SESSION)]
    return [*columns, *(_YEAR if daily else ())]


def family_of(name: str) -> str | None:
    """Return the indicator of the configuration that a column of such a name is of, whatever its periods; ``None`` if none is."""
    for family, describe in _FAMILIES.items():
        periods = range(10, 10 + len(_SEVERAL.get(family, ("period",))))
        if _PERIODS.sub("", name) in {_PERIODS.sub("", column.name) for column in describe("", *periods)}:
            return family
    return None


def _entries(family: str, listed: object) -> list[tuple[float, ...]]:
    if not isinstance(listed, list):
        msg = f"indicators.{family} of dbt_project.yml is {listed!r}. Give it a list; an empty one for none."
        raise SettingsError(msg)
    entries = [_entry(family, entry) for entry in listed]
    for position, entry in enumerate(entries):
        if entry in entries[:position]:
            msg = f"indicators.{family} of dbt_project.yml has {listed[position]!r} twice. Take one of them out."
            raise SettingsError(msg)
    return entries


def _entry(family: str, entry: object) -> tuple[float, ...]:
    names = _SEVERAL.get(family, ("period",))
    values = tuple(entry) if isinstance(entry, list) else (entry,)
    least = 2 if family in _AT_LEAST_TWO else 1
    fits = len(values) == len(names) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
        if name == "deviations"
        else isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST_BARS
        for name, value in zip(names, values, strict=False)
    )
    if not fits or (family == "macd" and values[0] >= values[1]):
        msg = f"indicators.{family} of dbt_project.yml has {entry!r}. It wants {' and '.join(names)}: {_bounds(family, least)}."
        raise SettingsError(msg)
    return values


def _bounds(family: str, least: int) -> str:
    whole = f"from {least} to {MOST_BARS:,}"
    if family == "bollinger":
        return f"a whole number {whole}, and a number above 0"
    return f"whole numbers {whole}" + ("; the fast period has to be the shorter one" if family == "macd" else "")


def _ending_of(periods: Sequence[float]) -> str:
    return "".join(f"_{period:g}".replace(".", "_") for period in periods)


def _sma(_ending: str, period: int) -> list[Indicator]:
    return [
        Indicator(f"sma_{period}", f"Simple moving average: mean of the last {period} closes.", "usual", period, period)
    ]


def _ema(_ending: str, period: int) -> list[Indicator]:
    formula = (
        f"Exponential moving average: before + (close - before) * 2 / {period + 1}. It starts as the mean of the first "
        f"{period} closes."
    )
    return [Indicator(f"ema_{period}", formula, "TA-Lib, EMA", period, period + bars_to_forget(2 / (period + 1)))]


def _macd(suffix: str, fast: int, slow: int, signal: int) -> list[Indicator]:
    source = "Appel, The Moving Average Convergence Divergence Method, 1979"
    defined, stable = slow + signal - 1, slow + bars_to_forget(2 / (slow + 1))
    smoothed = stable + signal + bars_to_forget(2 / (signal + 1))
    average = (
        f"Exponential moving average of macd{suffix} over {signal} bars. It starts as the mean of its first {signal}."
    )
    return [
        Indicator(f"macd{suffix}", f"ema_{fast} - ema_{slow}.", source, slow, stable),
        Indicator(f"macd_signal{suffix}", average, source, defined, smoothed),
        Indicator(f"macd_hist{suffix}", f"macd{suffix} - macd_signal{suffix}.", source, defined, smoothed),
    ]


def _wilder(period: int) -> str:
    return f"smoothed as Wilder does: (before * {period - 1} + new) / {period}, from the mean of the first {period}"


def _rsi(_ending: str, period: int) -> list[Indicator]:
    defined, stable = period + 1, period + 1 + bars_to_forget(1 / period)
    gain, loss = f"avg_gain_{period}", f"avg_loss_{period}"
    formula = f"Relative strength index: 100 * {gain} / ({gain} + {loss}); null where no close ever differed."
    return [
        Indicator(f"rsi_{period}", formula, WILDER, defined, stable),
        Indicator(gain, f"Rise of the close against the bar before, {_wilder(period)}.", WILDER, defined, stable),
        Indicator(loss, f"Fall of the close against the bar before, {_wilder(period)}.", WILDER, defined, stable),
    ]


def _bollinger(suffix: str, period: int, deviations: float) -> list[Indicator]:
    source = "Bollinger, Bollinger on Bollinger Bands, 2001"
    upper, middle, lower = (f"bb_{name}{suffix}" for name in ("upper", "middle", "lower"))
    width = f"{deviations:g} standard deviations (of the population) of the last {period} closes"
    percent_b = f"(close - {lower}) / ({upper} - {lower}); null where all closes are the same."
    formulas = {
        middle: f"Mean of the last {period} closes.",
        upper: f"{middle} + {width}.",
        lower: f"{middle} - {width}.",
        f"bb_percent_b{suffix}": percent_b,
        f"bb_bandwidth{suffix}": f"({upper} - {lower}) / {middle}.",
    }
    return [Indicator(name, formula, source, period, period) for name, formula in formulas.items()]


def _atr(_ending: str, period: int) -> list[Indicator]:
    formula = (
        f"Average true range, {_wilder(period)}. The true range is the greatest of high - low, |high - close before| and "
        "|low - close before|."
    )
    return [Indicator(f"atr_{period}", formula, WILDER, period + 1, period + 1 + bars_to_forget(1 / period))]


def _stochastic(suffix: str, period: int, smooth: int, signal: int) -> list[Indicator]:
    source = "Lane, Lane's Stochastics, 1984; TA-Lib, STOCH"
    fast_k, k, d = f"stoch_fast_k{suffix}", f"stoch_k{suffix}", f"stoch_d{suffix}"
    formula = (
        f"Where the close is between the lowest low and the highest high of {period} bars, in percent; null where these are "
        "the same."
    )
    first = period + smooth - 1
    return [
        Indicator(fast_k, formula, source, period, period),
        Indicator(k, f"%K: mean of the last {smooth} {fast_k}.", source, first, first),
        Indicator(d, f"%D: mean of the last {signal} {k}.", source, first + signal - 1, first + signal - 1),
    ]


def _adx(_ending: str, period: int) -> list[Indicator]:
    plus, minus, span = f"plus_dm_{period}", f"minus_dm_{period}", f"dm_range_{period}"
    summed = f"summed as Wilder does: before - before / {period} + new, from the sum of the first {period - 1}"
    forget = bars_to_forget(1 / period)
    defined, stable = period + 1, period + 1 + forget
    index = (
        f"Average directional index: 100 * |{plus} - {minus}| / ({plus} + {minus}), {_wilder(period)}. Where nothing moves it "
        "stays."
    )
    rise = f"Rise of the high where that is more than the fall of the low, {summed}."
    fall = f"Fall of the low where that is more than the rise of the high, {summed}."
    return [
        Indicator(f"adx_{period}", index, WILDER, 2 * period, 2 * period + 2 * forget),
        Indicator(f"plus_di_{period}", f"100 * {plus} / {span}; null where that is 0.", WILDER, defined, stable),
        Indicator(f"minus_di_{period}", f"100 * {minus} / {span}; null where that is 0.", WILDER, defined, stable),
        Indicator(plus, rise, WILDER, defined, stable),
        Indicator(minus, fall, WILDER, defined, stable),
        Indicator(span, f"True range, {summed}.", WILDER, defined, stable),
    ]


def _roc(_ending: str, period: int) -> list[Indicator]:
    formula = f"Rate of change: 100 * (close / the close {period} bars before - 1)."
    return [Indicator(f"roc_{period}", formula, "TA-Lib, ROC", period + 1, period + 1)]


def _realised_volatility(_ending: str, period: int) -> list[Indicator]:
    formula = (
        f"Sample standard deviation of the last {period} log_return_1, for a year: times the root of the bars of 252 sessions; a "
        "fraction."
    )
    source = "Hull, Options, Futures, and Other Derivatives"
    return [Indicator(f"realised_volatility_{period}", formula, source, period + 1, period + 1)]


def _relative_volume(_ending: str, period: int) -> list[Indicator]:
    formula = f"volume / the mean volume of the {period} bars before; null if they have none."
    return [Indicator(f"relative_volume_{period}", formula, "usual", period + 1, period + 1)]


_FAMILIES: Final[Mapping[str, Callable[..., list[Indicator]]]] = MappingProxyType(
    {
        "sma": _sma,
        "ema": _ema,
        "macd": _macd,
        "rsi": _rsi,
        "bollinger": _bollinger,
        "atr": _atr,
        "stochastic": _stochastic,
        "adx": _adx,
        "roc": _roc,
        "realised_volatility": _realised_volatility,
        "relative_volume": _relative_volume,
    }
)
"""What describes the columns of a family, in the order of the marts: given what their names end in, and the periods."""

_RETURNS: Final = (
    Indicator("return_1", "close / the close of the bar before - 1; a fraction.", "usual", 2, 2),
    Indicator("log_return_1", "ln(close / the close of the bar before).", "usual", 2, 2),
)
_OBV: Final = Indicator(
    "obv",
    "On-balance volume, shares: the volume is added where the close rose, and taken away where it fell, from the first bar of "
    "the series on.",
    "Granville, New Key to Stock Market Profits, 1963; TA-Lib, OBV",
    1,
    None,
    "numeric(38,0)",
)
_SESSION: Final = (
    Indicator(
        "vwap",
        "Volume-weighted average price of the session so far: session_notional / session_volume; null without volume.",
        "Berkowitz, Logue and Noser, The Total Cost of Transactions on the NYSE, 1988",
        1,
        1,
    ),
    Indicator("session_volume", "Shares traded in the session so far.", "usual", 1, 1, "numeric(38,0)"),
    Indicator(
        "session_notional",
        "Sum of volume * bar_vwap of the session so far; a vendor's bar without one counts with its typical price, (high + low + "
        "close) / 3 to six decimals.",
        "usual",
        1,
        1,
        "numeric(58,6)",
    ),
)
_DAY: Final = (Indicator("vwap", "bar_vwap as a double: of the whole session.", "usual", 1, 1),)
_WEEKS: Final = (
    "52 weeks: the sessions from this one's date less 364 days, the same weekday, to this one, both included"
)
_YEAR_LONG: Final = "null while the series is shorter, some 252 bars, and stable from then on"
_YEAR: Final = (
    Indicator(
        "high_52w",
        f"Highest high of {_WEEKS}; {_YEAR_LONG}.",
        "usual",
        None,
        1,
    ),
    Indicator(
        "low_52w",
        f"Lowest low of {_WEEKS}; {_YEAR_LONG}.",
        "usual",
        None,
        1,
    ),
    Indicator("high_52w_distance", "close / high_52w - 1; a fraction, 0 or below.", "usual", None, 1),
    Indicator("low_52w_distance", "close / low_52w - 1; a fraction, 0 or above.", "usual", None, 1),
)
