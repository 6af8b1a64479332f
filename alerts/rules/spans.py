"""Sets of numbers, as spans: what a value may be for a clause to hold."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers between two; whether either belongs to them."""

    low: float = -math.inf
    high: float = math.inf
    has_low: bool = True
    has_high: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether no number is in it."""
        return self.low > self.high or (self.low == self.high and not (self.has_low and self.has_high))

    def common(self, other: "Span") -> "Span":
        """Return the numbers that both have."""
        low = max((self.low, not self.has_low), (other.low, not other.has_low))
        high = min((self.high, self.has_high), (other.high, other.has_high))
        return Span(low[0], high[0], not low[1], high[1])


Spans = tuple[Span, ...]


def common(one: Iterable[Span], other: Spans) -> Spans:
    """Return the numbers that both sets have."""
    both = (first.common(second) for first in one for second in other)
    return tuple(span for span in both if not span.is_empty)


def above(number: float, *, inclusive: bool = False) -> Spans:
    """Return the numbers above one."""
    return (Span(low=number, has_low=inclusive),)


def below(number: float, *, inclusive: bool = False) -> Spans:
    """Return the numbers below one."""
    return (Span(high=number, has_high=inclusive),)
