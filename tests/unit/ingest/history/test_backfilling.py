"""What was fetched is published, and remembered only once the lake has it."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.history import backfill
from ingest.history.backfill import Offsets, Progress, run_backfill
from ingest.history.fetch import ATTEMPTS, Pace
from ingest.history.plan import Plan, make_plan
from ingest.history.source import (
    Answer,
    Ask,
    Limit,
    Offer,
    Problem,
    SourceBusyError,
    SourceError,
    UnreadableAnswerError,
    Withheld,
)
from ingest.history.summary import Summary
from market.errors import ServiceError
from market.records import Bar
from market.sessions import Session, sessions_between
from warehouse.collected_history import Collected
from warehouse.history import KnownClose, KnownCloses

SESSIONS = tuple(sessions_between(date(2013, 10, 7), date(2013, 10, 11)))
PLACE = ("market.bars.v1", 0)


def bar(symbol: str, session: Session, **others: Decimal) -> Bar:
    prices = {name: Decimal(100) for name in ("open", "high", "low", "close")}
    return Bar("played", symbol, "1d", round(session.open_at.timestamp()) * 1_000_000, **{**prices, **others}, volume=5)


@dataclass
class PlayedSource:
    """Has a bar of each session of every symbol, but for what it is told."""

    answers: dict[str, Answer | Exception] = field(default_factory=dict)
    on_ask: Callable[[Ask], None] = lambda _ask: None
    name: str = "played"
    limit: Limit | None = None
    at_once: int = 1
    asked: list[str] = field(default_factory=list)
    starts_with: Session = SESSIONS[0]

    @property
    def offers(self) -> Mapping[str, Offer]:
        return {"1d": Offer("1d")}

    def check(self) -> None:
        """It can always be asked."""

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        pace()
        self.on_ask(ask)
        (symbol,) = ask.symbols
        self.asked.append(symbol)
        listed = [session for session in ask.sessions if session.open_at >= self.starts_with.open_at]
        found = self.answers.get(symbol, Answer([bar(symbol, session) for session in listed]))
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class PlayedDoor:
    """A broker and a lake that takes in so many bars at each look."""

    at_each_look: int = 10**9
    fails: Exception | None = None
    published: list[Bar] = field(default_factory=list)
    taken_in: int = 0
    remembered: list[Collected] = field(default_factory=list)
    known: Mapping[str, KnownCloses] = field(default_factory=dict)
    first: Mapping[str, date] = field(default_factory=dict)
    unknown_before: frozenset[str] = frozenset()

    def known_closes(self, ask: Ask) -> Mapping[str, KnownCloses]:
        return {symbol: closes for symbol, closes in self.known.items() if symbol in ask.symbols}

    def first_sessions(self, symbols: Collection[str]) -> Mapping[str, date]:
        return {symbol: day for symbol, day in self.first.items() if symbol in symbols}

    def publish(self, bars: Sequence[Bar]) -> None:
        if self.fails is not None:
            raise self.fails
        self.published += bars

    def settle(self) -> Offsets:
        return {PLACE: len(self.published)}

    def arrived(self) -> Offsets:
        self.taken_in = min(len(self.published), self.taken_in + self.at_each_look)
        return {PLACE: self.taken_in}

    def remember(self, collected: Collection[Collected]) -> Collection[str]:
        in_lake = {(found.symbol, found.ts) for found in self.published[: self.taken_in]}
        for one in collected:
            for session in one.sessions:
                wanted = one.symbol, bar(one.symbol, session).ts
                was_published = wanted in {(found.symbol, found.ts) for found in self.published}
                assert wanted in in_lake or not was_published, "remembered before the lake had it"
        self.remembered += collected
        return {one.symbol for one in collected if one.has_bars} & self.unknown_before


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def plan_of(*symbols: str) -> Plan:
    return make_plan(
        symbols, SESSIONS, {symbol: [(0, 5)] for symbol in symbols}, Offer("1d"), today=date(2013, 10, 14), limit=None
    )


def run(
    source: PlayedSource,
    door: PlayedDoor,
    plan: Plan,
    tmp_path: Path,
    stop: threading.Event,
    *,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Summary:
    pace = Pace(None, tmp_path / "limits.sqlite", stop)
    return run_backfill(source, plan, door, pace, stop=stop, on_progress=on_progress)


@pytest.mark.parametrize("at_each_look", [1, 7, 10**9])
def test_everything_is_published_and_remembered_when_the_lake_has_it(
    tmp_path: Path, stop: threading.Event, at_each_look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(backfill, "_POLL_SECONDS", 0.0)
    source, door = PlayedSource(), PlayedDoor(at_each_look)
    seen: list[Progress] = []
    summary = run(source, door, plan_of("SPY", "IBM"), tmp_path, stop, on_progress=seen.append)
    assert (summary.is_done, summary.bars, summary.requests) == (True, 10, 2)
    assert {(one.symbol, len(one.sessions)) for one in door.remembered} == {("SPY", 5), ("IBM", 5)}
    assert {symbol: (r.asked, r.collected, r.bars) for symbol, r in summary.symbols.items()} == {
        "SPY": (5, 5, 5),
        "IBM": (5, 5, 5),
    }
    assert seen[-1] == Progress(answered=2, asks=2, bars=10, waiting=0)


def test_prices_far_from_what_the_lake_has_are_left_out_and_asked_for_again(
    tmp_path: Path, stop: threading.Event
) -> None:
    before = SESSIONS[0].open_at.timestamp() - 86_400
    known = {"SPY": KnownCloses(before=KnownClose("other", round(before) * 1_000_000, Decimal(1)))}
    door = PlayedDoor(known=known)
    summary = run(PlayedSource(), door, plan_of("SPY", "IBM"), tmp_path, stop)
    assert {found.symbol for found in door.published} == {one.symbol for one in door.remembered} == {"IBM"}
    assert summary.symbols["SPY"].problem_counts == {"off_by_far": 5}
    assert "1 at 2013-10-06 13:30:00Z from other" in summary.symbols["SPY"].problems[0].detail


def test_a_symbol_without_any_bar_is_remembered_as_such_and_said(tmp_path: Path, stop: threading.Event) -> None:
    door = PlayedDoor()
    summary = run(PlayedSource({"NEW": Answer([])}), door, plan_of("NEW"), tmp_path, stop)
    assert [(one.symbol, one.without_bars) for one in door.remembered] == [("NEW", SESSIONS)]
    assert (summary.is_done, summary.bars) == (True, 0)
    said = "no bar of 5 sessions (2013-10-07 … 2013-10-11); --again asks once more"
    assert summary.symbols["NEW"].remarks(5) == [said]


@pytest.mark.parametrize(
    ("first", "lacking"),
    [({}, [2, 4]), ({"SPY": SESSIONS[1].session_date}, [2, 4]), ({"SPY": date(2013, 9, 30)}, [0, 2, 4])],
)
def test_sessions_without_a_bar_count_from_the_first_bar_that_the_source_is_known_to_have(
    tmp_path: Path, stop: threading.Event, first: Mapping[str, date], lacking: list[int]
) -> None:
    door = PlayedDoor(first=first)
    source = PlayedSource({"SPY": Answer([bar("SPY", SESSIONS[number]) for number in (3, 1)])})
    result = run(source, door, plan_of("SPY"), tmp_path, stop).symbols["SPY"]
    assert (result.collected, result.bars) == (5, 2)
    assert [SESSIONS.index(session) for one in door.remembered for session in one.without_bars] == lacking
    assert result.without_bars == [SESSIONS[number].session_date for number in lacking]
    (said,) = result.remarks(5)
    assert said.startswith(f"no bar of {len(lacking)} sessions ({result.without_bars[0]} … 2013-10-11)")


def test_asks_before_the_first_bar_are_not_said_to_lack_bars(tmp_path: Path, stop: threading.Event) -> None:
    source = PlayedSource(starts_with=SESSIONS[3])
    asks = tuple(Ask(("NEW",), "1d", (session,)) for session in SESSIONS)
    plan = replace(plan_of("NEW"), asks=asks)
    result = run(source, PlayedDoor(), plan, tmp_path, stop).symbols["NEW"]
    assert (result.collected, result.bars, result.without_bars) == (5, 2, [])


def test_a_problem_that_comes_twice_counts_once(tmp_path: Path, stop: threading.Event) -> None:
    twice = [Problem("SPY", "not_a_number", "open is NaN at 9:30")] * 2
    bars = [bar("SPY", session) for session in SESSIONS]
    other = Problem("SPY", "not_a_number", "open is NaN at 9:35")
    door = PlayedDoor()
    one = run(PlayedSource({"SPY": Answer(bars, twice)}), door, plan_of("SPY"), tmp_path, stop).symbols["SPY"]
    assert one.remarks(5) == ["once not_a_number", "open is NaN at 9:30"]
    two = run(PlayedSource({"SPY": Answer(bars, [*twice, other])}), door, plan_of("SPY"), tmp_path, stop).symbols["SPY"]
    assert two.remarks(1) == ["2 times not_a_number", "open is NaN at 9:30"]
    assert door.remembered == []


def test_what_the_source_has_for_other_plans_only_is_said_and_remembered_as_such(
    tmp_path: Path, stop: threading.Event
) -> None:
    older = SESSIONS[:2]
    bars = [bar("SPY", session) for session in SESSIONS[2:4]]
    door = PlayedDoor(first={"SPY": date(2013, 9, 30)})
    source = PlayedSource({"SPY": Answer(bars, withheld=[Withheld("SPY", older, "for premium keys only")])})
    summary = run(source, door, plan_of("SPY"), tmp_path, stop)
    (one,) = door.remembered
    assert (one.sessions, one.withheld, one.without_bars) == (SESSIONS, older, SESSIONS[4:])
    result = summary.symbols["SPY"]
    assert (result.collected, result.withheld, summary.is_done) == (3, 2, False)
    assert result.remarks(5)[:2] == ["once premium_only", "for premium keys only"]
    assert result.remarks(5)[-1] == "2 sessions are for other plans of the source only; --again asks once more"


def test_what_is_for_other_plans_only_is_remembered_though_a_bar_is_bad(tmp_path: Path, stop: threading.Event) -> None:
    withheld = [Withheld("SPY", SESSIONS[:2], "for premium keys only")]
    bad = Problem("SPY", "not_a_number", "open is NaN")
    door = PlayedDoor()
    run(PlayedSource({"SPY": Answer([], [bad], withheld=withheld)}), door, plan_of("SPY"), tmp_path, stop)
    assert [(one.sessions, one.withheld) for one in door.remembered] == [(SESSIONS[:2], SESSIONS[:2])]


def test_what_was_for_other_plans_before_is_said_and_fails_nothing(tmp_path: Path, stop: threading.Event) -> None:
    summary = run(PlayedSource(), PlayedDoor(), replace(plan_of("SPY"), withheld={"SPY": 7}), tmp_path, stop)
    assert (summary.is_done, summary.symbols["SPY"].remarks(5)) == (
        True,
        ["7 sessions are for other plans of the source only; --again asks once more"],
    )


def test_what_could_not_even_be_asked_for_makes_a_backfill_incomplete(tmp_path: Path, stop: threading.Event) -> None:
    summary = run(PlayedSource(), PlayedDoor(), plan_of("SPY"), tmp_path, stop)
    assert summary.is_done
    refused = summary.with_refused([Problem("C D", "no_symbol", "bars.csv, line 2: symbol 'C D'")])
    assert not refused.is_done
    assert refused.symbols["SPY"].is_done
    assert refused.symbols["C D"].remarks(5) == ["once no_symbol", "bars.csv, line 2: symbol 'C D'"]


def test_a_symbol_that_the_source_does_not_know_is_said_and_remembered(tmp_path: Path, stop: threading.Event) -> None:
    door = PlayedDoor()
    summary = run(
        PlayedSource({"NOPE": Answer([], unknown=frozenset({"NOPE"}))}), door, plan_of("NOPE", "SPY"), tmp_path, stop
    )
    assert [(one.symbol, one.is_unknown) for one in door.remembered] == [("NOPE", True), ("SPY", False)]
    assert (summary.is_done, summary.symbols["NOPE"].is_unknown, summary.symbols["SPY"].is_done) == (False, True, True)


def test_what_was_asked_for_an_unknown_symbol_is_asked_for_once_more(tmp_path: Path, stop: threading.Event) -> None:
    nobody = Answer([], unknown=frozenset({"NOPE"}))
    door = PlayedDoor()
    run(PlayedSource({"NOPE": nobody}), door, plan_of("NOPE"), tmp_path, stop)
    assert [(one.without_bars, one.unknown) for one in door.remembered] == [(SESSIONS, SESSIONS)]
    # Of a symbol that the lake has bars of, an answer about the time before them says nothing that a new bar would change.
    door = PlayedDoor(first={"NOPE": SESSIONS[3].session_date})
    run(PlayedSource({"NOPE": nobody}), door, plan_of("NOPE"), tmp_path, stop)
    assert [(one.without_bars, one.unknown) for one in door.remembered] == [(SESSIONS, SESSIONS[3:])]


def test_a_symbol_that_turns_out_to_be_known_is_not_done_yet(tmp_path: Path, stop: threading.Event) -> None:
    door = PlayedDoor(unknown_before=frozenset({"FLAP", "BAD"}))
    source = PlayedSource({"BAD": Answer([bar("BAD", SESSIONS[0])], [Problem("BAD", "not_a_number", "open is NaN")])})
    plan = replace(plan_of("FLAP", "BAD", "SPY"), unknown=frozenset({"FLAP", "BAD"}))
    summary = run(source, door, plan, tmp_path, stop)
    assert {symbol: result.was_unknown for symbol, result in summary.symbols.items()} == {
        "FLAP": True,
        "BAD": True,
        "SPY": False,
    }
    assert not summary.symbols["FLAP"].is_done
    assert summary.symbols["FLAP"].remarks(5) == [
        "the source did not know it before, and does now: the next backfill asks for what was missed"
    ]
    assert [(one.symbol, len(one.sessions)) for one in door.remembered] == [("FLAP", 5), ("BAD", 0), ("SPY", 5)]


def test_a_symbol_that_need_not_be_asked_for_is_said_to_be_unknown_all_the_same(
    tmp_path: Path, stop: threading.Event
) -> None:
    plan = replace(plan_of("SPY"), symbols=("NOPE", "SPY"), unknown=frozenset({"NOPE", "SPY"}))
    summary = run(PlayedSource(), PlayedDoor(), plan, tmp_path, stop)
    assert {symbol: result.is_unknown for symbol, result in summary.symbols.items()} == {"NOPE": True, "SPY": False}
    assert not summary.is_done


def test_an_answer_without_any_bar_does_not_say_that_a_share_was_not_listed(
    tmp_path: Path, stop: threading.Event
) -> None:
    door = PlayedDoor(first={"NEW": date(2013, 10, 14)})
    result = run(PlayedSource({"NEW": Answer([])}), door, plan_of("NEW"), tmp_path, stop).symbols["NEW"]
    assert [one.without_bars for one in door.remembered] == [SESSIONS]
    assert len(result.without_bars) == 5


def test_bad_bars_are_counted_and_left_out_and_asked_for_again_another_time(
    tmp_path: Path, stop: threading.Event
) -> None:
    bars = [bar("BAD", session) for session in SESSIONS]
    bars[2] = bar("BAD", SESSIONS[2], low=Decimal(101))
    source = PlayedSource({"BAD": Answer(bars, [Problem("BAD", "not_a_number", "open is NaN")])})
    door = PlayedDoor()
    summary = run(source, door, plan_of("BAD", "SPY"), tmp_path, stop)
    result = summary.symbols["BAD"]
    assert result.problem_counts == {"not_a_number": 1, "prices_out_of_order": 1}
    assert (result.bars, result.collected, result.is_done) == (4, 0, False)
    assert [one.symbol for one in door.remembered] == ["SPY"]
    assert len(door.published) == 9


def test_a_source_that_does_not_answer_costs_its_symbol_only(tmp_path: Path, stop: threading.Event) -> None:
    door = PlayedDoor()
    source = PlayedSource({"IBM": SourceBusyError("no answer within 10 s", 0.0)})
    summary = run(source, door, plan_of("IBM", "SPY"), tmp_path, stop)
    assert (summary.symbols["IBM"].reason, summary.symbols["IBM"].is_done) == ("no answer within 10 s", False)
    assert [one.symbol for one in door.remembered] == ["SPY"]


def test_an_answer_that_cannot_be_read_however_often_is_a_problem_of_its_symbol(
    tmp_path: Path, stop: threading.Event
) -> None:
    door = PlayedDoor()
    source = PlayedSource({"BAD": UnreadableAnswerError("its answer is not one", 0.0)})
    summary = run(source, door, plan_of("BAD", "SPY"), tmp_path, stop)
    bad = summary.symbols["BAD"]
    assert (bad.reason, bad.problem_counts, bad.remarks(5)) == (
        "",
        {"unreadable": 1},
        ["once unreadable", "its answer is not one"],
    )
    assert source.asked == ["BAD"] * ATTEMPTS + ["SPY"]
    assert [one.symbol for one in door.remembered] == ["SPY"]


def test_what_was_answered_before_a_source_refuses_is_kept(tmp_path: Path, stop: threading.Event) -> None:
    door = PlayedDoor()
    with pytest.raises(SourceError, match="plan"):
        run(
            PlayedSource({"IBM": SourceError("your plan does not allow it")}),
            door,
            plan_of("SPY", "IBM"),
            tmp_path,
            stop,
        )
    assert [one.symbol for one in door.remembered] == ["SPY"]


def test_a_stop_keeps_what_was_answered(tmp_path: Path, stop: threading.Event) -> None:
    door = PlayedDoor()
    source = PlayedSource(on_ask=lambda ask: stop.set() if ask.symbols == ("IBM",) else None)
    summary = run(source, door, plan_of("SPY", "IBM", "AAPL"), tmp_path, stop)
    assert source.asked == ["SPY", "IBM"]
    assert ([one.symbol for one in door.remembered], summary.stopped, summary.is_done) == (["SPY", "IBM"], True, False)


def test_a_lake_that_takes_in_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "LAKE_SECONDS", 0.2)
    door = PlayedDoor(at_each_look=0)
    with pytest.raises(ServiceError, match=r"not taken in 5 bars .* Run the same command again"):
        run(PlayedSource(), door, plan_of("SPY"), tmp_path, stop)
    assert door.remembered == []


def test_a_broker_that_takes_nothing_ends_it_and_nothing_is_remembered(tmp_path: Path, stop: threading.Event) -> None:
    door = PlayedDoor(fails=ServiceError("the broker is gone"))
    with pytest.raises(ServiceError, match="gone"):
        run(PlayedSource(), door, plan_of("SPY", "IBM"), tmp_path, stop)
    assert door.remembered == []
