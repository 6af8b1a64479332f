"""Bars of another clock are told from real ones: gaps, thin shares, pre and post bars, half-days and changes of the clocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.history.check import believe
from ingest.history.shifted import shifted
from ingest.history.source import Ask
from market.records import INTERVALS, Bar
from market.sessions import Session, sessions_between

MINUTE = 60 * 1_000_000
SESSIONS = tuple(sessions_between(date(2025, 10, 20), date(2026, 4, 10)))
"""Both changes of New York's clocks and of Europe's, and two half-days."""
INTRADAY = tuple(INTERVALS)
INTERIOR = 0.9
"""So much of an ordinary share's session has bars, beside those of its first and its last minutes."""


def start_of(session: Session) -> int:
    return round(session.open_at.timestamp()) * 1_000_000


def slots(session: Session, interval: str) -> int:
    return len(session.expected_bars(INTERVALS[interval]))


def bar(interval: str, ts: int, volume: float) -> Bar:
    price = Decimal(10)
    return Bar("csv", "SPY", interval, ts, price, price, price, price, max(1, int(volume)))


def regular(session: Session, interval: str, chance: np.random.Generator, fill: float, *, ends: bool) -> list[Bar]:
    """Bars of a session as they are, of which so many are there; with ``ends`` the first and the last are."""
    number = slots(session, interval)
    is_there = chance.random(number) < fill
    if ends:
        is_there[[0, -1]] = True
    step = INTERVALS[interval] * 1_000_000
    shape = 1 + 2 * np.abs(np.linspace(-1, 1, number)) ** 2  # more at the open and at the close
    volumes = 10_000 * shape * chance.lognormal(0, 0.5, number)
    return [bar(interval, start_of(session) + slot * step, volumes[slot]) for slot in np.flatnonzero(is_there).tolist()]


def beside(session: Session, interval: str, chance: np.random.Generator, fill: float) -> list[Bar]:
    """Pre and post bars: with little volume, but for the closing auction's."""
    step = INTERVALS[interval]
    found = []
    for moment in range(round(session.pre_open_at.timestamp()), round(session.post_close_at.timestamp()), 60):
        since_open = moment - round(session.open_at.timestamp())
        is_regular = 0 <= since_open < (session.close_at - session.open_at).total_seconds()
        if since_open % step == 0 and not is_regular and chance.random() < fill:
            volume = 500_000 if moment == round(session.close_at.timestamp()) else 200 * chance.lognormal(0, 0.5)
            found.append(bar(interval, moment * 1_000_000, volume))
    return found


def moved(bars: Sequence[Bar], minutes: int) -> list[Bar]:
    return [structs.replace(one, ts=one.ts + minutes * MINUTE) for one in bars]


def drawn_sessions(first: int, number: int) -> tuple[Session, ...]:
    return SESSIONS[first : first + number]


ranges = st.builds(drawn_sessions, st.integers(0, len(SESSIONS) - 5), st.integers(1, 5))
seeds = st.integers(0, 2**32)


@dataclass(frozen=True)
class Trading:
    """How much of a share's sessions has bars: of regular hours, of those before and after, and from which part until which."""

    fill: float
    pre: float
    post: float
    since: float = 0.0
    until: float = 1.0


parts = st.floats(0, 1)
trading = st.builds(Trading, st.floats(0.01, 1), parts, parts, parts, parts)


@settings(deadline=None, max_examples=150)
@given(ranges, st.sampled_from(INTRADAY), seeds, trading)
@example(SESSIONS[:1], "5m", 2, Trading(1, 1, 0, until=1 / 6.5))  # full pre hours, and a halt from 10:30 on
@example(SESSIONS[:1], "5m", 2, Trading(1, 0, 1, since=4 / 6.5))  # a first trade at 13:30, and full post hours
@example(
    drawn_sessions(46, 4), "1h", 2921275105, Trading(0.75, 0, 1, since=1, until=0)
)  # post bars alone, of a half-day too
@example(SESSIONS[:1], "1h", 2, Trading(1, 1, 1, until=0.5))
def test_a_real_tape_with_gaps_is_never_refused(
    sessions: tuple[Session, ...], interval: str, seed: int, share: Trading
) -> None:
    chance = np.random.default_rng(seed)
    bars: list[Bar] = []
    for session in sessions:
        own = regular(session, interval, chance, share.fill, ends=False)
        length = (session.close_at - session.open_at).total_seconds() * 1_000_000
        first, last = (start_of(session) + part * length for part in (share.since, share.until))
        is_halted = len(sessions) == 1 or chance.random() < 0.5
        bars += [one for one in own if first <= one.ts < last] if is_halted else own
        before, after = (part * share.fill for part in (share.pre, share.post))
        bars += [one for one in beside(session, interval, chance, before) if one.ts < start_of(session)]
        bars += [one for one in beside(session, interval, chance, after) if one.ts > start_of(session)]
    assert shifted(bars, interval).times == frozenset()


zone_shifts = st.sampled_from([hours * 60 for hours in (-6, -3, -2, -1, 4, 5, 6, 9, 13, 18)] + [570, 90, -30, 30])


@settings(deadline=None, max_examples=150)
@given(ranges, st.sampled_from(["5m", "1m"]), seeds, zone_shifts)
def test_an_ordinary_share_by_another_clock_is_always_refused_as_a_whole(
    sessions: tuple[Session, ...], interval: str, seed: int, minutes: int
) -> None:
    chance = np.random.default_rng(seed)
    bars = [one for session in sessions for one in regular(session, interval, chance, INTERIOR, ends=True)]
    found = shifted(moved(bars, minutes), interval)
    assert found.times == {one.ts + minutes * MINUTE for one in bars}
    assert {problem.code for problem in found.problems} == {"wrong_time"}


@pytest.mark.parametrize(
    ("interval", "minutes", "sessions"), [("15m", 60, 1), ("15m", -60, 1), ("1h", 240, 1), ("1h", -60, 4)]
)
def test_longer_bars_by_another_clock_are_refused(interval: str, minutes: int, sessions: int) -> None:
    chance = np.random.default_rng(1)
    bars = [one for session in SESSIONS[:sessions] for one in regular(session, interval, chance, 1, ends=True)]
    assert len(shifted(moved(bars, minutes), interval).times) == len(bars)


@pytest.mark.parametrize("interval", ["1m", "5m", "15m"])
def test_bars_that_bear_the_time_of_their_end_are_refused_if_four_sessions_say_so(interval: str) -> None:
    chance = np.random.default_rng(1)
    minutes = INTERVALS[interval] // 60
    for sessions, expected in ((3, 0), (4, 4)):
        bars = [one for session in SESSIONS[:sessions] for one in regular(session, interval, chance, 1, ends=True)]
        found = shifted(moved(bars, minutes), interval)
        assert len(found.times) == (len(bars) if expected else 0)
        said = [problem.detail for problem in found.problems]
        assert len(said) == expected // 4
        assert all(
            f"from 09:{30 + minutes} to 16:00 New York, {minutes} minutes late: as if they" in one for one in said
        )


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        (4, "from 13:30 to 19:55 New York, 4 hours late: as if written by a clock of UTC+00:00"),
        (-1, "from 08:30 to 14:55 New York, 1 hour early: as if written by a clock of UTC-05:00"),
        (9.5, "from 19:00 to 01:25 New York, 9.5 hours late: as if written by a clock of UTC+05:30"),
    ],
)
def test_the_likely_clock_is_named(shift: float, said: str) -> None:
    chance = np.random.default_rng(1)
    bars = moved(regular(SESSIONS[0], "5m", chance, 1, ends=True), round(shift * 60))
    (problem,) = shifted(bars, "5m").problems
    assert said in problem.detail


def test_sessions_of_another_clock_among_right_ones_are_refused_alone() -> None:
    chance = np.random.default_rng(1)
    right = [one for session in SESSIONS[:8] for one in regular(session, "5m", chance, 1, ends=True)]
    wrong = moved([one for session in SESSIONS[8:12] for one in regular(session, "5m", chance, 1, ends=True)], -60)
    assert shifted([*right, *wrong], "5m").times == {one.ts for one in wrong}


def test_nothing_of_an_answer_by_another_clock_is_believed_and_it_is_said_once() -> None:
    chance = np.random.default_rng(1)
    bars = moved([one for session in SESSIONS[:3] for one in regular(session, "5m", chance, 1, ends=True)], 240)
    found = believe(Ask(("SPY",), "5m", SESSIONS[:3]), bars)
    assert (list(found.bars), [problem.code for problem in found.problems]) == ([], ["wrong_time"])
    assert found.problems[0].detail.startswith("3 sessions are shifted: on 2025-10-20 the bars lie from 13:30 to 19:55")
