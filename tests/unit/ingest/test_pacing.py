from datetime import UTC, datetime
from decimal import Decimal
from threading import Event

from ingest.pacing import PAUSE_SECONDS, paced
from market.records import Record, Trade


class CountedClock:
    """Time that passes only in waits."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


def trade_at(seconds: float) -> Record:
    return Trade("x", "SPY", int(seconds * 1_000_000), Decimal(1), 1, str(seconds))


def test_records_come_when_they_are_due_at_the_speed() -> None:
    clock, stop = CountedClock(), Event()
    records = [trade_at(seconds) for seconds in (100, 100, 102, 110)]
    seen = [(round(clock.seconds, 6), batch) for batch in paced(records, 2.0, clock, stop)]
    assert seen == [(0.0, records[:2]), (1.0, records[2:3]), (5.0, records[3:])]


def test_a_long_pause_of_the_market_is_skipped() -> None:
    clock = CountedClock()
    night = PAUSE_SECONDS + 1
    records = [trade_at(seconds) for seconds in (0, 1, 1 + night, 3 + night)]
    batches = list(paced(records, 1.0, clock, Event()))
    assert [record for batch in batches for record in batch] == records
    assert clock.seconds == 3.0


def test_a_stop_ends_it_in_the_middle_of_a_wait() -> None:
    clock, stop = CountedClock(), Event()
    seen = []
    for batch in paced([trade_at(0), trade_at(5), trade_at(10)], 1.0, clock, stop):
        seen.extend(batch)
        stop.set()
    assert seen == [trade_at(0)]
