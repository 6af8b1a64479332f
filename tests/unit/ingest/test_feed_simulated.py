from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.feeds import Feed, FeedRequest, Kind, get_feed
from ingest.feeds.simulated.client import session_tape
from ingest.feeds.simulated.model import count_events, daily_closes
from market.errors import UsageError
from market.records import Heartbeat, Quote, Record, Trade
from market.sessions import Segment, find_session, session_at, sessions_between
from tests.unit.ingest.feed_contract import FeedContract, assert_valid, moment_of

HALF_DAY = date(2025, 11, 28)
FULL_DAY = date(2025, 11, 26)


class TestSimulatedFeed(FeedContract):
    @pytest.fixture
    def feed(self) -> Feed:
        return get_feed("simulated")

    @pytest.fixture
    def request_small(self) -> FeedRequest:
        return FeedRequest(("BRK.B", "SPY"), FULL_DAY, HALF_DAY, seed=7, trades_per_day=400)

    @pytest.fixture
    def unknown_symbol(self) -> str:
        return "no ticker"

    def test_an_unknown_symbol_fails_before_the_first_record_and_names_it(
        self, feed: Feed, request_small: FeedRequest, unknown_symbol: str
    ) -> None:
        """Every ticker is known to it; what is none is refused by the request itself."""
        assert feed.check(replace(request_small, symbols=("ZZTOP",))) > 0
        with pytest.raises(UsageError, match="not a symbol"):
            replace(request_small, symbols=(unknown_symbol,))


def read(symbol: str, day: date, *, seed: int = 1, trades_per_day: int = 20_000) -> list[Record]:
    request = FeedRequest((symbol,), day, day, seed=seed, trades_per_day=trades_per_day)
    return list(get_feed("simulated").read(request))


@settings(max_examples=40, deadline=None)
@given(
    symbol=st.from_regex(r"\A[A-Z][A-Z0-9.\-]{0,14}\Z"),
    seed=st.integers(0, 2**63),
    day=st.sampled_from([session.session_date for session in sessions_between(date(1990, 1, 2), date(2026, 6, 30))]),
    trades_per_day=st.integers(1, 300),
)
def test_any_ticker_session_and_seed_gives_valid_records(
    symbol: str, seed: int, day: date, trades_per_day: int
) -> None:
    session = find_session(day)
    assert session is not None
    records = list(session_tape((symbol,), session, seed=seed, trades_per_day=trades_per_day).records())
    for record in records:
        assert_valid(record)
        assert isinstance(record, Heartbeat) or session.segment(moment_of(record)) is not None
    kinds = Counter(type(record) for record in records)
    assert (kinds[Trade], kinds[Quote]) == count_events(symbol, session, seed, trades_per_day)


def test_another_seed_is_another_market() -> None:
    first, second = (read("SPY", FULL_DAY, seed=seed, trades_per_day=200) for seed in (1, 2))
    assert [record.ts for record in first] != [record.ts for record in second]


def test_any_part_of_a_session_can_be_made_again() -> None:
    session = find_session(FULL_DAY)
    assert session is not None
    whole = list(session_tape(("IBM", "SPY"), session, seed=3, trades_per_day=500).records())
    tape = session_tape(("IBM", "SPY"), session, seed=3, trades_per_day=500)
    assert list(tape.records(100, 250)) == whole[100:250]
    position = tape.count_through(whole[300].ts)
    assert whole[position - 1].ts == whole[300].ts < whole[position].ts


def test_segments_have_the_shape_of_a_real_day() -> None:
    trades = [record for record in read("MSFT", FULL_DAY) if isinstance(record, Trade)]
    session = session_at(moment_of(trades[0]))
    assert session is not None
    segments = Counter(session.segment(moment_of(trade)) for trade in trades)
    assert segments[Segment.REGULAR] > 15 * segments[Segment.PRE] > 0
    assert segments[Segment.REGULAR] > 15 * segments[Segment.POST] > 0
    hours = Counter(
        (moment_of(trade) - session.open_at).total_seconds() // 1800
        for trade in trades
        if session.segment(moment_of(trade)) is Segment.REGULAR
    )
    assert hours[0] > 2 * hours[6]
    assert hours[12] > 1.5 * hours[6]


def test_volatility_is_higher_at_the_open_than_at_noon() -> None:
    ratios = []
    for session in sessions_between(date(2025, 3, 3), date(2025, 3, 14)):
        trades = [record for record in read("SPY", session.session_date) if isinstance(record, Trade)]
        prices = {
            part: [
                float(t.price)
                for t in trades
                if start <= (moment_of(t) - session.open_at).total_seconds() < start + 1800
            ]
            for part, start in (("open", 0), ("noon", 10_800))
        }
        ratios.append(np.ptp(prices["open"]) / np.ptp(prices["noon"]))
    assert np.median(ratios) > 1.2


def test_a_half_day_ends_early_and_has_fewer_trades() -> None:
    half = [r for r in read("SPY", HALF_DAY) if isinstance(r, Trade)]
    full = [r for r in read("SPY", FULL_DAY) if isinstance(r, Trade)]
    closing = next(trade for trade in half if trade.conditions == "6")
    assert moment_of(closing) == datetime(2025, 11, 28, 17, 59, 59, 999999, tzinfo=UTC)
    assert moment_of(half[-1]) < datetime(2025, 11, 28, 22, 0, tzinfo=UTC)
    assert len(half) < 0.8 * len(full)


def test_the_number_of_trades_is_about_what_was_asked_for() -> None:
    counts = [
        len([r for r in read("JPM", s.session_date, trades_per_day=1000) if isinstance(r, Trade)])
        for s in sessions_between(date(2025, 3, 3), date(2025, 3, 28))
    ]
    assert np.mean(counts) == pytest.approx(1000 * 0.7 * 1.05, rel=0.15)


def test_trades_have_cents_odd_lots_round_lots_and_prints() -> None:
    trades = [record for record in read("AAPL", FULL_DAY) if isinstance(record, Trade)]
    assert all(trade.price == round(trade.price, 2) for trade in trades)
    assert {"O", "6"} <= {trade.conditions for trade in trades}
    odd = [trade for trade in trades if trade.size < 100]
    assert all("I" in trade.conditions.split(",") for trade in odd)
    assert 0.2 < len(odd) / len(trades) < 0.5
    assert len({trade.exchange for trade in trades}) > 3


def test_quotes_never_cross_and_state_what_changed() -> None:
    bid = ask = None
    for record in read("NVDA", FULL_DAY, trades_per_day=2000):
        if isinstance(record, Quote):
            bid, ask = record.bid or bid, record.ask or ask
            assert bid is not None
            assert ask is not None
            assert bid < ask


def test_days_fit_together() -> None:
    sessions = list(sessions_between(date(2025, 3, 3), date(2025, 3, 14)))
    prices = {
        s.session_date: [r.price for r in read("IBM", s.session_date, trades_per_day=1000) if isinstance(r, Trade)]
        for s in sessions
    }
    for before, after in pairwise(sessions):
        assert abs(prices[after.session_date][0] / prices[before.session_date][-1] - 1) < Decimal("0.05")


def test_the_closing_print_is_near_the_close_of_the_day() -> None:
    session = find_session(FULL_DAY)
    sessions = list(sessions_between(date(1990, 1, 2), FULL_DAY))
    close = daily_closes("XOM", 1)[len(sessions) - 1]
    assert session == sessions[-1]
    (closing,) = (r for r in read("XOM", FULL_DAY) if isinstance(r, Trade) and r.conditions == "6")
    assert float(closing.price) == pytest.approx(close, rel=0.001)


@pytest.mark.parametrize(("kind", "given"), [(Kind.TRADES, {Trade, Heartbeat}), (Kind.QUOTES, {Quote})])
def test_one_kind_can_be_asked_for_alone_and_quotes_alone_cover_nothing(kind: Kind, given: set[type]) -> None:
    request = FeedRequest(("SPY",), FULL_DAY, FULL_DAY, kinds=frozenset({kind}), trades_per_day=200)
    records = list(get_feed("simulated").read(request))
    assert {type(record) for record in records} == given
    assert get_feed("simulated").check(request) == len(records)


def test_heartbeats_cover_a_half_day_from_four_in_the_morning_to_five_in_the_afternoon() -> None:
    beats = [record for record in read("SPY", HALF_DAY, trades_per_day=50) if isinstance(record, Heartbeat)]
    assert beats[0].since == 1_764_320_400_000_000  # 2025-11-28 09:00 UTC
    assert beats[-1].ts == beats[0].since + 13 * 3_600_000_000
    assert all(before.ts == after.since for before, after in pairwise(beats))
