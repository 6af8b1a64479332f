"""Bars of another length than was declared are told from those of thin shares, halts, odd opens and single strays."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.feeds.csv.history import CsvHistory
from ingest.history.check import believe
from ingest.history.lengths import mismeasured
from ingest.history.source import Ask
from market.records import INTERVALS, Bar
from market.sessions import EXCHANGE_ZONE, Session, sessions_between

SESSIONS = tuple(sessions_between(date(2025, 10, 20), date(2026, 4, 10)))
"""Both changes of New York's clocks and two half-days."""
LENGTHS = tuple(INTERVALS)


def bars_at(session: Session, apart: int, declared: str) -> list[Bar]:
    """Return bars of a session so many seconds apart, declared as of a length."""
    start, end = (round(moment.timestamp()) for moment in (session.open_at, session.close_at))
    return [bar(ts, declared) for ts in range(start, end, apart)]


def bar(seconds: int, declared: str) -> Bar:
    price = Decimal(10)
    return Bar("csv", "SPY", declared, seconds * 1_000_000, price, price, price, price, 100)


def some(bars: Sequence[Bar], fill: float, chance: np.random.Generator) -> list[Bar]:
    return [one for one in bars if chance.random() < fill]


seeds = st.integers(0, 2**32)
numbers = st.tuples(st.integers(0, len(SESSIONS) - 1), st.integers(1, 20))


@settings(deadline=None, max_examples=200)
@given(numbers, st.sampled_from(LENGTHS), seeds, st.floats(0.005, 1), st.floats(0.005, 1))
def test_a_real_tape_is_never_refused_however_thin(
    drawn: tuple[int, int], interval: str, seed: int, fill: float, opening: float
) -> None:
    chance = np.random.default_rng(seed)
    first, number = drawn
    bars = []
    for session in SESSIONS[first : first + number]:
        every = bars_at(session, INTERVALS[interval], interval)
        # The auctions have bars where nothing else has.
        bars += [
            *some(every[:1], opening, chance),
            *some(every[1:-1], fill, chance),
            *some(every[-1:], opening, chance),
        ]
    assert mismeasured(bars, interval).times == frozenset()


WRONG = [
    (apart, declared)
    for declared in LENGTHS
    for apart in (60, 120, 300, 600, 900, 1800, 3600)
    if apart != INTERVALS[declared] and (apart < INTERVALS[declared] or declared != "1h")
]


@pytest.mark.parametrize(("apart", "declared"), WRONG)
@pytest.mark.parametrize("fill", [1, 0.6])
def test_bars_of_another_length_are_refused_as_a_whole_and_said_once(apart: int, declared: str, fill: float) -> None:
    chance = np.random.default_rng(1)
    bars = [one for session in SESSIONS[:12] for one in some(bars_at(session, apart, declared), fill, chance)]
    found = mismeasured(bars, declared)
    assert found.times == {one.ts for one in bars}
    assert found.is_all
    (problem,) = found.problems
    assert (problem.symbol, problem.code) == ("SPY", "wrong_length")
    own = {seconds: name for name, seconds in INTERVALS.items()}.get(apart)
    said = f"of {own} do" if own else f"of {apart // 60} minutes do"
    remedy = f"--interval {own}" if own else "the lengths that can be kept are 1m, 5m, 15m, 1h"
    assert said in problem.detail
    assert problem.detail.endswith(remedy)


@pytest.mark.parametrize(("apart", "declared"), [(300, "1m"), (60, "5m"), (900, "5m"), (60, "1h")])
def test_one_session_of_another_length_is_enough(apart: int, declared: str) -> None:
    bars = bars_at(SESSIONS[0], apart, declared)
    assert len(mismeasured(bars, declared).times) == len(bars)


def test_bars_of_less_than_a_minute_are_of_no_length() -> None:
    (problem,) = mismeasured(bars_at(SESSIONS[0], 10, "5m"), "5m").problems
    assert "of less than a minute do, not of 5m: the lengths that can be kept are" in problem.detail


def test_a_thin_share_declared_as_five_minutes_is_refused_too() -> None:
    chance = np.random.default_rng(1)
    bars = [one for session in SESSIONS[:40] for one in some(bars_at(session, 60, "5m"), 0.005, chance)]
    assert len(bars) < 120
    assert mismeasured(bars, "5m").is_all


@pytest.mark.parametrize(("apart", "declared"), [(60, "5m"), (300, "1m")])
def test_single_sessions_of_another_length_are_refused_alone(apart: int, declared: str) -> None:
    right = [one for session in SESSIONS[:100] for one in bars_at(session, INTERVALS[declared], declared)]
    wrong = [one for session in SESSIONS[100:102] for one in bars_at(session, apart, declared)]
    found = mismeasured([*wrong, *right], declared)
    assert found.times == {one.ts for one in wrong}
    assert not found.is_all
    (problem,) = found.problems
    assert problem.detail.startswith(f"bars of 2 sessions from {SESSIONS[100].session_date} on lie as those of ")


@pytest.mark.parametrize("minutes", [2, 7])
def test_a_session_that_opened_late_and_single_strays_are_left_to_the_grid(minutes: int) -> None:
    bars = [one for session in SESSIONS[:4] for one in bars_at(session, 300, "5m")]
    late = [structs.replace(one, ts=one.ts + minutes * 60_000_000) for one in bars_at(SESSIONS[4], 300, "5m")]
    strays = [structs.replace(bars[number], ts=bars[number].ts + 60_000_000) for number in (5, 90, 300)]
    assert mismeasured([*bars, *late[:-2], *strays], "5m").times == frozenset()


@pytest.mark.parametrize("interval", LENGTHS[1:])
@pytest.mark.parametrize(("sessions", "strays"), [(1, 1), (1, 2), (40, 1), (40, 2)])
def test_strays_of_every_session_do_not_take_the_good_bars_with_them(interval: str, sessions: int, strays: int) -> None:
    bars = []
    for session in SESSIONS[:sessions]:
        good = bars_at(session, INTERVALS[interval], interval)
        odd = [structs.replace(one, ts=one.ts + 61_000_000) for one in good[2 : 2 + strays]]
        bars += [*good, *odd]
    assert mismeasured(bars, interval).times == frozenset()


def test_a_share_with_its_auctions_alone_is_believed() -> None:
    for interval in LENGTHS:
        every = [bars_at(session, INTERVALS[interval], interval) for session in SESSIONS]
        for ends in ([0], [-1], [0, -1]):
            assert mismeasured([of[end] for of in every for end in ends], interval).times == frozenset()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(("written", "declared"), [("5m", "1m"), ("1m", "5m")])
def test_nothing_of_a_file_of_another_length_is_believed(
    tmp_path: Path, suffix: str, written: str, declared: str
) -> None:
    path = tmp_path / f"bars.{suffix}"
    times = [
        datetime.fromtimestamp(one.ts / 1e6, EXCHANGE_ZONE).isoformat()
        for one in bars_at(SESSIONS[0], INTERVALS[written], written)
    ]
    rows = pl.DataFrame({"symbol": "SPY", "timestamp": times, **dict.fromkeys(("open", "high", "low", "close"), 10)})
    rows = rows.with_columns(volume=100)
    rows.write_csv(path) if suffix == "csv" else rows.write_parquet(path)
    for interval, number in ((declared, 0), (written, len(times))):
        ask = Ask(("SPY",), interval, SESSIONS[:1])
        found = believe(ask, CsvHistory(path).fetch(ask, lambda: None).bars)
        assert len(found.bars) == number
        assert [problem.code for problem in found.problems] == ["wrong_length"] * (not number)
