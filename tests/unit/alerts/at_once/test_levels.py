"""The rules that a minute has passed, found by bisection, are those that a look at each of them finds."""

from hypothesis import given
from hypothesis import strategies as st

from alerts.at_once.levels import Book, Levels, Reach, Watch

OPERATORS = (
    "passes_above",
    "passes_below",
    "passes",
    "breaks_out",
    "reaches_above",
    "reaches_below",
    "reaches_outside",
)
prices = st.integers(90, 110).map(lambda number: number / 10)


@st.composite
def watches(draw: st.DrawFn) -> list[Watch]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        operator, ends = draw(st.sampled_from(OPERATORS)), sorted([draw(prices), draw(prices)])
        low, high = ends if operator in {"breaks_out", "reaches_outside"} else (ends[0], ends[0])
        found.append(Watch(number, 1, operator, low, high, frozenset({"regular"}), 0))
    return found


def holds(watch: Watch, high: float, low: float, before: float | None) -> bool:
    """Return whether a rule holds on a bar, by its definition: the oracle."""
    rose, fell = high > watch.low, low < watch.low
    out = high > watch.high or low < watch.low
    was_under = before is not None and before <= watch.low
    was_over = before is not None and before >= watch.low
    was_in = before is not None and watch.low <= before <= watch.high
    return {
        "reaches_above": rose,
        "reaches_below": fell,
        "reaches_outside": out,
        "passes_above": rose and was_under,
        "passes_below": fell and was_over,
        "passes": (rose and was_under) or (fell and was_over),
        "breaks_out": out and was_in,
    }[watch.operator]


@given(watches(), st.lists(prices, min_size=1, max_size=8), st.none() | prices)
def test_after_each_trade_those_have_come_true_that_hold_on_the_minute_so_far(
    watched: list[Watch], traded: list[float], before: float | None
) -> None:
    levels = Levels(watched)
    found: set[int] = set()
    seen: tuple[float | None, float | None] = (None, None)
    for number in range(1, len(traded) + 1):
        high, low = max(traded[:number]), min(traded[:number])
        found |= {watch.rule_id for watch, _ in levels.passed(Reach(high, low, *seen, before))}
        seen = (high, low)
        assert found == {watch.rule_id for watch in watched if holds(watch, high, low, before)}


@given(watches(), st.lists(prices, min_size=2, max_size=8), prices)
def test_nothing_is_found_twice_but_what_is_true_both_ways(
    watched: list[Watch], traded: list[float], before: float
) -> None:
    levels, found = Levels(watched), list[int]()
    seen: tuple[float | None, float | None] = (None, None)
    for number in range(1, len(traded) + 1):
        high, low = max(traded[:number]), min(traded[:number])
        found += [watch.rule_id for watch, _ in levels.passed(Reach(high, low, *seen, before))]
        seen = (high, low)
    both_ways = {watch.rule_id for watch in watched if watch.operator in {"passes", "breaks_out", "reaches_outside"}}
    assert all(found.count(rule) == 1 or (rule in both_ways and found.count(rule) == 2) for rule in found)


def test_which_way_a_number_was_passed_is_said() -> None:
    both = [Watch(1, 1, "passes", 10, 10, frozenset(), 0), Watch(2, 1, "breaks_out", 9.5, 10.5, frozenset(), 0)]
    levels = Levels([*both, Watch(3, 1, "reaches_outside", 9.5, 10.5, frozenset(), 0)])

    def ways(high: float, low: float) -> set[tuple[int, bool]]:
        return {(watch.rule_id, is_up) for watch, is_up in levels.passed(Reach(high, low, 10, 10, before=10))}

    assert ways(11, 10) == {(1, True), (2, True), (3, True)}
    assert ways(10, 9) == {(1, False), (2, False), (3, False)}


def test_a_book_has_what_is_watched_of_a_symbol_and_of_all() -> None:
    one = Watch(1, 1, "reaches_above", 10, 10, frozenset({"regular"}), 0)
    every = Watch(2, 1, "reaches_above", 10, 10, frozenset({"regular"}), 0)
    book = Book({"IBM": [one]}, [every])

    def found(symbol: str) -> list[int]:
        return [watch.rule_id for levels in book.levels(symbol) for watch, _ in levels.passed(Reach(11, 9))]

    assert found("IBM") == [1, 2]
    assert found("SPY") == [2]
    assert Book({"IBM": [one]}).levels("SPY") == []
