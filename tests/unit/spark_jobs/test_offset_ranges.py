"""What lies between the offsets of a plan is read once, in pieces of a limited size."""

from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.io.kafka import OffsetRange, ranges_between

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
def test_the_longest_work_comes_first(starts: dict[int, int], lengths: dict[int, int], most: int) -> None:
    ends = {partition: starts.get(partition, 0) + length for partition, length in lengths.items()}
    found = [piece.end - piece.start for piece in ranges_between(starts, ends, most_messages=most)]
    assert found == sorted(found, reverse=True)


def test_a_new_partition_begins_at_0_and_one_without_messages_gives_nothing() -> None:
    ranges = ranges_between({0: 7, 1: 5}, {0: 7, 1: 6, 2: 3}, most_messages=2)
    assert sorted(ranges, key=str) == [OffsetRange(1, 5, 6), OffsetRange(2, 0, 1), OffsetRange(2, 1, 3)]


def test_the_pieces_of_a_partition_are_about_equal() -> None:
    ranges = ranges_between({}, {0: 101}, most_messages=100)
    assert sorted((piece.start, piece.end) for piece in ranges) == [(0, 50), (50, 101)]
