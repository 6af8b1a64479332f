"""What the decoder takes as a trade, a quote and a bar, and what not."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.records import Bar, Quote, Trade, encode
from tests.unit.verify.tiny_lake import FIRST_BATCH, OPEN, micros
from verify.messages import quotes_in, trades_in, vendor_bars_in

CLOSE = datetime(2013, 10, 7, 20, 0, tzinfo=UTC)

TRADE: dict[str, Any] = {
    "kind": "trade",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "price": 100.5,
    "size": 100,
    "trade_id": "2013-10-07:1",
    "sequence": 1,
    "exchange": "P",
    "conditions": "20",
}
QUOTE: dict[str, Any] = {
    "kind": "quote",
    "source": "lean",
    "symbol": "SPY",
    "ts": micros(OPEN),
    "quote_id": "q1",
    "bid": 99.5,
    "bid_size": 300,
}
BAR: dict[str, Any] = {
    "kind": "bar",
    "source": "sample",
    "symbol": "SPY",
    "interval": "1d",
    "ts": micros(OPEN),
    "open": 10,
    "high": 12,
    "low": 9.5,
    "close": 11,
    "volume": 1000,
}


def messages(*values: bytes | None, ingested_at: datetime = FIRST_BATCH) -> pl.DataFrame:
    """Return bronze rows of these values, with offsets from 0."""
    rows = [("topic", 0, offset, ingested_at, value) for offset, value in enumerate(values)]
    schema = {
        "topic": pl.String(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "ingested_at": pl.Datetime("us", "UTC"),
        "value": pl.Binary(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def changed(fields: dict[str, Any], **changes: object) -> bytes:
    """Return the JSON of ``fields`` with changes; a field changed to ``...`` is left out."""
    return json.dumps({name: value for name, value in {**fields, **changes}.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"price": "100.500000"},
        {"price": "999999999999.999999"},
        {"price": 1},
        {"price": 1e-06},
        {"price": "1.25E2"},
        {"price": "0.10000000000000000000000000000000000000"},
        {"size": 10**12},
        {"sequence": None},
        {"sequence": ...},
        {"sequence": 2**37 - 1},
        {"exchange": None},
        {"exchange": "é" * 16},
        {"conditions": ""},
        {"conditions": "0123456789abCDE"},
        {"source": "other", "conditions": "@ T"},
        {"symbol": "BRK.B"},
        {"trade_id": 7},
        {"unknown": {"anything": [1, None]}},
    ],
    ids=str,
)
def test_a_trade_that_keeps_the_rules_is_taken(changes: dict[str, Any]) -> None:
    assert trades_in(messages(changed(TRADE, **changes))).height == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "quote"},
        {"kind": "cancel"},
        {"kind": ...},
        {"source": "Lean"},
        {"source": ...},
        {"symbol": "spy"},
        {"symbol": "S'PY"},
        {"symbol": "SPY\n"},
        {"symbol": "S\u0000"},
        {"symbol": "A" * 10_000},
        {"symbol": None},
        {"ts": ...},
        {"ts": str(micros(OPEN))},
        {"ts": micros(OPEN) + 0.5},
        {"ts": micros(OPEN - timedelta(days=1))},
        {"ts": -1},
        {"ts": 10**30},
        {"ts": micros(datetime(2026, 1, 5, 12, 5, tzinfo=UTC)) + 1},
        {"price": 0},
        {"price": -1},
        {"price": float("nan")},
        {"price": float("inf")},
        {"price": "NaN"},
        {"price": "0.0000001"},
        {"price": "1e-7"},
        {"price": "1e-99999999999999999999"},
        {"price": "1e99999999999999999999"},
        {"price": "1,000"},
        {"price": " 1"},
        {"price": "1\n"},
        {"price": "+1"},
        {"price": ".5"},
        {"price": 10**12},
        {"price": True},
        {"price": [1]},
        {"price": ...},
        {"size": 0},
        {"size": -5},
        {"size": 1.5},
        {"size": 10**12 + 1},
        {"size": 2**70},
        {"size": ...},
        {"sequence": -1},
        {"sequence": 2**37},
        {"sequence": 1.5},
        {"trade_id": ""},
        {"trade_id": "a" * 65},
        {"trade_id": "a b"},
        {"trade_id": ...},
        {"trade_id": 1.5},
        {"trade_id": True},
        {"exchange": ["P"]},
        {"exchange": "x" * 17},
        {"conditions": "xyz"},
        {"conditions": "1" * 16},
        {"source": "other", "conditions": "x" * 65},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_trade_that_breaks_a_rule_is_left_out_and_its_neighbours_stay(changes: dict[str, Any]) -> None:
    taken = trades_in(messages(changed(TRADE), changed(TRADE, **changes), changed(TRADE)))
    assert taken["offset"].to_list() == [0, 2]


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"{", b"null", b"[]", b'"trade"', b"\x00\x01\xff", changed(TRADE)[:-1]),
        *(changed(TRADE) + b"}", b"[" * 100_000, changed(TRADE).replace(b'"P"', b'"\xff"')),
        changed(TRADE).replace(b"100.5", b'"\xff"'),
        *(changed(TRADE)[:-1] + b',"u":"\xff"}', changed(TRADE)[:-1] + b',"u":' + b"9" * 1001 + b"}"),
        *(changed(TRADE)[:-1] + b',"' + b"k" * 50_001 + b'":1}', b'{"size":"x",' + changed(TRADE)[1:]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_json_object_is_left_out(value: bytes | None) -> None:
    assert trades_in(messages(value, changed(TRADE)))["offset"].to_list() == [1]


def test_a_trade_may_be_up_to_five_minutes_ahead_of_the_batch() -> None:
    moment = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
    value = changed(TRADE, ts=micros(moment + timedelta(minutes=5)))
    assert trades_in(messages(value, ingested_at=moment)).height == 1
    assert trades_in(messages(value, ingested_at=moment - timedelta(microseconds=1))).height == 0


@pytest.mark.parametrize(
    ("moment", "segment"),
    [
        (datetime(2013, 11, 29, 8, 59, 59, 999_999, tzinfo=UTC), None),
        (datetime(2013, 11, 29, 9, 0, tzinfo=UTC), "pre"),
        (datetime(2013, 11, 29, 14, 30, tzinfo=UTC), "regular"),
        (datetime(2013, 11, 29, 17, 59, 59, 999_999, tzinfo=UTC), "regular"),
        (datetime(2013, 11, 29, 18, 0, tzinfo=UTC), "post"),
        (datetime(2013, 11, 29, 21, 59, 59, 999_999, tzinfo=UTC), "post"),
        (datetime(2013, 11, 29, 22, 0, tzinfo=UTC), None),
        (datetime(2013, 11, 28, 15, 0, tzinfo=UTC), None),
        (datetime(2012, 10, 29, 15, 0, tzinfo=UTC), None),
        (datetime(1970, 1, 1, tzinfo=UTC), None),
    ],
)
def test_the_session_is_found_on_a_half_day_a_holiday_and_a_storm(moment: datetime, segment: str | None) -> None:
    taken = trades_in(messages(changed(TRADE, ts=micros(moment))))
    expected = [] if segment is None else [(date(2013, 11, 29), segment)]
    assert taken.select("session_date", "segment").rows() == expected


@pytest.mark.parametrize(
    ("conditions", "moment", "for_price", "for_volume", "reason"),
    [
        ("", OPEN, True, True, None),
        ("1", OPEN, True, True, None),
        ("20", OPEN, False, True, "sweep"),
        ("140020", OPEN, False, True, "average_price"),
        ("80", OPEN, True, True, None),
        ("20", OPEN - timedelta(hours=1), True, True, None),
        ("80", OPEN - timedelta(hours=1), False, False, "closing_print"),
        ("1000000", OPEN, False, False, "official_close"),
        ("FFFFFFFFFFFFFFF", OPEN, False, False, "official_close"),
    ],
)
def test_conditions_are_judged_by_the_published_masks(
    conditions: str, moment: datetime, *, for_price: bool, for_volume: bool, reason: str | None
) -> None:
    taken = trades_in(messages(changed(TRADE, conditions=conditions, ts=micros(moment))))
    names = ("counts_for_open_close", "counts_for_high_low", "counts_for_volume", "left_out_for")
    assert taken.select(names).rows() == [(for_price, for_price, for_volume, reason)]


@pytest.mark.parametrize(
    ("conditions", "after_close", "bar_at", "segment"),
    [
        ("80", timedelta(0), CLOSE - timedelta(minutes=1), "regular"),
        ("20000080", timedelta(seconds=64), CLOSE - timedelta(minutes=1), "regular"),
        ("80", timedelta(minutes=15, microseconds=-1), CLOSE - timedelta(minutes=1), "regular"),
        ("80", timedelta(minutes=15), CLOSE + timedelta(minutes=15), "post"),
        ("40", timedelta(seconds=64), CLOSE + timedelta(minutes=1), "post"),
        ("", timedelta(0), CLOSE, "post"),
    ],
)
def test_the_closing_auction_belongs_to_the_last_regular_minute(
    conditions: str, after_close: timedelta, bar_at: datetime, segment: str
) -> None:
    taken = trades_in(messages(changed(TRADE, conditions=conditions, ts=micros(CLOSE + after_close))))
    assert taken.select("bar_at", "segment").rows() == [(bar_at, segment)]


@pytest.mark.parametrize(
    ("changes", "is_taken"),
    [
        ({}, True),
        ({"bid": ..., "bid_size": ..., "ask": "100.1", "ask_size": 0}, True),
        ({"bid": ..., "bid_size": 100}, False),
        ({"bid": 0}, False),
        ({"ask": -1}, False),
        ({"bid_size": -1}, False),
        ({"bid_size": 1.5}, False),
        ({"ask_size": 10**13}, False),
        ({"quote_id": ...}, False),
        ({"kind": "trade"}, False),
    ],
    ids=str,
)
def test_quotes_are_taken_by_the_rules(changes: dict[str, Any], *, is_taken: bool) -> None:
    assert quotes_in(messages(changed(QUOTE, **changes))).height == is_taken


@pytest.mark.parametrize(
    ("changes", "is_taken"),
    [
        ({}, True),
        ({"volume": 0}, True),
        ({"volume": 10**15}, True),
        ({"volume": 10**15 + 1}, False),
        ({"volume": -1}, False),
        ({"interval": "2m"}, False),
        ({"interval": ...}, False),
        ({"low": 10.5}, False),
        ({"high": 10.5}, False),
        ({"close": "x"}, False),
        ({"ts": micros(OPEN - timedelta(hours=12))}, False),
    ],
    ids=str,
)
def test_vendor_bars_are_taken_by_the_rules(changes: dict[str, Any], *, is_taken: bool) -> None:
    assert vendor_bars_in(messages(changed(BAR, **changes))).height == is_taken


prices = st.decimals(min_value=Decimal("0.000001"), max_value=Decimal("999999999999"), places=6)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}", fullmatch=True)
moments = st.integers(min_value=0, max_value=23_399_999_999).map(lambda offset: micros(OPEN) + offset)


@given(
    st.builds(
        Trade,
        source=st.just("simulated"),
        symbol=st.sampled_from(["SPY", "BRK.B"]),
        ts=moments,
        price=prices,
        size=st.integers(1, 10**12),
        trade_id=ids,
        sequence=st.none() | st.integers(0, 2**37 - 1),
        exchange=st.text(max_size=16),
        conditions=st.text(max_size=64),
    )
)
def test_every_valid_trade_comes_back_to_the_last_digit(trade: Trade) -> None:
    (row,) = trades_in(messages(encode(trade))).iter_rows(named=True)
    assert (row["ts"], row["price"], row["size"], row["trade_id"], row["exchange"], row["conditions"]) == (
        *(trade.ts, int(trade.price * 10**6), trade.size, trade.trade_id, trade.exchange, trade.conditions),
    )
    assert trade.sequence is None or row["sequence"] == trade.sequence


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_stop_the_decoder(value: bytes) -> None:
    for decode in (trades_in, quotes_in, vendor_bars_in):
        assert decode(messages(value)).height == 0


def test_records_as_the_feeds_write_them_are_taken() -> None:
    moment = micros(OPEN)
    quote = Quote(source="lean", symbol="IBM", ts=moment, quote_id="1", ask=Decimal("180.1"), ask_size=2)
    bar = Bar("lean", "IBM", "1m", moment, Decimal(1), Decimal(2), Decimal("0.5"), Decimal("1.5"), 10)
    assert quotes_in(messages(encode(quote)))["ask"].to_list() == [180_100_000]
    assert vendor_bars_in(messages(encode(bar)))["low"].to_list() == [500_000]
