"""The sensor that reports the stream's batches, over a stream that is played by the test."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.progress import COUNTS, Advance, Mark, summarize
from orchestration.sensors import ROWS_OF, lake_progress, materializations

START = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
TRADES, QUOTES = "market.trades.v1", "market.quotes.v1"


class PlayedLake:
    """A lake that is filled by the test, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int, Mapping[str, int]]] = []
        self.offsets = {TRADES: 0, QUOTES: 0}

    def publish(self, query_id: str, batch_id: int, topic: str = TRADES, **counts: int) -> None:
        self.batches.append((query_id, batch_id, counts))
        self.offsets[topic] += counts["messages"]

    def advance_after(self, mark: Mark | None) -> Advance | None:
        seen = mark.batches if mark else {}
        rows = []
        for query_id in sorted({query_id for query_id, *_ in self.batches}):
            new = [one for one in self.batches if one[0] == query_id and one[1] > seen.get(query_id, -1)]
            if new:
                sums = [sum(counts.get(name, 0) for *_, counts in new) for name in COUNTS]
                newest = max(batch_id for _, batch_id, _ in new)
                rows.append((query_id, newest, START + timedelta(seconds=newest), len(new), START, 900, *sums))
        return summarize(mark, rows, self.offsets) if rows else None


def tick(lake: PlayedLake, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        answer = lake_progress(dg.build_sensor_context(instance=instance, cursor=cursor), lake=lake)
    assert isinstance(answer, dg.SensorResult | dg.SkipReason)
    return answer


def reported(result: dg.SensorResult | dg.SkipReason) -> dict[str, object]:
    """Return the numbers of rows, or of messages, that a tick reported, by asset."""
    assert isinstance(result, dg.SensorResult)
    return {
        event.asset_key.to_user_string(): (event.metadata.get("rows") or event.metadata["messages"]).value
        for event in result.asset_events
    }


def cursor_of(result: dg.SensorResult | dg.SkipReason) -> str | None:
    assert isinstance(result, dg.SensorResult)
    return result.cursor


def test_an_empty_stream_reports_nothing() -> None:
    assert isinstance(tick(PlayedLake(), None), dg.SkipReason)


def test_every_batch_is_reported_exactly_once() -> None:
    lake = PlayedLake()
    for number in range(3):
        lake.publish("query", number, messages=10, trades=8, duplicates=2, bars=3)
    first = tick(lake, None)
    assert reported(first)["lake/trades"] == 24
    assert reported(first)["kafka/market_trades_v1"] == 30
    assert isinstance(tick(lake, cursor_of(first)), dg.SkipReason)

    lake.publish("query", 3, messages=10, trades=8, duplicates=2, bars=3)
    second = tick(lake, cursor_of(first))
    assert reported(second)["lake/trades"] == 8
    assert reported(second)["kafka/market_trades_v1"] == 10
    assert isinstance(tick(lake, cursor_of(second)), dg.SkipReason)


def test_a_query_that_shows_late_is_reported_too() -> None:
    lake = PlayedLake()
    lake.publish("trades", 9, messages=4, trades=4)
    cursor = cursor_of(tick(lake, None))
    lake.publish("quotes", 0, QUOTES, messages=5, quotes=5)  # its number and its time lie below those already seen
    assert reported(tick(lake, cursor)) == {
        "kafka/market_quotes_v1": 5,
        "lake/bronze_messages": 5,
        "lake/quotes": 5,
        "postgres/latest_quotes": 5,
        "postgres/quotes_1m": 5,
        "postgres/stream_batches": 5,
        "postgres/stream_offsets": 5,
    }


def test_a_tick_repeated_with_the_same_cursor_reports_the_same() -> None:
    lake = PlayedLake()
    lake.publish("query", 0, messages=1, trades=1)
    assert reported(tick(lake, None)) == reported(tick(lake, None))


def test_only_what_was_read_or_written_is_reported() -> None:
    lake = PlayedLake()
    lake.publish("query", 0, messages=5, quarantined=5)
    assert reported(tick(lake, None)) == {
        "kafka/market_trades_v1": 5,
        "lake/bronze_messages": 5,
        "lake/quarantine": 5,
        "postgres/stream_batches": 5,
        "postgres/stream_offsets": 5,
    }


def test_a_report_names_its_newest_batches_and_event() -> None:
    lake = PlayedLake()
    lake.publish("aaaaaaaa-1", 3, messages=1)
    lake.publish("bbbbbbbb-2", 4, QUOTES, messages=1)
    advance = lake.advance_after(None)
    assert advance is not None
    metadata = materializations(advance)[0].metadata
    assert metadata["newest_batches"].value == "aaaaaaaa/3 bbbbbbbb/4"
    assert metadata["batches"].value == 2
    assert metadata["newest_event_at"].value == START.timestamp()


def test_a_mark_survives_the_cursor() -> None:
    mark = Mark({"q": 42}, START + timedelta(microseconds=123_456), {TRADES: 7})
    assert Mark.from_cursor(mark.to_cursor()) == mark


def test_every_count_of_a_batch_is_reported_for_some_table() -> None:
    assert set(ROWS_OF.values()) == set(COUNTS)
