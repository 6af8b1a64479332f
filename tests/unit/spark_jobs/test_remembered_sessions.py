"""Keys that are stored are known, whatever the order of batches and however little is remembered."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.jobs.seen import SeenKeys

MONDAY = date(2013, 10, 7)
Keys = list[tuple[int, int]]
"""Days after Monday, and hashes."""

batches = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-4, 30) | st.integers(-(2**63), 2**63 - 1)), max_size=25),
    max_size=12,
)


def table(keys: Keys) -> pa.Table:
    days = pa.array([MONDAY + timedelta(days=day) for day, _ in keys], pa.date32())
    return pa.table({"session_date": days, "key_hash": pa.array([number for _, number in keys], pa.int64())})


class Stored:
    """What the lake holds, as a set a session."""

    def __init__(self) -> None:
        self.keys: dict[date, set[int]] = defaultdict(set)
        self.loads: list[list[date]] = []

    def load(self, sessions: Sequence[date]) -> pa.Table:
        self.loads.append(list(sessions))
        return table([((day - MONDAY).days, number) for day in sessions for number in self.keys[day]])

    def add(self, keys: Keys) -> None:
        for day, number in keys:
            self.keys[MONDAY + timedelta(days=day)].add(number)

    def known(self, keys: Keys) -> set[int]:
        return {number for day, number in keys if number in self.keys[MONDAY + timedelta(days=day)]}


@given(batches, st.integers(0, 60))
def test_it_knows_what_is_stored_and_nothing_else(content: list[Keys], most: int) -> None:
    stored = Stored()
    seen = SeenKeys(stored.load, most)
    for keys in content:
        assert set(seen.known(table(keys)).tolist()) == stored.known(keys)
        stored.add(keys)
        seen.add(table(keys))


@given(batches)
def test_a_session_is_read_once_while_it_is_remembered(content: list[Keys]) -> None:
    stored = Stored()
    stored.add([(0, 1), (1, 2)])
    seen = SeenKeys(stored.load)
    for keys in content:
        seen.known(table(keys))
        seen.add(table(keys))
    loaded = [day for sessions in stored.loads for day in sessions]
    assert len(loaded) == len(set(loaded))


def test_the_session_that_was_not_met_for_longest_is_forgotten_first() -> None:
    stored = Stored()
    seen = SeenKeys(stored.load, most=4)
    for day in (0, 1, 0, 2):
        keys = [(day, 10 * day), (day, 10 * day + 1)]
        seen.known(table(keys))
        stored.add(keys)
        seen.add(table(keys))
    stored.loads.clear()
    assert set(seen.known(table([(0, 0), (2, 20), (1, 11), (1, 99)])).tolist()) == {0, 20, 11}
    assert stored.loads == [[MONDAY + timedelta(days=1)]]
