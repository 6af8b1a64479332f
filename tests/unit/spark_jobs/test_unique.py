"""What is new, what repeats a record, what contradicts one, what states one anew."""

import json
import random
from collections.abc import Callable, Iterable
from decimal import Decimal

import polars as pl
import pytest

from spark_jobs.transforms.kinds import QUOTES, TRADES
from spark_jobs.transforms.unique import Identity, conflict_detail, judge, judge_versions, record_id
from tests.unit.spark_jobs.messages import QUOTE, TRADE, changed, decode_all, price_names, with_token

Judge = Callable[[pl.DataFrame], pl.DataFrame]
Row = tuple[int, int, str, int, int | None]
"""Partition, offset, key, payload, stored payload."""

ROWS: list[Row] = [
    (0, 0, "once", 1, None),
    (0, 1, "many", 1, None),
    (0, 2, "many", 1, None),
    (0, 3, "many", 2, None),
    (0, 4, "many", 1, None),
    (0, 5, "another", 1, None),
    (1, 6, "parts", 1, None),
    (0, 7, "parts", 2, None),  # the lower partition comes first
    (1, 1, "parts", 1, None),
    (0, 8, "stored", 1, 1),
    (0, 9, "stored", 2, 1),
    (1, 0, "stored", 2, 1),
    (1, 10, "stored", 1, 1),
    (0, 11, "changed", 5, 2**64 - 1),
    (0, 12, "changed", 0, 2**64 - 1),
    (0, 13, "stored as 0", 0, 0),
]
RECORDS = {
    "fresh": {(0, 0), (0, 1), (0, 5), (0, 7)},
    "duplicate": {(0, 2), (0, 4), (0, 8), (1, 10), (0, 13)},
    "conflict": {(0, 3), (1, 6), (1, 1), (0, 9), (1, 0), (0, 11), (0, 12)},
}
VERSIONS = {
    "fresh": {(0, 0), (0, 1), (0, 3), (0, 4), (0, 5), (0, 7), (1, 1), (0, 9), (1, 10), (0, 11), (0, 12)},
    "duplicate": {(0, 2), (1, 6), (0, 8), (1, 0), (0, 13)},
}


def frame(rows: Iterable[Row]) -> pl.DataFrame:
    keys = {key: number for number, key in enumerate(sorted({row[2] for row in ROWS}))}
    return pl.DataFrame(
        [(partition, offset, keys[key], payload, stored, key) for partition, offset, key, payload, stored in rows],
        schema={
            "partition": pl.Int32(),
            "offset": pl.Int64(),
            "key_hash": pl.UInt64(),
            "payload_hash": pl.UInt64(),
            "stored_payload": pl.UInt64(),
            "symbol": pl.String(),
        },
        orient="row",
    )


def verdicts(judged: pl.DataFrame) -> dict[str, set[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {}
    for partition, offset, verdict in judged.select("partition", "offset", "verdict").iter_rows():
        found.setdefault(verdict, set()).add((partition, offset))
    return found


@pytest.mark.parametrize(
    ("how", "expected"), [(judge, RECORDS), (judge_versions, VERSIONS)], ids=["records", "versions"]
)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_ledger_decides_what_a_row_is(
    how: Judge, expected: dict[str, set[tuple[int, int]]], seed: int
) -> None:
    rows = frame(random.Random(seed).sample(ROWS, len(ROWS)))
    judged = how(rows)
    assert verdicts(judged) == expected, f"seed {seed}"
    assert judged.drop("verdict").rows() == rows.sort("partition", "offset").rows()


IDENTITY = Identity(key=("symbol", "record"), payload=("price", "size"))
STATED = [
    (symbol, record, price, size)
    for symbol, record in (("A", "BC"), ("AB", "C"), ("ABC", ""), ("", "ABC"), ("A", "B"))
    for price, size in ((None, 1), (1, None), (None, None), (0, 1), (1, 0), (1, 1), (2**63 - 1, 1))
]


def hashes(rows: pl.DataFrame) -> list[tuple[int, int]]:
    return rows.select(IDENTITY.hashes()).rows()


def stated(rows: Iterable[tuple[str, str, int | None, int | None]]) -> pl.DataFrame:
    schema = {"symbol": pl.String(), "record": pl.String(), "price": pl.Int64(), "size": pl.Int64()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def test_records_have_equal_hashes_if_and_only_if_key_and_payload_are_equal() -> None:
    found = hashes(stated(STATED))
    assert len({key for key, _ in found}) == 5
    assert len({payload for _, payload in found}) == len(STATED)
    for (symbol, record, *_), (key, _) in zip(STATED, found, strict=True):
        assert {number for row, (number, _) in zip(STATED, found, strict=True) if row[:2] == (symbol, record)} == {key}


def test_the_hash_of_a_record_does_not_depend_on_the_rows_beside_it() -> None:
    found = hashes(stated(STATED))
    assert [hashes(stated([row]))[0] for row in STATED] == found
    in_pieces = pl.concat([stated([row]) for row in STATED], rechunk=False).with_columns(others=1)
    assert hashes(in_pieces) == found
    assert hashes(stated(reversed(STATED))) == found[::-1]
    assert hashes(stated(STATED)[10:]) == found[10:]
    assert hashes(stated(STATED).filter(pl.col("size") == 1)) == [
        pair for row, pair in zip(STATED, found, strict=True) if row[3] == 1
    ]


def test_a_conflict_is_shown_with_all_that_it_states() -> None:
    prices = ("123456789012.345678", "0.000001", "100", "100.5")
    values = [with_token({**TRADE, "exchange": 'é"\x00'}, "price", price.encode()) for price in prices]
    rows = decode_all(TRADES, values).valid
    details = conflict_detail(rows, TRADES.identity, frozenset(price_names(TRADES.table)))
    assert details.name == "detail"
    shown = [json.loads(text) for text in details]
    assert [Decimal(detail["price"]) for detail in shown] == [Decimal(price) for price in prices]
    assert set(shown[0]) == {*TRADES.identity.key, *TRADES.identity.payload}
    assert (shown[0]["trade_id"], shown[0]["exchange"], shown[0]["size"]) == ("2013-10-07:1", 'é"\x00', "100")


def test_the_missing_side_of_a_conflicting_quote_is_shown_as_missing() -> None:
    rows = decode_all(QUOTES, [changed(QUOTE, bid=None, bid_size=...)]).valid
    (detail,) = conflict_detail(rows, QUOTES.identity, frozenset(price_names(QUOTES.table)))
    shown = json.loads(detail)
    assert (shown["bid"], shown["bid_size"], Decimal(shown["ask"])) == (None, None, Decimal("100.5"))


def test_a_repeated_record_is_named_by_its_key() -> None:
    rows = decode_all(QUOTES, [changed(QUOTE)]).valid
    assert rows.select(record_id(QUOTES.identity.key)).to_series().to_list() == ["lean/SPY/2013-10-07/q1"]
