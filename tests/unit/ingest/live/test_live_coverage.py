from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.live.coverage import HOUR, MINUTE, Coverage
from ingest.live.covered_file import KEPT_SESSIONS, Covered, covered_file, load_covered, save_covered
from ingest.live.source import Hole, HoleSize
from ingest.live.spans import Spans

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)

SIZE = HoleSize(symbols=10, hours=1)


def moments(spans: object) -> set[int]:
    """A set of moments, one by one: the model."""
    return {moment for since, until in spans for moment in range(since, until)}  # type: ignore[attr-defined]


@settings(deadline=None)
@given(SPANS, SPANS)
def test_spans_are_sets_of_moments(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    one, other = Spans(first), Spans(second)
    assert moments(one) == moments(first)
    assert moments(one | other) == moments(first) | moments(second)
    assert moments(one - other) == moments(first) - moments(second)
    assert moments(one & other) == moments(first) & moments(second)
    assert bool(one) == bool(moments(first))
    assert (one == other) == (moments(first) == moments(second))
    ends = [moment for span in one for moment in span]
    assert ends == sorted(set(ends)), "in order, and none touches the next"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["deliver", "give_up", "claim", "acknowledge", "forget"]),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(STEPS)
def test_the_books_are_what_a_list_of_moments_says(steps: list[tuple[str, int, int]]) -> None:
    coverage = Coverage(("SPY",), (5, 35))
    session, delivered, claimed, kept, lost = set(range(5, 35)), set[int](), set[int](), set[int](), set[int]()
    for what, since, until in steps:
        span = set(range(since, until))
        if what == "deliver":
            coverage.deliver("SPY", (since, until))
            delivered |= span & session
        elif what == "give_up":
            coverage.give_up("SPY", (since, until))
            lost |= span
        elif what == "claim":
            coverage.claim("SPY", (since, until))
            claimed |= span & delivered
        elif what == "acknowledge":
            coverage.acknowledge()
            kept = set(claimed)
        else:
            coverage.forget()
            delivered, claimed = set(kept), set(kept)
        assert kept <= claimed <= delivered <= session
        assert moments(coverage.acknowledged["SPY"]) == kept
        assert moments(span for _, span in coverage.unclaimed()) == delivered - claimed
        assert moments(coverage.missing("SPY", 20)) == {m for m in session - delivered - lost if m < 20}


def test_holes_are_at_most_an_hour_long_newest_first_and_shared_by_symbols() -> None:
    coverage = Coverage(("IBM", "SPY"), (HOUR // 2, 3 * HOUR))
    coverage.deliver("IBM", (2 * HOUR, 3 * HOUR))
    assert coverage.holes({"IBM": 3 * HOUR, "SPY": 3 * HOUR}, SIZE, 0, 0) == [
        Hole(("SPY",), 2 * HOUR, 3 * HOUR),
        Hole(("IBM", "SPY"), HOUR, 2 * HOUR),
        Hole(("IBM", "SPY"), HOUR // 2, HOUR),
    ]
    assert coverage.holes({"IBM": HOUR}, SIZE, 0, 0) == [Hole(("IBM",), HOUR // 2, HOUR)]


def test_no_hole_has_more_symbols_than_a_request_takes() -> None:
    symbols = tuple(f"S{number:03}" for number in range(2 * SIZE.symbols + 1))
    holes = Coverage(symbols, (0, 10)).holes(dict.fromkeys(symbols, 10), SIZE, 0, 0)
    assert [len(hole.symbols) for hole in holes] == [SIZE.symbols, SIZE.symbols, 1]
    assert sorted(symbol for hole in holes for symbol in hole.symbols) == list(symbols)


def test_what_was_shown_is_no_hole_again_before_it_has_settled() -> None:
    coverage = Coverage(("SPY",), (0, 30))
    coverage.show("SPY", (10, 20))
    assert [(hole.since, hole.until) for hole in coverage.holes({"SPY": 30}, SIZE, 5, 0)] == [(20, 30), (0, 10)]
    assert [(hole.since, hole.until) for hole in coverage.holes({"SPY": 30}, SIZE, 15, 0)] == [(20, 30), (0, 15)]
    assert [(hole.since, hole.until) for hole in coverage.holes({"SPY": 30}, SIZE, 20, 0)] == [(0, 30)]
    coverage.forget()
    assert [(hole.since, hole.until) for hole in coverage.holes({"SPY": 30}, SIZE, 5, 0)] == [(0, 30)]


def test_what_is_missing_in_the_same_step_is_one_hole_with_what_lies_between() -> None:
    size = HoleSize(symbols=1, hours=1, joins_minutes=5)
    coverage = Coverage(("SPY",), (0, 20 * MINUTE))
    for since, until in ((1, 2), (3, 5), (6, 7), (8, 12), (13, 20)):
        coverage.deliver("SPY", (since * MINUTE, until * MINUTE))
    apart = [(0, 1), (2, 3), (5, 6), (7, 8), (12, 13)]
    for one, expected in ((size, [(0, 3), (5, 8), (12, 13)]), (SIZE, apart)):
        holes = coverage.holes({"SPY": 20 * MINUTE}, one, 20 * MINUTE, 0)
        assert [(hole.since // MINUTE, hole.until // MINUTE) for hole in reversed(holes)] == expected


@pytest.mark.parametrize(
    ("until", "now", "expected"),
    [
        (11, 15, [(1, 2)]),
        (14, 15, [(1, 2), (8, 14)]),
        (11, 16, [(1, 2), (8, 10)]),
        (14, 16, [(1, 2), (8, 14)]),
    ],
)
def test_what_was_shown_is_asked_for_with_what_is_missing_after_it_and_by_itself_when_it_is_time(
    until: int, now: int, expected: list[tuple[int, int]]
) -> None:
    coverage = Coverage(("SPY",), (0, 20 * MINUTE))
    for since, end in ((0, 1), (2, 8), (10, 12)):
        coverage.deliver("SPY", (since * MINUTE, end * MINUTE))
    coverage.show("SPY", (8 * MINUTE, 10 * MINUTE), 16 * MINUTE)
    size = HoleSize(symbols=1, hours=1, joins_minutes=5)
    holes = coverage.holes({"SPY": until * MINUTE}, size, 0, now * MINUTE)
    assert [(hole.since // MINUTE, hole.until // MINUTE) for hole in reversed(holes)] == expected


def test_a_hole_looks_back_where_it_begins_and_not_before_the_session() -> None:
    coverage = Coverage(("IBM", "SPY"), (HOUR, 9 * HOUR))
    for symbol in ("IBM", "SPY"):
        coverage.deliver(symbol, (HOUR, 3 * HOUR))
    first, second = Hole(("SPY",), 3 * HOUR, 4 * HOUR), Hole(("SPY",), 4 * HOUR, 5 * HOUR)
    assert coverage.looking_back(first) == Hole(("SPY",), 3 * HOUR, 4 * HOUR, 3 * HOUR - HOUR // 2)
    assert coverage.looking_back(second) == second, "what is before it is missing itself"
    coverage.deliver("IBM", (3 * HOUR, 4 * HOUR))
    both = Hole(("IBM", "SPY"), 4 * HOUR, 5 * HOUR)
    assert coverage.looking_back(both).amended_since == 4 * HOUR - HOUR // 2, "for the one whose hole begins here"
    coverage = Coverage(("SPY",), (HOUR, 9 * HOUR))
    begin = Hole(("SPY",), HOUR, 2 * HOUR)
    assert coverage.looking_back(begin) == begin
    coverage.deliver("SPY", (HOUR, HOUR + 10))
    assert coverage.looking_back(Hole(("SPY",), HOUR + 10, 2 * HOUR)).amended_since == HOUR


def test_what_an_earlier_process_covered_outside_of_the_session_does_not_count() -> None:
    coverage = Coverage(("SPY",), (5, 35), {"SPY": Spans([(0, 10)]), "IBM": Spans([(5, 6)])})
    assert dict(coverage.acknowledged) == {"SPY": Spans([(5, 10)])}


def test_what_is_covered_is_kept(tmp_path: Path) -> None:
    path = covered_file(tmp_path, "alpaca")
    covered = Covered(date(2026, 11, 20), {"SPY": Spans([(5, 10), (20, 30)]), "IBM": Spans()})
    assert load_covered(path, covered.session_date) is None
    save_covered(path, covered)
    assert load_covered(path, covered.session_date) == covered
    assert [entry.name for entry in path.parent.iterdir()] == ["live-alpaca.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"2026-11-20": {"SPY": [[1]]}}', '{"odd": {}}'])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "live-alpaca.json"
    path.write_text(text)
    assert load_covered(path, date(2026, 11, 20)) is None


def test_of_the_newest_sessions_each_is_kept(tmp_path: Path) -> None:
    path = covered_file(tmp_path, "alpaca")
    days = [date(2026, 11, 20 - back) for back in range(KEPT_SESSIONS + 1)]
    for day in days:
        save_covered(path, Covered(day, {"SPY": Spans([(day.day, 100)])}))
    assert [load_covered(path, day) is not None for day in days] == [True] * KEPT_SESSIONS + [False]
    kept = load_covered(path, days[1])
    assert kept is not None
    assert kept.spans == {"SPY": Spans([(19, 100)])}
