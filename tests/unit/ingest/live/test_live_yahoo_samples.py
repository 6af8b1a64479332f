"""Which of Yahoo's samples are believed, message by message."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.feeds.yahoo.live import YahooLive
from ingest.feeds.yahoo.messages import Translator
from ingest.feeds.yahoo.samples import Samples
from ingest.history.source import Ask
from ingest.live.source import Delivery
from market.errors import ServiceError
from market.records import Quote, Trade
from market.settings import Settings
from warehouse.history import KnownClose, KnownCloses

TEN = datetime(2026, 11, 20, 15, tzinfo=UTC)
"""Friday, ten in the morning in New York."""
DEADLINE_SECONDS = 20.0


class Stream:
    """A stream at a moment: each message is a second later than the one before, unless it says its time."""

    def __init__(
        self, now: datetime = TEN, closes: Mapping[str, Decimal] | None = None, *, is_answered: bool = True
    ) -> None:
        self.now = now
        self.asked: list[Sequence[str]] = []
        self.closes = closes or {}
        self.is_answered = is_answered
        self.samples = Samples(lambda: self.now, self._known)
        self.samples.learn(("IBM", "SPY"))
        self.passed_over: dict[str, int] = {}

    def _known(self, symbols: Sequence[str]) -> Mapping[str, Decimal] | None:
        self.asked.append(symbols)
        return self.closes if self.is_answered else None

    def says(self, price: float, *, at: datetime | None = None, **others: Any) -> list[float]:
        """Which prices of trades come through now."""
        self.now += timedelta(seconds=1)
        moment = at or self.now
        message = {"id": "SPY", "price": price, "time": round(moment.timestamp()) * 1000, "quote_type": 20} | others
        delivery = self.samples.believed(Translator({"SPY": "SPY", "IBM": "IBM"}).delivery(message))
        for reason, count in delivery.passed_over.items():
            self.passed_over[reason] = self.passed_over.get(reason, 0) + count
        return [float(record.price) for record in delivery.records if isinstance(record, Trade)]


@pytest.mark.parametrize(
    ("now", "at"),
    [
        (TEN, TEN - timedelta(days=1)),
        (TEN, TEN - timedelta(hours=14, minutes=10)),
        (TEN + timedelta(days=3), TEN),
        (TEN - timedelta(days=1), TEN),
    ],
)
def test_a_snapshot_of_another_session_is_passed_over_and_counted(now: datetime, at: datetime) -> None:
    stream = Stream(now)
    assert stream.says(182.0, at=at) == []
    assert stream.passed_over == {"other_session": 1}
    assert stream.says(182.0) == [182.0]


def test_what_traded_earlier_in_this_session_or_comes_a_little_after_it_is_taken() -> None:
    assert Stream().says(182.0, at=TEN - timedelta(hours=2)) == [182.0]
    after_post_close = datetime(2026, 11, 21, 1, 0, 10, tzinfo=UTC)
    assert Stream(after_post_close).says(182.0, at=after_post_close - timedelta(seconds=15)) == [182.0]


@pytest.mark.parametrize("factor", [100.0, 50.0, 2.1, 1 / 2.1, 1 / 50, 1 / 100])
def test_a_lone_sample_far_from_the_others_is_passed_over_and_counted(factor: float) -> None:
    stream = Stream()
    assert stream.says(180.0) == [180.0]
    assert stream.says(180.0 * factor) == []
    assert stream.says(181.0) == [181.0]
    assert stream.passed_over == {"off_by_far": 1}
    assert stream.says(182.0) == [182.0]


@pytest.mark.parametrize("factor", [2.0, 0.5, 1.5])
def test_a_move_of_no_more_than_double_or_half_waits_for_nothing(factor: float) -> None:
    stream = Stream()
    stream.says(180.0)
    assert stream.says(180.0 * factor) == [180.0 * factor]


def test_a_move_that_the_next_sample_confirms_is_not_lost() -> None:
    stream = Stream()
    stream.says(180.0)
    assert stream.says(60.0) == []
    assert stream.says(61.0) == [60.0, 61.0]
    assert stream.says(62.0) == [62.0]
    assert stream.passed_over == {}


def test_two_samples_far_from_each_other_confirm_nothing() -> None:
    stream = Stream()
    stream.says(180.0)
    assert stream.says(18_000.0) == []
    assert stream.says(1.8) == []
    assert stream.says(180.5) == [180.5]
    assert stream.passed_over == {"off_by_far": 2}


def test_the_same_message_again_confirms_nothing() -> None:
    stream = Stream()
    stream.says(180.0)
    moment = TEN + timedelta(seconds=2)
    assert stream.says(18_000.0, at=moment) == stream.says(18_000.0, at=moment) == []
    assert stream.says(180.5) == [180.5]
    assert stream.passed_over == {"off_by_far": 1}


def test_the_quote_of_a_message_waits_with_its_trade() -> None:
    stream = Stream()
    stream.says(180.0)
    assert stream.says(60.0, bid=59.0) == []
    translated = Translator({"SPY": "SPY"}).delivery(
        {"id": "SPY", "price": 60.5, "time": round(TEN.timestamp() + 9) * 1000, "quote_type": 20}
    )
    kinds = [type(record) for record in stream.samples.believed(translated).records]
    assert kinds == [Trade, Quote, Trade]


def test_each_symbol_has_its_own_price() -> None:
    stream = Stream()
    assert stream.says(1800.0) == [1800.0]
    assert stream.says(18.0, id="IBM") == [18.0]
    assert stream.says(1801.0) == [1801.0]


def test_the_first_sample_is_held_against_the_last_close_that_is_known() -> None:
    stream = Stream(closes={"SPY": Decimal(180)})
    assert stream.says(18_000.0) == []
    assert stream.says(181.0) == [181.0]
    assert stream.says(18.0, id="IBM") == [18.0], "nothing is known of it"
    assert stream.passed_over == {"off_by_far": 1}


def test_a_split_overnight_costs_no_sample() -> None:
    stream = Stream(closes={"SPY": Decimal(400)})
    assert stream.says(40.0) == []
    assert stream.says(40.1) == [40.0, 40.1]


def test_what_was_held_of_yesterday_confirms_and_does_not_come_back() -> None:
    stream = Stream()
    stream.says(180.0)
    assert stream.says(60.0) == []
    stream.now = TEN + timedelta(days=3)
    assert stream.says(61.0) == [61.0]


def test_closes_are_asked_for_once_a_symbol_and_do_not_undo_what_was_seen() -> None:
    stream = Stream(closes={"SPY": Decimal(1000)})
    assert stream.says(180.0) == []
    assert stream.says(181.0) == [180.0, 181.0]
    stream.samples.learn(("SPY",))
    stream.samples.learn(("SPY", "QQQ"))
    assert stream.asked == [["IBM", "SPY"], ["QQQ"]]
    assert stream.says(182.0) == [182.0]


def test_closes_that_could_not_be_had_are_asked_for_again_until_they_can() -> None:
    stream = Stream(closes={"SPY": Decimal(180)}, is_answered=False)
    assert stream.says(18.0, id="IBM") == [18.0], "what is live does not wait"
    stream.samples.learn(("IBM", "SPY"))
    stream.is_answered = True
    stream.samples.learn(("IBM", "SPY"))
    stream.samples.learn(("IBM", "SPY"))
    assert stream.asked == [["IBM", "SPY"]] * 3
    assert stream.says(18_000.0) == []
    assert stream.says(181.0) == [181.0]


def test_a_sample_that_comes_while_closes_are_asked_for_counts_and_whoever_wants_these_too_waits() -> None:
    asks, answers, second_is_done = threading.Event(), threading.Event(), threading.Event()

    asked: list[Sequence[str]] = []

    def closes(symbols: Sequence[str]) -> Mapping[str, Decimal]:
        asked.append(symbols)
        asks.set()
        assert answers.wait(DEADLINE_SECONDS)
        return {"SPY": Decimal(1000), "IBM": Decimal(20)}

    samples = Samples(lambda: TEN, closes)
    translator = Translator({"SPY": "SPY", "IBM": "IBM"})
    millis = round(TEN.timestamp()) * 1000

    def says(symbol: str, price: float, second: int) -> int:
        message = {"id": symbol, "price": price, "time": millis + second * 1000, "quote_type": 20}
        return len(samples.believed(translator.delivery(message)).records)

    def learn_as_well() -> None:
        samples.learn(("SPY", "IBM"))
        second_is_done.set()

    threads = [threading.Thread(target=samples.learn, args=(("SPY", "IBM"),)), threading.Thread(target=learn_as_well)]
    threads[0].start()
    assert asks.wait(DEADLINE_SECONDS)
    threads[1].start()
    assert says("SPY", 180.0, 1) == 1
    assert not second_is_done.wait(0.2), "it would subscribe before the closes are there"
    answers.set()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert second_is_done.is_set()
    assert len(asked) == 1
    assert says("SPY", 181.0, 2) == 1, "what was seen is newer than the close"
    assert says("IBM", 2_000.0, 3) == 0


def test_a_message_that_says_the_same_again_is_passed_over_and_no_sign_of_life() -> None:
    stream = Stream()
    message = {"id": "SPY", "price": 180.0, "time": round(TEN.timestamp()) * 1000, "quote_type": 20}
    translator = Translator({"SPY": "SPY"})
    first, again = (stream.samples.believed(translator.delivery(message)) for _ in range(2))
    assert (len(first.records), first.is_old) == (1, False)
    assert again == Delivery(passed_over={"repeated": 1}, is_old=True)
    bid = stream.samples.believed(translator.delivery({**message, "bid": 179.9}))
    assert (len(bid.records), bid.is_old) == (2, False), "it says something new"
    assert stream.samples.believed(translator.delivery({**message, "time": 1_000})).is_old
    yesterday = {**message, "time": round((TEN - timedelta(days=1)).timestamp()) * 1000}
    assert stream.samples.believed(translator.delivery(yesterday)).is_old


def test_the_last_close_is_that_of_the_lake_and_none_if_it_cannot_be_asked() -> None:
    closes = {"SPY": KnownCloses(KnownClose("alpaca", 0, Decimal(180))), "IBM": KnownCloses()}
    asked: list[Ask] = []
    source = YahooLive(Settings(), lambda: TEN, lambda ask: asked.append(ask) or closes)  # type: ignore[func-returns-value]
    assert source._last_closes(("SPY", "IBM")) == {"SPY": Decimal(180)}
    assert asked[0].symbols == ("SPY", "IBM")

    def away(_: Ask) -> Mapping[str, KnownCloses]:
        msg = "PostgreSQL is away"
        raise ServiceError(msg)

    assert YahooLive(Settings(), lambda: TEN, away)._last_closes(("SPY",)) is None


def test_what_is_no_sample_goes_through() -> None:
    delivery = Delivery(passed_over={"no_share": 1})
    assert Samples(lambda: TEN).believed(delivery) is delivery


@given(st.lists(st.sampled_from([1.0, 1.5, 10.0, 15.0, 1000.0, 1500.0]), min_size=1, max_size=30))
def test_every_sample_that_the_one_before_or_after_it_confirms_comes_through_in_order(levels: list[float]) -> None:
    prices = [round(level + number / 1000, 3) for number, level in enumerate(levels)]
    stream = Stream()
    came = [price for one in prices for price in stream.says(one)]
    assert came == [price for price in prices if price in came]
    assert {price for pair in pairwise(prices) if max(pair) <= 2 * min(pair) for price in pair} <= set(came)
    assert len(prices) - len(came) - sum(stream.passed_over.values()) in {0, 1}, "the last one may wait still"
