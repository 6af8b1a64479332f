"""The short way for plain messages: which of them it takes, whatever lies between them. What it reads of them is compared
with two other decoders in ``test_decoders_agree.py``.
"""

import itertools
import json
import random

import polars as pl
import pyarrow as pa
import pytest

from spark_jobs.transforms.kinds import TRADES
from spark_jobs.transforms.plain import parse_plain
from tests.unit.spark_jobs.messages import TRADE, Fields, changed

SEED = 20131007
GARBAGE = [
    b"{",
    b"",
    b"null",
    b"{}",
    b'{"kind":"trade"',
    b'{"kind":"trade",',
    b'{"kind":"trade","size":1,"size":1}',
    b"\xff",
    b'{"new":1}',
]


def compact(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def parsed(values: list[bytes | None]) -> pl.DataFrame:
    return parse_plain(pa.array(values, pa.binary()), TRADES.fields)


def test_messages_of_several_encoders_are_all_plain_and_keep_their_numbers() -> None:
    chance = random.Random(SEED)
    without = [{**TRADE}, {name: TRADE[name] for name in TRADE if name != "sequence"}, dict(reversed([*TRADE.items()]))]
    ways = [encode(fields) for fields, encode in itertools.product(without, (compact, changed))]
    values = [chance.choice(ways) for _ in range(2_000)]
    found = parsed([*values])
    assert found["row"].to_list() == list(range(len(values)))
    assert found["sequence"].to_list() == [json.loads(value).get("sequence") for value in values]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_damaged_messages_do_not_hide_plain_ones(share: float) -> None:
    chance = random.Random(SEED)
    values = [
        chance.choice(GARBAGE) if chance.random() < share else compact({**TRADE, "size": number + 1})
        for number in range(5_000)
    ]
    found = parsed([*values])
    plain = {number: number + 1 for number, value in enumerate(values) if value not in GARBAGE}
    assert dict(found.select("row", "size").iter_rows()) == plain


def test_a_flood_of_damaged_messages_ahead_does_not_hide_plain_ones() -> None:
    values = [*GARBAGE * 1_000, compact(TRADE), *[compact(TRADE)] * 1_000]
    assert parsed([*values]).height == 1_001


@pytest.mark.parametrize("values", [[], [None], [None, b"{"], GARBAGE])
def test_nothing_plain_gives_no_row(values: list[bytes | None]) -> None:
    found = parsed(values)
    assert found.height == 0
    assert found.columns == ["row", *TRADES.fields.names]


def test_a_price_may_be_a_text_and_a_text_may_be_empty() -> None:
    found = parsed([compact({**TRADE, "price": "100.25", "exchange": ""})])
    assert found.select("price", "exchange").rows() == [(100_250_000, "")]
