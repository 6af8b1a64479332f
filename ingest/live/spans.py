"""Sets of moments as spans: exact arithmetic on half-open ranges of whole numbers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Span = tuple[int, int]
"""From the first, included, until the second, excluded."""


@dataclass(frozen=True, slots=True, init=False)
class Spans:
    """A set of moments, kept as the fewest spans in order: equal sets are equal.

    Examples
    --------
    >>> Spans([(0, 10), (10, 12), (20, 30)]) - Spans([(5, 25)])
    Spans([(0, 5), (25, 30)])
    """

    _spans: tuple[Span, ...]

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        merged: list[Span] = []
        for since, until in sorted(span for span in spans if span[0] < span[1]):
            if merged and since <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], until))
            else:
                merged.append((since, until))
        object.__setattr__(self, "_spans", tuple(merged))

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __repr__(self) -> str:
        return f"Spans({list(self._spans)})"

    def __or__(self, other: "Spans") -> "Spans":
        """Return what is in either."""
        return Spans((*self, *other))

    def __sub__(self, other: "Spans") -> "Spans":
        """Return what is in this one only."""
        left: list[Span] = []
        for since, until in self:
            start = since
            for taken_since, taken_until in other:
                if taken_until <= start or taken_since >= until:
                    continue
                left.append((start, taken_since))
                start = taken_until
            left.append((start, until))
        return Spans(left)

    def __and__(self, other: "Spans") -> "Spans":
        """Return what is in both."""
        return self - (self - other)
