"""Messages that break the rules, each with the reason that ``docs/wire-format.md`` gives for it, written by hand."""

import json
import random
from collections.abc import Callable
from typing import Any, Final

_TRADES: Final = "market.trades.v1"
_QUOTES: Final = "market.quotes.v1"
_BARS: Final = "market.bars.v1"

Fields = dict[str, Any]
_RAW: Final[tuple[tuple[bytes | None, str], ...]] = (
    (None, "not_json"),
    (b"", "not_json"),
    (b"{", "not_json"),
    (b"\xff\xfe\x00", "not_json"),
    (b"[1, 2]", "not_json"),
    (b"null", "not_json"),
    (b'{"kind":"trade"} trailing', "not_json"),
    (b'{"kind":"trade","symbol":"\xc3\x28"}', "not_json"),
    (b'{"kind":"trade","price":NaN}', "not_json"),
    (b'{"kind":"trade","price":-Infinity}', "not_json"),
    (b"[" * 600 + b"]" * 600, "not_json"),
    (b'{"a":' * 600 + b"1" + b"}" * 600, "not_json"),
    (b"{}", "unknown_kind"),
    (b'{"kind":7}', "unknown_kind"),
    (b'{"kind":"trade"}', "bad_source"),
    (b'{"kind":"trade","source":"fault","symbol":"' + b"A" * 100_000 + b'"}', "bad_symbol"),
)

_BAR: Final = {"open": 10, "high": 12, "low": 9, "close": 11, "volume": 5}
_OF_TRADES: Final[tuple[tuple[Fields, str], ...]] = (
    ({"kind": "quote"}, "unknown_kind"),
    ({"source": "FAULT"}, "bad_source"),
    ({"symbol": "spy"}, "bad_symbol"),
    ({"symbol": "ABCDEFGHIJKLMNOP"}, "bad_symbol"),
    ({"ts": None}, "bad_ts"),
    ({"ts": -1}, "bad_ts"),
    ({"ts": 1.5}, "bad_ts"),
    ({"ts": "1381152600000000"}, "bad_ts"),
    ({"ts": 7_000_000_000_000_000}, "from_the_future"),
    ({"ts": 1_381_000_000_000_000}, "outside_session"),  # a Saturday
    ({"price": None}, "bad_price"),
    ({"price": 0}, "bad_price"),
    ({"price": -1.5}, "bad_price"),
    ({"price": True}, "bad_price"),
    ({"price": "1.1234567"}, "bad_price"),
    ({"price": 10**12}, "bad_price"),
    ({"price": "NaN"}, "bad_price"),
    ({"price": [1]}, "bad_price"),
    ({"size": 0}, "bad_size"),
    ({"size": -5}, "bad_size"),
    ({"size": 10**13}, "bad_size"),
    ({"size": 10**30}, "bad_size"),
    ({"size": "100"}, "bad_size"),
    ({"size": 1.0}, "bad_size"),
    ({"trade_id": None}, "bad_trade_id"),
    ({"trade_id": "a b"}, "bad_trade_id"),
    ({"trade_id": "x" * 65}, "bad_trade_id"),
    ({"sequence": -1}, "bad_sequence"),
    ({"sequence": 2**37}, "bad_sequence"),
    ({"exchange": "x" * 17}, "bad_exchange"),
    ({"conditions": "x" * 65}, "bad_conditions"),
    ({"exchange": {"code": "P"}}, "wrong_type"),
    ({"kind": "cancel"}, "bad_ref_id"),
    ({"kind": "correction", "ref_id": "t", "price": None}, "bad_price"),
)
_OF_QUOTES: Final[tuple[tuple[Fields, str], ...]] = (
    ({"bid": 0}, "bad_bid"),
    ({"ask": -1}, "bad_ask"),
    ({"bid": None, "ask": None}, "no_bid_or_ask"),
    ({"bid_size": -1}, "bad_bid_size"),
    ({"ask_size": 10**13}, "bad_ask_size"),
    ({"quote_id": ""}, "bad_quote_id"),
)
_OF_BARS: Final[tuple[tuple[Fields, str], ...]] = (
    ({"interval": "2m"}, "bad_interval"),
    ({"open": 0}, "bad_open"),
    ({"high": None}, "bad_high"),
    ({"low": "low"}, "bad_low"),
    ({"close": -1}, "bad_close"),
    ({"low": 200}, "prices_out_of_order"),
    ({"volume": -1}, "bad_volume"),
    ({"volume": 10**16}, "bad_volume"),
)


def poison(chance: random.Random, source: str, moment: int, record_id: str) -> tuple[str, bytes | None, str]:
    """Return topic, value and expected reason of a bad message; but for its fault a record with its own id is valid."""
    common = {"source": source, "symbol": "SPY", "ts": moment}
    make: dict[str, Callable[[], Fields]] = {
        _TRADES: lambda: {"kind": "trade", **common, "price": 100.5, "size": 10, "trade_id": record_id},
        _QUOTES: lambda: {"kind": "quote", **common, "bid": 100, "ask": 101, "quote_id": record_id},
        _BARS: lambda: {"kind": "bar", **common, "interval": "1m", **_BAR},
    }
    kinds: tuple[tuple[str, tuple[tuple[Fields, str], ...]], ...] = (
        (_TRADES, _OF_TRADES),
        (_TRADES, _OF_TRADES),
        (_QUOTES, _OF_QUOTES),
        (_BARS, _OF_BARS),
    )
    if chance.random() < 0.3:
        value, reason = chance.choice(_RAW)
        return _TRADES, value, reason
    topic, faults = chance.choice(kinds)
    fault, reason = chance.choice(faults)
    return topic, json.dumps({**make[topic](), **fault}).encode(), reason
