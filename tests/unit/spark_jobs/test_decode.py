"""What the stream makes of single messages: each bad one has exactly one reason, and its neighbours are unharmed."""

import json
import re
from datetime import timedelta

import pytest

from market.settings import CHECKOUT
from spark_jobs.transforms.kinds import AMENDMENTS, CORPORATE_ACTIONS, QUOTES, STATUSES, TRADES, VENDOR_BARS, RecordKind
from tests.unit.spark_jobs.messages import (
    BAR,
    DIVIDEND,
    HALT,
    HEARTBEAT,
    INGESTED,
    OPEN,
    QUOTE,
    RESUME,
    SPLIT,
    SYMBOL_CHANGE,
    TRADE,
    WITHDRAWAL,
    Fields,
    changed,
    decoded,
    micros,
    with_token,
)

GOOD = changed(TRADE)
DETAIL_LIMIT = 2_000

NOT_JSON: list[bytes | None] = [
    *(None, b"", b" ", b"{", b"null", b"[]", b"{}}", b'"trade"', b"1", b"true", b"\x00\x01\xff"),
    *(GOOD[:-1], GOOD + b"}", GOOD + b" x", GOOD + b",", GOOD + GOOD, b"[" + GOOD + b"]", b"\xef\xbb\xbf" + GOOD),
    *(GOOD[:-1] + b",}", GOOD[:-1] + b",u:1}", GOOD[:-1] + b'/**/,"u":1}', GOOD[:-1] + b",'u':1}"),
    GOOD.decode().encode("utf-16"),
    # invalid UTF-8, in a field and beside the fields
    *(GOOD.replace(b'"P"', b'"\xff"'), GOOD[:-1] + b',"u":"\xc3"}'),
    # values that try to leave the envelope in which they are parsed
    *(GOOD + b',"x":{}', GOOD + b',"end":true', GOOD + b',"end":true}', GOOD + b',"m":' + GOOD),
    *(b'null,"m":' + GOOD, b'{},"m":' + GOOD, b'[],"m":' + GOOD, b'1,"m":' + GOOD, GOOD + b'},"end":true,"x":{"y":1'),
    *(GOOD + b"],[" + GOOD, GOOD + b'}\n,\n"end":true}', b'{"m":' + GOOD + b',"end":true},'),
    # what the parser does not read: a number of 1,001 digits, a name of 50,001 characters, more than 500 brackets
    *(GOOD[:-1] + b',"u":' + b"9" * 1_001 + b"}", GOOD[:-1] + b',"' + b"k" * 50_001 + b'":1}'),
    *(GOOD[:-1] + b',"u":' + b"[" * 500 + b"]" * 500 + b"}", GOOD[:-1] + b',"u":[' + b"{}," * 499 + b"{}]}"),
    GOOD[:-1] + b',"u":"' + b"{[" * 250 + b'"}',
    # what Python writes and JSON does not have
    *(changed(TRADE, price=float("nan")), changed(TRADE, price=float("inf")), changed(TRADE, price=float("-inf"))),
]
BAD_SYMBOLS = (
    *("spy", "", " SPY", "SPY ", "S'PY", 'S"PY', "S/PY", "../SPY", "S\\PY", "SPY\n", "\nSPY", "S\x00", "S\x1b[0m"),
    *(
        "SPY\r",
        "SPY\u0085",
        "SPY\u2028",
        "É",
        "A" * 16,
        "A" * 10_000,
        "1A",
        ".A",
        "SPY;drop table trades",
        5,
        None,
        ...,
    ),
)
BAD_IDS = ("", " a", "a b", "a'b", "a/b", "a\n", "-a", "é", "x" * 65, "x" * 10_000, None, ...)
BAD_PRICES: tuple[object, ...] = (
    *(0, -0.0, -1, -0.000001, "0", "NaN", "-1", "1e30", 10**12, 1e-7, 1.1234567, "0.0000001", "0.1234565"),
    *("999999999999.9999991", "1000000000000", None, ...),
)
NOT_PRICES = (b"true", b"[]", b"{}", b'""', b'"x"', b'" 1"', b'"0x10"', b'"1\\n"')
RATIO = ("new_shares", "old_shares")
NOT_NUMBERS = (b'"1,5"', b'",5"', b'"1,000.5"', b'"+1"', b'".5"', b'"1."', b'"01"', '"\u0661"'.encode(), b'"1\\u002c5"')
FAR_EXPONENTS = (b"1e999999999", b"1e-999999999", b"1e9999999999999999999", b"1e-9999999999999999999")
NESTED = b'{"a":' * 499 + b"1" + b"}" * 499
NOT_TEXTS: tuple[object, ...] = (1.5, 1e300, True, False, [], {}, [1], {"a": 1}, ["trade"])
TOO_BIG = (2**63, 2**64, 10**30, -(10**30), 1.5, "x", True, [1], {"a": 1})


def one_by_one(
    fields: Fields, name: str, reason: str, values: tuple[object, ...]
) -> list[tuple[bytes | None, set[str]]]:
    return [(changed(fields, **{name: value}), {reason}) for value in values]


def bad_trades() -> list[tuple[bytes | None, set[str]]]:
    """Return bad trades with the reasons that may be given."""
    wrong = {"wrong_type"}
    return [
        *((value, {"not_json"}) for value in NOT_JSON),
        *one_by_one(TRADE, "kind", "unknown_kind", ("quote", "Trade", "", None, ..., 1, "x" * 10_000, *NOT_TEXTS)),
        *one_by_one(
            TRADE, "source", "bad_source", ("Lean", "", "l ean", "a\n", "lean\n", "1x", "x" * 33, None, ..., *NOT_TEXTS)
        ),
        *one_by_one(TRADE, "symbol", "bad_symbol", (*BAD_SYMBOLS, *NOT_TEXTS)),
        *one_by_one(TRADE, "ts", "bad_ts", (-1, 2**62, None, ..., "1381152600000000", *TOO_BIG)),
        *one_by_one(
            TRADE, "ts", "from_the_future", (micros(INGESTED + timedelta(minutes=5)) + 1, micros(INGESTED) * 2)
        ),
        *one_by_one(TRADE, "ts", "outside_session", (0, micros(OPEN - timedelta(days=1)))),
        *one_by_one(TRADE, "price", "bad_price", BAD_PRICES),
        *((with_token(TRADE, "price", token), {"bad_price"}) for token in (*NOT_PRICES, *NOT_NUMBERS, *FAR_EXPONENTS)),
        (changed(TRADE, price=...)[:-1] + b', "pric\\u0065": "1,5"}', {"bad_price"}),
        *one_by_one(TRADE, "size", "bad_size", (0, -1, 10**12 + 1, None, ..., "100", *TOO_BIG)),
        *one_by_one(TRADE, "trade_id", "bad_trade_id", (*BAD_IDS, *NOT_TEXTS)),
        *one_by_one(TRADE, "sequence", "bad_sequence", (-1, 2**37)),
        *one_by_one(TRADE, "sequence", "wrong_type", TOO_BIG),
        *one_by_one(TRADE, "exchange", "bad_exchange", ("x" * 17, "x" * 10_000)),
        *one_by_one(TRADE, "exchange", "wrong_type", NOT_TEXTS),
        *one_by_one(TRADE, "conditions", "bad_conditions", ("xyz", "1" * 16, "0x1", "1 ", "1\n")),
        *one_by_one(TRADE, "conditions", "wrong_type", NOT_TEXTS),
        *one_by_one(TRADE, "conditions", "bad_conditions", ("F" * 17, "F" * 64, "1" * 10_000)),
        *((changed(TRADE, source="other", conditions=text), {"bad_conditions"}) for text in ("x" * 65, "x" * 10_000)),
        *((changed(TRADE, source="other", conditions=[text]), wrong) for text in ("x", 1)),
        # a field that is there twice, the first time of a wrong type
        *((b'{"size":"x",' + GOOD[1:], wrong), (b'{"price":true,' + GOOD[1:], wrong)),
        *((b'{"symbol":1.5,' + GOOD[1:], wrong), (b'{"trade_id":[],' + GOOD[1:], wrong)),
        (b'{"exchange":1.5,' + changed(TRADE, exchange=None)[1:], wrong),
        (with_token(TRADE, "exchange", b"1e999"), wrong),
        # as deep as is read: 500 brackets with that of the message
        *((with_token(TRADE, "exchange", token), wrong) for token in (b"[" * 499 + b"]" * 499, NESTED)),
    ]


def bad_statuses() -> list[tuple[bytes | None, set[str]]]:
    before, after = micros(OPEN - timedelta(hours=6)), micros(OPEN + timedelta(hours=11))
    return [
        *one_by_one(HEARTBEAT, "since", "bad_since", (None, ..., -1, HEARTBEAT["ts"], HEARTBEAT["ts"] + 1, *TOO_BIG)),
        *one_by_one(HEARTBEAT, "since", "outside_session", (0, before, micros(OPEN - timedelta(days=3)))),
        *one_by_one(HEARTBEAT, "ts", "outside_session", (after, micros(OPEN + timedelta(days=1)))),
        *one_by_one(HALT, "reason", "bad_reason", ("x" * 65, "x" * 10_000, "a\0", "\0")),
        *one_by_one(HALT, "reason", "wrong_type", NOT_TEXTS),
        *one_by_one(RESUME, "symbol", "bad_symbol", BAD_SYMBOLS),
        *one_by_one(RESUME, "price", "wrong_type", ("NaN", True)),
    ]


def bad_quotes() -> list[tuple[bytes | None, set[str]]]:
    return [
        (b"{", {"not_json"}),
        (changed(TRADE), {"unknown_kind"}),
        *one_by_one(QUOTE, "bid", "bad_bid", (0, -1, 1.1234567, 1e-7)),
        *one_by_one(QUOTE, "ask", "bad_ask", (0, -1, 1.1234567, 1e-7)),
        *(
            (with_token(QUOTE, side, token), {f"bad_{side}"})
            for side in ("bid", "ask")
            for token in (*NOT_PRICES, *NOT_NUMBERS, *FAR_EXPONENTS, b'"NaN"', b"1000000000000")
        ),
        (changed(QUOTE, bid=None, ask=...), {"no_bid_or_ask"}),
        *one_by_one(QUOTE, "bid_size", "bad_bid_size", (-1, 10**12 + 1)),
        *one_by_one(QUOTE, "ask_size", "bad_ask_size", (-1, 10**12 + 1)),
        *one_by_one(QUOTE, "bid_size", "wrong_type", TOO_BIG),
        *one_by_one(QUOTE, "ask_size", "wrong_type", TOO_BIG),
        *one_by_one(QUOTE, "sequence", "wrong_type", TOO_BIG),
        *one_by_one(QUOTE, "sequence", "bad_sequence", (-1, 2**37)),
        *one_by_one(QUOTE, "exchange", "wrong_type", NOT_TEXTS),
        *one_by_one(QUOTE, "quote_id", "bad_quote_id", (*BAD_IDS, *NOT_TEXTS)),
    ]


def bad_bars() -> list[tuple[bytes | None, set[str]]]:
    return [
        (changed(QUOTE), {"unknown_kind"}),
        *one_by_one(BAR, "interval", "bad_interval", ("2m", "1D", "", "1m\n", None, ..., 1, *NOT_TEXTS)),
        *(bad for name in ("open", "high", "low", "close") for bad in one_by_one(BAR, name, f"bad_{name}", BAD_PRICES)),
        *(
            (with_token(BAR, name, token), {f"bad_{name}"})
            for name in ("open", "high", "low", "close")
            for token in (*NOT_PRICES, *NOT_NUMBERS)
        ),
        *one_by_one(BAR, "high", "prices_out_of_order", (10.5, 9)),
        *one_by_one(BAR, "low", "prices_out_of_order", (10.5, 13)),
        *one_by_one(BAR, "volume", "bad_volume", (-1, 10**15 + 1, None, ..., *TOO_BIG)),
    ]


def bad_actions() -> list[tuple[bytes | None, set[str]]]:
    no_dates = ("2013-10-7", "20131007", "2013-02-30", "2013-10-07 ", "", 20131007, None, ..., True)
    return [
        *one_by_one(SPLIT, "kind", "unknown_kind", ("bar", "spinoff")),
        *one_by_one(SPLIT, "effective_date", "bad_effective_date", no_dates),
        *one_by_one(SPLIT, "effective_date", "outside_session", ("2013-10-12", "1989-12-29", "2199-01-03")),
        *((with_token(SPLIT, name, token), {f"bad_{name}"}) for name in RATIO for token in (*NOT_PRICES, *NOT_NUMBERS)),
        *((with_token(DIVIDEND, "cash", token), {"bad_cash"}) for token in (*NOT_PRICES, *NOT_NUMBERS)),
        *one_by_one(SYMBOL_CHANGE, "new_symbol", "bad_new_symbol", ("SPY", "spy", "", None, ..., 7, "A" * 16)),
        *one_by_one(WITHDRAWAL, "action", "bad_action", ("withdrawal", "spinoff", "", None, ..., 7)),
        *one_by_one(DIVIDEND, "new_shares", "wrong_type", ("x", True, [])),
        *one_by_one(DIVIDEND, "new_symbol", "wrong_type", (True, [])),
    ]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (TRADES, GOOD, bad_trades()),
        (TRADES, GOOD, bad_statuses()),
        (QUOTES, changed(QUOTE), bad_quotes()),
        (VENDOR_BARS, changed(BAR), bad_bars()),
        (CORPORATE_ACTIONS, changed(SPLIT), bad_actions()),
    ],
    ids=["trades", "statuses", "quotes", "bars", "actions"],
)
def test_each_bad_message_has_one_reason_and_its_neighbours_are_unharmed(
    kind: RecordKind, good: bytes, bad: list[tuple[bytes | None, set[str]]]
) -> None:
    values = [good] + [value for message, _ in bad for value in (message, good)]
    rows = decoded(kind, values)
    assert sorted(rows) == list(range(len(values)))
    unharmed = {name: value for name, value in rows[0].items() if name != "offset"}
    wrong = []
    for number, (message, reasons) in enumerate(bad):
        row, neighbour = rows[2 * number + 1], rows[2 * number + 2]
        if row["reason"] not in reasons or len(row["detail"]) > DETAIL_LIMIT:
            wrong.append((message, row["reason"], reasons))
        assert {name: neighbour.get(name) for name in unharmed} == unharmed, (message, neighbour)
    assert wrong == []


def reasons_in_order(kind: RecordKind) -> list[str]:
    conflict = [] if kind.restated or kind in (AMENDMENTS, STATUSES) else [f"conflicting_{kind.identity.key[-1]}"]
    return [*(rule.reason for rule in kind.every_rule), *conflict]


def test_the_page_for_producers_has_the_reasons_of_the_rules_in_their_order_and_no_other() -> None:
    table = (CHECKOUT / "docs" / "wire-format.md").read_text().split("## Reasons")[1]
    cells = re.findall(r"^\| (`[^|]+) \| ([a-z, ]+) \|", table, re.MULTILINE)
    seen = set()
    for kind in (TRADES, AMENDMENTS, STATUSES, QUOTES, VENDOR_BARS, CORPORATE_ACTIONS):
        expected = reasons_in_order(kind)
        codes = [code for names, kinds in cells for code in re.findall("`(.+?)`", names) if _is_of(kind, kinds, code)]
        assert codes == expected
        seen |= set(codes)
    assert {code for names, _ in cells for code in re.findall("`(.+?)`", names)} == seen


def _is_of(kind: RecordKind, kinds: str, code: str) -> bool:
    other_id = "quote_id" if kind is TRADES else "trade_id"
    name = {AMENDMENTS: "amendment", STATUSES: "status", CORPORATE_ACTIONS: "action"}.get(kind, kind.name)
    return (kinds == "all" or name in kinds.split(", ")) and not code.endswith(other_id)


def test_every_reason_of_the_rules_has_a_bad_message() -> None:
    tried = {
        reason
        for bad in (bad_trades(), bad_statuses(), bad_quotes(), bad_bars(), bad_actions())
        for _, reasons in bad
        for reason in reasons
    }
    every = {
        reason
        for kind in (TRADES, STATUSES, QUOTES, VENDOR_BARS, CORPORATE_ACTIONS)
        for reason in reasons_in_order(kind)
    }
    assert every - tried == {"conflicting_trade_id", "conflicting_quote_id"}  # these need other messages


def test_the_detail_shows_what_was_wrong() -> None:
    values = [changed(TRADE, price=-1.25), changed(TRADE, symbol="A" * 10_000), changed(TRADE, size=0)]
    values += [b'{"kind":\xff', b"[" * 100]
    rows = decoded(TRADES, values)
    details = [json.loads(rows[number]["detail"]) for number in range(len(values))]
    assert details[0]["price"] == "-1.25"
    assert details[1]["symbol"] == "A" * 80
    assert details[2]["size"] == "0"
    assert details[3:] == [{"value": '{"kind":\ufffd'}, {"value": "[" * 80}]


def test_the_detail_shows_the_fields_as_they_are_written() -> None:
    tokens = {
        b"1.50e-3000": "1.50e-3000",
        b"-0": "-0",
        b"true": "true",
        b'"1,5"': "1,5",
        b'"a\\ud800"': "a?",
        b'"\\u0000\\""': '\0"',
        b"[1, 2.50, null]": "[1, 2.50, null]",
        b'{"a": [1.0, "x"]}': '{"a": [1.0, "x"]}',
    }
    rows = decoded(TRADES, [with_token(TRADE, "price", token) for token in tokens])
    shown = [json.loads(rows[number]["detail"])["price"] for number in range(len(tokens))]
    assert shown == list(tokens.values())
