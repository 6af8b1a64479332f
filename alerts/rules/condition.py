"""Conditions as values: clauses, operands, and where in the text they stand.

What belongs here: the shape of a condition and how it is written out. What does not: reading one (:mod:`alerts.rules.language`).
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from market.errors import RuleError

Place = tuple[int, int]
"""First position in the text, and the one behind the last."""
_NOWHERE: Final[Place] = (0, 0)


class Operator(StrEnum):
    """What a clause asks of its left side."""

    ABOVE = "above"
    BELOW = "below"
    CROSSES = "crosses"
    CROSSES_ABOVE = "crosses above"
    CROSSES_BELOW = "crosses below"
    ENTERS = "enters"
    LEAVES = "leaves"
    INSIDE = "inside"
    OUTSIDE = "outside"
    MOVES = "moves"
    MOVES_UP = "moves up"
    MOVES_DOWN = "moves down"
    NEW_HIGH = "new high of"
    NEW_LOW = "new low of"


RANGES: Final = frozenset({Operator.ENTERS, Operator.LEAVES, Operator.INSIDE, Operator.OUTSIDE})
MOVES: Final = frozenset({Operator.MOVES, Operator.MOVES_UP, Operator.MOVES_DOWN})
EXTREMES: Final = frozenset({Operator.NEW_HIGH, Operator.NEW_LOW})
EVENTS: Final = frozenset(
    {Operator.CROSSES, Operator.CROSSES_ABOVE, Operator.CROSSES_BELOW, Operator.ENTERS, Operator.LEAVES}
)
"""What happens on one bar; everything else is a state that lasts."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number; ``is_percent`` where % stands behind it."""

    value: Decimal
    is_percent: bool = False
    place: Place = field(default=_NOWHERE, compare=False)

    def __str__(self) -> str:
        return f"{self.value:f}{' %' if self.is_percent else ''}"


@dataclass(frozen=True, slots=True)
class Value:
    """A field of a bar, or what is made of some bars of it.

    Attributes
    ----------
    name
        The field.
    function
        ``average``, ``highest``, ``lowest`` or ``change``; empty for the field itself.
    bars
        Of how many bars.
    factor
        What it is multiplied by.
    """

    name: str
    function: str = ""
    bars: int = 0
    factor: Decimal = Decimal(1)
    place: Place = field(default=_NOWHERE, compare=False)

    def __str__(self) -> str:
        factor = "" if self.factor == 1 else f"{self.factor:f} * "
        if self.function == "change":
            return f"{factor}change {self.bars} bars"
        return factor + (f"{self.function}({self.name}, {self.bars})" if self.function else self.name)


Operand = Number | Value


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause.

    Attributes
    ----------
    left
        What is looked at.
    operator
        What is asked of it.
    operands
        What it is compared with: one, of ranges two, of new highs and lows none.
    bars
        Of moves and new highs and lows: in how many bars.
    """

    left: Operand
    operator: Operator
    operands: tuple[Operand, ...] = ()
    bars: int = 0
    place: Place = field(default=_NOWHERE, compare=False)

    def __str__(self) -> str:
        parts = [str(self.left), str(self.operator)]
        if self.operands:
            parts.append(" .. ".join(map(str, self.operands)))
        if self.operator in MOVES:
            parts.append(f"in {self.bars} bars")
        elif self.operator in EXTREMES:
            parts.append(str(self.bars))
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Condition:
    """Clauses, all of which have to hold; ``text`` is what was written."""

    clauses: tuple[Clause, ...]
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return " and ".join(map(str, self.clauses))

    @property
    def has_event(self) -> bool:
        """Whether a clause happens on one bar."""
        return any(clause.operator in EVENTS for clause in self.clauses)

    def refuse(self, reason: str, place: Place) -> RuleError:
        """Return the error that says a reason, and points at its place."""
        return refusal(reason, self.text, place)


def refusal(reason: str, text: str, place: Place) -> RuleError:
    """Return the error that says a reason, and points at a place of a text."""
    start, end = place
    return RuleError(f"{reason}\n  {text}\n  {' ' * start}{'^' * max(1, end - start)}")
