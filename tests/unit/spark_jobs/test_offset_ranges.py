"""What lies between the offsets of a plan is read once, in pieces of a limited size."""

from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.io.kafka import OffsetRange, ranges_between
from spark_jobs.jobs.intake import in_portions

offsets = st.dictionaries(st.integers(0, 5), st.integers(0, 60) | st.integers(0, 2**40))


@given(offsets, st.dictionaries(st.integers(0, 5), st.integers(0, 200)), st.integers(1, 30))
def test_ranges_tile_what_lies_between_the_offsets(starts: dict[int, int], lengths: dict[int, int], most: int) -> None:
    ends = {partition: starts.get(partition, 0) + length for partition, length in lengths.items()}
    ranges = ranges_between(starts, ends, most_messages=most)
    assert all(0 < piece.end - piece.start <= most for piece in ranges)
    assert {piece.partition for piece in ranges} == {partition for partition, length in lengths.items() if length}
    for partition, length in lengths.items():
        pieces = sorted((piece.start, piece.end) for piece in ranges if piece.partition == partition)
        bounds = [starts.get(partition, 0), *(end for _, end in pieces)]
        assert [start for start, _ in pieces] == bounds[:-1]
        assert bounds[-1] == ends[partition]
        assert len(pieces) == -(-length // most), "more pieces than needed"


@given(offsets, st.dictionaries(st.integers(0, 5), st.integers(0, 200)), st.integers(1, 30))
def test_ranges_come_in_the_order_of_the_ledger(starts: dict[int, int], lengths: dict[int, int], most: int) -> None:
    ends = {partition: starts.get(partition, 0) + length for partition, length in lengths.items()}
    found = [(piece.partition, piece.start) for piece in ranges_between(starts, ends, most_messages=most)]
    assert found == sorted(found)


def test_a_new_partition_begins_at_0_and_one_without_messages_gives_nothing() -> None:
    ranges = ranges_between({0: 7, 1: 5}, {0: 7, 1: 6, 2: 3}, most_messages=2)
    assert sorted(ranges, key=str) == [OffsetRange(1, 5, 6), OffsetRange(2, 0, 1), OffsetRange(2, 1, 3)]


def test_the_pieces_of_a_partition_are_about_equal() -> None:
    ranges = ranges_between({}, {0: 101}, most_messages=100)
    assert sorted((piece.start, piece.end) for piece in ranges) == [(0, 50), (50, 101)]


@given(offsets, st.dictionaries(st.integers(0, 5), st.integers(0, 2_000_000)))
def test_portions_hold_every_range_in_order_and_none_is_larger_than_it_must_be(
    starts: dict[int, int], lengths: dict[int, int]
) -> None:
    ends = {partition: starts.get(partition, 0) + length for partition, length in lengths.items()}
    ranges = ranges_between(starts, ends, most_messages=125_000)
    portions = in_portions(ranges)
    assert [piece for portion in portions for piece in portion] == ranges
    for portion in portions:
        sizes = [piece.end - piece.start for piece in portion]
        assert sum(sizes[:-1]) < 250_000
    for portion in portions[:-1]:
        assert sum(piece.end - piece.start for piece in portion) >= 250_000
