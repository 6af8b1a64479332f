"""The stream's decoder and verify's own take the same messages and read the same values from them.

The two share no code. Odd values are put into every field in turn, and whole messages are damaged at random.
"""

import json
import random
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from spark_jobs.transforms.kinds import AMENDMENTS, CORPORATE_ACTIONS, QUOTES, STATUSES, TRADES, VENDOR_BARS, RecordKind
from spark_jobs.transforms.parse import parse_exactly
from spark_jobs.transforms.plain import parse_plain
from tests.unit.spark_jobs.messages import (
    BAR,
    CANCEL,
    CORRECTION,
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
    decode_all,
    decoded,
    with_token,
)
from verify.messages import actions_in, amendments_in, quotes_in, statuses_in, trades_in, vendor_bars_in

SEED = 20131007
DAMAGED = 250
FEW = 40
DECODERS = {
    TRADES.name: trades_in,
    AMENDMENTS.name: amendments_in,
    STATUSES.name: statuses_in,
    QUOTES.name: quotes_in,
    VENDOR_BARS.name: vendor_bars_in,
    CORPORATE_ACTIONS.name: actions_in,
}
ODD = [
    *(
        b"1",
        b"0",
        b"-0",
        b"-1",
        b"1.5",
        b"1.0",
        b"1e2",
        b"1.1234567",
        b"1.1000000",
        b"0.000001",
        b"1e-7",
        b"00.5",
        b"1.",
    ),
    *(
        b'"1"',
        b'" 1"',
        b'"1e2"',
        b'"1\\n"',
        b'"SPY\\n"',
        b'"A\\u2028"',
        b'"\\u0031"',
        b'"\\ud83d\\ude00"',
        b'"\\ud800"',
        b'"a\\u0000"',
    ),
    *(b"true", b"null", b"[]", b"{}", b"[1, 2.50]", b'{"a": 1}', b'""', b'"x"', b'"NaN"', b"NaN", b'"\xff"', b"'x'"),
    *(b"9223372036854775807", b"9223372036854775808", b"99999999999999999999999", b"1000000000000", b"1000000000001"),
    *(b"999999999999.999999", b"137438953471", b"137438953472", b"12345678901234567890.5", b"1.381152600000000E15"),
    *(
        b'"1d"',
        b'"FFFFFFFFFFFFFFF"',
        b'"FFFFFFFFFFFFFFFF"',
        b'"%s"' % (b"F" * 64),
        b'"trade"',
        b'"%s"' % ("é" * 16).encode(),
    ),
    *(b'"1,5"', b'"+1"', b'".5"', b'"1."', '"\u0661"'.encode(), b'"1.5"', b'"-0"', b'"0e0"', b'"1E+2"'),
    *(
        b'"2013-10-08"',
        b'"2013-10-12"',
        b'"2013-02-30"',
        b'"0000-00-00"',
        b'"20131008"',
        b'"2013-10-8"',
        b'"2013-10-08 "',
    ),
    *(b'"split"', b'"dividend"', b'"symbol_change"', b'"withdrawal"', b'"IBM"', b'"SPY"', b'"ibm"'),
    *(b"1e999", b"1e99999999999", b"1e-99999999999", b"-1e9999999", b"1380000000000000", b'"a\tb"', b'"a\\qb"'),
]
OF_STATUSES = {"since": 1, "reason": "LUDP"}
TWICE = ('"zz"', '"1"', "1", "1.5", "true", "[]", "{}", "null", '"1,5"', '"1e400"', "1e99999999999")


def corpus(fields: Fields, seed: int) -> list[bytes]:
    """Return messages that are odd in every way, some of them still valid."""
    whole = changed(fields)
    values = [whole]
    for name in fields:
        values += [with_token(fields, name, token) for token in ODD]
        values += [changed(fields, **{name: ...}), whole.replace(f'"{name}"'.encode(), f'"{name.upper()}"'.encode())]
        values += [f'{{"{name}":{odd},'.encode() + whole[1:] for odd in TWICE]
        values += [whole[:-1] + f',"{name}":{odd}}}'.encode() for odd in TWICE]
        escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
        values += [f'{{"{escaped}":{odd},'.encode() + whole[1:] for odd in TWICE]
        values += [f'{{"{name}":null,'.encode() + whole[1:-1] + b',"u":"\\ud800"}']
    values += [whole + tail for tail in (b" ", b"\n" + whole, b"}", b',"end":true}', b',"x":{}', b"\x00", b" x")]
    values += [b'null,"m":' + whole, b"\xef\xbb\xbf" + whole, b"[" + whole + b"]", b"", b"null", b"{}", b"[]"]
    values += [whole[:-1] + b',"u":' + odd + b"}" for odd in (b"9" * 2000, b'"\xff"', b"01", b"{" * 50, b'"\\ud800"')]
    for brackets in (499, 500):  # with that of the message as many as are read, and one more
        values += [whole[:-1] + b',"u":' + b"[" * brackets + b"]" * brackets + b"}"]
        values += [whole[:-1] + b',"u":"' + b"{" * brackets + b'"}', whole[:-1] + b',"u":"' + b"]" * brackets + b'"}']
    values += [whole[:-1] + b',"' + b"k" * 60_000 + b'":1}', whole[:-1] + b',"u":"' + b"k" * 60_000 + b'"}']
    return values + [damaged(whole, random.Random(f"{seed}:{number}")) for number in range(DAMAGED)]


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Return the message with one to three characters changed, put in or left out."""
    value = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 3])):
        place, character = (
            chance.randrange(len(value)),
            chance.choice(b"{}[]\",:0123456789.eE-+nt\\/ \x00\xff\xc3\n'aZ"),
        )
        match chance.randrange(3):
            case 0:
                value[place] = character
            case 1:
                value.insert(place, character)
            case _:
                del value[place]
    return bytes(value)


EVERY_KIND = pytest.mark.parametrize(
    ("kind", "fields"),
    [
        *((TRADES, TRADE), (TRADES, {**TRADE, **OF_STATUSES}), (AMENDMENTS, CORRECTION), (AMENDMENTS, CANCEL)),
        *((STATUSES, HEARTBEAT), (STATUSES, HALT), (STATUSES, RESUME), (STATUSES, {**TRADE, **HEARTBEAT})),
        *((QUOTES, QUOTE), (VENDOR_BARS, BAR)),
        *((CORPORATE_ACTIONS, SPLIT), (CORPORATE_ACTIONS, DIVIDEND), (CORPORATE_ACTIONS, SYMBOL_CHANGE)),
        *((CORPORATE_ACTIONS, WITHDRAWAL), (CORPORATE_ACTIONS, {**WITHDRAWAL, **SYMBOL_CHANGE, **DIVIDEND, **SPLIT})),
    ],
    ids=[
        *("trades", "trades and more", "corrections", "cancels"),
        *("heartbeats", "halts", "resumes", "heartbeats and more", "quotes", "bars"),
        *("splits", "dividends", "symbol changes", "withdrawals", "splits and more"),
    ],
)


@EVERY_KIND
def test_both_decoders_take_the_same_messages_and_read_the_same(kind: RecordKind, fields: Fields) -> None:
    values = corpus(fields, SEED)
    ledger = {"topic", "ingested_at"}
    names = [column.name for column in kind.table.columns if column.name not in ledger]
    beside = dict(zip(TRADES.beside, decode_all(TRADES, values).beside, strict=True))
    rows = beside[kind] if kind in beside else decode_all(kind, values).valid
    stream = {row["offset"]: row for row in rows.select(names).iter_rows(named=True)}
    bronze = {
        "topic": [kind.topic.name] * len(values),
        "partition": pl.Series([0] * len(values), dtype=pl.Int32),
        "offset": range(len(values)),
        "ingested_at": [INGESTED] * len(values),
        "value": values,
    }
    own = DECODERS[kind.name](pl.DataFrame(bronze)).select(names)
    verify = {row["offset"]: row for row in own.iter_rows(named=True)}
    assert len(stream) > len(values) / 40
    assert sorted(values[offset] for offset in stream.keys() ^ verify.keys()) == [], f"seed {SEED}"
    assert [(values[offset], row, verify[offset]) for offset, row in stream.items() if row != verify[offset]] == []


def plain_ones(kind: RecordKind, values: list[bytes]) -> pl.DataFrame:
    """Return what the short way reads, given a few at a time: of very many layouts it leaves the rare ones out."""
    some = range(0, len(values), FEW)
    parts = [parse_plain(pa.array(values[at : at + FEW], pa.binary()), kind.fields) for at in some]
    return pl.concat(part.with_columns(pl.col("row") + at) for at, part in zip(some, parts, strict=True))


@EVERY_KIND
def test_a_plain_message_is_read_like_any_other(kind: RecordKind, fields: Fields) -> None:
    spaced = corpus(fields, SEED)
    values = [*spaced, *(value.replace(b'": ', b'":').replace(b', "', b',"') for value in spaced)]
    names = kind.fields.names
    plain = plain_ones(kind, values)
    exact = parse_exactly(values, kind.fields)
    no_price = [
        pl.when(pl.col(name) > 0).then(name).alias(name) for name in kind.fields.prices
    ]  # 0 is none: a rule says so
    shortly = {row["row"]: row for row in plain.with_columns(no_price).select("row", *names).iter_rows(named=True)}
    at_length = exact.with_row_index("row").select("row", *names).to_dicts()
    assert len(shortly) == plain.height, "a message came out twice"
    assert {changed(fields), spaced[0].replace(b" ", b"")} <= {values[number] for number in shortly}
    assert [name for name in fields if plain[name].n_unique() < 3] == [], "these were hardly tried"
    assert [(values[number], row) for number, row in shortly.items() if row != at_length[number]] == []
    judged = exact[plain["row"]].select(pl.col("is_json").all(), pl.col("has_types").all())
    assert judged.rows() == [(True, True)]


@EVERY_KIND
def test_one_message_alone_is_read_like_one_of_many(kind: RecordKind, fields: Fields) -> None:
    values = corpus(fields, SEED)
    together = decoded(kind, values)
    chance = random.Random(SEED)
    for number in chance.sample(range(len(values)), 40):
        (alone,) = decoded(kind, [values[number]]).values()
        assert {**alone, "offset": number} == together[number], (values[number], f"seed {SEED}")


@pytest.mark.parametrize("seed", range(4))
def test_a_field_that_is_there_twice_in_a_plain_message_leaves_its_neighbours_as_they_are(seed: int) -> None:
    chance = random.Random(seed)
    values = [
        changed(TRADE, size=number + 1)[:-1] + (b',"size":7}' if chance.random() < 0.3 else b"}")
        for number in range(40)
    ]
    values = [value if chance.random() < 0.8 else chance.choice([b"{", b"\xff", "é".encode()]) for value in values]
    expected = {
        number: 7 if value.endswith(b":7}") else number + 1 for number, value in enumerate(values) if len(value) > 10
    }
    found = {number: row["size"] for number, row in decoded(TRADES, values).items() if row["valid"]}
    assert found == expected, f"seed {seed}"


def test_the_fields_of_a_plain_message_come_back() -> None:
    (row,) = decoded(TRADES, [changed(TRADE)]).values()
    expected = {**json.loads(changed(TRADE)), "price": Decimal("100.5"), "traded_at": OPEN}
    del expected["kind"], expected["ts"]
    assert {name: row[name] for name in expected} == expected
