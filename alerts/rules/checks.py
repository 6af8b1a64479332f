"""Whether a condition can be asked, and whether it can ever hold: what cannot is refused with the reason and the place.

What belongs here: what follows from the text and from what is known of fields. What does not: what the data say.
"""

import math
from decimal import Decimal
from typing import Final

from alerts.rules.compiled import compile_condition, is_difference, key_of, turned
from alerts.rules.condition import EXTREMES, MOVES, RANGES, Clause, Condition, Number, Operand, Operator, Value
from alerts.rules.fields import ALIASES, ORDERED, PERCENTS, bounds_of, find_field
from alerts.rules.relations import relations_of
from alerts.rules.spans import Span, Spans, above, below, common
from market.errors import RuleError

MOST: Final = 10**15
"""Numbers go from minus this to this: of fields times factors doubles hold more, and nothing that is traded has."""
FACTORS: Final = (Decimal("1e-9"), Decimal("1e9"))
"""The least and the greatest factor."""


def check_condition(condition: Condition, *, interval: str, is_edge: bool = True, warm_up: bool = True) -> None:
    """Look at all clauses, each alone and together.

    Raises
    ------
    RuleError
        If a field is unknown, two things cannot be compared, or the condition can never hold, or never begin to.
    """
    possible: dict[str, Spans] = {}
    is_always = True
    for clause in condition.clauses:
        for value in (clause.left, *clause.operands):
            _check_operand(condition, value, interval, warm_up=warm_up and not is_difference(clause))
        _check_clause(condition, clause, interval)
        is_always &= _narrow(condition, clause, interval, possible)
    if not is_always and not _is_plain_question(condition):
        is_always = _check_together(condition, interval, is_edge=is_edge)
    if is_always and is_edge:
        place = condition.clauses[0].place
        reason = "This always holds, so it never begins to. Fire on every bar with --level, or ask for something else."
        raise condition.refuse(reason, place)


def check_hysteresis(condition: Condition, *, interval: str, hysteresis: float, is_percent: bool) -> None:
    """Look whether the value of a clause can go back as far as a hysteresis asks.

    Raises
    ------
    RuleError
        If none can.
    """
    relations = relations_of(tuple(compile_condition(condition)), interval)
    if not relations.can_go_back(hysteresis, is_percent=is_percent):
        by = f"{hysteresis:g}{' %' if is_percent else ''}"
        msg = (
            f"{condition} would fire once and never again: nothing of it ever goes back by {by}. Give a smaller hysteresis, "
            "or none; what is to fire once has --trigger once."
        )
        raise RuleError(msg)


def _is_plain_question(condition: Condition) -> bool:
    """Return whether :func:`_narrow` has said all: of one value and numbers, now and before by themselves."""
    first = turned(condition.clauses[0])
    return len(condition.clauses) == 1 and first.operator is not Operator.CROSSES and _asked(first) is not None


def _check_together(condition: Condition, interval: str, *, is_edge: bool) -> bool:
    """Look at all clauses with what is known of fields; return whether it is sure that they never begin to hold.

    Raises
    ------
    RuleError
        If they can never hold.
    """
    relations = relations_of(tuple(compile_condition(condition)), interval)
    place = relations.first_impossible
    if place is not None:
        contradicts = relations.can_hold_alone(place)
        reason = (
            f"{'This contradicts what stands before it' if contradicts else 'No bar can be like this'}: it never fires."
        )
        raise condition.refuse(reason, condition.clauses[place].place)
    return is_edge and not condition.has_event and not relations.can_begin


def _check_operand(condition: Condition, operand: Operand, interval: str, *, warm_up: bool) -> None:
    if isinstance(operand, Number):
        if abs(operand.value) > MOST:
            reason = f"{operand.value:.6g} is too much: numbers go from {-MOST:.0e} to {MOST:.0e}."
            raise condition.refuse(reason, operand.place)
        return
    field = find_field(operand.name, interval)
    if isinstance(field, str):
        raise condition.refuse(field, operand.place)
    if operand.factor <= 0:
        reason = f"{operand.factor:f} is no factor. Multiply by a number above 0."
        raise condition.refuse(reason, operand.place)
    if not FACTORS[0] <= operand.factor <= FACTORS[1]:
        reason = f"{operand.factor:.6g} is no factor: they go from {FACTORS[0]:.0e} to {FACTORS[1]:.0e}."
        raise condition.refuse(reason, operand.place)
    if operand.function and operand.name == "gap":
        reason = "Of gap no window can be taken."
        raise condition.refuse(reason, operand.place)
    if warm_up and field.stable_from is None:
        reason = (
            f"{operand.name} depends for ever on where its series begins, so it is never past its warm-up. "
            "Take it as it is with --unstable."
        )
        raise condition.refuse(reason, operand.place)


def _check_clause(condition: Condition, clause: Clause, interval: str) -> None:
    if isinstance(clause.left, Number) and (
        clause.operator in RANGES | MOVES | EXTREMES or isinstance(clause.operands[0], Number)
    ):
        reason = "This compares numbers alone: it is the same on every bar. Name a field, for example close."
        raise condition.refuse(reason, clause.left.place)
    if clause.operator in MOVES | EXTREMES:
        _check_window(condition, clause)
        return
    for one in (clause.left, *clause.operands):
        others = [other for other in (clause.left, *clause.operands) if other is not one]
        if isinstance(one, Number) and one.is_percent and not any(_is_percent(other) for other in others):
            reason = f"{one} of what? A percent is compared with gap or change; else write {one.value:f} * a field."
            raise condition.refuse(reason, one.place)
    left = clause.left
    same = [one for one in clause.operands if isinstance(left, Value) and isinstance(one, Value) and _same(one, left)]
    if same and clause.operator not in RANGES:
        reason = f"This compares {left} with itself: it never fires."
        raise condition.refuse(reason, clause.place)
    _check_order(condition, clause)
    if clause.operator in RANGES:
        _check_range(condition, clause, interval)


def _same(one: Value, other: Value) -> bool:
    return (key_of(one), one.factor) == (key_of(other), other.factor)


def _check_window(condition: Condition, clause: Clause) -> None:
    left = clause.left
    if isinstance(left, Value) and (left.function or left.name == "gap"):
        reason = f"{left} is made of several bars already. Name a field here, for example close."
        raise condition.refuse(reason, left.place)
    for amount in clause.operands:
        if isinstance(amount, Number) and amount.value <= 0:
            reason = f"A move by {amount} is none. Give a number above 0; moves down goes the other way."
            raise condition.refuse(reason, amount.place)


def _check_order(condition: Condition, clause: Clause) -> None:
    """Refuse what the order of prices of a bar rules out."""
    left, right = clause.left, clause.operands[0]
    if not (_is_plain(left) and _is_plain(right)):
        return
    assert isinstance(left, Value)
    assert isinstance(right, Value)
    first, second = (ALIASES.get(one.name, one.name) for one in (left, right))
    upward = {Operator.ABOVE, Operator.CROSSES_ABOVE}
    downward = {Operator.BELOW, Operator.CROSSES_BELOW}
    pair = (first, second) if clause.operator in upward else (second, first)
    if clause.operator in upward | downward and pair in ORDERED:
        reason = f"{first} is never {'above' if clause.operator in upward else 'below'} {second}: it never fires."
        raise condition.refuse(reason, clause.place)


def _check_range(condition: Condition, clause: Clause, interval: str) -> None:
    low, high = clause.operands
    place = (low.place[0], high.place[1])
    if isinstance(low, Number) and isinstance(high, Number):
        if low.value > high.value:
            reason = f"The range is empty: {low} is above {high}. Write {high} .. {low}."
            raise condition.refuse(reason, place)
    elif _is_empty_order(low, high, interval):
        reason = f"The range is empty: {low} is never below {high}."
        raise condition.refuse(reason, place)


def _is_empty_order(low: Operand, high: Operand, interval: str) -> bool:
    if not (isinstance(low, Value) and isinstance(high, Value)):
        return False
    if key_of(low) == key_of(high):
        return low.factor > high.factor and _bounds(low, interval).low >= 0  # of what is negative the multiple is less
    return _is_plain(low) and _is_plain(high) and (key_of(high), key_of(low)) in ORDERED


def _narrow(condition: Condition, clause: Clause, interval: str, possible: dict[str, Spans]) -> bool:
    """Take what a clause leaves possible of its left side into ``possible``; return whether the clause always holds.

    Raises
    ------
    RuleError
        If nothing is left.
    """
    clause = turned(clause)
    asked = _asked(clause)
    if asked is None:
        return False
    value, now, before = asked
    key = key_of(value)
    bounds = (_bounds(value, interval),)
    if not common(bounds, now) or (before is not None and not common(bounds, before)):
        raise _never(condition, clause, value, bounds)
    left = common(possible.get(key, bounds), now)
    if not left:
        reason = f"This contradicts what stands before it: {value} is never both. It never fires."
        raise condition.refuse(reason, clause.place)
    possible[key] = left
    return before is None and common(bounds, now) == bounds


def _never(condition: Condition, clause: Clause, value: Value, bounds: Spans) -> RuleError:
    low, high = bounds[0].low, bounds[-1].high
    tiny = 0 < low < math.ulp(1.0)
    if math.isinf(high):
        goes = "it is above 0" if tiny else f"it is {low:g} at least"
    elif math.isinf(low):
        goes = f"it is {high:g} at most"
    else:
        goes = f"it goes from {low:g} to {high:g}"
    place = (clause.operands[0].place[0], clause.operands[-1].place[1]) if clause.operands else clause.place
    what = f"A move of {value.name}" if value.function == "difference" else value
    return condition.refuse(f"{what} is never so: {goes}. It never fires.", place)


def _asked(clause: Clause) -> tuple[Value, Spans, Spans | None] | None:
    """Return of which value a clause asks what, now and on the bar before; ``None`` where it is not compared with numbers."""
    left, operator = clause.left, clause.operator
    if isinstance(left, Number) or not all(isinstance(one, Number) for one in clause.operands) or operator in EXTREMES:
        return None
    numbers = [float(one.value) for one in clause.operands if isinstance(one, Number)]
    if operator in MOVES:
        return _asked_of_move(clause, left, numbers[0])
    factor = float(left.factor)
    first, last = numbers[0] / factor, numbers[-1] / factor
    value = Value(left.name, left.function, left.bars)
    inside: Spans = (Span(first, last),)
    outside = below(first) + above(last)
    asked: dict[Operator, tuple[Spans, Spans | None]] = {
        Operator.ABOVE: (above(first), None),
        Operator.BELOW: (below(first), None),
        Operator.CROSSES_ABOVE: (above(first), below(first, inclusive=True)),
        Operator.CROSSES_BELOW: (below(first), above(first, inclusive=True)),
        Operator.CROSSES: (below(first) + above(first), below(first, inclusive=True) + above(first, inclusive=True)),
        Operator.INSIDE: (inside, None),
        Operator.OUTSIDE: (outside, None),
        Operator.ENTERS: (inside, outside),
        Operator.LEAVES: (outside, inside),
    }
    now, before = asked[operator]
    return value, now, before


def _asked_of_move(clause: Clause, left: Value, size: float) -> tuple[Value, Spans, None]:
    amount = clause.operands[0]
    is_percent = isinstance(amount, Number) and amount.is_percent
    function = "change" if is_percent else "difference"
    size = size if is_percent else size / float(left.factor)  # a change is the same of any multiple
    value = Value(left.name, function, clause.bars)
    up, down = above(size, inclusive=True), below(-size, inclusive=True)
    spans = {Operator.MOVES_UP: up, Operator.MOVES_DOWN: down}.get(clause.operator, down + up)
    return value, spans, None


def _bounds(value: Value, interval: str) -> Span:
    return bounds_of(value.name, value.function, interval)


def _is_percent(operand: Operand) -> bool:
    return isinstance(operand, Value) and bool({operand.name, operand.function} & PERCENTS)


def _is_plain(operand: Operand) -> bool:
    return isinstance(operand, Value) and not operand.function and operand.factor == 1
