"""Conditions that are judged with each trade: what the high and the low of a minute say of numbers, and of the close before it.

A high only rises and a low only falls while a minute lasts, so what has come true stays true, in whatever order its trades come;
the marts say the same of the bar that is made of them.

What belongs here: which conditions these are, and what they come to. What does not: trades (:mod:`alerts.at_once`), and the SQL.
"""

from typing import Final

from alerts.rules.compiled import CompiledClause, Side, key_of, turned
from alerts.rules.condition import Clause, Condition, Number, Operator, Value
from alerts.rules.fields import ALIASES
from market.errors import RuleError

INTERVAL: Final = "1m"
PASSES_ABOVE: Final = "passes_above"
PASSES_BELOW: Final = "passes_below"
PASSES: Final = "passes"
BREAKS_OUT: Final = "breaks_out"
REACHES_ABOVE: Final = "reaches_above"
REACHES_BELOW: Final = "reaches_below"
REACHES_OUTSIDE: Final = "reaches_outside"

_EDGES: Final = {
    Operator.ABOVE: PASSES_ABOVE,
    Operator.BELOW: PASSES_BELOW,
    Operator.CROSSES_ABOVE: PASSES_ABOVE,
    Operator.CROSSES_BELOW: PASSES_BELOW,
    Operator.CROSSES: PASSES,
    Operator.OUTSIDE: BREAKS_OUT,
    Operator.LEAVES: BREAKS_OUT,
}
_LEVELS: Final = {
    Operator.ABOVE: REACHES_ABOVE,
    Operator.BELOW: REACHES_BELOW,
    Operator.OUTSIDE: REACHES_OUTSIDE,
}
_CLOSE: Final = "close"


def check_at_once(condition: Condition, interval: str) -> None:
    """Look whether a condition can be judged with each trade.

    Raises
    ------
    RuleError
        If it cannot.
    """
    if interval != INTERVAL:
        msg = (
            f"What fires at once looks at the minute under way: it is for bars of {INTERVAL}, not of {interval}. "
            "Take another trigger."
        )
        raise RuleError(msg)
    if len(condition.clauses) > 1:
        reason = "At once one clause is judged, this is another. Make two rules, or take the trigger once_per_bar."
        raise condition.refuse(reason, condition.clauses[1].place)
    clause = turned(condition.clauses[0])
    if clause.operator not in _EDGES:
        reason = (
            "At once the price is held against numbers: above, below, crosses, outside or leaves. Anything else can come true "
            "and pass again within a minute: take the trigger once_per_bar."
        )
        raise condition.refuse(reason, clause.place)
    left = clause.left
    is_price = isinstance(left, Value) and ALIASES.get(left.name, left.name) == _CLOSE and not left.function
    if not is_price or (isinstance(left, Value) and left.factor != 1):
        reason = f"At once only the price is judged, not {left}. Write price, or take the trigger once_per_bar."
        raise condition.refuse(reason, left.place)
    for operand in clause.operands:
        if not isinstance(operand, Number):
            reason = f"At once the price is held against numbers, not {operand}. Take the trigger once_per_bar."
            raise condition.refuse(reason, operand.place)


def compile_at_once(condition: Condition, *, is_edge: bool, warm_up: bool = True) -> CompiledClause:
    """Return the one clause of a condition that :func:`check_at_once` took."""
    clause: Clause = turned(condition.clauses[0])
    assert isinstance(clause.left, Value)
    # What looks at the bar before by its own word does so as a level too.
    operator = _EDGES[clause.operator] if is_edge else _LEVELS.get(clause.operator, _EDGES[clause.operator])
    numbers = [float(operand.value) for operand in clause.operands if isinstance(operand, Number)]
    upper = Side(None, numbers[1]) if len(numbers) > 1 else None
    return CompiledClause(
        operator, Side(key_of(clause.left, "" if warm_up else "!"), 1.0), Side(None, numbers[0]), upper
    )
