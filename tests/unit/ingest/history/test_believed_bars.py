"""What of a vendor's answer is believed."""

import dataclasses
import itertools
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.history.check import Believed, believe
from ingest.history.source import Ask
from market.records import Bar, encode
from market.sessions import sessions_between
from spark_jobs.transforms.kinds import VENDOR_BARS
from tests.unit.spark_jobs.messages import decoded
from warehouse.history import KnownClose, KnownCloses, KnownSplit

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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"low": "0"}, "low 0"),
        ({"low": "-3"}, "low -3"),
        ({"low": "0.0000001"}, "low 1E-7"),
        ({"open": "100.0000001"}, "open 100.0000001"),
        ({"high": "1000000000000"}, "high 1000000000000"),
        ({"high": "1e300"}, "high 1E+300"),
        ({"high": "Infinity"}, "high Infinity"),
        ({"close": "NaN", "open": "100", "high": "100", "low": "100"}, "close NaN"),
        ({"volume": "-7"}, "volume -7"),
        ({"volume": "1000000000000001"}, "volume 1000000000000001"),
        ({"volume": f"1{'0' * 300}"}, "volume 1"),
        ({"low": "-3", "volume": "-7"}, "low -3, volume -7"),
    ],
)
def test_a_value_that_no_message_can_hold_is_not_believed_even_if_jumps_are(values: dict[str, str], said: str) -> None:
    for accepts_jumps in (False, True):
        found = believe(DAYS, [bar("2013-10-07 13:30", **values)], accepts_jumps=accepts_jumps)
        (problem,) = found.problems
        assert (found.bars, problem.code, said in problem.detail) == ([], "impossible_value", True), problem
        assert len(problem.detail) < 300


def test_the_largest_and_the_smallest_values_that_a_message_can_hold_are_believed() -> None:
    largest = bar("2013-10-07 13:30", "999999999999.999999", volume="1000000000000000")
    smallest = bar("2013-10-07 13:30", "0.00000100", symbol="IBM", volume="0")
    assert believe(DAYS, [largest, smallest]).bars == [smallest, largest]


PRICES = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True),
    st.decimals("-0.000002", "0.000002", places=7),
    st.decimals("999999999999.99999", "1000000000000.00001", places=7),
    st.decimals("1", "1000", places=6),
)
VOLUMES = st.integers(-2, 2) | st.integers(10**15 - 2, 10**15 + 2) | st.integers()


@settings(deadline=None)  # the first message loads the calendar
@given(st.tuples(PRICES, PRICES, PRICES, PRICES, VOLUMES), st.booleans())
def test_what_is_believed_is_not_quarantined(
    values: tuple[Decimal, Decimal, Decimal, Decimal, int], is_in_order: bool
) -> None:
    opened, high, low, close, volume = values
    if is_in_order and not any(price.is_nan() for price in values[:4]):
        low, opened, close, high = sorted(values[:4])
    strange = Bar("x", "SPY", "1d", micros("2013-10-07 13:30"), opened, high, low, close, volume)
    for believed in believe(DAYS, [strange], accepts_jumps=True).bars:
        assert decoded(VENDOR_BARS, [encode(believed)])[0]["reason"] is None


def test_a_bar_in_cents_among_dollars_is_not_believed_and_its_neighbours_are() -> None:
    found = believe(DAYS, [bar("2013-10-07 13:30"), bar("2013-10-08 13:30", "10100"), bar("2013-10-09 13:30", "102")])
    assert [one.close for one in found.bars] == [100, 102]
    (problem,) = found.problems
    assert (problem.code, "10100" in problem.detail) == ("off_by_far", True)


def known(before: str | None = None, after: str | None = None) -> dict[str, KnownCloses]:
    first, last = micros("2013-10-04 13:30"), micros("2013-10-16 13:30")
    return {
        "SPY": KnownCloses(
            None if before is None else KnownClose("other", first, Decimal(before)),
            None if after is None else KnownClose("other", last, Decimal(after)),
        )
    }


MORE_WEEKS = Ask(("SPY",), "1d", tuple(sessions_between(date(2013, 10, 7), date(2013, 11, 1))))
OPENS = [round(session.open_at.timestamp()) * 1_000_000 for session in MORE_WEEKS.sessions]


def at_closes(closes: str) -> list[Bar]:
    days = [f"{session.session_date} 13:30" for session in MORE_WEEKS.sessions]
    return [bar(day, close) for day, close in zip(days, closes.split(), strict=False)]


@pytest.mark.parametrize(
    ("closes", "nearby", "believed"),
    [
        pytest.param("10000 10100 10200 10300", known("100"), "", id="all in cents, dollars before"),
        pytest.param("10000 10100 10200 10300", known(None, "100"), "", id="all in cents, dollars after"),
        pytest.param("1 1 1 1", known("100", "100"), "", id="a hundredth"),
        pytest.param("10000", known("100"), "", id="one bar in cents"),
        pytest.param("100 101 102 103", known("100", "1"), "100 101 102 103", id="near one of both: the share moved"),
        pytest.param("100 1 1.1 1 1.2 1", known("100"), "100 1 1.1 1 1.2 1", id="a jump that lasts"),
        pytest.param("100 1 1.1 1 1.2", known("100"), "100", id="a jump that only the newest four bars have"),
        pytest.param("1 1 1 1 1 9 90 91 92 93 94", {}, "1 1 1 1 1 9 90 91 92 93 94", id="not far from one to the next"),
        pytest.param("1 1 1 1 1 90 90 90 90 90", {}, "1 1 1 1 1 90 90 90 90 90", id="two levels of five bars each"),
        pytest.param("1 1 1 1 1 90 90 90 90", {}, "1 1 1 1 1", id="the second of two levels is too short"),
        pytest.param("1 1 1 1 90 90 90 90 90", {}, "90 90 90 90 90", id="the first of two levels is too short"),
        pytest.param("1 1 1 90 90", {}, "1 1 1", id="the longer of two short levels"),
        pytest.param("1 1 90 90", {}, "", id="two short levels of one length"),
        pytest.param("1 1 90 90", known("1"), "1 1", id="of two short levels that which the lake confirms"),
        pytest.param("1 1 90 90", known(None, "90"), "90 90", id="the same at the other end"),
        pytest.param("1 1 1 90 90 90 90 90 1 1 1", {}, "1 1 1 1 1 1", id="away for five bars among six"),
        pytest.param("1 90 90 90 90 90 90 1", {}, "90 90 90 90 90 90", id="back at the end for one bar"),
        pytest.param("1 90 90 90 90 90 90 1", known("1"), "1 1", id="back at the end, at what the lake has"),
        pytest.param("1 90 90 1", {}, "", id="as many away as around"),
        pytest.param("100 101 102 1", known("100"), "100 101 102", id="a jump that only the newest bar has"),
        pytest.param("100 101 102 1 1", {}, "100 101 102", id="a jump that only the newest two bars have"),
        pytest.param("100 101 102 1", known("100", "1"), "100 101 102 1", id="a newest bar that the lake confirms"),
        pytest.param("100 101 1 1.1", known("100", "100"), "100 101", id="an end unlike what comes after"),
        pytest.param("1 1.1 100 101", known("100"), "100 101", id="a beginning unlike what comes before"),
        pytest.param("100 4999 100 101", known("100"), "100 4999 100 101", id="less than fifty times"),
        pytest.param("1 1 1 1", {}, "1 1 1 1", id="nothing known"),
    ],
)
def test_prices_have_to_be_near_what_is_known(closes: str, nearby: dict[str, KnownCloses], believed: str) -> None:
    bars = at_closes(closes)
    found = believe(MORE_WEEKS, bars, nearby)
    assert [one.close for one in found.bars] == [Decimal(close) for close in believed.split()]
    assert [problem.code for problem in found.problems] == ["off_by_far"] * (len(bars) - len(found.bars))


@pytest.mark.parametrize("closes", ["100 1", "1 1 90 90", "100 100 100 1", "1 10000 1000000", "10000"])
def test_prices_that_move_far_and_stay_are_believed_if_jumps_are(closes: str) -> None:
    bars = at_closes(closes)
    assert believe(MORE_WEEKS, bars, known("50", "50")).bars != bars
    assert believe(MORE_WEEKS, bars, known("50", "50"), accepts_jumps=True).bars == bars


def test_prices_that_jump_away_and_back_are_not_believed_even_if_jumps_are() -> None:
    found = believe(MORE_WEEKS, at_closes("100 101 1 102"), accepts_jumps=True)
    assert [one.close for one in found.bars] == [100, 101, 102]


def split(day: str, times: str, source: str = "yahoo") -> KnownSplit:
    return KnownSplit(source, micros(f"{day} 04:00"), Decimal(times))


@pytest.mark.parametrize(
    ("closes", "nearby", "believed"),
    [
        ("50 51", ("1", None), "50 51"),
        ("1 50", ("1", None), "1 50"),
        ("1 1 60 61", (None, None), "1 1 60 61"),
        ("1 1", (None, "60"), "1 1"),
        ("60 1 60 60", ("1", None), "60 60 60"),  # back before the split is none
        ("100 100", ("0.01", None), ""),  # far, also with the split
        ("1 1 1", ("1", None), "1 1 1"),  # the split may be wrong
    ],
)
def test_a_known_split_explains_a_jump_at_its_day_and_no_other(
    closes: str, nearby: tuple[str | None, str | None], believed: str
) -> None:
    bars = at_closes(closes)
    beside = known(*nearby).get("SPY", KnownCloses())
    first = next((number for number, one in enumerate(bars) if one.close >= 50), len(bars))
    day = f"{datetime.fromtimestamp(OPENS[first] / 1e6, UTC):%Y-%m-%d}"
    # Another source dates the same split later: counted together they would be 2,500 times.
    splits = (split(day, "50"), split("2013-10-30", "50", "alpaca"))
    found = believe(MORE_WEEKS, bars, {"SPY": dataclasses.replace(beside, splits=splits)})
    assert [one.close for one in found.bars] == [Decimal(close) for close in believed.split()]
    without = believe(MORE_WEEKS, bars, {"SPY": beside})
    assert (len(without.bars) < len(bars)) == (closes != "1 1 1")


def test_an_answer_that_jumps_all_the_time_is_not_believed_at_all() -> None:
    minutes = Ask(("SPY",), "1m", WEEK[:1])
    start = micros("2013-10-07 13:30")
    bars = [bar("2013-10-07 13:30", close, interval="1m") for close in ("100", "10000") for _ in range(3)] * 60
    bars = [msgspec.structs.replace(one, ts=start + number * 60_000_000) for number, one in enumerate(bars)]
    found = believe(minutes, bars)
    assert (len(found.bars), {problem.code for problem in found.problems}) == (0, {"off_by_far"})


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"high": "10300"}, "high 10300"),
        ({"low": "0.97"}, "low 0.97"),
        ({"open": "10000", "high": "10300"}, "open 10000"),
        ({"open": "1", "low": "0.97"}, "open 1"),
        ({"low": "0.97", "high": "10300"}, "high 10300"),
        ({"open": "4999", "high": "9999", "low": "2.1"}, None),  # less than fifty times
    ],
)
def test_prices_of_one_bar_have_to_be_near_each_other(prices: dict[str, str], said: str | None) -> None:
    one = bar("2013-10-07 13:30", **{"open": "100", "high": "103", "low": "97", **prices})
    found = believe(DAYS, [one])
    assert found.bars == ([one] if said is None else [])
    assert [(problem.code, said in problem.detail) for problem in found.problems if said] == (
        [] if said is None else [("off_by_far", True)]
    )
    assert believe(DAYS, [one], accepts_jumps=True).bars == [one]


FIELDS = ("open", "high", "low", "close")
STEPS = st.decimals("0.95", "1.05", places=3)
REACHES = st.decimals("1", "1.3", places=2)
TIMES = st.sampled_from([Decimal(100), Decimal("0.01")])


@st.composite
def walks(draw: st.DrawFn) -> list[Bar]:
    """Draw bars of days at prices that a share may have."""
    steps = draw(st.lists(st.tuples(STEPS, STEPS, REACHES, REACHES), min_size=5, max_size=len(OPENS)))
    close = draw(st.sampled_from([Decimal("0.9"), Decimal(100), Decimal("5000")]))
    bars = []
    for ts, (over_night, in_the_day, up, down) in zip(OPENS, steps, strict=False):
        opened = round(close * over_night, 4)
        close = round(opened * in_the_day, 4)
        high, low = round(max(opened, close) * up, 4), round(min(opened, close) / down, 4)
        bars.append(Bar("x", "SPY", "1d", ts, opened, high, low, close, 5))
    return bars


@st.composite
def closes_of(draw: st.DrawFn, bars: list[Bar]) -> dict[str, KnownCloses]:
    """Draw what the lake may have beside them."""
    before, after = known(str(bars[0].open)), known(None, str(bars[-1].close))
    both = known(str(bars[0].open), str(bars[-1].close))
    return draw(st.sampled_from([{}, before, after, both]))


@given(st.data(), walks())
def test_a_plausible_walk_is_believed_whole(data: st.DataObject, bars: list[Bar]) -> None:
    assert believe(MORE_WEEKS, bars, data.draw(closes_of(bars))) == Believed(bars, [])


@settings(max_examples=500, deadline=None)
@given(st.data(), walks())
def test_any_prices_of_any_two_bars_that_are_off_by_100_are_refused_and_all_others_believed(
    data: st.DataObject, bars: list[Bar]
) -> None:
    faults = st.dictionaries(st.sampled_from(FIELDS), TIMES, min_size=1) | TIMES.map(
        lambda times: dict.fromkeys(FIELDS, times)
    )
    off = data.draw(st.dictionaries(st.integers(0, len(bars) - 1), faults, min_size=1, max_size=2))
    answered = [
        msgspec.structs.replace(one, **{name: getattr(one, name) * times for name, times in off.get(at, {}).items()})
        for at, one in enumerate(bars)
    ]
    found = believe(MORE_WEEKS, answered, data.draw(closes_of(bars)))
    assert found.bars == [one for at, one in enumerate(bars) if at not in off]
    assert len(found.problems) == len(off)


@pytest.mark.parametrize("bars", range(5, 11))
@pytest.mark.parametrize("nearby", [{}, known("100"), known(None, "100"), known("100", "100")])
def test_one_or_two_whole_bars_off_by_100_are_refused_wherever_they_are(
    bars: int, nearby: dict[str, KnownCloses]
) -> None:
    closes = [str(100 + number) for number in range(bars)]
    for first, second in itertools.combinations_with_replacement(range(bars), 2):
        for ends in itertools.product(("00", "e-2"), repeat=2):
            off = dict(zip((first, second), ends, strict=True))
            found = believe(
                MORE_WEEKS, at_closes(" ".join(close + off.get(at, "") for at, close in enumerate(closes))), nearby
            )
            good = [Decimal(close) for at, close in enumerate(closes) if at not in off]
            assert [one.close for one in found.bars] == good, off


def test_a_bar_without_volume_is_a_bar() -> None:
    assert len(believe(DAYS, [bar("2013-10-07 13:30", volume="0")]).bars) == 1
