"""Which sessions count as collected when something of an answer is bad: all that it is not about."""

import threading
from dataclasses import replace
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.history.source import Answer, Problem
from market.sessions import EXCHANGE_ZONE
from tests.unit.ingest.history.test_backfilling import SESSIONS, PlayedDoor, PlayedSource, bar, plan_of, run


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def test_sessions_that_no_bad_bar_is_of_are_remembered(tmp_path: Path, stop: threading.Event) -> None:
    bars = [bar("BAD", session) for session in SESSIONS]
    bars[2] = bar("BAD", SESSIONS[2], low=Decimal(101))
    door = PlayedDoor()
    result = run(PlayedSource({"BAD": Answer(bars)}), door, plan_of("BAD"), tmp_path, stop).symbols["BAD"]
    assert [(one.sessions, one.without_bars) for one in door.remembered] == [(SESSIONS[:2], ()), (SESSIONS[3:], ())]
    assert (result.bars, result.collected, result.is_done) == (4, 4, False)


@pytest.mark.parametrize("begins_at", [time(0), time(9, 30)])
def test_a_day_in_summer_that_is_in_doubt_is_the_day_of_its_row(
    tmp_path: Path, stop: threading.Event, begins_at: time
) -> None:
    """Midnight in New York is an hour before midnight by its standard time, half of the year."""
    ts = round(datetime.combine(SESSIONS[1].session_date, begins_at, EXCHANGE_ZONE).timestamp()) * 1_000_000
    bars = [bar("BAD", session) for session in SESSIONS if session != SESSIONS[1]]
    door = PlayedDoor()
    answer = Answer(bars, [Problem("BAD", "not_a_number", "close", ts)])
    run(PlayedSource({"BAD": answer}), door, plan_of("BAD"), tmp_path, stop)
    assert [one.sessions for one in door.remembered] == [SESSIONS[:1], SESSIONS[2:]]


def test_a_month_of_no_use_leaves_the_others(tmp_path: Path, stop: threading.Event) -> None:
    months = Problem("BAD", "wrong_symbol", "of another", months=("2013-11",))
    for problem, remembered in ((months, [SESSIONS]), (replace(months, months=("2013-10",)), [])):
        door = PlayedDoor()
        answer = Answer([bar("BAD", session) for session in SESSIONS], [problem])
        run(PlayedSource({"BAD": answer}), door, plan_of("BAD"), tmp_path, stop)
        assert [one.sessions for one in door.remembered] == remembered


@pytest.mark.parametrize(
    "problem", [Problem("BAD", "not_a_number", "no place"), Problem("BAD", "wrong_time", "early", 1)]
)
def test_what_is_about_no_session_in_particular_is_about_all(
    tmp_path: Path, stop: threading.Event, problem: Problem
) -> None:
    door = PlayedDoor()
    run(PlayedSource({"BAD": Answer([bar("BAD", SESSIONS[0])], [problem])}), door, plan_of("BAD"), tmp_path, stop)
    assert door.remembered == []
