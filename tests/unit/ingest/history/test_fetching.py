"""A source is asked within its limit, again if it is busy, and not for ever."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.history import fetch
from ingest.history.fetch import ATTEMPTS, MOST_FAILURES, Fetched, Pace, fetch_all
from ingest.history.source import Answer, Ask, Limit, Offer, SourceBusyError, SourceError, UnreadableAnswerError
from market.sessions import sessions_between

SESSIONS = tuple(sessions_between(date(2013, 10, 7), date(2013, 10, 7)))


def asks(count: int) -> list[Ask]:
    return [Ask((f"S{number}",), "1d", SESSIONS) for number in range(count)]


@dataclass
class PlayedSource:
    """Answers as it is told: by symbol the errors that come before the answer."""

    errors: dict[str, list[Exception]] = field(default_factory=dict)
    at_once: int = 1
    name: str = "played"
    limit: Limit | None = None
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0
    gate: threading.Barrier | None = None

    @property
    def offers(self) -> Mapping[str, Offer]:
        return {"1d": Offer("1d")}

    def check(self) -> None:
        """It can always be asked."""

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        pace()
        self.asked.append(ask.symbols[0])
        if self.gate is not None:
            self.gate.wait(timeout=10)
        errors = self.errors.get(ask.symbols[0])
        if errors:
            raise errors.pop(0)
        return Answer([])


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def pace(tmp_path: Path, stop: threading.Event) -> Iterator[Pace]:
    pace = Pace(None, tmp_path / "limits.sqlite", stop)
    yield pace
    pace.close()


def busy(seconds: float = 0.0) -> SourceBusyError:
    return SourceBusyError("come back later", seconds)


def outcomes(found: Iterator[Fetched]) -> dict[str, bool]:
    return {one.ask.symbols[0]: one.answer is not None for one in found}


def test_a_busy_source_is_asked_again_until_it_answers(pace: Pace, stop: threading.Event) -> None:
    source = PlayedSource({"S1": [busy(), busy()]})
    assert outcomes(fetch_all(source, asks(3), pace, stop)) == {"S0": True, "S1": True, "S2": True}
    assert (source.asked, pace.requests) == (["S0", "S1", "S1", "S1", "S2"], 5)


def test_an_ask_is_given_up_after_some_attempts_and_the_others_go_on(pace: Pace, stop: threading.Event) -> None:
    source = PlayedSource({"S0": [busy() for _ in range(100)]})
    found = list(fetch_all(source, asks(2), pace, stop))
    assert [(one.answer is not None, one.reason) for one in found] == [(False, "come back later"), (True, "")]
    assert source.asked.count("S0") == ATTEMPTS


def test_an_ask_is_not_given_up_while_more_of_it_comes(pace: Pace, stop: threading.Event) -> None:
    def further() -> SourceBusyError:
        error = busy()
        error.is_further = True
        return error

    tries = [[further(), *(busy() for _ in range(ATTEMPTS - 1))] for _ in range(3)]
    source = PlayedSource({"S0": [error for part in tries for error in part]})
    assert outcomes(fetch_all(source, asks(1), pace, stop)) == {"S0": True}
    source = PlayedSource({"S0": [*(error for part in tries for error in part), *(busy() for _ in range(100))]})
    assert outcomes(fetch_all(source, asks(1), pace, stop)) == {"S0": False}
    assert len(source.asked) == 4 * ATTEMPTS


def test_a_source_that_is_down_is_not_asked_for_everything(pace: Pace, stop: threading.Event) -> None:
    source = PlayedSource({f"S{number}": [busy() for _ in range(100)] for number in range(100)})
    found = list(fetch_all(source, asks(100), pace, stop))
    assert len(found) == 100
    assert not any(one.answer for one in found)
    assert len(set(source.asked)) == MOST_FAILURES
    assert "not asked any more" in found[-1].reason


def test_a_source_that_refuses_ends_everything(pace: Pace, stop: threading.Event) -> None:
    source = PlayedSource({"S1": [SourceError("the key is wrong")]})
    with pytest.raises(SourceError, match="the key is wrong"):
        list(fetch_all(source, asks(5), pace, stop))
    assert source.asked == ["S0", "S1"]


def test_as_many_requests_are_under_way_as_the_source_takes(pace: Pace, stop: threading.Event) -> None:
    source = PlayedSource(at_once=4, gate=threading.Barrier(4))  # four have to meet before any goes on
    assert len(outcomes(fetch_all(source, asks(8), pace, stop))) == 8


def test_a_stop_ends_waits_and_asks_for_nothing_more(pace: Pace, stop: threading.Event) -> None:
    source = PlayedSource({"S1": [busy(600)]})
    found = []
    for one in fetch_all(source, asks(9), pace, stop):
        found.append(one.ask.symbols[0])
        threading.Timer(0.2, stop.set).start()
    assert found == ["S0"]
    assert source.asked == ["S0", "S1"]


def test_a_pause_that_the_source_asks_for_is_kept_to_and_said(
    pace: Pace, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(fetch, "_sleep", lambda seconds, _stop: pauses.append(seconds))
    with capture_logs() as logs:
        found = outcomes(fetch_all(PlayedSource({"S0": [busy(5), busy(300), busy(595)]}), asks(1), pace, stop))
    assert (found, pauses) == ({"S0": True}, [5, 300, 595])
    assert [(log["log_level"], log["seconds"]) for log in logs] == [("info", 5), ("warning", 300), ("warning", 595)]


@pytest.mark.parametrize(("pauses", "kept"), [([901.0], []), ([500.0, 401.0], [500.0]), ([1e300], [])])
def test_a_longer_pause_is_no_more_asked_for_and_says_when_to_come_again(
    pace: Pace, stop: threading.Event, monkeypatch: pytest.MonkeyPatch, pauses: list[float], kept: list[float]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch, "_sleep", lambda seconds, _stop: slept.append(seconds))
    source = PlayedSource({"S0": [busy(seconds) for seconds in pauses]})
    begun = datetime.now(UTC)
    found = list(fetch_all(source, asks(3), pace, stop))
    assert (slept, source.asked) == (kept, ["S0"] * len(pauses))
    assert [one.answer for one in found] == [None] * 3
    quota = found[0].quota
    assert quota is not None
    assert quota.again_at is not None
    asked_for = timedelta(seconds=min(pauses[-1], 7 * 86_400))
    assert begun + asked_for <= quota.again_at <= datetime.now(UTC) + asked_for
    assert found[-1].reason == f"come back later It asks for a pause of {asked_for}."


def test_the_limit_is_kept_and_used(tmp_path: Path, stop: threading.Event) -> None:
    pace = Pace(Limit(10, 0.5), tmp_path / "limits.sqlite", stop)
    moments = []
    for _ in range(31):
        pace()
        moments.append(time.monotonic())
    pace.close()
    # In no half second more than ten, but for the clock's grain; and the thirty-first may pass after one and a half.
    assert all(later - earlier > 0.48 for earlier, later in zip(moments, moments[10:], strict=False))
    assert moments[-1] - moments[0] < 2.5


def test_the_limit_is_kept_by_a_process_that_is_started_again(tmp_path: Path, stop: threading.Event) -> None:
    first = Pace(Limit(3, 1.0), tmp_path / "limits.sqlite", stop)
    begun = time.monotonic()
    for _ in range(3):
        first()
    first.close()
    second = Pace(Limit(3, 1.0), tmp_path / "limits.sqlite", stop)
    second()
    second.close()
    assert time.monotonic() - begun > 0.9


@pytest.mark.parametrize(("others", "is_unreadable"), [([], True), ([SourceBusyError("503", 0.0)], False)])
def test_an_ask_is_unreadable_if_every_answer_to_it_was(
    pace: Pace, stop: threading.Event, others: list[Exception], is_unreadable: bool
) -> None:
    unreadable: list[Exception] = [UnreadableAnswerError("no JSON", 0.0) for _ in range(ATTEMPTS - len(others))]
    source = PlayedSource({"S0": [*others, *unreadable]})
    (found,) = fetch_all(source, asks(1), pace, stop)
    assert (found.answer, found.reason, found.is_unreadable) == (None, "no JSON", is_unreadable)


def test_a_source_of_which_nothing_can_be_read_is_down(pace: Pace, stop: threading.Event) -> None:
    names = [f"S{number}" for number in range(MOST_FAILURES + 1)]
    page: dict[str, list[Exception]] = {name: [UnreadableAnswerError("a page", 0.0)] * ATTEMPTS for name in names}
    found = list(fetch_all(PlayedSource(page), asks(MOST_FAILURES + 3), pace, stop))
    assert [one.is_unreadable for one in found] == [True] * MOST_FAILURES + [False] * 3
    assert "was not asked any more" in found[-1].reason
