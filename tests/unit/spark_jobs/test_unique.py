"""What is new, what repeats a record, what contradicts one, what states one anew."""

from datetime import datetime, timedelta

import pytest
from pyspark.sql import SparkSession

from spark_jobs.transforms.unique import Identity, judge, judge_versions, repeated
from tests.spark.messages import INGESTED

pytestmark = pytest.mark.spark

IDENTITY = Identity(key=("symbol", "record"), payload=("price", "size"))
SCHEMA = (
    "topic string, partition int, offset long, ingested_at timestamp, symbol string, record string, price int, size int"
)
LATER = INGESTED + timedelta(seconds=1)

ROWS: list[tuple[int, int, datetime, str, str, int | None, int]] = [
    (0, 0, INGESTED, "A", "once", 1, 1),
    (0, 1, INGESTED, "A", "many", 1, 1),
    (0, 2, INGESTED, "A", "many", 1, 1),
    (0, 3, INGESTED, "A", "many", 2, 1),
    (0, 4, INGESTED, "A", "many", 1, 1),
    (0, 5, INGESTED, "B", "many", 1, 1),  # another symbol: another record
    (1, 6, INGESTED, "A", "null", None, 1),
    (1, 7, INGESTED, "A", "null", None, 1),
    (1, 0, LATER, "A", "null", 1, 1),
    (1, 8, INGESTED, "A", "parts", 1, 1),
    (0, 9, INGESTED, "A", "parts", 1, 2),  # within a batch the lower partition comes first
    (0, 10, LATER, "A", "stored", 1, 1),
    (0, 11, LATER, "A", "stored", 2, 1),
]
STORED = (1, 99, INGESTED, "A", "stored", 1, 1)
"""A row of an earlier batch: it decides, whatever its partition and offset."""


@pytest.mark.parametrize(
    ("restated", "expected"),
    [
        (
            False,
            {
                "fresh": {0, 1, 5, 6, 9},
                "duplicate": {2, 4, 7, 10},
                "conflict": {3, 100, 8, 11},
            },
        ),
        (True, {"fresh": {0, 1, 3, 4, 5, 6, 100, 9, 8, 11}, "duplicate": {2, 7, 10}}),
    ],
    ids=["records", "versions"],
)
def test_the_order_of_the_ledger_decides_what_a_row_is(
    spark: SparkSession, restated: bool, expected: dict[str, set[int]]
) -> None:
    rows = [("t", *row, True) for row in ROWS] + [("t", *STORED, False)]
    suspects = spark.createDataFrame(rows, f"{SCHEMA}, is_new boolean").repartition(3)
    found: dict[str, set[int]] = {}
    for row in (judge_versions if restated else judge)(suspects, IDENTITY).collect():
        number = row["offset"] if (row["partition"], row["offset"]) != (1, 0) else 100
        found.setdefault(row["verdict"], set()).add(number)
    assert found == expected


def test_only_keys_that_occur_again_are_suspect(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("t", *row) for row in ROWS], SCHEMA)
    hashes = rows.select("symbol", "record", IDENTITY.hash().alias("key_hash"))
    suspect = hashes.join(repeated(rows, IDENTITY), "key_hash").select("symbol", "record").distinct().collect()
    assert {tuple(row) for row in suspect} == {("A", "many"), ("A", "null"), ("A", "parts"), ("A", "stored")}
