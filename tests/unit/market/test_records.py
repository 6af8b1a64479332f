"""Records: what is encoded is what comes back, and reads as plain JSON."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.records import (
    MAX_PRICE,
    MAX_SEQUENCE,
    MAX_SIZE_SHARES,
    Bar,
    Cancel,
    Correction,
    Dividend,
    Halt,
    Heartbeat,
    Quote,
    Record,
    Resume,
    Split,
    SymbolChange,
    Trade,
    Withdrawal,
    decode,
    encode,
)

prices = st.decimals(Decimal("0.000001"), MAX_PRICE - Decimal("0.000001"), places=6)
sizes = st.integers(0, MAX_SIZE_SHARES)
moments = st.integers(0, 7_258_118_400_000_000)
texts = st.text(max_size=64)
sequences = st.none() | st.integers(0, MAX_SEQUENCE)
trades = st.builds(Trade, texts, texts, moments, prices, sizes, texts, sequences, texts, texts)
sides = {
    "bid": st.none() | prices,
    "ask": st.none() | prices,
    "bid_size": st.none() | sizes,
    "ask_size": st.none() | sizes,
}
quotes = st.builds(Quote, texts, texts, moments, texts, **sides, sequence=sequences, exchange=texts, conditions=texts)
bars = st.builds(Bar, texts, texts, texts, moments, prices, prices, prices, prices, sizes)


cancels = st.builds(Cancel, texts, texts, moments, texts)
corrections = st.builds(Correction, texts, texts, moments, texts, prices, sizes, texts, texts)


statuses = st.builds(Heartbeat, texts, texts, moments, moments) | st.builds(Halt, texts, texts, moments, texts)
resumes = st.builds(Resume, texts, texts, moments)
actions = (
    st.builds(Split, texts, texts, moments, texts, prices, prices)
    | st.builds(Dividend, texts, texts, moments, texts, prices)
    | st.builds(SymbolChange, texts, texts, moments, texts, texts)
    | st.builds(Withdrawal, texts, texts, moments, texts, texts)
)


@given(trades | cancels | corrections | statuses | resumes | quotes | bars | actions)
def test_every_record_comes_back_to_the_last_digit(record: Record) -> None:
    assert decode(encode(record)) == record


@given(trades)
def test_a_trade_is_plain_json_with_prices_as_numbers(trade: Trade) -> None:
    fields = json.loads(encode(trade), parse_float=Decimal)
    assert fields["kind"] == "trade"
    assert Decimal(fields["price"]) == trade.price
    assert fields["size"] == trade.size
    assert ("sequence" in fields) == (trade.sequence is not None)


def test_the_wire_format_of_a_trade_is_this() -> None:
    trade = Trade("lean", "SPY", 1381152600000000, Decimal("167.41"), 100, "1", 7, "P", "20")
    assert encode(trade) == (
        b'{"kind":"trade","source":"lean","symbol":"SPY","ts":1381152600000000,"price":167.41,"size":100,'
        b'"trade_id":"1","sequence":7,"exchange":"P","conditions":"20"}'
    )


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"kind":"order"}', b'{"kind":"trade"}', b"\xff"])
def test_what_is_no_record_is_refused(value: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode(value)


def test_a_record_cannot_be_changed() -> None:
    trade = Trade("lean", "SPY", 0, Decimal(1), 1, "1")
    with pytest.raises(AttributeError):
        trade.size = 2  # type: ignore[misc]
