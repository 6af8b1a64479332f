"""What clauses say together, with what is known of fields: whether they can hold, begin to hold, and be gone back from.

A clause as it is evaluated is a choice of inequalities between values of a bar and of the bar before it; so is what is known of
fields: their bounds, their order, and that of their windows. Values are doubles: where a product is rounded, an inequality is
taken a little too wide, and where nothing sure can be said, it is left out. So what is called impossible never happens.

What belongs here: compiled clauses. What does not: places in the text, and wording (:mod:`alerts.rules.checks`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import islice, product
from typing import Final

from alerts.rules.compiled import CompiledClause, Side
from alerts.rules.fields import ORDERED, bounds_of
from alerts.rules.inequalities import Inequality, Unknown, can_all_hold
from alerts.rules.spans import Span

Choices = Sequence[Sequence[Inequality]]
"""One of these has to hold, all of it."""

_WINDOW: Final = re.compile(r"(\w+)\((\w+), (\d+)\)")
_SLACK: Final = Fraction(1, 10**12)
_LEAST_AMOUNT: Final = Fraction(1, 1000)
"""A smaller hysteresis between two fields may be lost when it is added: it counts as none here."""
_MOST_TRIES: Final = 128
"""With more choices than this nothing is said against them."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """That the left side is above the other end (``is_over``) or below it, ``is_strict`` or as much."""

    is_over: bool
    is_upper: bool = False
    is_strict: bool = True

    def __invert__(self) -> "_Asked":
        return _Asked(not self.is_over, self.is_upper, not self.is_strict)


@dataclass(frozen=True, slots=True)
class _Far:
    """By how much: a hysteresis."""

    amount: Fraction
    is_percent: bool


_ABOVE: Final = _Asked(is_over=True)
_BELOW: Final = _Asked(is_over=False)
_ABOVE_UPPER: Final = _Asked(is_over=True, is_upper=True)
_INSIDE: Final = ((~_BELOW, ~_ABOVE_UPPER),)
_OUTSIDE: Final = ((_BELOW,), (_ABOVE_UPPER,))
_STATES: Final[Mapping[str, tuple[tuple[_Asked, ...], ...]]] = {
    "above": ((_ABOVE,),),
    "below": ((_BELOW,),),
    "at_least": ((~_BELOW,),),
    "at_most": ((~_ABOVE,),),
    "inside": _INSIDE,
    "outside": _OUTSIDE,
    "beyond": ((~_ABOVE,), (_Asked(is_over=True, is_upper=True, is_strict=False),)),
}
_NOT: Final[Mapping[str, tuple[tuple[_Asked, ...], ...]]] = {
    "above": _STATES["at_most"],
    "below": _STATES["at_least"],
    "at_least": _STATES["below"],
    "at_most": _STATES["above"],
    "inside": _OUTSIDE,
    "outside": _INSIDE,
    "beyond": ((_ABOVE, _Asked(is_over=False, is_upper=True)),),
}
_EVENTS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "crosses_above": (("above", "at_most"),),
    "crosses_below": (("below", "at_least"),),
    "crosses": (("above", "at_most"), ("below", "at_least")),
    "enters": (("inside", "outside"),),
    "leaves": (("outside", "inside"),),
}
"""Which state holds now, and which on the bar before."""
_UNDER: Final = ((~_ABOVE,),)
_OVER: Final = ((~_BELOW,),)
_BACK: Final[Mapping[str, tuple[tuple[_Asked, ...], ...]]] = {
    **dict.fromkeys(("above", "at_least", "crosses_above"), _UNDER),
    **dict.fromkeys(("below", "at_most", "crosses_below"), _OVER),
    "crosses": _UNDER + _OVER,
    **dict.fromkeys(("inside", "enters"), _STATES["beyond"]),
    **dict.fromkeys(("outside", "leaves", "beyond"), _INSIDE),
}


@lru_cache(maxsize=4096)
def relations_of(clauses: tuple[CompiledClause, ...], interval: str) -> "Relations":
    """Return what clauses can be; many rules say the same of other symbols."""
    return Relations(clauses, interval)


class Relations:
    """What compiled clauses, of bars of one length, can be."""

    def __init__(self, clauses: tuple[CompiledClause, ...], interval: str) -> None:
        self._clauses = clauses
        sides = (side for one in clauses for side in (one.left, one.right, one.upper))
        keys = {side.field.rstrip("!") for side in sides if side is not None and side.field is not None}
        self._spans = {key: _span(key, interval) for key in sorted(keys)}
        self._facts: dict[tuple[Unknown, ...], list[Inequality]] = {}

    @cached_property
    def first_impossible(self) -> int | None:
        """Return the place of the first clause that cannot hold with those before it; ``None`` if all can."""
        holds = [self._holds(clause) for clause in self._clauses]
        if self._can_hold(holds):
            return None
        return next(number for number in range(len(holds)) if not self._can_hold(holds[: number + 1]))

    def can_hold_alone(self, place: int) -> bool:
        """Return whether a clause can hold by itself."""
        return self._can_hold([self._holds(self._clauses[place])])

    @cached_property
    def can_begin(self) -> bool:
        """Return whether all clauses can hold where one did not on the bar before; for clauses that are states alone."""
        now = [self._holds(clause) for clause in self._clauses]
        return any(
            self._can_hold([self._choices(_NOT[clause.operator], clause, is_now=False), *now])
            for clause in self._clauses
        )

    def can_go_back(self, hysteresis: float, *, is_percent: bool) -> bool:
        """Return whether the value of a clause can go back as far as a hysteresis asks."""
        far = _Far(Fraction(hysteresis) / (100 if is_percent else 1), is_percent)
        backs = (self._choices(_BACK[clause.operator], clause, is_now=True, far=far) for clause in self._clauses)
        return any(self._can_hold([back]) for back in backs)

    def _can_hold(self, together: Sequence[Choices]) -> bool:
        tried = 0
        for chosen in islice(product(*together), _MOST_TRIES):
            tried += 1
            said = [one for choice in chosen for one in choice]
            unknowns = sorted({unknown for one in said for unknown, _ in one.terms})
            if can_all_hold([*said, *self._known(tuple(unknowns))]):
                return True
        return tried == _MOST_TRIES

    def _holds(self, clause: CompiledClause) -> Choices:
        if clause.operator in _STATES:
            return self._choices(_STATES[clause.operator], clause, is_now=True)
        return [
            [*now, *before]
            for now_state, before_state in _EVENTS[clause.operator]
            for now in self._choices(_STATES[now_state], clause, is_now=True)
            for before in self._choices(_STATES[before_state], clause, is_now=False)
        ]

    def _choices(
        self, asked: Sequence[Sequence[_Asked]], clause: CompiledClause, *, is_now: bool, far: _Far | None = None
    ) -> Choices:
        return [
            [said for one in choice if (said := self._said(one, clause, is_now=is_now, far=far)) is not None]
            for choice in asked
        ]

    def _said(self, asked: _Asked, clause: CompiledClause, *, is_now: bool, far: _Far | None) -> Inequality | None:
        """Return what is asked as an inequality, a little too wide where doubles are rounded; ``None`` if nothing is sure."""
        left, other = clause.left, clause.upper if asked.is_upper else clause.right
        assert other is not None
        sign = 1 if asked.is_over else -1
        if other.field is None:
            return self._said_of_number(asked, left, Fraction(other.factor), is_now=is_now, far=far)
        mine, others = Fraction(left.factor), Fraction(other.factor)
        wide = Fraction(0)
        if mine == others and far is None:
            mine = others = Fraction(1)
        elif mine != 1 or others != 1 or far is not None:
            never_negative = [self._is_never_negative(side) for side in (left, other)]
            if not (any if far is None else all)(
                never_negative
            ):  # of one alone the signs decide where the other is negative
                return None
            wide = _SLACK
        amount, part = Fraction(0), Fraction(0)
        if far is not None:
            amount, part = (Fraction(0), far.amount) if far.is_percent else (far.amount, Fraction(0))
        terms = [
            (_unknown(left, is_now=is_now), mine * (sign + wide)),
            (_unknown(other, is_now=is_now), others * (wide * (1 + part) - sign - part)),
        ]
        amount = amount if amount >= _LEAST_AMOUNT else Fraction(0)
        return Inequality.of(terms, amount * (wide - 1), is_strict=asked.is_strict)

    def _said_of_number(
        self, asked: _Asked, left: Side, number: Fraction, *, is_now: bool, far: _Far | None
    ) -> Inequality | None:
        sign, factor = (1 if asked.is_over else -1), Fraction(left.factor)
        amount = Fraction(0)
        if far is not None:
            amount = far.amount * abs(number) if far.is_percent else far.amount
        wide = Fraction(0) if factor == 1 and far is None else _SLACK * (abs(number) + amount)
        constant = wide - amount - sign * number
        return Inequality.of([(_unknown(left, is_now=is_now), sign * factor)], constant, is_strict=asked.is_strict)

    def _is_never_negative(self, side: Side) -> bool:
        assert side.field is not None
        return self._spans[side.field.rstrip("!")].low >= 0

    def _known(self, unknowns: tuple[Unknown, ...]) -> list[Inequality]:
        """Return what always holds of some fields."""
        if unknowns not in self._facts:
            self._facts[unknowns] = list(self._facts_of(unknowns))
        return self._facts[unknowns]

    def _facts_of(self, unknowns: tuple[Unknown, ...]) -> Iterator[Inequality]:
        for unknown in unknowns:
            span = self._spans[unknown[0]]
            if span.low > 0:  # the least double above 0
                yield Inequality.of([(unknown, Fraction(1))], Fraction(0), is_strict=True)
            elif span.low > -float("inf"):
                yield Inequality.of([(unknown, Fraction(1))], Fraction(-span.low), is_strict=False)
            if span.high < float("inf"):
                yield Inequality.of([(unknown, Fraction(-1))], Fraction(span.high), is_strict=False)
        for low, high in product(unknowns, unknowns):
            if low == high:
                continue
            if _is_ordered(low, high):
                yield Inequality.of([(high, Fraction(1)), (low, Fraction(-1))], Fraction(0), is_strict=False)
            elif _is_ordered_but_rounded(low, high) and self._spans[low[0]].low >= 0:
                yield Inequality.of([(high, 1 + _SLACK), (low, Fraction(-1))], Fraction(0), is_strict=False)


def _unknown(side: Side, *, is_now: bool) -> Unknown:
    assert side.field is not None
    return side.field.rstrip("!"), is_now


@lru_cache(maxsize=4096)
def _parts(key: str) -> tuple[str, str, int]:
    found = _WINDOW.fullmatch(key)
    return (found.group(1), found.group(2), int(found.group(3))) if found else ("", key, 0)


def _span(key: str, interval: str) -> Span:
    function, name, _ = _parts(key)
    return bounds_of(name, function, interval)


_OF_WINDOWS: Final = frozenset({"average", "highest", "lowest"})
_ORDERS: Final[Mapping[tuple[str, str], Callable[[int, int], bool]]] = {
    ("", ""): lambda _low, _high: True,
    ("average", "average"): lambda low, high: low == high,
    ("highest", "highest"): lambda low, high: low <= high,
    ("lowest", "lowest"): lambda low, high: low >= high,
    ("lowest", "highest"): lambda _low, _high: True,  # both have the bar before
}
"""Of two functions of how many bars the first is never above the second, of fields of which that is so."""


def _is_ordered(low: Unknown, high: Unknown) -> bool:
    """Return whether the first is never above the second."""
    (low_function, low_name, low_bars), (high_function, high_name, high_bars) = _parts(low[0]), _parts(high[0])
    if low_name != high_name and (low_name, high_name) not in ORDERED:
        return False
    if low[1] == high[1]:
        if low_bars == high_bars == 1 and {low_function, high_function} <= _OF_WINDOWS:  # of one bar all are that bar
            return True
        order = _ORDERS.get((low_function, high_function))
        return order is not None and order(low_bars, high_bars)
    return (low_function, low[1], high_function) == ("", False, "highest") or (
        (low_function, high_function, high[1]) == ("lowest", "", False)
    )


def _is_ordered_but_rounded(low: Unknown, high: Unknown) -> bool:
    """Return whether the first is never above the second but for the rounding of a mean."""
    (low_function, low_name, low_bars), (high_function, high_name, high_bars) = _parts(low[0]), _parts(high[0])
    if low[1] != high[1] or (low_name != high_name and (low_name, high_name) not in ORDERED):
        return False
    return ((low_function, high_function) == ("lowest", "average") and low_bars >= high_bars) or (
        (low_function, high_function) == ("average", "highest") and low_bars <= high_bars
    )
