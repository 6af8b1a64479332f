from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import pairwise

import pytest

from ingest.history.source import SourceBusyError
from ingest.live.backoff import OPEN_SECONDS, pause_seconds
from ingest.live.coverage import HOUR, Coverage
from ingest.live.filler import Filler
from ingest.live.reach import Reach
from ingest.live.source import Filled, Hole, HoleSize
from ingest.live.spans import Spans
from market.errors import FeedError
from market.records import Record
from tests.unit.ingest.live.small_world import SECOND, START, Source, TurningClock, micros

HERE = micros(START)
FIRST_HOUR = HERE - HERE % HOUR - 6 * HOUR
Answers = Callable[[Hole], Filled | FeedError]


class Answer:
    """A history that answers at once."""

    def __init__(self, outcome: Filled | FeedError) -> None:
        self.outcome = outcome

    def take(self) -> list[Record]:
        return []

    def close(self) -> None:
        """Give nothing up."""


class Desk:
    """A filler with holes to fill, and what it asks for when."""

    def __init__(self, answers: Answers, *symbols: str, settles: int = 0) -> None:
        self.clock = TurningClock()
        self.begun = self.clock.monotonic()
        self.asked: list[tuple[float, Hole]] = []
        self.coverage = Coverage(symbols, (FIRST_HOUR, HERE))
        self.until: Mapping[str, int] = dict.fromkeys(symbols, HERE)
        source = Source()
        source.hole_size, source.history_settles_seconds = HoleSize(symbols=1, hours=24), settles

        def fill(hole: Hole) -> Answer:
            self.asked.append((self.clock.monotonic() - self.begun, hole))
            return Answer(answers(hole))

        reach = Reach(None, fill, None, None)  # type: ignore[arg-type]
        self.filler = Filler(source, reach, self.clock, self.coverage)

    def work(self, minutes: float) -> None:
        end = self.clock.now() + timedelta(minutes=minutes)
        while self.clock.now() < end:
            self.filler.take()
            self.filler.conclude()
            self.filler.begin(self.until, self.clock.now())
            self.clock.wait(1.0)

    def times(self, symbol: str) -> list[float]:
        return [seconds for seconds, hole in self.asked if hole.symbols == (symbol,)]


def busy(*symbols: str) -> Answers:
    return lambda hole: SourceBusyError("no") if set(symbols) & set(hole.symbols) else Filled()


def test_a_hole_that_fails_for_ever_keeps_no_other_waiting() -> None:
    desk = Desk(busy("A"), "A", "B", "C", "D")
    desk.work(60)
    assert desk.times("A")[0] < min(*desk.times("B"), *desk.times("C"), *desk.times("D"))
    assert max(desk.times("D")) < 10
    assert [len(desk.times(symbol)) for symbol in "BCD"] == [1, 1, 1]
    assert 8 < len(desk.times("A")) < 20, "it is asked for now and then, not in a row"
    assert not desk.coverage.missing("D", HERE)


def test_a_new_hole_does_not_wait_for_one_that_fails() -> None:
    desk = Desk(busy("A"), "A")
    desk.work(30)
    desk.coverage.follow(("B",))
    desk.until = {"A": HERE, "B": HERE}
    before = desk.clock.monotonic() - desk.begun
    desk.work(1)
    assert desk.times("B")[0] - before < 5


def test_holes_that_all_fail_open_the_circuit_and_take_turns() -> None:
    desk = Desk(busy("A", "B", "C", "D", "E", "F"), "A", "B", "C", "D", "E", "F")
    desk.work(60)
    assert [hole.symbols[0] for _, hole in desk.asked[:6]] == ["A", "B", "C", "D", "E", "F"]
    assert len(desk.asked) < 25
    counts = [len(desk.times(symbol)) for symbol in "ABCDEF"]
    assert max(counts) - min(counts) <= 1
    late = [seconds for seconds, _ in desk.asked if seconds > 300]
    assert all(second - first >= OPEN_SECONDS for first, second in pairwise(late))


def test_what_is_asked_early_is_asked_once_more_and_only_then_delivered() -> None:
    desk = Desk(busy(), "SPY", settles=300)
    desk.until = {"SPY": HERE - 60 * SECOND}
    desk.work(3)
    assert len(desk.asked) == 1
    assert desk.coverage.missing("SPY", HERE) == Spans([(HERE - 300 * SECOND, HERE)])
    desk.work(30)
    assert [hole.since for _, hole in desk.asked] == [FIRST_HOUR, HERE - 300 * SECOND]
    assert 240 <= desk.asked[1][0] <= 600
    assert desk.coverage.missing("SPY", HERE) == Spans([(HERE - 60 * SECOND, HERE)])


@pytest.mark.parametrize(
    ("failures", "after", "least", "most"),
    [
        (1, None, 0.5, 30.0),
        (1, 60.0, 60.0, 60.0),
        (5, 1.0, OPEN_SECONDS, OPEN_SECONDS),
        (9, None, OPEN_SECONDS, OPEN_SECONDS),
        (1, 86_400.0, OPEN_SECONDS, OPEN_SECONDS),
    ],
)
def test_a_pause_is_the_longer_of_the_circuit_and_what_the_source_asks_for(
    failures: int, after: float | None, least: float, most: float
) -> None:
    assert least <= pause_seconds(failures, SourceBusyError("later", after)) <= most


def test_what_an_answer_with_a_flaw_does_not_reach_is_asked_once_more() -> None:
    answers = iter([Filled(frozenset({"SPY"}), "a flawed bar", {"SPY": HERE - 400 * SECOND}), Filled()])
    desk = Desk(lambda _: next(answers), "SPY", settles=300)
    desk.until = {"SPY": HERE - 60 * SECOND}
    desk.work(30)
    assert [hole.since for _, hole in desk.asked] == [FIRST_HOUR, HERE - 300 * SECOND]
    assert desk.coverage.missing("SPY", HERE - 60 * SECOND) == Spans()
    assert desk.coverage.unclaimed() == [("SPY", (HERE - 300 * SECOND, HERE - 60 * SECOND))]
