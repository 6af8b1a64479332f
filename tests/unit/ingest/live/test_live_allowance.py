from hypothesis import given
from hypothesis import strategies as st

from ingest.live.allowance import Allowance


@given(limit=st.integers(1, 200), wanted=st.integers(1, 200))
def test_as_many_symbols_as_the_source_allows_are_found_soon_and_none_is_given_up_on_the_way(
    limit: int, wanted: int
) -> None:
    allowance, subscribed, asked = Allowance(), 0, 0
    while (count := allowance.next(wanted)) != subscribed:
        asked += 1
        if count <= limit:
            assert count > subscribed
            subscribed = count
            allowance.take(count)
        else:
            allowance.refuse(count)
    assert subscribed == min(limit, wanted)
    assert asked <= 9


def test_a_limit_that_is_learned_holds_for_other_lists() -> None:
    allowance = Allowance()
    allowance.refuse(3)
    allowance.take(1)
    allowance.take(2)
    assert [allowance.next(wanted) for wanted in (1, 2, 3, 4)] == [1, 2, 2, 2]


def test_a_source_that_allows_nothing_is_asked_for_nothing() -> None:
    allowance = Allowance()
    allowance.refuse(1)
    assert allowance.next(5) == 0


def test_a_refusal_that_cost_the_connection_ends_the_search() -> None:
    allowance = Allowance()
    allowance.refuse(31)
    assert allowance.next(31) == 15
    allowance.settle()
    assert allowance.next(31) == 15, "nothing was taken yet"
    allowance.take(15)
    allowance.settle()
    assert allowance.next(31) == 15
