"""The stamps of batches rise, whatever the clock does, and a batch that is run again has the stamp that it had."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.jobs.stream import Stamps

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
clocks = st.lists(st.integers(-3, 3).map(lambda seconds: NOON + timedelta(seconds=seconds)), min_size=1, max_size=12)


def stamps_of(planned: list[datetime], crashes: set[int]) -> list[datetime]:
    """Return the stamps of batches planned at those moments; the process starts anew before each crashed batch is run again."""
    done: dict[int, datetime] = {}

    def newest_before(batch_id: int) -> datetime | None:
        return max((stamp for number, stamp in done.items() if number < batch_id), default=None)

    stamps = Stamps(newest_before)
    for batch_id, moment in enumerate(planned):
        stamp = stamps.of(batch_id, moment)
        if batch_id in crashes:
            stamps = Stamps(newest_before)
            assert stamps.of(batch_id, moment) == stamp
        done[batch_id] = stamp
    return list(done.values())


@given(clocks, st.sets(st.integers(0, 11)))
def test_stamps_rise_and_survive_a_restart(planned: list[datetime], crashes: set[int]) -> None:
    stamps = stamps_of(planned, crashes)
    assert stamps == sorted(set(stamps))
    assert all(stamp >= moment for stamp, moment in zip(stamps, planned, strict=True))
    assert stamps == stamps_of(planned, set())


def test_a_clock_that_goes_on_is_taken_as_it_is() -> None:
    planned = [NOON + timedelta(seconds=number) for number in range(5)]
    assert stamps_of(planned, {2}) == planned
