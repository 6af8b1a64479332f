"""Whether linear inequalities can hold together: what is left when their unknowns are eliminated one by one (Fourier, Motzkin).

What belongs here: arithmetic, exact. What does not: what fields are (:mod:`alerts.rules.relations`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

Unknown = tuple[str, bool]
"""The key of a field, and whether it is that of the bar itself; else it is that of the bar before."""

_NOTHING: Final = Fraction(0)
_MOST: Final = 1000
"""Where an elimination makes more inequalities than this, nothing is said against them."""


@dataclass(frozen=True, slots=True)
class Inequality:
    """The sum of the terms and the constant is 0 or above, or above 0; each unknown is there once, in order, none times 0."""

    terms: tuple[tuple[Unknown, Fraction], ...]
    constant: Fraction = _NOTHING
    is_strict: bool = False

    @classmethod
    def of(cls, terms: Iterable[tuple[Unknown, Fraction]], constant: Fraction, *, is_strict: bool) -> "Inequality":
        """Return the inequality of terms in any order, of which some may have the same unknown."""
        sums: dict[Unknown, Fraction] = {}
        for unknown, factor in terms:
            sums[unknown] = sums[unknown] + factor if unknown in sums else factor
        kept = tuple(sorted((unknown, factor) for unknown, factor in sums.items() if factor))
        if not kept or abs(kept[0][1]) == 1:
            return cls(kept, constant, is_strict)
        scale = abs(kept[0][1])
        return cls(tuple((unknown, factor / scale) for unknown, factor in kept), constant / scale, is_strict)

    @property
    def is_false(self) -> bool:
        """Whether it never holds, by itself."""
        return not self.terms and (self.constant < 0 or (self.constant == 0 and self.is_strict))

    def factor(self, unknown: Unknown) -> Fraction:
        """Return what an unknown is multiplied by."""
        return next((factor for name, factor in self.terms if name == unknown), _NOTHING)

    def without(self, unknown: Unknown, other: "Inequality") -> "Inequality":
        """Return what follows from both and does not have an unknown, which they have with opposite signs."""
        mine, others = abs(self.factor(unknown)), abs(other.factor(unknown))
        terms = [(name, factor * others) for name, factor in self.terms if name != unknown]
        terms += [(name, factor * mine) for name, factor in other.terms if name != unknown]
        constant = self.constant * others + other.constant * mine
        return Inequality.of(terms, constant, is_strict=self.is_strict or other.is_strict)


def can_all_hold(inequalities: Iterable[Inequality]) -> bool:
    """Return whether there are real numbers for which all hold; ``True`` too where it would take too long to know."""
    left = _tightest(inequalities)
    while left:
        unknown = _cheapest(left)
        over = [one for one in left if one.factor(unknown) > 0]
        under = [one for one in left if one.factor(unknown) < 0]
        if len(over) * len(under) > _MOST:
            return True
        others = [one for one in left if not one.factor(unknown)]
        left = _tightest([*others, *(one.without(unknown, other) for one in over for other in under)])
    return left is not None


def _tightest(inequalities: Iterable[Inequality]) -> list[Inequality] | None:
    """Return of those with the same terms the tightest one, without what always holds; ``None`` if one never holds."""
    found: dict[tuple[tuple[Unknown, Fraction], ...], Inequality] = {}
    for one in inequalities:
        if one.is_false:
            return None
        known = found.get(one.terms)
        if one.terms and (known is None or (one.constant, not one.is_strict) < (known.constant, not known.is_strict)):
            found[one.terms] = one
    return list(found.values())


def _cheapest(inequalities: Iterable[Inequality]) -> Unknown:
    """Return the unknown whose elimination makes the fewest inequalities."""
    counts: dict[Unknown, list[int]] = {}
    for one in inequalities:
        for unknown, factor in one.terms:
            counts.setdefault(unknown, [0, 0])[factor > 0] += 1
    return min(counts, key=lambda unknown: (counts[unknown][0] * counts[unknown][1], unknown))
