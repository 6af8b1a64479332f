"""The stream's decoder and verify's own take the same messages and read the same values from them.

The two share no code. Odd values are put into every field in turn, and whole messages are damaged at random.
"""

import json
import random
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from pyspark.sql import DataFrame, SparkSession

from market.tables import DataType
from spark_jobs.transforms.kinds import QUOTES, TRADES, VENDOR_BARS, RecordKind
from tests.spark.messages import BAR, INGESTED, QUOTE, TRADE, Fields, as_messages, changed, decode, with_token
from verify.messages import quotes_in, trades_in, vendor_bars_in

pytestmark = pytest.mark.spark

SEED = 20131007
DAMAGED = 250
DECODERS = {TRADES.name: trades_in, QUOTES.name: quotes_in, VENDOR_BARS.name: vendor_bars_in}
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
    *(b"1e999", b"1e99999999999", b"1380000000000000", b'"a\tb"', b'"a\\qb"'),
]


def corpus(fields: Fields, seed: int) -> list[bytes]:
    """Return messages that are odd in every way, some of them still valid."""
    whole = changed(fields)
    values = [whole]
    for name in fields:
        values += [with_token(fields, name, token) for token in ODD]
        values += [changed(fields, **{name: ...}), whole.replace(f'"{name}"'.encode(), f'"{name.upper()}"'.encode())]
        values += [b"{" + f'"{name}":'.encode() + b'"zz",' + whole[1:], whole[:-1] + f',"{name}":"zz"'.encode() + b"}"]
    values += [whole + tail for tail in (b" ", b"\n" + whole, b"}", b',"end":true}', b',"x":{}', b"\x00", b" x")]
    values += [b'null,"m":' + whole, b"\xef\xbb\xbf" + whole, b"[" + whole + b"]", b"", b"null", b"{}", b"[]"]
    values += [whole[:-1] + b',"u":' + odd + b"}" for odd in (b"9" * 2000, b'"\xff"', b"01", b"{" * 50, b'"\\ud800"')]
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


def as_verify_sees(kind: RecordKind, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the stream with prices in millionths."""
    prices = {column.name for column in kind.table.columns if column.type is DataType.PRICE}
    return {name: int(value * 10**6) if name in prices and value is not None else value for name, value in row.items()}


@pytest.mark.parametrize(
    ("kind", "fields"), [(TRADES, TRADE), (QUOTES, QUOTE), (VENDOR_BARS, BAR)], ids=["trades", "quotes", "bars"]
)
def test_both_decoders_take_the_same_messages_and_read_the_same(
    spark: SparkSession, sessions: DataFrame, kind: RecordKind, fields: Fields
) -> None:
    values = corpus(fields, SEED)
    names = [column.name for column in kind.table.columns if column.type is not DataType.TIMESTAMP]
    taken = decode(kind, as_messages(spark, kind, values), sessions).where("valid").select("ts", *names)
    stream = {row["offset"]: as_verify_sees(kind, row.asDict()) for row in taken.collect()}
    bronze = {
        "topic": [kind.topic.name] * len(values),
        "partition": pl.Series([0] * len(values), dtype=pl.Int32),
        "offset": range(len(values)),
        "ingested_at": [INGESTED] * len(values),
        "value": values,
    }
    own = DECODERS[kind.name](pl.DataFrame(bronze)).select("ts", *names)
    verify = {row["offset"]: row for row in own.iter_rows(named=True)}
    assert len(stream) > len(values) / 40
    assert sorted(values[offset] for offset in stream.keys() ^ verify.keys()) == [], f"seed {SEED}"
    assert [(values[offset], row, verify[offset]) for offset, row in stream.items() if row != verify[offset]] == []


@pytest.mark.parametrize(
    ("kind", "fields"), [(TRADES, TRADE), (QUOTES, QUOTE), (VENDOR_BARS, BAR)], ids=["trades", "quotes", "bars"]
)
def test_a_plain_message_is_read_like_any_other(
    spark: SparkSession, sessions: DataFrame, kind: RecordKind, fields: Fields
) -> None:
    spaced = corpus(fields, SEED)
    values = [*spaced, *(value.replace(b'": ', b'":').replace(b', "', b',"') for value in spaced)]
    messages = as_messages(spark, kind, values)
    read = kind.decode_plain(messages, sessions).where("is_plain")
    exact = kind.decode(messages, sessions)
    names = [name for name, type_ in exact.dtypes if type_ != "timestamp"]
    shortly = {row["offset"]: row.asDict() for row in read.select(*names).collect()}
    at_length = {row["offset"]: row.asDict() for row in exact.select(*names).collect()}
    assert changed(fields) in {values[offset] for offset in shortly}
    assert len({row["reason"] for row in shortly.values()}) > len(fields) / 2, "the rules were hardly tried"
    assert [
        (values[offset], row, at_length[offset]) for offset, row in shortly.items() if row != at_length[offset]
    ] == []


def test_the_fields_of_a_plain_message_come_back(spark: SparkSession, sessions: DataFrame) -> None:
    (row,) = decode(TRADES, as_messages(spark, TRADES, [changed(TRADE)]), sessions).collect()
    expected = {**json.loads(changed(TRADE)), "price": Decimal("100.5")}
    assert {name: row[name] for name in expected if name != "kind"} == {
        k: v for k, v in expected.items() if k != "kind"
    }
