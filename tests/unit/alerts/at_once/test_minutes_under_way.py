"""The minute under way is the bar that the stream makes of the same trades, and what is not of it is left to the marts."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import pytest

from alerts.at_once.minutes import Minute, Minutes, micros, moment_of
from market.records import Trade, encode
from market.sessions import find_session
from spark_jobs.schemas import MOMENT
from spark_jobs.transforms.bars import finish
from spark_jobs.transforms.kinds import TRADES
from tests.unit.spark_jobs.messages import INGESTED, OPEN, decode_all
from tests.unit.spark_jobs.test_remembered_sessions import sums_of

SEGMENTS = ("pre", "regular", "post")
BEGUN = micros(OPEN - timedelta(hours=8))
NOW = micros(INGESTED)
SESSION = find_session(OPEN.date())
assert SESSION is not None
CLOSE = SESSION.close_at


def trade(price: str, at: datetime = OPEN, **others: Any) -> Trade:
    values = {"source": "otherfeed", "symbol": "IBM", "size": 100, "trade_id": "1", "sequence": 1, **others}
    return Trade(ts=micros(at), price=Decimal(price), **values)


def taken(minutes: Minutes, *trades: Trade, now: int = NOW, begun: int = BEGUN) -> Minute | None:
    found = None
    for one in trades:
        found = minutes.take(one, now=now, begun=begun)
    return found


@pytest.mark.parametrize("source", ["otherfeed", "lean", "alpaca", "yahoo"])
def test_minutes_are_the_bars_that_the_stream_makes_of_the_trades(source: str) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    chance = random.Random(seed)
    edges = [SESSION.pre_open_at, OPEN, CLOSE] if SESSION else []
    trades = []
    for number in range(3000):
        at = chance.choice(edges) + timedelta(seconds=chance.randrange(-300, 1200), microseconds=chance.randrange(3))
        bits = chance.choice([0, 0, 0, *(1 << place for place in range(37))])
        prices = (str(chance.randrange(90, 110)), "99.5", "100.000001", f"{chance.randrange(1, 10**9) / 10**6:f}")
        sequence = chance.choice([None, chance.randrange(5)])
        more = {"trade_id": f"t{number}", "size": chance.randrange(1, 500), "conditions": f"{bits:X}" if bits else ""}
        trades.append(trade(chance.choice(prices), at, source=source, sequence=sequence, **more))
    trades.sort(key=lambda one: one.ts)
    minutes, found = Minutes(SEGMENTS), dict[int, Minute]()
    late = set()
    for one in trades:
        minute = minutes.take(one, now=NOW, begun=BEGUN)
        if minute is not None:
            found[minute.bar_at] = minute
        elif OPEN - timedelta(hours=6) < moment_of(one.ts):
            late.add(micros(CLOSE) - 60_000_000)  # the closing auction comes when its minute is over
    rows = decode_all(TRADES, [encode(one) for one in trades]).valid.with_columns(
        pl.lit(INGESTED, MOMENT).alias("ingested_at")
    )
    bars = finish(sums_of(rows)).to_dicts()
    compared = 0
    for bar in bars:
        bar_at = micros(bar["bar_at"])
        if bar_at in late:
            continue
        minute = found[bar_at]
        expected = [price if price is None else price / 10**6 for price in (bar["high"], bar["low"], bar["close"])]
        assert [minute.high, minute.low, minute.close] == expected, (seed, bar)
        opened = minute.first[2] if minute.first else None
        assert opened == (bar["open"] if bar["open"] is None else bar["open"] / 10**6), (seed, bar)
        assert (minute.volume, minute.segment, minute.session_date) == (
            bar["volume"],
            bar["segment"],
            bar["session_date"],
        )
        compared += 1
    assert compared >= 50


def test_the_closing_auction_belongs_to_the_last_minute_of_the_regular_segment() -> None:
    minutes = Minutes(("regular",))
    taken(minutes, trade("100", CLOSE - timedelta(seconds=30), source="lean"))
    minute = taken(minutes, trade("107", CLOSE + timedelta(minutes=2), source="lean", conditions="80", trade_id="2"))
    assert minute is not None
    assert (minute.high, minute.close, moment_of(minute.bar_at)) == (107.0, 107.0, CLOSE - timedelta(minutes=1))


def test_the_bar_before_is_the_last_one_that_there_is() -> None:
    minutes = Minutes(("regular",))
    first = taken(minutes, trade("100"), trade("101", OPEN + timedelta(seconds=59), trade_id="2"))
    assert first is not None
    assert first.before is None
    second = taken(minutes, trade("99", OPEN + timedelta(minutes=5)))
    assert second is not None
    assert second.before == 101.0


def test_a_minute_without_a_close_passes_on_the_close_before_it() -> None:
    minutes = Minutes(("regular",))
    taken(minutes, trade("100", source="alpaca"))
    # "P" counts for the extremes and not for the close: the stream makes a bar of it that is not in the series.
    only_high = taken(minutes, trade("120", OPEN + timedelta(minutes=1), source="alpaca", conditions=f"{1 << 15:X}"))
    assert only_high is not None
    assert (only_high.high, only_high.close, only_high.has_news) == (120.0, None, False)
    third = taken(minutes, trade("99", OPEN + timedelta(minutes=2), source="alpaca"))
    assert third is not None
    assert third.before == 100.0


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (trade("100", OPEN - timedelta(days=3)), "of a session before the newest that has begun"),
        (trade("100", OPEN + timedelta(seconds=59)), "of a minute that is over"),
        (trade("100", OPEN + timedelta(hours=12)), "of no session"),
        (trade("100", CLOSE + timedelta(minutes=1)), "of a segment that is not in the series"),
        (trade("0", OPEN + timedelta(minutes=2)), "without a price"),
        (trade("100.0000001", OPEN + timedelta(minutes=2)), "of a price with more than six decimals"),
        (trade("100", OPEN + timedelta(minutes=2), size=0), "without shares"),
        (trade("100", OPEN + timedelta(minutes=2), source="lean", conditions="?"), "that cannot be read"),
        (trade("100", OPEN + timedelta(minutes=2), symbol="ibm"), "of what is no symbol"),
    ],
)
def test_what_the_marts_have_to_judge_is_left_to_them(one: Trade, why: str) -> None:
    minutes = Minutes(("regular",))
    taken(minutes, trade("101", OPEN + timedelta(minutes=1)))
    assert taken(minutes, one) is None, why


@pytest.mark.parametrize(
    ("stated", "is_taken"),
    [
        ({"price": Decimal("NaN")}, False),
        ({"price": Decimal("sNaN")}, False),
        ({"price": Decimal("Infinity")}, False),
        ({"price": Decimal(10) ** 12}, False),
        ({"price": Decimal(10) ** 12 - 1}, True),
        ({"size": 10**12 + 1}, False),
        ({"size": 10**12}, True),
        ({"trade_id": ""}, False),
        ({"trade_id": "a\0"}, False),
        ({"trade_id": "a\n"}, False),
        ({"trade_id": "-a"}, False),
        ({"trade_id": "a" * 65}, False),
        ({"trade_id": "a" + "._:-0" * 12}, True),
        ({"sequence": -1}, False),
        ({"sequence": 2**37}, False),
        ({"sequence": 2**37 - 1}, True),
        ({"sequence": None}, True),
        ({"exchange": "X" * 17}, False),
        ({"exchange": "X" * 16}, True),
        ({"conditions": "@" * 65}, False),
        ({"conditions": "@" * 64}, True),
        ({"conditions": "g", "source": "lean"}, False),
        ({"conditions": "0" * 16, "source": "lean"}, False),
        ({"conditions": "0" * 15, "source": "lean"}, True),
        ({"source": "Other"}, False),
        ({"source": "other\n"}, False),
        ({"source": "a" * 33}, False),
        ({"source": "a" * 32}, True),
        ({"symbol": "IBM\n"}, False),
    ],
)
def test_what_the_stream_sets_aside_is_no_trade(stated: dict[str, Any], *, is_taken: bool) -> None:
    one = msgspec.structs.replace(trade("100"), **stated)
    message = decode_all(TRADES, [encode(one)])
    assert message.valid.height == is_taken, "the stream"
    assert (taken(Minutes(SEGMENTS), one) is not None) is is_taken


def test_conditions_that_no_evidence_can_hold_are_left_to_the_marts() -> None:
    assert taken(Minutes(SEGMENTS), trade("100", conditions="\0")) is None


def test_what_cannot_be_read_begins_no_minute() -> None:
    minutes = Minutes(SEGMENTS)
    taken(minutes, trade("100"), trade("100", OPEN + timedelta(minutes=2), source="otherfeed", size=0))
    taken(minutes, trade("100", OPEN + timedelta(minutes=2), trade_id=""))
    assert taken(minutes, trade("101", OPEN + timedelta(seconds=5))) is not None


def test_a_trade_far_ahead_of_the_clock_is_left_to_the_stream() -> None:
    now = OPEN + timedelta(minutes=1)
    ahead = trade("100", now + timedelta(minutes=6))
    assert taken(Minutes(SEGMENTS), ahead, now=micros(now)) is None
    assert taken(Minutes(SEGMENTS), ahead, now=micros(now + timedelta(minutes=2))) is not None


def test_a_minute_goes_on_from_what_was_published_of_it() -> None:
    known = Minute("otherfeed", "IBM", micros(OPEN), OPEN.date(), "regular", before=99.0, first=(-1, 0, 100.0))
    known.last, known.high, known.low, known.volume = (0, 0, 101.0), 102.0, 98.0, 500
    minute = taken(Minutes(("regular",), [known]), trade("101.5", OPEN + timedelta(seconds=20)))
    assert minute is not None
    assert (minute.before, minute.high, minute.low, minute.close, minute.volume) == (99.0, 102.0, 98.0, 101.5, 600)
    assert minute.first == (-1, 0, 100.0)


def test_of_another_source_s_bar_only_the_close_before_goes_on() -> None:
    shown = Minute("otherfeed", "IBM", micros(OPEN), OPEN.date(), "regular", before=97.0, is_closed=True)
    minutes = Minutes(("regular",), [shown])
    assert taken(minutes, trade("101.5", OPEN + timedelta(seconds=20))) is None
    minute = taken(minutes, trade("98.5", OPEN + timedelta(seconds=70)))
    assert minute is not None
    assert (minute.before, minute.high, minute.volume, minute.is_closed) == (97.0, 98.5, 100, False)


def test_the_same_trade_again_counts_once_whatever_it_says() -> None:
    minutes = Minutes(("regular",))
    taken(minutes, trade("100", trade_id="a"), trade("101", trade_id="b"), trade("100", trade_id="a"))
    minute = taken(minutes, trade("107", trade_id="a"), trade("93", trade_id="b"))
    assert minute is not None
    assert (minute.volume, minute.high, minute.low, minute.close) == (200, 101.0, 100.0, 101.0)
    following = taken(minutes, trade("107", OPEN + timedelta(minutes=1), trade_id="c"))
    assert following is not None
    assert following.high == 107.0


def test_moments_are_whole_microseconds() -> None:
    at = datetime(2013, 10, 7, 13, 30, 0, 1, tzinfo=UTC)
    assert moment_of(micros(at)) == at
