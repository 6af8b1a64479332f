"""What TA-Lib makes of a series of bars, under the names of the marts, and numpy where TA-Lib has no such indicator."""

from collections.abc import Mapping, Sequence

import numpy as np
import talib
from numpy.typing import NDArray

Array = NDArray[np.float64]
Row = Mapping[str, object]

OTHER_START: Mapping[str, int] = {"macd": 300, "macd_signal": 300, "macd_hist": 300}
"""From which bar on TA-Lib is the oracle: its MACD starts both averages at the same bar, which is forgotten by then."""


def column(rows: Sequence[Row], name: str) -> Array:
    """Return a column of a mart as doubles, NaN where it is null."""
    return np.array([np.nan if row[name] is None else float(str(row[name])) for row in rows])


def expected_values(rows: Sequence[Row]) -> dict[str, Array]:
    """Return the indicators of a series by name, NaN where they are not defined yet."""
    high, low, close, volume = (column(rows, name) for name in ("high", "low", "close", "volume"))
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    fast_k, _ = talib.STOCHF(high, low, close, 14, 1, 0)
    slow_k, slow_d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    returns = np.concatenate([[np.nan], np.diff(np.log(close))])
    return {
        "return_1": talib.ROCP(close, 1),
        "log_return_1": returns,
        **{f"sma_{period}": talib.SMA(close, period) for period in (20, 50, 200)},
        **{f"ema_{period}": talib.EMA(close, period) for period in (12, 26, 50)},
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": histogram,
        "rsi_14": talib.RSI(close, 14),
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "bb_percent_b": (close - lower) / (upper - lower),
        "bb_bandwidth": (upper - lower) / middle,
        "atr_14": talib.ATR(high, low, close, 14),
        "stoch_fast_k": fast_k,
        "stoch_k": slow_k,
        "stoch_d": slow_d,
        "adx_14": talib.ADX(high, low, close, 14),
        "plus_di_14": talib.PLUS_DI(high, low, close, 14),
        "minus_di_14": talib.MINUS_DI(high, low, close, 14),
        "obv": talib.OBV(close, volume),
        "roc_10": talib.ROC(close, 10),
        "realised_volatility_20": _rolling_deviation(returns, 20),
        "relative_volume_20": volume / np.concatenate([[np.nan], talib.SMA(volume, 20)[:-1]]),
    }


def compared(rows: Sequence[Row]) -> dict[str, tuple[int, float]]:
    """Return by indicator how many bars were compared, and how far they differ at most, relative to value or spread."""
    found = {}
    for name, expected in expected_values(rows).items():
        start = OTHER_START.get(name, 0)
        ours, theirs = column(rows, name)[start:], expected[start:]
        both = ~np.isnan(ours) & ~np.isnan(theirs)
        scale = np.maximum(np.abs(theirs[both]), np.std(theirs[both]))
        found[name] = (int(both.sum()), float(np.max(np.abs(ours[both] - theirs[both]) / scale)))
    return found


def _rolling_deviation(values: Array, period: int) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(values, period)
    return np.concatenate([np.full(period - 1, np.nan), np.std(windows, axis=1, ddof=1)])
