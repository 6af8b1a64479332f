"""Sums, means and averages of values that follow each other.

What belongs here: arithmetic of a moving window, and recursions. What does not: what of, which is :mod:`verify.textbook`.

Windows are of whole numbers, so that a sum is the difference of two running sums, exactly. A recursion is a loop over doubles, as
its author wrote it.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

AT_REST: Final = 1e-290
"""What fades where nothing moves is zero from here on, as a double of PostgreSQL has to be."""
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
        average = at_rest(average)
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
        average = (at_rest(average) * (period - 1) + value) / period
        averages.append(average)
    return averages


def wilder_sum(values: Sequence[float], period: int) -> list[float]:
    """Return Wilder's sum from the ``period``-th value on: it starts as the plain sum of those before."""
    total = math.fsum(values[: period - 1])
    totals = []
    for value in values[period - 1 :]:
        total = at_rest(total)
        total = total - total / period + value
        totals.append(total)
    return totals


def directional_index(plus: Sequence[float], minus: Sequence[float], period: int) -> list[float]:
    """Return the average directional index from the ``period``-th bar on; where nothing moves it stays."""
    total = 0.0
    indices = []
    for number, (up, down) in enumerate(zip(plus, minus, strict=True), start=1):
        moved = up + down
        direction = 100 * abs(up - down) / moved if moved > 0 else None
        if number <= period:
            total += direction or 0.0
        if number == period:
            total /= period
        if number > period and direction is not None:
            total = (at_rest(total) * (period - 1) + direction) / period
        if number >= period:
            indices.append(total)
    return indices


def at_rest(value: float) -> float:
    """Return what fades, or 0 where hardly anything is left of it."""
    return value if abs(value) > AT_REST else 0.0
