from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.history.source import SourceError
from ingest.live.__main__ import live_sources
from ingest.live.notice import FeedState
from ingest.live.rota import Parts, Rota, UntilEvent, next_session
from ingest.live.sources import LIVE_SOURCE_NAMES, get_live_source
from ingest.live.wanted import WantedSymbols
from ingest.publisher import PublishSummary
from market.errors import FeedError, ServiceError
from market.sessions import Session, find_session
from market.settings import Settings

FRIDAY = date(2026, 11, 20)
MONDAY = date(2026, 11, 23)
HALF_DAY = date(2026, 11, 27)


def session_of(day: date) -> Session:
    session = find_session(day)
    assert session is not None
    return session


class JumpingClock:
    """Time that passes in waits only; it stops everything at the end."""

    def __init__(self, start: datetime, end: datetime, stop: Event) -> None:
        self.time, self.end, self.stop = start, end, stop
        self.due: dict[datetime, Callable[[], object]] = {}

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.time += timedelta(seconds=seconds)
        for moment in [moment for moment in self.due if moment <= self.time]:
            self.due.pop(moment)()
        if self.time >= self.end:
            self.stop.set()


class Named:
    """A source of which only the name matters here."""

    def __init__(self, name: str) -> None:
        self.name = name


class Stage:
    """What was on, from when to when."""

    def __init__(
        self, start: datetime, end: datetime, *names: str, simulates: bool = True, is_auto: bool = False
    ) -> None:
        self.stop = Event()
        self.clock = JumpingClock(start, end, self.stop)
        self.shown: list[tuple[str, datetime, datetime]] = []
        self.asked: list[str] = []
        self.broker_is_away = False
        self.seen: list[dict[str, str]] = []
        self.refuses: set[str] = set()
        self.unfinished: set[tuple[str, date]] = set()
        self.told: list[tuple[FeedState, str]] = []
        self.warnings: dict[str, str] = {}
        parts = Parts(
            [Named(name) for name in names],  # type: ignore[misc]
            self._keeper,
            self._simulate if simulates else None,
            ends_when_refused=not is_auto,
            tell=lambda state, detail: self.told.append((state, detail)),
            warn=self.warnings.__setitem__,
        )
        self.rota = Rota(parts, self.clock, self.stop)

    def run(self) -> PublishSummary:
        return self.rota.run()

    def _simulate(self, until: Event) -> PublishSummary:
        start = self.clock.now()
        while not until.is_set():
            self.clock.wait(60.0)
        self.shown.append(("simulated", start, self.clock.now()))
        return PublishSummary(sent=1, acknowledged=1)

    def _keeper(self, source: Any) -> "StagedKeeper":
        return StagedKeeper(self, source.name)


class StagedKeeper:
    """A keeper that is there until the session is over."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name
        self.summary = PublishSummary(sent=10, acknowledged=10)

    def has_unfinished(self, session: Session) -> bool:
        assert session.post_close_at <= self.stage.clock.now()
        return (self.name, session.session_date) in self.stage.unfinished

    def keep(self, session: Session, until: datetime) -> None:
        start = self.stage.clock.now()
        self.stage.asked.append(self.name)
        if self.name in self.stage.refuses:
            msg = f"{self.name} refuses"
            raise SourceError(msg)
        is_away = self.stage.broker_is_away
        end = until if is_away else min(session.post_close_at, until)
        while self.stage.clock.now() < end and not self.stage.stop.is_set():
            self.stage.clock.wait(60.0)
        if is_away:
            self.stage.unfinished.add((self.name, session.session_date))
        elif start >= session.post_close_at:
            self.stage.unfinished.remove((self.name, session.session_date))
        self.stage.shown.append((self.name, start, self.stage.clock.now()))


def test_feeds_change_at_the_borders_of_sessions_without_a_restart() -> None:
    friday, monday = session_of(FRIDAY), session_of(MONDAY)
    stage = Stage(friday.pre_open_at - timedelta(hours=1), monday.post_close_at + timedelta(hours=1), "alpaca")
    summary = stage.run()
    assert stage.shown == [
        ("simulated", friday.pre_open_at - timedelta(hours=1), friday.pre_open_at),
        ("alpaca", friday.pre_open_at, friday.post_close_at),
        ("simulated", friday.post_close_at, monday.pre_open_at),
        ("alpaca", monday.pre_open_at, monday.post_close_at),
        ("simulated", monday.post_close_at, monday.post_close_at + timedelta(hours=1)),
    ]
    assert summary.sent == 23


def test_without_the_simulated_market_the_closed_hours_are_waited_for() -> None:
    monday = session_of(MONDAY)
    stage = Stage(datetime(2026, 11, 21, 12, tzinfo=UTC), monday.open_at, "alpaca", simulates=False)
    stage.run()
    assert [(name, start) for name, start, _ in stage.shown] == [("alpaca", monday.pre_open_at)]


def test_a_half_day_is_over_at_17_00() -> None:
    half = session_of(HALF_DAY)
    stage = Stage(half.open_at, half.post_close_at + timedelta(hours=1), "alpaca")
    stage.run()
    assert stage.shown[0][2].astimezone(half.open_at.tzinfo) == half.post_close_at
    assert half.post_close_at == datetime(2026, 11, 27, 22, tzinfo=UTC)


def test_a_source_that_refuses_makes_way_for_the_next() -> None:
    friday = session_of(FRIDAY)
    stage = Stage(friday.open_at, friday.post_close_at, "alpaca", "yahoo")
    stage.refuses = {"alpaca"}
    stage.run()
    assert [name for name, _, _ in stage.shown] == ["yahoo"]


def test_when_every_source_refuses_it_ends_with_the_reason() -> None:
    friday = session_of(FRIDAY)
    stage = Stage(friday.open_at, friday.post_close_at, "alpaca")
    stage.refuses = {"alpaca"}
    with pytest.raises(SourceError, match="alpaca refuses"):
        stage.run()


def test_when_every_source_refuses_auto_shows_the_simulated_market_and_asks_again_in_the_next_session() -> None:
    friday, monday = session_of(FRIDAY), session_of(MONDAY)
    stage = Stage(friday.open_at, monday.post_close_at, "alpaca", "yahoo", is_auto=True)
    stage.refuses = {"alpaca", "yahoo"}
    stage.clock.due[friday.close_at] = lambda: stage.seen.append(dict(stage.warnings))
    stage.clock.due[monday.pre_open_at - timedelta(hours=1)] = stage.refuses.clear
    stage.run()
    assert stage.shown == [
        ("simulated", friday.open_at, monday.pre_open_at),
        ("alpaca", monday.pre_open_at, monday.post_close_at),
    ]
    assert stage.seen == [{"alpaca": "alpaca refuses", "yahoo": "yahoo refuses"}]
    assert stage.warnings["alpaca"] == "", "what is mended is warned of no more"
    assert stage.asked == ["alpaca", "yahoo", "alpaca"]


def test_when_every_source_refuses_auto_waits_and_says_why() -> None:
    friday, monday = session_of(FRIDAY), session_of(MONDAY)
    stage = Stage(friday.open_at, monday.open_at, "alpaca", simulates=False, is_auto=True)
    stage.refuses = {"alpaca"}
    stage.run()
    assert stage.shown == []
    assert stage.asked == ["alpaca", "alpaca"]
    state, why = stage.told[0]
    assert state is FeedState.WAITING
    assert "every real source refuses" in why
    assert "2026-11-23 09:00 UTC" in why
    assert stage.warnings == {"alpaca": "alpaca refuses"}


def test_a_source_that_refused_once_is_asked_again_in_the_next_session() -> None:
    friday, monday = session_of(FRIDAY), session_of(MONDAY)
    stage = Stage(friday.open_at, monday.open_at, "alpaca", "yahoo", is_auto=True)
    stage.refuses = {"alpaca"}
    stage.unfinished = {("alpaca", date(2026, 11, 19))}
    stage.clock.due[friday.close_at] = stage.refuses.clear
    stage.clock.due[monday.pre_open_at - timedelta(hours=1)] = lambda: stage.seen.append(dict(stage.warnings))
    stage.run()
    assert stage.seen[0]["alpaca"] == "alpaca refuses", "filling what is missing of another session mends nothing"
    assert [name for name, _, _ in stage.shown] == ["yahoo", "alpaca", "simulated", "alpaca"]


def test_what_an_earlier_process_left_open_is_finished_first() -> None:
    friday = session_of(FRIDAY)
    start = friday.post_close_at + timedelta(hours=2)
    stage = Stage(start, start + timedelta(hours=1), "alpaca", "yahoo")
    stage.unfinished = {("yahoo", FRIDAY), ("alpaca", date(2026, 11, 19))}
    stage.run()
    assert [name for name, _, _ in stage.shown] == ["yahoo", "alpaca", "simulated"]


def test_a_session_that_is_on_comes_before_what_is_missing_of_another() -> None:
    monday = session_of(MONDAY)
    stage = Stage(monday.pre_open_at, monday.post_close_at + timedelta(hours=1), "alpaca")
    stage.unfinished = {("alpaca", FRIDAY)}
    stage.run()
    assert [(name, start) for name, start, _ in stage.shown] == [
        ("alpaca", monday.pre_open_at),
        ("alpaca", monday.post_close_at),
        ("simulated", monday.post_close_at),
    ]
    assert not stage.unfinished


def test_a_broker_that_is_away_over_night_does_not_delay_the_next_session() -> None:
    friday, monday = session_of(FRIDAY), session_of(MONDAY)
    stage = Stage(friday.open_at, monday.post_close_at + timedelta(hours=1), "alpaca")
    stage.broker_is_away = True
    stage.clock.due[monday.pre_open_at] = lambda: setattr(stage, "broker_is_away", False)
    stage.run()
    assert [(name, start) for name, start, _ in stage.shown] == [
        ("alpaca", friday.open_at),
        ("alpaca", monday.pre_open_at),
        ("alpaca", monday.post_close_at),
        ("simulated", monday.post_close_at),
    ]


def test_what_cannot_be_finished_is_tried_once_while_the_market_is_closed() -> None:
    start = session_of(FRIDAY).post_close_at + timedelta(hours=2)
    stage = Stage(start, start + timedelta(hours=1), "alpaca", simulates=False, is_auto=True)
    stage.unfinished = {("alpaca", FRIDAY)}
    stage.refuses = {"alpaca"}
    stage.run()
    assert stage.asked == ["alpaca"]


def test_an_event_is_set_when_the_other_is_or_the_moment_has_come() -> None:
    stop = Event()
    start = datetime(2026, 11, 20, tzinfo=UTC)
    clock = JumpingClock(start, start + timedelta(days=9), stop)
    until = UntilEvent(stop, clock, start + timedelta(hours=1))
    assert not until.is_set()
    clock.time = start + timedelta(hours=1)
    assert until.is_set()
    clock.time = start
    stop.set()
    assert until.is_set()


def test_the_next_session_skips_weekends_and_holidays() -> None:
    assert next_session(session_of(FRIDAY).pre_open_at).session_date == MONDAY
    assert next_session(datetime(2026, 11, 25, 23, tzinfo=UTC)).session_date == HALF_DAY


def test_auto_takes_alpaca_if_its_keys_are_set_and_yahoo_else() -> None:
    keys = {"alpaca_key_id": SecretStr("PK1"), "alpaca_secret_key": SecretStr("s")}
    unset = Settings().model_copy(update=dict.fromkeys(keys))
    assert [source.name for source in live_sources("auto", unset.model_copy(update=keys))] == ["alpaca", "yahoo"]
    assert [source.name for source in live_sources("auto", unset)] == ["yahoo"]
    assert live_sources("simulated", unset) == []
    assert [source.name for source in live_sources("yahoo", unset)] == ["yahoo"]
    with pytest.raises(SourceError, match="APCA_API_KEY_ID"):
        live_sources("alpaca", unset)


def test_a_live_source_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(FeedError, match=r"There is no live source 'nope'\. The live sources are: alpaca, yahoo"):
        get_live_source("nope", Settings())
    assert {get_live_source(name, Settings()).name for name in LIVE_SOURCE_NAMES} == set(LIVE_SOURCE_NAMES)


def wanted(read: Callable[[Settings], Sequence[str]], *given: str) -> WantedSymbols:
    settings = Settings().model_copy(update={"symbols": "AAPL,MSFT", "home": Path("/absent")})
    return WantedSymbols(settings, tuple(given), read)


def test_symbols_are_those_given_else_the_watchlist_else_the_setting() -> None:
    assert wanted(lambda _: ["IBM"], "SPY")() == ("SPY",)
    assert wanted(lambda _: ["IBM", "SPY"])() == ("IBM", "SPY")
    assert wanted(lambda _: [])() == ("AAPL", "MSFT")


def test_while_the_watchlist_cannot_be_read_the_symbols_of_before_are_wanted() -> None:
    answers: list[list[str] | None] = [["IBM"], None, ["SPY"]]

    def read(_: Settings) -> list[str]:
        answer = answers.pop(0)
        if answer is None:
            msg = "away"
            raise ServiceError(msg)
        return answer

    symbols = wanted(read)
    assert [symbols(), symbols(), symbols()] == [("IBM",), ("IBM",), ("SPY",)]
