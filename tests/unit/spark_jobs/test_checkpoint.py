"""What a batch holds is read from Spark's checkpoint as Spark writes it; a damaged one is named and never guessed at."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from market.errors import CheckpointError
from spark_jobs.io.checkpoint import Plan, newest_plan, read_plan, read_query_id

TOPIC = "market.trades.v1"
METADATA = '{"batchWatermarkMs":0,"batchTimestampMs":1767614400123,"conf":{"spark.sql.shuffle.partitions":"2"}}'
PLANNED_AT = datetime(2026, 1, 5, 12, 0, 0, 123_000, UTC)
START = '{"market.trades.v1":{"1":0,"0":0}}'


def entry(offsets: str, metadata: str = METADATA) -> str:
    return f"v1\n{metadata}\n{offsets}"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A query's checkpoint with a start and two batches, at a path with a space."""
    root = tmp_path / "a lake" / "trades"
    (root / "offsets").mkdir(parents=True)
    (root / "sources" / "0").mkdir(parents=True)
    (root / "sources" / "0" / "0").write_bytes(b"\0v1\n" + START.encode())  # the source writes a NUL before its version
    (root / "offsets" / "0").write_text(entry('{"market.trades.v1":{"0":5,"1":0}}'))
    (root / "offsets" / "1").write_text(entry('{"market.trades.v1":{"0":5,"1":7,"2":3}}'))
    return root


def test_the_first_batch_begins_where_the_source_began(checkpoint: Path) -> None:
    (checkpoint / "sources" / "0" / "0").write_bytes(b'\0v1\n{"market.trades.v1":{"0":2,"1":0}}')
    assert read_plan(str(checkpoint), TOPIC, 0) == Plan(PLANNED_AT, {0: 2, 1: 0}, {0: 5, 1: 0})


def test_a_later_batch_begins_where_the_one_before_ended(checkpoint: Path) -> None:
    assert read_plan(str(checkpoint), TOPIC, 1) == Plan(PLANNED_AT, {0: 5, 1: 0}, {0: 5, 1: 7, 2: 3})


def test_a_topic_that_had_no_partition_yet_has_no_offsets(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "0").write_text(entry("{}"))
    assert read_plan(str(checkpoint), TOPIC, 1).starts == {}


def test_a_checkpoint_may_be_named_as_a_uri(checkpoint: Path) -> None:
    assert read_plan(checkpoint.as_uri(), TOPIC, 1) == read_plan(str(checkpoint), TOPIC, 1)


@pytest.mark.parametrize(
    ("batch_id", "missing"), [(0, "sources/0/0"), (0, "offsets/0"), (1, "offsets/0"), (1, "offsets/1")]
)
def test_a_missing_entry_is_named(checkpoint: Path, batch_id: int, missing: str) -> None:
    (checkpoint / missing).unlink()
    with pytest.raises(CheckpointError, match=f"{missing} cannot be read. Put back a copy"):
        read_plan(str(checkpoint), TOPIC, batch_id)


def test_an_entry_that_is_no_text_is_named(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "1").write_bytes(b"v1\n\xff\xfe")
    with pytest.raises(CheckpointError, match="offsets/1 cannot be read"):
        read_plan(str(checkpoint), TOPIC, 1)


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "v1",
        "v1\n",
        "v1\n{",
        entry(""),
        entry('{"market.trades.v1":{"0":5,"1"'),
        entry('{"market.trades.v1":{"0":"x"}}'),
        entry('{"market.trades.v1":{"x":5}}'),
        entry('{"market.trades.v1":{"0":null}}'),
        entry('{"market.trades.v1":[5]}'),
        entry('{"market.trades.v1":5}'),
        entry("[]"),
        entry("null"),
        entry("5"),
        entry("-"),  # how Spark writes a source without an offset
        entry(START, "{}"),
        entry(START, "[]"),
        entry(START, '{"batchTimestampMs":"noon"}'),
        entry(START, '{"batchTimestampMs":null}'),
        entry(START, '{"batchTimestampMs":1e300}'),
    ],
)
def test_a_damaged_entry_is_shown(checkpoint: Path, damaged: str) -> None:
    (checkpoint / "offsets" / "1").write_text(damaged)
    with pytest.raises(CheckpointError, match="its offset log holds") as caught:
        read_plan(str(checkpoint), TOPIC, 1)
    assert repr(damaged[:80]) in str(caught.value)


def test_a_damaged_start_is_shown(checkpoint: Path) -> None:
    (checkpoint / "sources" / "0" / "0").write_bytes(b"\0v1\n{")
    with pytest.raises(CheckpointError, match=r"holds '.x00v1.n{'"):
        read_plan(str(checkpoint), TOPIC, 0)


def test_an_entry_without_the_topic_is_damaged(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "1").write_text(entry('{"market.quotes.v1":{"0":5}}'))
    with pytest.raises(CheckpointError, match=r"market\.quotes\.v1"):
        read_plan(str(checkpoint), TOPIC, 1)


def test_the_newest_plan_is_the_highest_number_whatever_lies_beside_it(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "10").write_text(entry(START))
    (checkpoint / "offsets" / ".11.0e7a.tmp").write_text("cut off while it was written")
    assert newest_plan(str(checkpoint)) == 10


def test_a_checkpoint_that_is_not_there_has_no_plan(tmp_path: Path) -> None:
    assert newest_plan(str(tmp_path / "nothing")) is None


def test_the_query_is_named_by_its_checkpoint(checkpoint: Path) -> None:
    (checkpoint / "metadata").write_text('{"id":"741c3cdf-246c-4f65-8897-ced3526be408"}')
    assert read_query_id(str(checkpoint)) == "741c3cdf-246c-4f65-8897-ced3526be408"


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", '{"name":"x"}'])
def test_a_checkpoint_without_its_query_is_damaged(checkpoint: Path, damaged: str) -> None:
    (checkpoint / "metadata").write_text(damaged)
    with pytest.raises(CheckpointError, match="metadata holds"):
        read_query_id(str(checkpoint))
