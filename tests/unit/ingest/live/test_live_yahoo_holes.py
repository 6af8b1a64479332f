"""Holes of Yahoo's stream filled with samples of the vendor's minute bars."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingest.feeds.yahoo.live import YahooLive, samples_of
from ingest.history.source import Ask, Problem, SourceBusyError
from ingest.live.coverage import MINUTE
from ingest.live.source import Filled, Hole
from market.eligibility import SAMPLED
from market.errors import ServiceError
from market.records import Bar, Record, Trade
from market.sessions import find_session
from market.settings import Settings
from warehouse.history import KnownClose, KnownCloses

TEN = datetime(2026, 11, 20, 15, tzinfo=UTC)


class Charts:
    """The history of minutes, as the source of history gives it."""

    def __init__(self, bars: Sequence[Bar], unknown: frozenset[str] = frozenset()) -> None:
        self.bars, self.unknown, self.asked = bars, unknown, list[Any]()
        self.problems: list[Problem] = []

    def fetch(self, ask: Any, pace: Callable[[], None]) -> Any:
        from ingest.history.source import Answer

        pace()
        self.asked.append(ask)
        bars = [bar for bar in self.bars if bar.symbol in ask.symbols]
        return Answer(bars, self.problems, self.unknown & set(ask.symbols))


def moment(time: datetime) -> int:
    return round(time.timestamp()) * 1_000_000


def minute_bar(time: datetime, symbol: str = "SPY", volume: int = 500) -> Bar:
    prices = (Decimal(10), Decimal(11), Decimal(9), Decimal(10))
    return Bar("yahoo", symbol, "1m", moment(time), *prices, volume)


def filled(
    charts: Charts,
    since: datetime,
    until: datetime,
    symbols: tuple[str, ...] = ("SPY",),
    *,
    now: datetime | None = None,
    known: Callable[[Ask], Mapping[str, KnownCloses]] = lambda _: {},
) -> tuple[Filled, list[Record]]:
    source = YahooLive(Settings(), lambda: now or until + timedelta(hours=1), known)
    source.__dict__["_history"] = charts
    records: list[Record] = []
    hole = Hole(symbols, moment(since), moment(until))
    return source.fill(hole, lambda: None, records.extend), records


def minutes_of(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Return symbol and start of the minutes that samples are of, each once, after a look that they are samples."""
    assert all(isinstance(record, Trade) and record.conditions == f"{SAMPLED:X}" for record in records)
    return list(dict.fromkeys((record.symbol, record.ts // MINUTE * MINUTE) for record in records))


def keys(bars: Sequence[Bar]) -> list[tuple[str, int]]:
    return [(bar.symbol, bar.ts) for bar in bars]


def test_a_hole_is_filled_with_samples_of_the_minutes_that_it_touches() -> None:
    bars = [minute_bar(TEN + timedelta(minutes=minute)) for minute in range(-3, 6)]
    outcome, records = filled(Charts(bars), TEN + timedelta(seconds=30), TEN + timedelta(minutes=2, seconds=1))
    assert not outcome.unfilled
    assert minutes_of(records) == keys(bars[3:6])


def test_the_samples_of_a_minute_come_to_its_prices_whatever_else_was_sampled_in_it() -> None:
    prices = Decimal("10.5"), Decimal("11.25"), Decimal("9.75"), Decimal("10.125")
    start = round(TEN.timestamp()) * 1_000_000
    samples = samples_of(Bar("yahoo", "SPY", "1m", start, *prices, 500))
    assert {(sample.source, sample.symbol, sample.conditions) for sample in samples} == {
        ("yahoo", "SPY", f"{SAMPLED:X}")
    }
    assert len({sample.trade_id for sample in samples}) == 4
    heard = Trade("yahoo", "SPY", start + MINUTE // 2, Decimal(10), 1, "heard", conditions=f"{SAMPLED:X}")
    in_order = sorted([heard, *samples], key=lambda sample: sample.ts)
    found = [sample.price for sample in in_order if start <= sample.ts < start + MINUTE]
    assert (found[0], max(found), min(found), found[-1]) == prices
    assert samples_of(Bar("yahoo", "SPY", "1m", start, *prices, 900)) == samples, "the volume is no part of them"


def test_a_minute_that_is_not_over_is_waited_for() -> None:
    until = TEN + timedelta(seconds=90)
    with pytest.raises(SourceBusyError) as caught:
        filled(Charts([]), TEN, until, now=until)
    assert caught.value.after_seconds == 70.0


def test_hours_without_minute_bars_are_not_asked_for() -> None:
    session = find_session(date(2026, 11, 20))
    assert session is not None
    charts = Charts([])
    for since, until in ((session.pre_open_at, session.open_at), (session.close_at, session.post_close_at)):
        outcome, records = filled(charts, since, until)
        assert (outcome, records) == (Filled(reaches={"SPY": moment(until)}), [])
    assert not charts.asked


def test_an_unknown_symbol_and_bars_that_are_not_believed_stay_unfilled() -> None:
    wrong = minute_bar(TEN, "IBM")
    odd = Bar(**{name: getattr(wrong, name) for name in wrong.__struct_fields__} | {"high": Decimal("1")})
    outcome, records = filled(
        Charts([odd, minute_bar(TEN)], frozenset({"NOPE"})), TEN, TEN + timedelta(minutes=1), ("IBM", "NOPE", "SPY")
    )
    assert outcome.unfilled == {"IBM", "NOPE"}
    assert "NOPE unknown" in outcome.reason
    assert "prices_out_of_order" in outcome.reason
    assert minutes_of(records) == keys([minute_bar(TEN)])


def test_a_flawed_bar_outside_of_a_hole_does_not_keep_it_from_being_filled() -> None:
    good = [minute_bar(TEN + timedelta(minutes=minute)) for minute in range(8)]

    def flawed(minute: int, **change: Decimal) -> Bar:
        return Bar(**{name: getattr(good[minute], name) for name in good[minute].__struct_fields__} | change)

    flaws = [flawed(0, high=Decimal(1)), flawed(1, open=Decimal(-1)), flawed(2, high=Decimal(12))]
    jump = flawed(7, **dict.fromkeys(("open", "high", "low", "close"), Decimal(1000)))
    charts = Charts([*flaws, *good[2:7], jump])
    charts.problems = [Problem("SPY", "not_a_number", "no close", minute_bar(TEN + timedelta(minutes=9)).ts)]
    outcome, records = filled(charts, TEN + timedelta(minutes=3, seconds=1), TEN + timedelta(minutes=7))
    assert not outcome.unfilled
    assert minutes_of(records) == keys(good[3:7])
    for minute, code in ((0, "order"), (1, "impossible"), (2, "contradicts"), (7, "off_by_far"), (9, "not_a_number")):
        since = TEN + timedelta(minutes=minute)
        outcome, _ = filled(charts, since, since + timedelta(seconds=30))
        assert outcome.unfilled == {"SPY"}
        assert code in outcome.reason
    charts.problems = [Problem("SPY", "wrong_currency", "prices in EUR")]
    assert filled(charts, TEN + timedelta(minutes=3), TEN + timedelta(minutes=4))[0].unfilled == {"SPY"}


def test_bars_far_from_what_the_lake_has_are_not_believed() -> None:
    asked: list[Ask] = []

    def known(ask: Ask) -> Mapping[str, KnownCloses]:
        asked.append(ask)
        return {"SPY": KnownCloses(KnownClose("alpaca", 0, Decimal(1000)))}

    bars = [minute_bar(TEN + timedelta(minutes=minute), symbol) for symbol in ("IBM", "SPY") for minute in range(3)]
    outcome, records = filled(Charts(bars), TEN, TEN + timedelta(minutes=3), ("IBM", "SPY"), known=known)
    assert minutes_of(records) == keys(bars[:3])
    assert outcome.unfilled == {"SPY"}
    assert "off_by_far" in outcome.reason
    assert "1000" in outcome.reason
    assert [(ask.symbols, ask.interval) for ask in asked] == [(("IBM",), "1m"), (("SPY",), "1m")]


def test_a_lake_that_cannot_be_asked_is_asked_later() -> None:
    def known(_: Ask) -> Mapping[str, KnownCloses]:
        msg = "PostgreSQL is away"
        raise ServiceError(msg)

    with pytest.raises(SourceBusyError, match="PostgreSQL is away"):
        filled(Charts([minute_bar(TEN)]), TEN, TEN + timedelta(minutes=1), known=known)


def test_without_a_database_the_feed_alone_fills_its_holes() -> None:
    source = YahooLive(Settings().model_copy(update={"database_url": None}), lambda: TEN + timedelta(hours=1))
    source.__dict__["_history"] = Charts([minute_bar(TEN)])
    records: list[Record] = []
    hole = Hole(("SPY",), minute_bar(TEN).ts, minute_bar(TEN).ts + 60_000_000)
    assert not source.fill(hole, lambda: None, records.extend).unfilled
    assert minutes_of(records) == keys([minute_bar(TEN)])


@pytest.mark.parametrize(
    ("has", "asked_after", "reaches"),
    [
        ([], 2, None),
        ([-5], 2, -5),
        ([0, 1], 2, 1),
        ([0, 4], 2, 4),
        ([0, 5], 2, 5),
        ([0, 4, 6], 2, 5),
        ([0, 4], 9.9, 4),
        ([0, 4], 10, 5),
        ([], 10, 5),
    ],
)
def test_an_answer_reaches_until_its_newest_bar_or_as_far_as_it_had_ten_minutes(
    has: list[int], asked_after: float, reaches: int | None
) -> None:
    bars = [minute_bar(TEN + timedelta(minutes=minute)) for minute in has]
    until = TEN + timedelta(minutes=5)
    outcome, _ = filled(Charts(bars), TEN, until, now=until + timedelta(minutes=asked_after))
    session = find_session(TEN.date())
    assert session is not None
    reached = session.open_at if reaches is None else TEN + timedelta(minutes=reaches)
    assert outcome == Filled(reaches={"SPY": moment(reached)})


@pytest.mark.parametrize(("asked_after", "is_reached"), [(2, False), (9, False), (10, True)])
def test_after_the_close_the_last_minute_needs_ten_minutes_however_far_the_hole_goes(
    asked_after: int, is_reached: bool
) -> None:
    session = find_session(TEN.date())
    assert session is not None
    last = session.close_at - timedelta(minutes=1)
    now = session.close_at + timedelta(minutes=asked_after)
    outcome, _ = filled(Charts([minute_bar(last)]), last, now, now=now + timedelta(seconds=10))
    assert outcome.reaches == {"SPY": moment(now if is_reached else last)}


def test_the_latest_price_which_has_no_volume_does_not_show_that_the_minutes_before_it_are_there() -> None:
    bars = [minute_bar(TEN), minute_bar(TEN + timedelta(minutes=4), volume=0)]
    until = TEN + timedelta(minutes=3)
    outcome, _ = filled(Charts(bars), TEN, until, now=until + timedelta(minutes=2))
    assert outcome.reaches == {"SPY": moment(TEN)}


def test_the_last_price_of_a_minute_that_may_still_grow_gives_way_to_what_comes() -> None:
    growing = minute_bar(TEN)
    until = TEN + timedelta(minutes=1)
    _, early = filled(Charts([growing]), TEN, until, now=until + timedelta(minutes=2))
    whole = Bar(**{name: getattr(growing, name) for name in growing.__struct_fields__} | {"close": Decimal("10.5")})
    _, late = filled(Charts([whole]), TEN, until, now=until + timedelta(minutes=10))
    _, followed = filled(Charts([whole, minute_bar(until)]), TEN, until, now=until + timedelta(minutes=2))
    assert late == followed
    heard = Trade("yahoo", "SPY", moment(TEN) + MINUTE // 2, Decimal(9), 1, "heard", conditions=f"{SAMPLED:X}")
    later: list[tuple[Sequence[Record], Decimal]] = [([heard], Decimal(9)), (late, Decimal("10.5"))]
    for records, last in later:
        samples = [record for record in (*records, *early) if isinstance(record, Trade)]
        assert max(samples, key=lambda sample: sample.ts).price == last
        stated = {(sample.trade_id, sample.ts) for sample in samples}
        assert len(stated) == len({trade_id for trade_id, _ in stated}), "what is another record has another id"


def test_a_bar_that_may_still_change_is_not_given_up_for_what_is_wrong_with_it() -> None:
    good = minute_bar(TEN)
    odd = Bar(**{name: getattr(good, name) for name in good.__struct_fields__} | {"high": Decimal(1)})
    until = TEN + timedelta(minutes=1)
    assert not filled(Charts([odd]), TEN, until, now=until + timedelta(minutes=2))[0].unfilled
    assert filled(Charts([odd]), TEN, until, now=until + timedelta(minutes=10))[0].unfilled == {"SPY"}
