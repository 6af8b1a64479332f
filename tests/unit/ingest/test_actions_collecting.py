"""A source of corporate actions is asked for symbol after symbol; what it answered is there, whatever ended it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest

from ingest.actions.collect import WHOLE, Collected, collect
from ingest.actions.source import NAMELESS, Listed, Listing, Range, key_of, start_of
from ingest.history.fetch import ATTEMPTS, MOST_FAILURES
from ingest.history.source import Limit, Problem, SourceBusyError, SourceError, StoppedError
from market.records import CorporateAction, Split

DAY = date(2014, 6, 9)
TODAY = date(2014, 7, 1)


def split(symbol: str, new: int = 2) -> Split:
    return Split("played", symbol, start_of(DAY), DAY.isoformat(), Decimal(new), Decimal(1))


@dataclass
class PlayedSource:
    """Lists a split of every symbol, but for what it is told."""

    answers: dict[str, Listing | Exception] = field(default_factory=dict)
    name: str = "played"
    limit: Limit | None = None
    symbols_per_ask: int = 1
    asked: list[str] = field(default_factory=list)

    def check(self) -> None:
        """It can always be asked."""

    def symbols(self) -> tuple[str, ...] | None:
        return None

    def fetch(self, symbols: Sequence[str], within: Range, pace: Callable[[], None]) -> Listing:
        pace()
        assert within == WHOLE
        self.asked += symbols
        found = self.answers.get(symbols[0], Listing([Listed(split(symbol)) for symbol in symbols]))
        if isinstance(found, Exception):
            raise found
        return found


def collected(source: PlayedSource, symbols: Sequence[str], *stored: CorporateAction) -> Collected:
    known = {key_of(action): [action] for action in stored}
    stop = threading.Event()
    return collect(source, symbols, WHOLE, known, today=TODAY, pace=lambda: None, stop=stop)


def test_what_is_new_or_other_than_before_is_missing_and_the_rest_is_known() -> None:
    found = collected(PlayedSource(), ["AAPL", "IBM", "SPY"], split("AAPL"), split("IBM", 3))
    assert [action.symbol for action in found.missing.actions] == ["IBM", "SPY"]
    assert found.missing.known == 1
    assert found.answered == {"AAPL", "IBM", "SPY"}
    assert (found.refusal, found.is_stopped) == (None, False)


def test_unknown_symbols_and_bad_rows_are_answers_and_silence_is_none() -> None:
    busy = SourceBusyError("come back later", 0.0)
    bad = Listing([Listed(split("IBM"))], [Problem("IBM", "bad_action", "a row")])
    source = PlayedSource({"XX": Listing((), unknown=frozenset({"XX"})), "IBM": bad, "SPY": busy})
    found = collected(source, ["XX", "IBM", "SPY"], split("SPY"), split("XX"))
    assert found.answered == {"XX", "IBM"}
    assert found.unknown == {"XX"}
    assert [(problem.symbol, problem.code) for problem in found.problems] == [
        ("IBM", "bad_action"),
        ("SPY", "no_answer"),
    ]
    assert found.missing.not_listed == [], "nobody said that these are listed no more"
    assert source.asked.count("SPY") == ATTEMPTS


def test_nothing_counts_as_not_listed_any_more_beside_an_element_without_a_symbol() -> None:
    nameless = Listing((), [Problem(NAMELESS, "unplaced_row", "a row")])
    found = collected(
        PlayedSource({"AAPL": nameless, "IBM": Listing(())}), ["AAPL", "IBM"], split("AAPL"), split("IBM")
    )
    assert [action.symbol for action in found.missing.not_listed] == ["IBM"]
    assert found.answered == {"AAPL", "IBM"}
    assert [problem.symbol for problem in found.problems] == [NAMELESS]


def test_a_source_that_is_down_is_not_asked_for_every_symbol() -> None:
    symbols = [f"S{number}" for number in range(MOST_FAILURES + 5)]
    source = PlayedSource({symbol: SourceBusyError("down", 0.0) for symbol in symbols})
    found = collected(source, symbols)
    assert len(set(source.asked)) == MOST_FAILURES
    assert found.answered == set()
    assert {problem.symbol for problem in found.problems} == set(symbols)


@pytest.mark.parametrize("end", [SourceError("the plan does not allow it"), StoppedError()])
def test_what_was_answered_before_a_refusal_or_a_stop_is_kept(end: Exception) -> None:
    found = collected(PlayedSource({"IBM": end}), ["AAPL", "IBM", "SPY"])
    assert [action.symbol for action in found.missing.actions] == ["AAPL"]
    assert found.answered == {"AAPL"}
    assert (found.refusal is end, found.is_stopped) == (isinstance(end, SourceError), isinstance(end, StoppedError))


def test_a_source_that_refuses_the_first_request_is_an_error() -> None:
    with pytest.raises(SourceError, match="no key"):
        collected(PlayedSource({"AAPL": SourceError("no key")}), ["AAPL", "IBM"])
