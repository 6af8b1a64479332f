"""A quota that ends midway: what was answered is published and remembered, the rest is said, and asked for the next time."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.backfill import _say_when_to_come_again
from ingest.feeds.alphavantage.history import AlphaVantageHistory
from ingest.history.backfill import Offsets, run_backfill
from ingest.history.fetch import Pace
from ingest.history.plan import make_plan
from ingest.history.source import Ask, Limit, QuotaUsedUpError
from ingest.history.summary import Summary
from market.records import Bar
from market.sessions import sessions_between
from market.settings import Settings
from tests.unit.ingest.history.alphavantage_server import (
    KEY,
    TOO_FAST,
    USED_UP,
    AlphaVantageServer,
    Row,
    running_alphavantage,
    said,
)
from warehouse.collected_history import Collected
from warehouse.history import KnownCloses

NOW = datetime(2024, 7, 1, 12, 0, tzinfo=UTC)
SESSIONS = tuple(sessions_between(date(2024, 1, 2), date(2024, 6, 28)))
"""Six months."""
SYMBOLS = ("IBM", "SPY")


@dataclass
class PlayedDoor:
    """A lake that takes in all at once, and what was remembered of it."""

    published: list[Bar] = field(default_factory=list)
    remembered: dict[str, set[date]] = field(default_factory=dict)
    collected: list[Collected] = field(default_factory=list)

    def known_closes(self, ask: Ask) -> Mapping[str, KnownCloses]:
        assert ask.symbols
        return {}

    def first_sessions(self, symbols: Collection[str]) -> Mapping[str, date]:
        assert symbols
        return {}

    def publish(self, bars: Sequence[Bar]) -> None:
        self.published += bars

    def settle(self) -> Offsets:
        return {("market.bars.v1", 0): len(self.published)}

    def arrived(self) -> Offsets:
        return self.settle()

    def remember(self, collected: Collection[Collected]) -> Collection[str]:
        self.collected += collected
        for one in collected:
            days = self.remembered.setdefault(one.symbol, set())
            assert not days & {session.session_date for session in one.sessions}, "asked for twice"
            days |= {session.session_date for session in one.sessions}
        return ()

    def missing(self) -> dict[str, list[tuple[int, int]]]:
        """Return what is not remembered, by symbol: the last months, for the first ones come first."""
        found = {}
        for symbol in SYMBOLS:
            numbers = [
                number
                for number, session in enumerate(SESSIONS)
                if session.session_date not in self.remembered.get(symbol, set())
            ]
            if numbers:
                assert numbers == list(range(numbers[0], len(SESSIONS)))
                found[symbol] = [(numbers[0], len(SESSIONS))]
        return found


@pytest.fixture
def server() -> Iterator[AlphaVantageServer]:
    """Has an hour of each session of both shares."""
    with running_alphavantage() as running:
        for symbol in SYMBOLS:
            rows: list[Row] = [(f"{one.session_date} 09:30:00", "10", "11", "9", "10", "5") for one in SESSIONS]
            running.rows[symbol, "60min"] = rows
        yield running


def backfill(server: AlphaVantageServer, door: PlayedDoor, limits: Path, limit: Limit | None = None) -> Summary:
    update = {"alphavantage_url": server.url, "alphavantage_api_key": SecretStr(KEY)}
    settings = Settings(_env_file=None).model_copy(update=update)
    source = AlphaVantageHistory(settings, now=lambda: NOW, least_seconds=0)
    stop = threading.Event()
    plan = make_plan(SYMBOLS, SESSIONS, door.missing(), source.offers["1h"], today=NOW.date(), limit=source.limit)
    pace = Pace(limit or source.limit, limits, stop)
    try:
        return run_backfill(source, plan, door, pace, stop=stop)
    finally:
        pace.close()


def months(server: AlphaVantageServer) -> list[tuple[str, str]]:
    return [(request["symbol"], request["month"]) for request in server.requests]


ALL = [(symbol, f"2024-{month:02}") for symbol in SYMBOLS for month in range(1, 7)]


def test_the_vendors_word_that_the_quota_is_used_up_keeps_the_months_before_and_the_next_run_asks_for_the_rest(
    server: AlphaVantageServer, tmp_path: Path
) -> None:
    door = PlayedDoor()
    as_it_should_be = server.answer

    def answer(path: str, request: dict[str, str]) -> tuple[int, bytes]:
        return as_it_should_be(path, request) if len(server.requests) <= 4 else said("Information", USED_UP)

    server.answer = answer  # type: ignore[method-assign]
    summary = backfill(server, door, tmp_path / "limits.sqlite")
    assert months(server) == ALL[:5], "four were answered, and nobody else was asked after the fifth"
    of_four_months = sum(session.session_date.month <= 4 for session in SESSIONS)
    assert len(door.published) == len(door.remembered["IBM"]) == of_four_months
    assert summary.quota is not None
    assert summary.quota.again_at == NOW + timedelta(days=1)
    assert [(symbol, result.collected, result.asked) for symbol, result in summary.symbols.items()] == [
        ("IBM", of_four_months, len(SESSIONS)),
        ("SPY", 0, len(SESSIONS)),
    ]
    assert all("a day are used up" in result.reason for result in summary.symbols.values())

    server.requests.clear()
    server.answer = as_it_should_be  # type: ignore[method-assign]
    assert backfill(server, door, tmp_path / "another day.sqlite").is_done
    assert months(server) == [*ALL[6:], *ALL[4:6]], "the older sessions first"
    assert len(door.published) == 2 * len(SESSIONS)
    assert door.missing() == {}


def test_a_quota_that_we_count_ends_the_run_at_once_and_says_when_to_come_again(
    server: AlphaVantageServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door, limit = PlayedDoor(), Limit(8, 86_400)
    before = datetime.now(UTC)
    summary = backfill(server, door, tmp_path / "limits.sqlite", limit)
    assert months(server) == ALL[:8]
    assert summary.quota is not None
    assert summary.quota.again_at is not None
    assert before + timedelta(hours=23) < summary.quota.again_at <= datetime.now(UTC) + timedelta(days=1)
    left = sum(session.session_date.month > 2 for session in SESSIONS)
    _say_when_to_come_again(summary)
    assert capsys.readouterr().err == (
        f"The 8 requests that the source allows in 24 hours are used up. {left} sessions of 1 symbols are missing still: run the "
        f"same command again after {summary.quota.again_at:%Y-%m-%d %H:%M} UTC. It asks for nothing else.\n"
    )
    server.requests.clear()
    again = backfill(server, door, tmp_path / "limits.sqlite", limit)
    assert (server.requests, again.bars) == ([], 0), "on the same day nobody is asked"
    assert backfill(server, door, tmp_path / "another day.sqlite", limit).is_done
    assert months(server) == ALL[8:]


def test_a_month_that_is_asked_again_does_not_ask_for_those_before_it(
    server: AlphaVantageServer, tmp_path: Path
) -> None:
    door = PlayedDoor()
    as_it_should_be = server.answer

    def answer(path: str, request: dict[str, str]) -> tuple[int, bytes]:
        return said("Information", TOO_FAST) if len(server.requests) == 4 else as_it_should_be(path, request)

    server.answer = answer  # type: ignore[method-assign]
    assert backfill(server, door, tmp_path / "limits.sqlite").is_done
    assert months(server) == [*ALL[:4], *ALL[3:]]


def test_a_stop_in_the_middle_of_an_ask_keeps_its_months(server: AlphaVantageServer, tmp_path: Path) -> None:
    update = {"alphavantage_url": server.url, "alphavantage_api_key": SecretStr(KEY)}
    source = AlphaVantageHistory(Settings(_env_file=None).model_copy(update=update), now=lambda: NOW, least_seconds=0)
    door, stop = PlayedDoor(), threading.Event()
    plan = make_plan(SYMBOLS, SESSIONS, door.missing(), source.offers["1h"], today=NOW.date(), limit=source.limit)
    as_it_should_be = server.answer

    def answer(path: str, request: dict[str, str]) -> tuple[int, bytes]:
        if len(server.requests) == 3:
            stop.set()
        return as_it_should_be(path, request)

    server.answer = answer  # type: ignore[method-assign]
    pace = Pace(source.limit, tmp_path / "limits.sqlite", stop)
    summary = run_backfill(source, plan, door, pace, stop=stop)
    pace.close()
    assert summary.stopped
    assert months(server) == ALL[:3]
    assert len(door.remembered["IBM"]) == sum(session.session_date.month <= 3 for session in SESSIONS)


YEARS = tuple(sessions_between(date(2023, 7, 3), date(2024, 11, 20)))
"""Seventeen months."""
HOLES = [(0, 5), (8, 30), (33, 34), (120, 130), (131, 140), (141, 160), (340, 341), (343, len(YEARS))]


@pytest.mark.parametrize(
    ("missing", "number"),
    [
        ({"IBM": [(0, len(YEARS))]}, 17),
        ({"IBM": [(0, len(YEARS))], "SPY": [(0, len(YEARS))]}, 34),
        ({"IBM": HOLES}, 6),
        ({"IBM": HOLES, "SPY": [(first + 1, last) for first, last in HOLES if last - first > 1]}, 12),
    ],
)
def test_as_many_requests_are_made_as_are_planned_and_no_month_is_asked_for_twice(
    server: AlphaVantageServer, tmp_path: Path, missing: dict[str, list[tuple[int, int]]], number: int
) -> None:
    update = {"alphavantage_url": server.url, "alphavantage_api_key": SecretStr(KEY)}
    source = AlphaVantageHistory(Settings(_env_file=None).model_copy(update=update), now=lambda: NOW, least_seconds=0)
    door, stop = PlayedDoor(), threading.Event()
    plan = make_plan(SYMBOLS, YEARS, missing, source.offers["1h"], today=NOW.date(), limit=source.limit)
    pace = Pace(None, tmp_path / "limits.sqlite", stop)
    summary = run_backfill(source, plan, door, pace, stop=stop)
    pace.close()
    wanted = {
        (symbol, f"{session.session_date:%Y-%m}")
        for symbol, ranges in missing.items()
        for first, last in ranges
        for session in YEARS[first:last]
    }
    assert (len(wanted), set(months(server))) == (number, wanted)
    assert plan.requests == summary.requests == len(server.requests) == number
    asked = {symbol: sum(last - first for first, last in ranges) for symbol, ranges in missing.items()}
    assert {symbol: len(days) for symbol, days in door.remembered.items()} == asked
    of_months = {(bar.symbol, bar.ts) for bar in door.published}
    assert len(door.published) == len(of_months)


def unlisted_until(server: AlphaVantageServer, tmp_path: Path, month: str, reply: str, number: int) -> PlayedDoor:
    """Ask for IBM, which is called invalid before a month, while one request is answered with something else."""
    door = PlayedDoor()
    as_it_should_be = server.answer

    def answer(path: str, request: dict[str, str]) -> tuple[int, bytes]:
        return said("Information", reply) if len(server.requests) == number else as_it_should_be(path, request)

    server.answer = answer  # type: ignore[method-assign]
    server.months_before_listing = {of for _, of in ALL if of < month}
    backfill(server, door, tmp_path / "limits.sqlite")
    server.answer = as_it_should_be  # type: ignore[method-assign]
    return door


def test_a_symbol_that_was_called_invalid_until_the_quota_ended_is_unknown_and_not_without_bars(
    server: AlphaVantageServer, tmp_path: Path
) -> None:
    door = unlisted_until(server, tmp_path, "2024-07", USED_UP, 4)
    assert months(server) == ALL[:4]
    (one,) = door.collected
    days = [session for session in SESSIONS if session.session_date.month <= 3]
    assert (one.symbol, one.is_unknown, list(one.sessions)) == ("IBM", True, days)


def test_months_that_were_called_invalid_are_not_asked_again_after_a_failure_and_do_not_make_the_symbol_unknown(
    server: AlphaVantageServer, tmp_path: Path
) -> None:
    door = unlisted_until(server, tmp_path, "2024-04", TOO_FAST, 4)
    assert months(server) == [*ALL[:4], *ALL[3:]]
    assert [(one.symbol, one.is_unknown) for one in door.collected] == [("IBM", False), ("SPY", False)]
    assert all(len(one.sessions) == len(SESSIONS) for one in door.collected)


def test_a_short_limit_is_waited_for_and_never_a_quota(tmp_path: Path) -> None:
    pace = Pace(Limit(1, 0.2), tmp_path / "limits.sqlite", threading.Event())
    pace()
    pace()
    assert pace.requests == 2
    pace.close()
    day = Pace(Limit(1, 86_400), tmp_path / "day.sqlite", threading.Event())
    day()
    with pytest.raises(QuotaUsedUpError, match="The 1 requests that the source allows in 24 hours are used up"):
        day()
    day.close()
