"""Which missing sessions are asked for, and when again: decisions over played watchlists, gaps and runs."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.history.plan import Missing
from market.sessions import sessions_between
from orchestration.gaps import (
    LOOK_BACK,
    PATIENCE,
    PATIENCE_WITHOUT_ANSWER,
    Attempt,
    Gap,
    changed_groups,
    gaps_to_fill,
    symbols_by_group,
)
from warehouse.watchlist import Watched

SESSIONS = list(sessions_between(date(2026, 11, 9), date(2026, 11, 20)))
"""Ten sessions, two whole weeks."""
DAYS = [session.session_date for session in SESSIONS]
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(days=20)
WATCHED = [Watched("IBM", "default", EARLIER), Watched("SPY", "default", EARLIER), Watched("NVDA", "tech", EARLIER)]


def run(
    first: int,
    last: int,
    *,
    hours_ago: float | None,
    group: str = "default",
    has_more: bool = False,
    unanswered: bool = False,
    name: str = "run",
) -> Attempt:
    """A run that lasted a minute, or is under way since one."""
    ended = NOW - timedelta(hours=hours_ago) if hours_ago is not None else None
    started = (ended or NOW) - timedelta(minutes=1)
    return Attempt(name, frozenset({group}), DAYS[first], DAYS[last], started, ended, has_more, unanswered)


def asked(missing: Missing, *attempts: Attempt, watched: list[Watched] = WATCHED) -> list[tuple[str, int, int]]:
    """Return the gaps that are asked for as (group, number of the first session, number of the last)."""
    gaps = gaps_to_fill(watched, missing, SESSIONS, attempts, NOW)
    return [(gap.group, DAYS.index(gap.first), DAYS.index(gap.last)) for gap in gaps]


def test_exactly_the_missing_sessions_of_a_group_are_asked_for_in_rows_the_newest_first() -> None:
    missing = {"IBM": [(0, 2), (4, 6)], "SPY": [(1, 3), (9, 10)], "NVDA": [(5, 6)]}
    assert asked(missing) == [("default", 9, 9), ("tech", 5, 5), ("default", 4, 5), ("default", 0, 2)]


def test_a_symbol_that_is_not_watched_and_a_list_without_gaps_ask_for_nothing() -> None:
    assert asked({"MSFT": [(0, 10)]}) == []
    assert asked({}) == []


def test_what_is_being_asked_for_is_not_asked_for_twice() -> None:
    assert asked({"IBM": [(0, 10)]}, run(2, 4, hours_ago=None)) == [("default", 5, 9), ("default", 0, 1)]
    assert asked({"IBM": [(0, 10)]}, run(0, 9, hours_ago=None, group="tech")) == [("default", 0, 9)]


@pytest.mark.parametrize("failed", range(1, 8))
def test_a_gap_that_stays_is_asked_for_again_later_each_time(failed: int) -> None:
    hours = PATIENCE[min(failed, len(PATIENCE)) - 1].total_seconds() / 3600
    before = [run(0, 9, hours_ago=hours + 200 + number) for number in range(failed - 1)]
    assert asked({"IBM": [(3, 4)]}, *before, run(0, 9, hours_ago=hours - 0.01)) == []
    assert asked({"IBM": [(3, 4)]}, *before, run(0, 9, hours_ago=hours)) == [("default", 3, 3)]


def test_a_source_that_did_not_answer_is_asked_again_within_minutes_and_later_each_time() -> None:
    waits = [wait.total_seconds() / 3600 for wait in PATIENCE_WITHOUT_ANSWER]
    assert waits[:4] == [2 / 60, 5 / 60, 15 / 60, 1]
    assert waits == sorted(waits)
    for failed, hours in enumerate(waits):
        before = [run(0, 9, hours_ago=hours + 200 + number) for number in range(failed)]
        for ago, expected in ((hours * 0.99, []), (hours, [("default", 3, 3)])):
            assert asked({"IBM": [(3, 4)]}, *before, run(0, 9, hours_ago=ago, unanswered=True)) == expected
    # Once it has answered, what it lacks is not asked for so soon.
    answered = run(0, 9, hours_ago=0.5)
    assert asked({"IBM": [(3, 4)]}, run(0, 9, hours_ago=1, unanswered=True), answered) == []


def test_patience_grows_and_keeps_a_day_from_being_spent_on_one_gap() -> None:
    assert list(PATIENCE) == sorted(set(PATIENCE))
    assert sum(PATIENCE[:3], timedelta()) > timedelta(days=1)


def test_a_run_counts_for_its_own_sessions_only() -> None:
    assert asked({"IBM": [(0, 10)]}, run(0, 6, hours_ago=0.5)) == [("default", 7, 9)]


def test_a_symbol_that_was_added_after_the_last_run_is_asked_for_at_once() -> None:
    new = Watched("AAPL", "default", NOW - timedelta(minutes=5))
    missing = {"IBM": [(0, 1)], "AAPL": [(2, 10)]}
    assert asked(missing, run(0, 9, hours_ago=0.5), watched=[*WATCHED, new]) == [("default", 2, 9)]
    # but not beside a run for the same partitions that is under way
    under_way = run(0, 4, hours_ago=None)
    assert asked(missing, under_way, watched=[*WATCHED, new]) == [("default", 5, 9)]


def test_a_run_whose_time_was_up_is_followed_by_the_next_at_once() -> None:
    assert asked({"IBM": [(0, 4)]}, run(0, 9, hours_ago=0.01, has_more=True)) == [("default", 0, 3)]
    assert asked({"IBM": [(0, 4)]}, run(0, 9, hours_ago=5, has_more=True), run(0, 9, hours_ago=0.5)) == []


def test_the_same_gap_after_the_same_runs_has_the_same_key_and_another_after_another_run() -> None:
    def keys(*attempts: Attempt) -> list[str]:
        return [gap.run_key("daily_bars") for gap in gaps_to_fill(WATCHED, {"IBM": [(0, 4)]}, SESSIONS, attempts, NOW)]

    assert keys() == keys() == ["daily_bars default 2026-11-09 2026-11-12 after none since 2026-10-22"]
    assert keys(run(0, 9, hours_ago=9, name="a")) == ["daily_bars default 2026-11-09 2026-11-12 after a"]
    assert keys(run(0, 9, hours_ago=99, name="a"), run(3, 9, hours_ago=9, name="b"))[0].endswith("after b")


def test_a_gap_that_comes_back_when_its_run_is_forgotten_has_another_key_than_the_first_time() -> None:
    def key(now: datetime) -> str:
        (gap,) = gaps_to_fill(WATCHED, {"IBM": [(0, 4)]}, SESSIONS, [], now)
        return gap.run_key("daily_bars")

    assert key(NOW) == key(NOW + timedelta(hours=1))
    assert key(NOW) != key(NOW + LOOK_BACK + timedelta(days=1))


def test_groups_follow_the_watchlist() -> None:
    assert changed_groups(WATCHED, ["default", "energy"]) == (["tech"], ["energy"])
    assert changed_groups([], ["default"]) == ([], ["default"])
    assert symbols_by_group(WATCHED) == {"default": ("IBM", "SPY"), "tech": ("NVDA",)}


RANGES = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=4).map(
    lambda pairs: [(start, min(start + length, 10)) for start, length in pairs]
)


@given(
    missing=st.dictionaries(st.sampled_from(["IBM", "SPY", "NVDA"]), RANGES),
    runs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([None, 0.5, 2.0])), max_size=4),
)
def test_gaps_are_disjoint_rows_of_missing_sessions_without_a_run_under_way(
    missing: dict[str, list[tuple[int, int]]], runs: list[tuple[int, int, float | None]]
) -> None:
    attempts = [run(min(a, b), max(a, b), hours_ago=ago) for a, b, ago in runs]
    found: list[tuple[str, date]] = []
    for gap in gaps_to_fill(WATCHED, missing, SESSIONS, attempts, NOW):
        assert isinstance(gap, Gap)
        found += [(gap.group, day) for day in DAYS if gap.first <= day <= gap.last]
    assert len(found) == len(set(found))
    lacking = {
        (one.group, DAYS[number])
        for one in WATCHED
        for start, end in missing.get(one.symbol, [])
        for number in range(start, end)
    }
    assert set(found) <= lacking
    assert not any(one.is_of(group, day) for group, day in found for one in attempts if one.ended_at is None)
    assert all(one in found for one in lacking if not any(attempt.is_of(*one) for attempt in attempts))
