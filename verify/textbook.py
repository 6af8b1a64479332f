"""The indicators straight from their definitions: the oracle of law 3.

What belongs here: pure functions over the bars of one series; no row of a mart is read here. What does not: which columns there
are and what they are called, which is :mod:`market.indicators`; what the marts hold, which :mod:`verify.indicators` compares.

Prices are whole millionths, so that windows are exact; see :mod:`verify.averages`. Values that are not defined are
NaN. Sources are named by :func:`market.indicators.indicators`, and the definitions are in ``docs/indicators.md``.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise, starmap
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from market.indicators import parse_periods
from verify.averages import (
    MILLION,
    deviations,
    directional_index,
    exponential_average,
    means,
    wilder_average,
    wilder_sum,
    window_sums,
)

Array = NDArray[np.float64]
Periods = Mapping[str, Sequence[tuple[float, ...]]]

UNDEFINED: Final = math.nan
DAYS_A_YEAR: Final = 364
"""52 weeks."""

PRICE: Final = 1e-6
FRACTION: Final = 0.01
PERCENT: Final = 1.0
SHARES: Final = 1.0
"""What a difference is measured against where the value itself is less: a price's last decimal, a percent, a point, a share."""

_NARROW: Final = 1e-5
"""Of bands narrower than this part of the price, where the close is between them is known the worse the narrower they are."""
_RETURN_BITS: Final = 100
"""Returns are added up in units of 2^-100: all digits of any that a price of six decimals can have."""


class Bars(NamedTuple):
    """The bars of one series, in order.

    Attributes
    ----------
    days
        Session of each bar, in days since the epoch.
    highs, lows, closes
        Prices in millionths.
    volumes
        Shares.
    vwaps
        Volume-weighted average price of each bar in millionths, ``None`` where there is none.
    """

    days: Sequence[int]
    highs: Sequence[int]
    lows: Sequence[int]
    closes: Sequence[int]
    volumes: Sequence[int]
    vwaps: Sequence[int | None]


class Values(NamedTuple):
    """An indicator of each bar, NaN where it is not defined, and what a difference is measured against if the value is less."""

    values: Array
    scale: Array | float


def textbook(bars: Bars, chosen: Mapping[str, Any], *, bars_per_year: float, daily: bool) -> dict[str, Values]:
    """Return every indicator of a series by the name of its column.

    Parameters
    ----------
    bars
        The series.
    chosen
        The variable ``indicators`` of the dbt project.
    bars_per_year
        How many bars like these 252 sessions have.
    daily
        Whether the bars are days.

    Raises
    ------
    SettingsError
        If the periods cannot be used.
    """
    periods = parse_periods(chosen)
    returns = log_returns(bars.closes)
    moves = {
        "return_1": Values(_late(len(bars.closes), rates(bars.closes, 1)), FRACTION),
        "log_return_1": Values(_late(len(bars.closes), returns), FRACTION),
        "obv": Values(_late(len(bars.closes), on_balance_volume(bars.closes, bars.volumes)), SHARES),
    }
    for (period,) in periods["realised_volatility"]:
        volatility = deviations_of_returns(returns, _whole(period)) * math.sqrt(bars_per_year)
        moves[f"realised_volatility_{period}"] = Values(_late(len(bars.closes), volatility), FRACTION)
    so_far = _of_days(bars) if daily else _of_sessions(bars)
    return moves | _of_windows(bars, periods) | _of_recursions(bars, periods) | so_far


def _of_windows(bars: Bars, periods: Periods) -> dict[str, Values]:
    count = len(bars.closes)
    found: dict[str, Values] = {}
    for (period,) in periods["sma"]:
        found[f"sma_{period}"] = Values(_late(count, means(bars.closes, _whole(period))), PRICE)
    for suffix, (period, factor) in _entries(periods["bollinger"]):
        found |= _bollinger(suffix, bars.closes, _whole(period), factor)
    for suffix, (period, smooth, signal) in _entries(periods["stochastic"]):
        found |= _stochastic(suffix, bars, (_whole(period), _whole(smooth), _whole(signal)))
    for (period,) in periods["roc"]:
        found[f"roc_{period}"] = Values(100 * _late(count, rates(bars.closes, _whole(period))), PERCENT)
    for (period,) in periods["relative_volume"]:
        volume = relative_volumes(bars.volumes, _whole(period))
        found[f"relative_volume_{period}"] = Values(_late(count, volume), FRACTION)
    return found


def _of_recursions(bars: Bars, periods: Periods) -> dict[str, Values]:
    highs, lows, closes = (_doubles(prices) for prices in (bars.highs, bars.lows, bars.closes))
    count = len(closes)
    ranges = true_ranges(highs, lows, closes)
    crossed = [(length,) for entry in periods["macd"] for length in entry[:2]]
    found: dict[str, Values] = {}
    for (period,) in [*periods["ema"], *crossed]:
        found[f"ema_{period}"] = _carried(_late(count, exponential_average(closes, _whole(period))))
    for suffix, (fast, slow, signal) in _entries(periods["macd"]):
        found |= _macd(suffix, found[f"ema_{fast}"], found[f"ema_{slow}"], _whole(slow), _whole(signal))
    for (period,) in periods["rsi"]:
        found |= _rsi(closes, _whole(period))
    for (period,) in periods["atr"]:
        found[f"atr_{period}"] = _carried(_late(count, wilder_average(ranges, _whole(period))))
    for (period,) in periods["adx"]:
        found |= _directional(highs, lows, ranges, _whole(period))
    return found


def rates(prices: Sequence[int], distance: int) -> list[float]:
    """Return the change of each price against the one ``distance`` bars before, as a fraction of that one."""
    return [
        (now - before) / before if before else UNDEFINED for before, now in zip(prices, prices[distance:], strict=False)
    ]


def log_returns(prices: Sequence[int]) -> list[float]:
    """Return the logarithm of each price over the one before; undefined where one is not positive."""
    return list(starmap(_log_return, pairwise(prices)))


def _log_return(before: int, now: int) -> float:
    if before <= 0 or now <= 0:
        return UNDEFINED
    is_near = before <= 2 * now <= 4 * before
    return math.log1p((now - before) / before) if is_near else math.log(now / before)


def deviations_of_returns(returns: Sequence[float], period: int) -> Array:
    """Return the sample standard deviation of each ``period`` returns; one that is not defined counts as none."""
    units = [0 if math.isnan(value) else int(math.ldexp(value, _RETURN_BITS)) for value in returns]
    squares = window_sums([value * value for value in units], period)
    spread = [
        math.sqrt(period * square - total * total)
        for square, total in zip(squares, window_sums(units, period), strict=True)
    ]
    return np.ldexp(np.array(spread, np.float64), -_RETURN_BITS) / math.sqrt(period * (period - 1))


def true_ranges(highs: Sequence[float], lows: Sequence[float], closes: Sequence[float]) -> list[float]:
    """Return the true range of each bar but the first."""
    return [
        max(high - low, abs(high - before), abs(low - before))
        for high, low, before in zip(highs[1:], lows[1:], closes, strict=False)
    ]


def directional_moves(highs: Sequence[float], lows: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return how far each bar but the first goes beyond the one before, upwards and downwards; one of both is 0."""
    plus, minus = [], []
    for (high_before, high), (low_before, low) in zip(pairwise(highs), pairwise(lows), strict=True):
        rise, fall = high - high_before, low_before - low
        plus.append(rise if rise > fall and rise > 0 else 0.0)
        minus.append(fall if fall > rise and fall > 0 else 0.0)
    return plus, minus


def on_balance_volume(prices: Sequence[int], volumes: Sequence[int]) -> list[int]:
    """Return the volumes added up: with the sign of the price's move, the first as it is."""
    signs = [1, *((now > before) - (now < before) for before, now in pairwise(prices))]
    return list(accumulate(sign * volume for sign, volume in zip(signs, volumes, strict=False)))


def relative_volumes(volumes: Sequence[int], period: int) -> list[float]:
    """Return each volume over the mean of the ``period`` before."""
    return [
        volume * period / before if before else UNDEFINED
        for volume, before in zip(volumes[period:], window_sums(volumes, period), strict=False)
    ]


def extremes_of_a_year(days: Sequence[int], values: Sequence[float]) -> Iterator[float]:
    """Yield the highest value of 52 weeks until each day; undefined before the series is that long."""
    best: deque[tuple[int, float]] = deque()
    for day, value in zip(days, values, strict=True):
        while best and best[-1][1] <= value:
            best.pop()
        best.append((day, value))
        while best[0][0] < day - DAYS_A_YEAR:
            best.popleft()
        yield best[0][1] if days[0] <= day - DAYS_A_YEAR else UNDEFINED


def session_sums(bars: Bars) -> tuple[list[int], list[int]]:
    """Return shares, and shares times price in millionths, of the session until each bar.

    A bar without a volume-weighted price counts with its typical one, rounded to six decimals.
    """
    volumes, notionals = [], []
    day, shares, notional = None, 0, 0
    for own, high, low, close, volume, vwap in zip(*bars, strict=True):
        if own != day:
            day, shares, notional = own, 0, 0
        shares += volume
        notional += volume * ((2 * (high + low + close) + 3) // 6 if vwap is None else vwap)
        volumes.append(shares)
        notionals.append(notional)
    return volumes, notionals


def _macd(suffix: str, fast: Values, slow: Values, period: int, smooth: int) -> dict[str, Values]:
    count = len(slow.values)
    macd = fast.values - slow.values
    signal = _late(count, exponential_average(macd[period - 1 :].tolist(), smooth))
    size = np.maximum(fast.scale, slow.scale)
    smoothed = _late(count, exponential_average(size[period - 1 :].tolist(), smooth))
    carried = np.maximum(size, _carried(smoothed).scale)
    return {
        f"macd{suffix}": Values(macd, size),
        f"macd_signal{suffix}": Values(signal, carried),
        f"macd_hist{suffix}": Values(macd - signal, carried),
    }


def _rsi(closes: Sequence[float], period: int) -> dict[str, Values]:
    count = len(closes)
    moves = [now - before for before, now in pairwise(closes)]
    gain = _late(count, wilder_average([max(move, 0.0) for move in moves], period))
    loss = _late(count, wilder_average([max(-move, 0.0) for move in moves], period))
    return {
        f"rsi_{period}": Values(_over(100 * gain, gain + loss), PERCENT),
        f"avg_gain_{period}": _carried(gain),
        f"avg_loss_{period}": _carried(loss),
    }


def _bollinger(suffix: str, closes: Sequence[int], period: int, factor: float) -> dict[str, Values]:
    count = len(closes)
    middle = _late(count, means(closes, period))
    half = factor * _late(count, deviations(closes, period))
    # The distance of the close from the middle, exactly.
    distances = [
        (period * close - total) / (period * MILLION)
        for close, total in zip(closes[period - 1 :], window_sums(closes, period), strict=False)
    ]
    narrow = _NARROW * _over(np.abs(middle), 2 * half)
    return {
        f"bb_middle{suffix}": Values(middle, PRICE),
        f"bb_upper{suffix}": Values(middle + half, np.abs(middle) + half),
        f"bb_lower{suffix}": Values(middle - half, np.abs(middle) + half),
        f"bb_percent_b{suffix}": Values(0.5 + _over(_late(count, distances), 2 * half), np.maximum(1.0, narrow)),
        f"bb_bandwidth{suffix}": Values(_over(2 * half, middle), FRACTION),
    }


def _stochastic(suffix: str, bars: Bars, periods: tuple[int, int, int]) -> dict[str, Values]:
    highs, lows, closes = (np.array(_doubles(prices)) for prices in (bars.highs, bars.lows, bars.closes))
    period, smooth, signal = periods
    fast = np.full(len(closes), UNDEFINED)
    if len(closes) >= period:
        highest = sliding_window_view(highs, period).max(axis=1)
        lowest = sliding_window_view(lows, period).min(axis=1)
        fast[period - 1 :] = _over(100 * (closes[period - 1 :] - lowest), highest - lowest)
    slow = _plain_means(fast, smooth)
    return {
        f"stoch_fast_k{suffix}": Values(fast, PERCENT),
        f"stoch_k{suffix}": Values(slow, PERCENT),
        f"stoch_d{suffix}": Values(_plain_means(slow, signal), PERCENT),
    }


def _directional(
    highs: Sequence[float], lows: Sequence[float], ranges: Sequence[float], period: int
) -> dict[str, Values]:
    count = len(highs)
    moves = directional_moves(highs, lows)
    summed = [wilder_sum(values, period) for values in (*moves, ranges)]
    plus, minus, span = (_late(count, values) for values in summed)
    return {
        f"adx_{period}": Values(_late(count, directional_index(summed[0], summed[1], period)), PERCENT),
        f"plus_di_{period}": Values(_over(100 * plus, span), PERCENT),
        f"minus_di_{period}": Values(_over(100 * minus, span), PERCENT),
        f"plus_dm_{period}": _carried(plus),
        f"minus_dm_{period}": _carried(minus),
        f"dm_range_{period}": _carried(span),
    }


def _of_sessions(bars: Bars) -> dict[str, Values]:
    volumes, notionals = session_sums(bars)
    averages = [
        notional / (volume * MILLION) if volume else UNDEFINED
        for volume, notional in zip(volumes, notionals, strict=True)
    ]
    return {
        "vwap": Values(np.array(averages, np.float64), PRICE),
        "session_volume": Values(np.array(volumes, np.float64), SHARES),
        "session_notional": Values(np.array([notional / MILLION for notional in notionals], np.float64), PRICE),
    }


def _of_days(bars: Bars) -> dict[str, Values]:
    last = np.array(_doubles(bars.closes), np.float64)
    highest = list(extremes_of_a_year(bars.days, _doubles(bars.highs)))
    lowest = list(extremes_of_a_year(bars.days, [-price for price in _doubles(bars.lows)]))
    high, low = np.array(highest, np.float64), -np.array(lowest, np.float64)
    vwaps = [UNDEFINED if price is None else price / MILLION for price in bars.vwaps]
    return {
        "vwap": Values(np.array(vwaps, np.float64), PRICE),
        "high_52w": Values(high, PRICE),
        "low_52w": Values(low, PRICE),
        "high_52w_distance": Values(_over(last - high, high), FRACTION),
        "low_52w_distance": Values(_over(last - low, low), FRACTION),
    }


def _plain_means(values: Array, period: int) -> Array:
    if len(values) < period:
        return np.full(len(values), UNDEFINED)
    return _late(len(values), sliding_window_view(values, period).mean(axis=1))


def _doubles(prices: Sequence[int]) -> list[float]:
    return [price / MILLION for price in prices]


def _late(count: int, values: Iterable[float] | Array) -> Array:
    """Return ``count`` values, of which the last ones are given and the others not defined."""
    given = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
    return np.concatenate([np.full(count - len(given), UNDEFINED), given])


def _over(above: Array, below: Array) -> Array:
    """Return a quotient, not defined where it would be one by 0."""
    quotient: Array = np.divide(above, below, out=np.full(len(above), UNDEFINED), where=below != 0)
    return quotient


def _carried(values: Array) -> Values:
    """Return an average with the one before as its scale: what was rounded there is carried on."""
    before = np.concatenate([[np.nan], values[:-1]])
    return Values(values, np.fmax(np.fmax(np.abs(values), np.abs(before)), PRICE))


def _entries(entries: Sequence[tuple[float, ...]]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yield each entry with what its columns' names end in: nothing for the first."""
    for position, entry in enumerate(entries):
        ending = "".join(f"_{period:g}" for period in entry).replace(".", "_")
        yield ending if position else "", entry


def _whole(period: float) -> int:
    return int(period)
