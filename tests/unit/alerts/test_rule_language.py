"""The language of rules: what it reads, what it refuses, and where it points."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules.compiled import CompiledClause, Side, compile_condition
from alerts.rules.condition import EXTREMES, MOVES, RANGES, Clause, Condition, Number, Operand, Operator, Value
from alerts.rules.language import LONGEST, MOST_BARS, MOST_CLAUSES, parse_condition
from market.errors import RuleError

NUMBERS = st.builds(
    Number,
    st.decimals(min_value=-1000, max_value=1000, places=2).map(lambda value: abs(value) if value == 0 else value),
    st.booleans(),
)
NAMES = st.sampled_from(("close", "price", "volume", "rsi_14", "bb_upper", "gap", "highest_close", "averages"))
BARS = st.integers(1, MOST_BARS)
FACTORS = st.sampled_from((Decimal(1), Decimal(2), Decimal("0.97"), Decimal("1.50")))
VALUES = st.one_of(
    st.builds(Value, NAMES, st.just(""), st.just(0), FACTORS),
    st.builds(Value, NAMES, st.sampled_from(("average", "highest", "lowest")), BARS, FACTORS),
    st.builds(Value, st.just("close"), st.just("change"), BARS, FACTORS),
)
OPERANDS: st.SearchStrategy[Operand] = st.one_of(NUMBERS, VALUES)


@st.composite
def clauses(draw: st.DrawFn) -> Clause:
    operator = draw(st.sampled_from(list(Operator)))
    if operator in RANGES:
        return Clause(draw(OPERANDS), operator, (draw(OPERANDS), draw(OPERANDS)))
    if operator in MOVES:
        return Clause(draw(OPERANDS), operator, (draw(NUMBERS),), draw(BARS))
    if operator in EXTREMES:
        return Clause(draw(OPERANDS), operator, (), draw(BARS))
    return Clause(draw(OPERANDS), operator, (draw(OPERANDS),))


@given(st.lists(clauses(), min_size=1, max_size=4))
def test_a_condition_that_is_written_out_is_read_as_itself(parts: list[Clause]) -> None:
    condition = Condition(tuple(parts))
    if len(str(condition)) <= LONGEST:
        assert parse_condition(str(condition)) == condition


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    said = ""
    try:
        parse_condition(text)
    except RuleError as error:
        said = str(error)
    assert not said or "^" in said


@pytest.mark.parametrize(
    ("text", "compiled"),
    [
        ("CLOSE  Crosses Above sma_200", CompiledClause("crosses_above", Side("close", 1), Side("sma_200", 1))),
        ("price crosses 450", CompiledClause("crosses", Side("close", 1), Side(None, 450))),
        ("450 above close", CompiledClause("below", Side("close", 1), Side(None, 450))),
        ("volume above 2 * average(volume, 20)", CompiledClause("above", Side("volume", 1), Side("average(volume, 20)", 2))),
        ("change 5 bars above 3 %", CompiledClause("above", Side("change(close, 5)", 1), Side(None, 3))),
        ("close enters 100..110", CompiledClause("enters", Side("close", 1), Side(None, 100), Side(None, 110))),
        ("close moves down by 3 % in 5 bars", CompiledClause("at_most", Side("change(close, 5)", 1), Side(None, -3))),
        ("low moves up 2.5 in 1 bar", CompiledClause("at_least", Side("difference(low, 1)", 1), Side(None, 2.5))),
        ("close moves 2 in 3 bars", CompiledClause("beyond", Side("difference(close, 3)", 1), Side(None, -2), Side(None, 2))),
        ("close new high of 20", CompiledClause("above", Side("close", 1), Side("highest(close, 20)", 1))),
        ("obv new high of 20", CompiledClause("above", Side("obv!", 1), Side("highest(obv, 20)!", 1))),
        ("obv moves up 5 in 3 bars", CompiledClause("at_least", Side("difference(obv, 3)!", 1), Side(None, 5))),
        ("low new low of 20 bars", CompiledClause("below", Side("low", 1), Side("lowest(low, 20)", 1))),
    ],
)  # fmt: skip
def test_a_clause_comes_to_what_is_evaluated(text: str, compiled: CompiledClause) -> None:
    assert compile_condition(parse_condition(text)) == [compiled]


def test_a_rule_that_does_not_wait_for_warm_up_names_other_fields() -> None:
    (clause,) = compile_condition(parse_condition("rsi_14 below average(rsi_14, 3)"), warm_up=False)
    assert (clause.left.field, clause.right.field) == ("rsi_14!", "average(rsi_14, 3)!")


@pytest.mark.parametrize(
    ("text", "reason", "line", "marks"),
    [
        (
            "rsi_14 belo 35",
            "'belo' cannot stand here. Expected: above, below, crosses, enters, inside, leaves, moves, new, outside.",
            "rsi_14 belo 35",
            "       ^^^^",
        ),
        (
            "close above",
            "The text ends here. Expected: a field, a number, a whole number, average, highest, lowest, change.",
            "close above",
            "           ^",
        ),
        ("change above 3", "'above' cannot stand here. Expected: a whole number.", "change above 3", "       ^^^^^"),
        (
            "close moves up 3 in 900 bars",
            "900 bars cannot be looked back at: from 1 to 500 can.",
            "close moves up 3 in 900 bars",
            "                    ^^^^^^^^",
        ),
        ("  ", "The condition is empty. Write for example: close crosses above sma_50", "", "^"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, reason: str, line: str, marks: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse_condition(text)
    said = str(raised.value).splitlines()
    assert sorted(said[0].replace(".", "").replace(",", "").split()) == sorted(
        reason.replace(".", "").replace(",", "").split()
    )
    assert said[1:] == [f"  {line}", f"  {marks}"]


def test_a_condition_has_so_many_clauses_at_most() -> None:
    text = " and ".join(["close above 1"] * (MOST_CLAUSES + 1))
    with pytest.raises(RuleError, match="has 9 clauses; 8 is the most"):
        parse_condition(text)
