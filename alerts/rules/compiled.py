"""A condition as it is evaluated: clauses of numbered kinds over fields, times factors.

What belongs here: what each clause of the language comes to. What does not: the SQL that works it out.
"""

from dataclasses import dataclass
from typing import Final

from alerts.rules.condition import EXTREMES, MOVES, Clause, Condition, Number, Operand, Operator, Value
from alerts.rules.fields import ALIASES, never_forgets

ABOVE: Final = "above"
AT_LEAST: Final = "at_least"
BELOW: Final = "below"
AT_MOST: Final = "at_most"
BEYOND: Final = "beyond"
"""At most the lower end, or at least the upper one."""

_TURNED: Final = {
    Operator.ABOVE: Operator.BELOW,
    Operator.BELOW: Operator.ABOVE,
    Operator.CROSSES_ABOVE: Operator.CROSSES_BELOW,
    Operator.CROSSES_BELOW: Operator.CROSSES_ABOVE,
}


@dataclass(frozen=True, slots=True)
class Side:
    """A field times a factor; without a field the factor is a number."""

    field: str | None
    factor: float


@dataclass(frozen=True, slots=True)
class CompiledClause:
    """One clause: what is asked of ``left``; ``upper`` is the other end of a range."""

    operator: str
    left: Side
    right: Side
    upper: Side | None = None


def compile_condition(condition: Condition, *, warm_up: bool = True) -> list[CompiledClause]:
    """Return the clauses; with ``warm_up`` a value is none until it no longer depends on where its series begins."""
    return [_compiled(clause, "" if warm_up else "!") for clause in condition.clauses]


def key_of(value: Value, ending: str = "") -> str:
    """Return the field that a value is of, with its function, as ``app.alert_fields`` has it."""
    name = ALIASES.get(value.name, value.name)
    return (f"{value.function}({name}, {value.bars})" if value.function else name) + ending


def turned(clause: Clause) -> Clause:
    """Return a clause with its field on the left side: of two that are compared, the number may stand there."""
    if not isinstance(clause.left, Number) or len(clause.operands) != 1 or isinstance(clause.operands[0], Number):
        return clause
    operator = _TURNED.get(clause.operator, clause.operator)
    return Clause(clause.operands[0], operator, (clause.left,), place=clause.place)


def is_difference(clause: Clause) -> bool:
    """Return whether a clause asks how far a field is from itself on other bars: then where its series began cancels out."""
    amounts = (one for one in clause.operands if isinstance(one, Number))
    return clause.operator in EXTREMES or (clause.operator in MOVES and not any(one.is_percent for one in amounts))


def _compiled(clause: Clause, ending: str) -> CompiledClause:
    clause = turned(clause)
    left, operator = clause.left, clause.operator
    if is_difference(clause) and isinstance(left, Value) and never_forgets(left.name):
        ending = "!"
    if operator in {Operator.MOVES, Operator.MOVES_UP, Operator.MOVES_DOWN}:
        return _move(clause, ending)
    if operator in {Operator.NEW_HIGH, Operator.NEW_LOW}:
        assert isinstance(left, Value)
        function, kind = ("highest", ABOVE) if operator is Operator.NEW_HIGH else ("lowest", BELOW)
        before = Value(left.name, function, clause.bars)
        return CompiledClause(kind, _side(left, ending), Side(key_of(before, ending), float(left.factor)))
    right = clause.operands[0]
    upper = _side(clause.operands[1], ending) if len(clause.operands) > 1 else None
    return CompiledClause(operator.value.replace(" ", "_"), _side(left, ending), _side(right, ending), upper)


def _move(clause: Clause, ending: str) -> CompiledClause:
    left, (amount,) = clause.left, clause.operands
    assert isinstance(left, Value)
    assert isinstance(amount, Number)
    moved = Value(left.name, "change" if amount.is_percent else "difference", clause.bars)
    side = Side(key_of(moved, ending), 1.0 if amount.is_percent else float(left.factor))
    size = float(amount.value)
    match clause.operator:
        case Operator.MOVES_UP:
            return CompiledClause(AT_LEAST, side, Side(None, size))
        case Operator.MOVES_DOWN:
            return CompiledClause(AT_MOST, side, Side(None, -size))
        case _:
            return CompiledClause(BEYOND, side, Side(None, -size), Side(None, size))


def _side(operand: Operand, ending: str) -> Side:
    if isinstance(operand, Number):
        return Side(None, float(operand.value))
    return Side(key_of(operand, ending), float(operand.factor))
