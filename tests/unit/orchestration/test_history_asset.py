"""The history asset, with a broker and a lake that are played by the test."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import dagster as dg
import msgspec
import pytest

from ingest.publisher import PublishSummary
from market.errors import ServiceError
from market.records import Bar, Record
from market.topics import BARS, Topic
from orchestration.assets.history import sample_daily_bars
from orchestration.resources import session_dates

ENDS = {("market.bars.v1", 0): 2, ("market.bars.v1", 1): 1}


def bar(symbol: str, opened_at: datetime) -> Bar:
    price = Decimal("10.5")
    return Bar("sample", symbol, "1d", int(opened_at.timestamp()) * 1_000_000, price, price, price, price, 100)


BARS_OF_TWO = [
    bar("IBM", datetime(2013, 10, 7, 13, 30, tzinfo=UTC)),
    bar("AAPL", datetime(2013, 10, 8, 13, 30, tzinfo=UTC)),
    bar("IBM", datetime(2013, 12, 2, 14, 30, tzinfo=UTC)),
]


class PlayedHistory:
    """Gives three bars."""

    def read(self) -> list[Record]:
        return list(BARS_OF_TWO)


class PlayedBroker:
    """Acknowledges everything."""

    def __init__(self) -> None:
        self.published: list[Record] = []

    def publish(self, records: list[Record]) -> PublishSummary:
        self.published += records
        return PublishSummary(sent=len(records), acknowledged=len(records), seconds=0.5)

    def end_offsets(self, *topics: Topic) -> Mapping[tuple[str, int], int]:
        assert topics == (BARS,)
        return ENDS


class PlayedLake:
    """Has everything at once, or never."""

    def __init__(self, *, is_stuck: bool = False, known: list[Bar] | None = None) -> None:
        self.is_stuck = is_stuck
        self.known = set(known or [])
        self.waited_for: list[Mapping[tuple[str, int], int]] = []

    def wait_for(self, ends: Mapping[tuple[str, int], int], **_: Any) -> None:
        self.waited_for.append(ends)
        if self.is_stuck:
            msg = "After 300 s 3 messages are still not in PostgreSQL."
            raise ServiceError(msg)

    def vendor_bars(self, source: str) -> set[Bar]:
        assert source == "sample"
        return self.known


def materialize(broker: PlayedBroker, lake: PlayedLake) -> dg.ExecuteInProcessResult:
    resources = {"broker": broker, "lake": lake, "sample_history": PlayedHistory()}
    return dg.materialize([sample_daily_bars], resources=resources, raise_on_error=False)


def test_history_is_published_and_awaited() -> None:
    broker, lake = PlayedBroker(), PlayedLake()
    result = materialize(broker, lake)
    assert result.success
    assert broker.published == BARS_OF_TWO
    assert lake.waited_for == [ENDS, ENDS]
    (event,) = result.asset_materializations_for_node("history__sample_daily_bars")
    values = {name: entry.value for name, entry in event.metadata.items()}
    assert values == {
        "dagster/row_count": 3,
        "sent": 3,
        "acknowledged": 3,
        "symbols": "AAPL, IBM",
        "first_session": "2013-10-07",
        "last_session": "2013-12-02",
        "publish_seconds": 0.5,
    }


def test_what_the_lake_has_is_not_published_again() -> None:
    same = bar("IBM", datetime(2013, 10, 7, 13, 30, tzinfo=UTC))
    priced = msgspec.structs.replace(same, open=Decimal("10.500000"))  # as PostgreSQL gives it
    other = msgspec.structs.replace(BARS_OF_TWO[1], volume=99)
    broker = PlayedBroker()
    assert materialize(broker, PlayedLake(known=[priced, other])).success
    assert broker.published == BARS_OF_TWO[1:]
    broker.published.clear()
    result = materialize(broker, PlayedLake(known=BARS_OF_TWO))
    assert broker.published == []
    (event,) = result.asset_materializations_for_node("history__sample_daily_bars")
    assert (event.metadata["dagster/row_count"].value, event.metadata["sent"].value) == (3, 0)


def test_a_lake_that_does_not_come_so_far_is_an_error() -> None:
    with dg.build_asset_context() as context, pytest.raises(ServiceError, match="3 messages"):
        sample_daily_bars(
            context, broker=PlayedBroker(), lake=PlayedLake(is_stuck=True), sample_history=PlayedHistory()
        )


def test_a_failure_is_tried_again_with_growing_pauses() -> None:
    policy = sample_daily_bars.op.retry_policy
    assert policy is not None
    assert (policy.max_retries, policy.backoff) == (2, dg.Backoff.EXPONENTIAL)


def test_sessions_are_dates_of_the_exchange_not_of_utc() -> None:
    late = bar("IBM", datetime(2013, 10, 8, 1, 0, tzinfo=UTC))
    assert session_dates([late]) == (date(2013, 10, 7), date(2013, 10, 7))
