"""What of a vendor's answer is believed."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ingest.history.check import believe
from ingest.history.source import Ask
from market.records import Bar
from market.sessions import sessions_between
from warehouse.history import KnownClose, KnownCloses

WEEK = tuple(sessions_between(date(2013, 10, 7), date(2013, 10, 15)))
"""Seven sessions with a weekend between; the 14th, Columbus Day, is one."""
DAYS = Ask(("SPY", "IBM"), "1d", WEEK)
MINUTES = Ask(("SPY",), "5m", WEEK[:1])


def micros(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def bar(at: str, close: str = "100", *, interval: str = "1d", symbol: str = "SPY", **others: str) -> Bar:
    prices = {name: Decimal(others.get(name, close)) for name in ("open", "high", "low")}
    return Bar("x", symbol, interval, micros(at), **prices, close=Decimal(close), volume=int(others.get("volume", "5")))


def problems(ask: Ask, *bars: Bar) -> list[tuple[str, str]]:
    return [(problem.symbol, problem.code) for problem in believe(ask, bars).problems]


def test_bars_come_in_order_of_time_and_symbol_each_once() -> None:
    first, second = bar("2013-10-07 13:30"), bar("2013-10-08 13:30")
    other = bar("2013-10-07 13:30", symbol="IBM")
    found = believe(DAYS, [second, first, other, first, second])
    assert (found.bars, found.problems) == ([other, first, second], [])


@pytest.mark.parametrize(
    "wrong",
    [
        bar("2013-10-04 13:30"),  # the session before
        bar("2013-10-16 13:30"),
        bar("2013-10-07 13:30", symbol="MSFT"),
        bar("2013-10-07 13:30", interval="5m"),
    ],
)
def test_what_was_not_asked_for_is_passed_over(wrong: Bar) -> None:
    assert believe(DAYS, [wrong, bar("2013-10-08 13:30")]).bars == [bar("2013-10-08 13:30")]
    assert problems(DAYS, wrong) == []


def test_hours_before_the_open_and_after_the_close_are_passed_over() -> None:
    inside = [bar("2013-10-07 13:30", interval="5m"), bar("2013-10-07 19:55", interval="5m")]
    outside = [bar("2013-10-07 13:25", interval="5m"), bar("2013-10-07 20:00", interval="5m")]
    found = believe(MINUTES, [*inside, *outside])
    assert (found.bars, found.problems) == (inside, [])


def test_a_daily_bar_begins_with_its_session() -> None:
    assert problems(DAYS, bar("2013-10-08 14:30")) == [("SPY", "wrong_time")]  # an hour of daylight-saving time
    assert problems(DAYS, bar("2013-10-08 05:00")) == [("SPY", "wrong_time")]


def test_a_bar_that_begins_between_two_shows_a_wrong_clock() -> None:
    assert problems(MINUTES, bar("2013-10-07 13:31", interval="5m")) == [("SPY", "wrong_time")]


def test_a_bar_of_a_day_without_a_session_is_not_believed() -> None:
    assert problems(DAYS, bar("2013-10-12 13:30")) == [("SPY", "no_session")]


def test_two_different_bars_of_one_time_are_both_not_believed() -> None:
    found = believe(DAYS, [bar("2013-10-07 13:30"), bar("2013-10-07 13:30", "101"), bar("2013-10-08 13:30")])
    assert [one.ts for one in found.bars] == [micros("2013-10-08 13:30")]
    assert [problem.code for problem in found.problems] == ["contradicts_itself"]


@pytest.mark.parametrize(
    "prices", [{"low": "100.01"}, {"high": "99.99"}, {"low": "101", "open": "102"}, {"high": "99", "open": "98"}]
)
def test_prices_that_cannot_be_are_not_believed(prices: dict[str, str]) -> None:
    whole = {"open": "100", "high": "103", "low": "97"}
    assert problems(DAYS, bar("2013-10-07 13:30", **{**whole, **prices})) == [("SPY", "prices_out_of_order")]


def test_a_bar_in_cents_among_dollars_is_not_believed_and_its_neighbours_are() -> None:
    found = believe(DAYS, [bar("2013-10-07 13:30"), bar("2013-10-08 13:30", "10100"), bar("2013-10-09 13:30", "102")])
    assert [one.close for one in found.bars] == [100, 102]
    (problem,) = found.problems
    assert (problem.code, "10100" in problem.detail) == ("off_by_far", True)


def test_prices_that_move_far_and_stay_there_are_believed() -> None:
    bars = [bar("2013-10-07 13:30"), bar("2013-10-08 13:30", "1"), bar("2013-10-09 13:30", "1.1")]
    assert believe(DAYS, bars).bars == bars


def known(before: str | None = None, after: str | None = None) -> dict[str, KnownCloses]:
    first, last = micros("2013-10-04 13:30"), micros("2013-10-16 13:30")
    return {
        "SPY": KnownCloses(
            None if before is None else KnownClose("other", first, Decimal(before)),
            None if after is None else KnownClose("other", last, Decimal(after)),
        )
    }


FOUR_DAYS = ("2013-10-07 13:30", "2013-10-08 13:30", "2013-10-09 13:30", "2013-10-10 13:30")


@pytest.mark.parametrize(
    ("closes", "nearby", "believed"),
    [
        pytest.param("10000 10100 10200 10300", known("100"), "", id="all in cents, dollars before"),
        pytest.param("10000 10100 10200 10300", known(None, "100"), "", id="all in cents, dollars after"),
        pytest.param("1 1 1 1", known("100", "100"), "", id="a hundredth"),
        pytest.param("10000", known("100"), "", id="one bar in cents"),
        pytest.param("100 101 102 103", known("100", "1"), "100 101 102 103", id="near one of both: the share moved"),
        pytest.param("100 101 1 1.1", known("100"), "100 101 1 1.1", id="a jump that lasts"),
        pytest.param("100 101 102 1", known("100"), "100 101 102", id="a jump that only the newest bar has"),
        pytest.param("100 101 102 1", known("100", "1"), "100 101 102 1", id="a newest bar that the lake confirms"),
        pytest.param("100 101 1 1.1", known("100", "100"), "100 101", id="an end unlike what comes after"),
        pytest.param("1 1.1 100 101", known("100"), "100 101", id="a beginning unlike what comes before"),
        pytest.param("100 4999 100 101", known("100"), "100 4999 100 101", id="less than fifty times"),
        pytest.param("1 1 1 1", {}, "1 1 1 1", id="nothing known"),
    ],
)
def test_prices_have_to_be_near_what_is_known(closes: str, nearby: dict[str, KnownCloses], believed: str) -> None:
    bars = [bar(at, close) for at, close in zip(FOUR_DAYS, closes.split(), strict=False)]
    found = believe(DAYS, bars, nearby)
    assert [one.close for one in found.bars] == [Decimal(close) for close in believed.split()]
    assert [problem.code for problem in found.problems] == ["off_by_far"] * (len(bars) - len(found.bars))
    assert believe(DAYS, bars, nearby, accepts_jumps=True).bars == bars


def test_a_bar_without_volume_is_a_bar() -> None:
    assert len(believe(DAYS, [bar("2013-10-07 13:30", volume="0")]).bars) == 1
