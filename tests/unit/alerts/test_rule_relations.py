"""What is refused because it can never fire, never does: held against bars at random, judged by the code of the proof."""

import random
from collections.abc import Mapping
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.rules import compiled
from alerts.rules.inequalities import Inequality, can_all_hold
from alerts.rules.rule import Rule
from market.errors import RuleError
from verify.alert_snapshot import Clause, Side
from verify.alert_values import Doubles, Values, gone_back, holds, state

BARS = 400
PRICES = ("open", "high", "low", "close")
FIELDS = ("open", "high", "low", "close", "price", "volume", "rsi_14", "macd", "macd_signal", "spread", "ask")
FUNCTIONS = ("average", "highest", "lowest")
FACTORS = ("", "", "", "0.5 * ", "2 * ", "0.1 * ", "0.3 * ", "3 * ", "1.1 * ")
NUMBERS = st.sampled_from(("-1", "0", "0.5", "1", "2", "3", "100", "3.3"))
VALUES = st.one_of(
    st.builds("{}{}".format, st.sampled_from(FACTORS), st.sampled_from(FIELDS)),
    st.builds(
        "{}{}({}, {})".format,
        st.sampled_from(FACTORS),
        st.sampled_from(FUNCTIONS),
        st.sampled_from(FIELDS[:7]),
        st.integers(1, 3),
    ),
)
OPERANDS = st.one_of(VALUES, VALUES, NUMBERS)
COMPARED = ("above", "below", "crosses above", "crosses below", "crosses")
CLAUSES = st.one_of(
    st.builds("{} {} {}".format, VALUES, st.sampled_from(COMPARED), OPERANDS),
    st.builds(
        "{} {} {} .. {}".format, VALUES, st.sampled_from(("inside", "outside", "enters", "leaves")), OPERANDS, OPERANDS
    ),
    st.builds(
        "{} {} {}{} in {} bars".format,
        st.sampled_from(FIELDS),
        st.sampled_from(("moves up", "moves down", "moves")),
        st.sampled_from(("1", "2", "50", "100", "200")),
        st.sampled_from((" %", "")),
        st.integers(1, 2),
    ),
    st.builds("{} new {} of {}".format, st.sampled_from(FIELDS), st.sampled_from(("high", "low")), st.integers(1, 3)),
)
CONDITIONS = st.lists(CLAUSES, min_size=1, max_size=3).map(" and ".join)


def tape(seed: int) -> Values:
    """Return bars at random that keep to what is known of fields; of few values, so that many are equal."""
    chance = random.Random(seed)
    prices = (1.0, 2.0, 3.0) if seed % 2 else (0.1, 0.2, 0.3, 1.0, 3.0, 3.3)
    rows: list[dict[str, float]] = []
    for _ in range(BARS):
        low, first, second, high = sorted(chance.choice(prices) for _ in range(4))
        opened, closed = (first, second) if chance.random() < 0.5 else (second, first)
        ask = chance.choice(prices)
        rows.append(
            {
                **dict(zip(PRICES, (opened, high, low, closed), strict=True)),
                "ask": ask,
                "spread": ask - chance.choice(prices),
                "volume": chance.choice((0.0, 1.0, 2.0, 300.0)),
                "rsi_14": chance.choice((0.0, 1.0, 50.0, 100.0)),
                "macd": chance.choice((-2.0, -1.0, 0.0, 1.0, 3.0)),
                "macd_signal": chance.choice((-2.0, -1.0, 0.0, 1.0, 3.0)),
            }
        )
    columns: Mapping[str, Doubles] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Values(columns, np.arange(1.0, BARS + 1), {})


TAPES = [tape(seed) for seed in range(6)]


def proved(clause: compiled.CompiledClause) -> Clause:
    """Return a clause as the proof has it."""
    left, right, upper = (
        Side(side.field, side.factor) if side is not None else Side(None, None)
        for side in (clause.left, clause.right, clause.upper)
    )
    return Clause(clause.operator, left, right, upper)


def fires(rule: Rule, values: Values) -> bool:
    clauses = [proved(one) for one in rule.clauses]
    now = reduce(lambda one, other: one & other, (holds(clause, values) for clause in clauses)).yes
    if rule.is_edge and not rule.has_event:
        now = now & np.any([state(clause, values, 1).no for clause in clauses], axis=0)
    return bool(now.any())


def unchecked(text: str, *, is_edge: bool = True) -> Rule:
    """Return a rule that nobody looked at."""
    rule = Rule("r", "close above 1")
    object.__setattr__(rule, "text", text)
    object.__setattr__(rule, "is_edge", is_edge)
    vars(rule).pop("condition", None)
    return rule


@settings(max_examples=300, deadline=None)
@given(CONDITIONS, st.booleans())
def test_what_is_said_never_to_fire_never_does(text: str, is_edge: bool) -> None:
    said = ""
    try:
        Rule("r", text, is_edge=is_edge)
    except RuleError as error:
        said = str(error)
    if "it never" not in said.lower():
        return
    rule = unchecked(text, is_edge=is_edge)
    assert [seed for seed, values in enumerate(TAPES) if fires(rule, values)] == [], said


@settings(max_examples=300, deadline=None)
@given(CONDITIONS, st.sampled_from((0.5, 1.0, 2.0, 50.0, 100.0, 150.0)), st.booleans())
def test_what_is_said_never_to_go_back_never_does(text: str, hysteresis: float, is_percent: bool) -> None:
    said = ""
    try:
        Rule("r", text)
        Rule("r", text, hysteresis=hysteresis, is_hysteresis_percent=is_percent)
    except RuleError as error:
        said = str(error)
    if "never again" not in said:
        return
    clauses = [proved(one) for one in unchecked(text).clauses]
    back = [gone_back(one, values, hysteresis, is_percent=is_percent).any() for one in clauses for values in TAPES]
    assert not any(back), said


def test_the_bars_at_random_let_much_fire() -> None:
    """Else nothing would be shown by what does not."""
    for text in (
        "close above 2 and open below close",
        "macd crosses macd_signal",
        "close crosses above highest(high, 2)",
    ):
        assert all(fires(Rule("r", text), values) for values in TAPES)


X, Y, Z = ("x", True), ("y", True), ("z", True)


@pytest.mark.parametrize(
    ("said", "can"),
    [
        ([({X: 1, Y: -1}, 0, True), ({Y: 1, Z: -1}, 0, False), ({Z: 1, X: -1}, 0, False)], False),
        ([({X: 1, Y: -1}, 0, False), ({Y: 1, Z: -1}, 0, False), ({Z: 1, X: -1}, 0, False)], True),
        ([({X: 2, Y: -3}, -1, False), ({X: -1}, 2, False), ({Y: 1}, -1, False)], True),
        ([({X: 2, Y: -3}, -1, True), ({X: -1}, 2, False), ({Y: 1}, -1, False)], False),
        ([({}, -1, False)], False),
        ([({}, 0, True)], False),
        ([({X: 1}, 0, True)], True),
    ],
)
def test_inequalities_hold_together_or_do_not(
    said: list[tuple[dict[tuple[str, bool], int], int, bool]], can: bool
) -> None:
    made = [
        Inequality.of(
            [(name, Fraction(factor)) for name, factor in terms.items()], Fraction(constant), is_strict=is_strict
        )
        for terms, constant, is_strict in said
    ]
    assert can_all_hold(made) is can
