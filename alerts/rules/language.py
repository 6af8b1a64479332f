"""The language of rules: a text becomes a condition, or an error that points at the place.

What belongs here: grammar and reading. What does not: whether a field is known, and whether a rule can fire.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError
from lark.tree import Meta
from lark.visitors import v_args

from alerts.rules.condition import Clause, Condition, Number, Operand, Operator, Place, Value, refusal

MOST_BARS: Final = 500
"""The longest window: its bars are read at each evaluation."""
MOST_CLAUSES: Final = 8
LONGEST: Final = 500
"""How many characters a condition may have."""

_GRAMMAR: Final = r"""
?start: condition
condition: clause ("and"i clause)*
clause: operand relation
?relation: "above"i operand                 -> above
    | "below"i operand                      -> below
    | "crosses"i "above"i operand           -> crosses_above
    | "crosses"i "below"i operand           -> crosses_below
    | "crosses"i operand                    -> crosses
    | "enters"i range                       -> enters
    | "leaves"i range                       -> leaves
    | "inside"i range                       -> inside
    | "outside"i range                      -> outside
    | "moves"i "up"i amount "in"i bars      -> moves_up
    | "moves"i "down"i amount "in"i bars    -> moves_down
    | "moves"i amount "in"i bars            -> moves
    | "new"i "high"i "of"i WHOLE "bars"i?   -> new_high
    | "new"i "low"i "of"i WHOLE "bars"i?    -> new_low
range: operand ".." operand
bars: WHOLE ("bars"i | "bar"i)
?amount: "by"i? number
?operand: number
    | value
    | (NUMBER | WHOLE) "*" value            -> multiple
?value: NAME                                -> field
    | "change"i bars                        -> change
    | FUNCTION "(" NAME "," WHOLE ")"       -> window
number: (NUMBER | WHOLE) PERCENT?
PERCENT: "%"
FUNCTION.2: /(average|highest|lowest)(?=\s*\()/i
NUMBER: /-?[0-9]+\.[0-9]+/ | /-[0-9]+/
WHOLE: /[0-9]+/
NAME: /[a-z][a-z0-9_]*/i
%ignore /[ \t]+/
"""

_SAYS: Final = {
    "NAME": "a field",
    "NUMBER": "a number",
    "WHOLE": "a whole number",
    "PERCENT": "%",
    "FUNCTION": "average, highest, lowest",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "STAR": "*",
    "$END": "the end",
    "__ANON_0": "..",
}
_OPERATORS: Final = {operator.name.lower(): operator for operator in Operator}


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", propagate_positions=True)


@lru_cache(maxsize=4096)
def parse_condition(text: str) -> Condition:
    """Return the condition that a text says.

    Raises
    ------
    RuleError
        If it says none: what was expected, and where.
    """
    shown = " ".join(text.split())
    if len(shown) > LONGEST:
        reason = f"The condition has {len(shown)} characters; {LONGEST} is the most."
        raise refusal(reason, shown[:80] + " …", (0, 1))
    if not shown:
        reason = "The condition is empty. Write for example: close crosses above sma_50"
        raise refusal(reason, shown, (0, 1))
    try:
        tree = _parser().parse(shown)
    except UnexpectedInput as error:
        raise _explain(error, shown) from None
    try:
        clauses: tuple[Clause, ...] = _Reader(shown).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None
    if len(clauses) > MOST_CLAUSES:
        reason = f"The condition has {len(clauses)} clauses; {MOST_CLAUSES} is the most."
        raise refusal(reason, shown, clauses[MOST_CLAUSES].place)
    return Condition(clauses, shown)


def _explain(error: UnexpectedInput, text: str) -> Exception:
    at = error.pos_in_stream if error.pos_in_stream is not None else len(text)
    expected: set[str] = set()
    found = ""
    if isinstance(error, UnexpectedToken):
        expected = set(error.accepts or error.expected)
        if error.token.type == "$END":
            at = len(text)
            found = "The text ends here"
        else:
            found = f"{str(error.token)!r} cannot stand here"
            return refusal(f"{found}. Expected: {_listed(expected)}.", text, (at, at + len(str(error.token))))
    elif isinstance(error, UnexpectedCharacters):
        expected = set(error.allowed or ())
        found = f"{text[at]!r} cannot stand here"
    return refusal(f"{found}. Expected: {_listed(expected)}.", text, (at, at + 1))


def _listed(expected: set[str]) -> str:
    names = sorted({_SAYS.get(name, name.lower()) for name in expected if name != "IGNORE"})
    return ", ".join(name for name in names if not name.startswith("__"))


def _place(meta: Meta) -> Place:
    return meta.start_pos, meta.end_pos


@v_args(meta=True)
class _Reader(Transformer[Token, Any]):
    """Makes values of a parsed text, from its leaves up."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def condition(self, _meta: Meta, clauses: Sequence[Clause]) -> tuple[Clause, ...]:
        return tuple(clauses)

    def clause(self, meta: Meta, parts: Sequence[Any]) -> Clause:
        left, (operator, operands, bars) = parts
        return Clause(left, operator, tuple(operands), bars, _place(meta))

    def range(self, _meta: Meta, ends: Sequence[Operand]) -> list[Operand]:
        return list(ends)

    def bars(self, meta: Meta, parts: Sequence[Token]) -> int:
        return self._count(parts[0], _place(meta))

    def number(self, meta: Meta, parts: Sequence[Token]) -> Number:
        return Number(Decimal(str(parts[0])), len(parts) > 1, _place(meta))

    def field(self, meta: Meta, parts: Sequence[Token]) -> Value:
        return Value(str(parts[0]).lower(), place=_place(meta))

    def change(self, meta: Meta, parts: Sequence[int]) -> Value:
        return Value("close", "change", parts[0], place=_place(meta))

    def window(self, meta: Meta, parts: Sequence[Token]) -> Value:
        function, name, bars = parts
        return Value(str(name).lower(), str(function).lower(), self._count(bars, _place(meta)), place=_place(meta))

    def multiple(self, meta: Meta, parts: Sequence[Any]) -> Value:
        factor, value = parts
        return Value(value.name, value.function, value.bars, Decimal(str(factor)), _place(meta))

    def _count(self, token: Token, place: Place) -> int:
        bars = int(token)
        if not 1 <= bars <= MOST_BARS:
            reason = f"{bars} bars cannot be looked back at: from 1 to {MOST_BARS} can."
            raise refusal(reason, self._text, place)
        return bars


def _relation(name: str) -> Any:  # noqa: ANN401 - a method of the transformer
    operator = _OPERATORS[name]

    @v_args(meta=True)
    def read(self: _Reader, meta: Meta, parts: Sequence[Any]) -> tuple[Operator, Sequence[Operand], int]:
        if name.startswith("new"):
            return operator, (), self._count(parts[0], _place(meta))
        if name.startswith("moves"):
            return operator, (parts[0],), parts[1]
        (given,) = parts
        return operator, given if isinstance(given, list) else (given,), 0

    return read


for _name in _OPERATORS:
    _method = _name.removesuffix("_of")
    setattr(_Reader, _method, _relation(_name))
