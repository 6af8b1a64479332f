"""The sensor that reports the stream's batches, over a stream that is played by the test."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.progress import COUNTS, Advance, Batch
from orchestration.sensors import ROWS_OF, lake_progress, materializations

START = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


class PlayedLake:
    """A lake that holds the batches it is given; each has the same counts."""

    def __init__(self, **counts: int) -> None:
        self.batches: list[Batch] = []
        self.counts = {name: counts.get(name, 0) for name in COUNTS}

    def publish(self, count: int) -> None:
        for _ in range(count):
            number = len(self.batches)
            self.batches.append(Batch(START + timedelta(seconds=number), "query", number))

    def advance_after(self, batch: Batch | None) -> Advance | None:
        new = [one for one in self.batches if batch is None or one > batch]
        if not new:
            return None
        rows = {name: count * len(new) for name, count in self.counts.items()}
        return Advance(max(new), len(new), rows, START, 900)


def tick(lake: PlayedLake, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        answer = lake_progress(dg.build_sensor_context(instance=instance, cursor=cursor), lake=lake)
    assert isinstance(answer, dg.SensorResult | dg.SkipReason)
    return answer


def reported(result: dg.SensorResult | dg.SkipReason) -> dict[str, int]:
    """Return the rows that a tick reported, by table."""
    assert isinstance(result, dg.SensorResult)
    return {event.asset_key.to_user_string(): int(event.metadata["rows"].value) for event in result.asset_events}  # type: ignore[arg-type]


def test_an_empty_stream_reports_nothing() -> None:
    assert isinstance(tick(PlayedLake(), None), dg.SkipReason)


def test_every_batch_is_reported_exactly_once() -> None:
    lake = PlayedLake(messages=10, trades=8, duplicates=2, bars=3)
    lake.publish(3)
    first = tick(lake, None)
    assert reported(first)["lake/trades"] == 24
    assert isinstance(first, dg.SensorResult)

    assert isinstance(tick(lake, first.cursor), dg.SkipReason)

    lake.publish(2)
    second = tick(lake, first.cursor)
    assert reported(second)["lake/trades"] == 16
    assert isinstance(second, dg.SensorResult)
    assert isinstance(tick(lake, second.cursor), dg.SkipReason)


def test_a_tick_repeated_with_the_same_cursor_reports_the_same() -> None:
    lake = PlayedLake(messages=1, trades=1)
    lake.publish(2)
    assert reported(tick(lake, None)) == reported(tick(lake, None))


def test_only_tables_that_were_written_to_are_reported() -> None:
    lake = PlayedLake(messages=5, quarantined=5)
    lake.publish(1)
    assert reported(tick(lake, None)) == {
        "lake/bronze_messages": 5,
        "lake/quarantine": 5,
        "postgres/stream_batches": 5,
        "postgres/stream_offsets": 5,
    }


def test_a_report_names_its_newest_batch_and_event() -> None:
    lake = PlayedLake(messages=1)
    lake.publish(4)
    advance = lake.advance_after(None)
    assert advance is not None
    metadata = materializations(advance)[0].metadata
    assert metadata["newest_batch"].value == "query/3"
    assert metadata["batches"].value == 4
    assert metadata["newest_event_at"].value == START.timestamp()


def test_a_batch_survives_the_cursor() -> None:
    batch = Batch(START + timedelta(microseconds=123_456), "q/1", 42)
    assert Batch.from_cursor(batch.to_cursor()) == batch


def test_every_count_of_a_batch_is_reported_for_some_table() -> None:
    assert set(ROWS_OF.values()) == set(COUNTS)
