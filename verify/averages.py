"""Sums, means and averages of values that follow each other.

What belongs here: arithmetic of a moving window, and recursions. What does not: what of, which is :mod:`verify.textbook`.

Windows are of whole numbers, so that a sum is the difference of two running sums, exactly. A recursion is a loop over doubles, as
its author wrote it.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

MILLION: Final = 10**6
"""Prices are whole millionths."""


def window_sums(values: Sequence[int], period: int) -> list[int]:
    """Return the sums of each ``period`` values that follow each other, exactly."""
    running = [0, *accumulate(values)]
    return [end - start for start, end in zip(running, running[period:], strict=False)]


def means(prices: Sequence[int], period: int) -> list[float]:
    """Return the mean of each ``period`` prices."""
    return [total / (period * MILLION) for total in window_sums(prices, period)]


def deviations(prices: Sequence[int], period: int) -> list[float]:
    """Return the standard deviation of each ``period`` prices, as of a population."""
    squares = window_sums([price * price for price in prices], period)
    sums = window_sums(prices, period)
    return [
        math.sqrt(period * square - total * total) / (period * MILLION)
        for square, total in zip(squares, sums, strict=True)
    ]


def exponential_average(values: Sequence[float], period: int) -> list[float]:
    """Return the exponential moving average from the bar on that ends the first ``period`` values: it starts as their mean."""
    if len(values) < period:
        return []
    weight = 2 / (period + 1)
    average = math.fsum(values[:period]) / period
    averages = [average]
    for value in values[period:]:
        average += (value - average) * weight
        averages.append(average)
    return averages


def wilder_average(values: Sequence[float], period: int) -> list[float]:
    """Return Wilder's average, from the bar on that ends the first ``period`` values: it starts as their mean."""
    if len(values) < period:
        return []
    average = math.fsum(values[:period]) / period
    averages = [average]
    for value in values[period:]:
        average = (average * (period - 1) + value) / period
        averages.append(average)
    return averages


def wilder_sum(values: Sequence[float], period: int) -> list[float]:
    """Return Wilder's sum from the ``period``-th value on: it starts as the plain sum of those before."""
    total = math.fsum(values[: period - 1])
    totals = []
    for value in values[period - 1 :]:
        total = total - total / period + value
        totals.append(total)
    return totals
