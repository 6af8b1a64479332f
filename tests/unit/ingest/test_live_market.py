from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from threading import Event

import pytest

from ingest.feeds.simulated.client import session_tape
from ingest.live.market import BURST_RECORDS, HEARTBEAT_EVERY, LiveMarket, LiveOptions
from ingest.live.position import LivePosition, load_position, save_position
from ingest.publisher import PublishSummary
from market.errors import PublishError, ServiceError
from market.records import Heartbeat, Record
from market.sessions import Session, find_session
from tests.unit.ingest.feed_contract import identity_of, moment_of

FRIDAY = date(2026, 11, 20)
SATURDAY_MORNING = datetime(2026, 11, 21, 8, tzinfo=UTC)
SYMBOLS = ("IBM", "SPY")


def session_of(day: date) -> Session:
    session = find_session(day)
    assert session is not None
    return session


def whole_tape(day: date, symbols: tuple[str, ...] = SYMBOLS, seed: int = 1) -> list[Record]:
    tape = session_tape(symbols, session_of(day), seed=seed, trades_per_day=300, heartbeat_every=HEARTBEAT_EVERY)
    return list(tape.records())


class TurningClock:
    """Time that passes only in waits, each of which may be made longer; stops the market at the end."""

    def __init__(self, start: datetime, end: datetime, stop_event: Event, stretch: float = 1.0) -> None:
        self.time, self.end, self.stop_event, self.stretch = start, end, stop_event, stretch

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds * self.stretch)
        if self.time >= self.end:
            self.stop_event.set()


class KeepingOutlet:
    """Acknowledges everything and keeps it, with the wall-clock time at which it came."""

    def __init__(self, clock: TurningClock) -> None:
        self.clock = clock
        self.kept: list[tuple[datetime, Record]] = []
        self.has_losses = False

    def publish_all(self, records: Iterable[Record]) -> int:
        batch = list(records)
        self.kept.extend((self.clock.now(), record) for record in batch)
        return len(batch)

    def flush(self, timeout_seconds: float) -> int:
        assert timeout_seconds > 0
        return 0

    def close(self, deadline_seconds: float) -> PublishSummary:
        assert deadline_seconds > 0
        return PublishSummary(sent=len(self.kept), acknowledged=len(self.kept))

    @property
    def records(self) -> list[Record]:
        return [record for _, record in self.kept]


class LosingOutlet(KeepingOutlet):
    """Takes records and loses those after the first ``keeps``, which shows at the next flush."""

    def __init__(self, clock: TurningClock, keeps: int) -> None:
        super().__init__(clock)
        self.keeps, self.taken = keeps, 0

    def publish_all(self, records: Iterable[Record]) -> int:
        batch = list(records)
        self.taken += len(batch)
        super().publish_all(batch[: max(0, self.keeps - len(self.kept))])
        self.has_losses = self.taken > self.keeps
        return len(batch)

    def close(self, deadline_seconds: float) -> PublishSummary:
        assert deadline_seconds > 0
        return PublishSummary(sent=self.taken, acknowledged=len(self.kept), unknown=self.taken - len(self.kept))


class RefusingOutlet(KeepingOutlet):
    """Cannot go on after it was opened."""

    def publish_all(self, records: Iterable[Record]) -> int:
        raise PublishError(f"no room for {len(list(records))}")  # noqa: EM102

    def close(self, deadline_seconds: float) -> PublishSummary:
        assert deadline_seconds > 0
        return PublishSummary(sent=1, failed=1)


@pytest.fixture
def options(tmp_path: Path) -> LiveOptions:
    return LiveOptions(SYMBOLS, seed=1, trades_per_day=300, speed=1.0, position_path=tmp_path / "run" / "live.json")


@pytest.fixture
def stop_event() -> Event:
    return Event()


ClockFactory = Callable[..., TurningClock]


@pytest.fixture
def clock_factory(stop_event: Event) -> ClockFactory:
    def make(start: datetime, length: timedelta, stretch: float = 1.0) -> TurningClock:
        stop_event.clear()
        return TurningClock(start, start + length, stop_event, stretch)

    return make


def show(options: LiveOptions, clock: TurningClock, *outlets: KeepingOutlet) -> PublishSummary:
    waiting = list(outlets)
    return LiveMarket(options, lambda: waiting.pop(0), clock, clock.stop_event).run()


def test_a_stranger_sees_the_pre_segment_and_thirty_minutes_at_once(
    options: LiveOptions, clock_factory: ClockFactory
) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(seconds=0.1))
    outlet = KeepingOutlet(clock)
    summary = show(options, clock, outlet)
    head = session_of(FRIDAY).open_at + timedelta(minutes=30)
    assert outlet.records == [record for record in whole_tape(FRIDAY) if moment_of(record) <= head]
    assert summary.sent == summary.acknowledged == len(outlet.records)


def test_a_session_is_published_whole_and_in_order(options: LiveOptions, clock_factory: ClockFactory) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(hours=12), stretch=240)
    outlet = KeepingOutlet(clock)
    show(options, clock, outlet)
    assert outlet.records == whole_tape(FRIDAY)


def test_no_record_is_published_before_its_time_on_the_wall_clock(
    options: LiveOptions, clock_factory: ClockFactory
) -> None:
    start = session_of(FRIDAY).open_at + timedelta(minutes=5)
    clock = clock_factory(start, timedelta(hours=15), stretch=240)
    outlet = KeepingOutlet(clock)
    show(replace(options, speed=1000.0), clock, outlet)
    assert all(moment_of(record) <= came for came, record in outlet.kept)
    assert outlet.records == whole_tape(FRIDAY)


def test_the_next_session_follows_on_the_wall_clock(options: LiveOptions, clock_factory: ClockFactory) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(days=3), stretch=2400)
    outlet = KeepingOutlet(clock)
    show(options, clock, outlet)
    monday = whole_tape(date(2026, 11, 23))
    assert outlet.records == whole_tape(FRIDAY) + monday
    assert all(moment_of(record) <= came for came, record in outlet.kept)


def test_a_restart_goes_on_where_it_stopped(options: LiveOptions, clock_factory: ClockFactory) -> None:
    first_clock = clock_factory(SATURDAY_MORNING, timedelta(hours=1), stretch=40)
    first = KeepingOutlet(first_clock)
    show(options, first_clock, first)
    second_clock = clock_factory(first_clock.now(), timedelta(hours=12), stretch=240)
    second = KeepingOutlet(second_clock)
    show(options, second_clock, second)
    assert first.records + second.records == whole_tape(FRIDAY)


def test_what_was_lost_is_published_again_with_the_same_identities(
    options: LiveOptions, clock_factory: ClockFactory
) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(hours=12), stretch=240)
    losing, refusing, keeping = LosingOutlet(clock, keeps=150), RefusingOutlet(clock), KeepingOutlet(clock)
    summary = show(options, clock, losing, refusing, keeping)
    tape = whole_tape(FRIDAY)
    delivered = losing.records + keeping.records
    assert {identity_of(record) for record in delivered} == {identity_of(record) for record in tape}
    assert keeping.records == tape[-len(keeping.records) :]
    assert summary.sent == summary.acknowledged + summary.failed + summary.unknown
    assert summary.unknown > 0


def test_the_position_does_not_move_past_what_was_not_acknowledged(
    options: LiveOptions, clock_factory: ClockFactory
) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(seconds=0.1))
    show(options, clock, LosingOutlet(clock, keeps=20))
    position = load_position(options.position_path)
    assert position is not None
    assert position.shown_through < session_of(FRIDAY).pre_open_at


def test_a_broker_that_is_away_is_waited_for(options: LiveOptions, clock_factory: ClockFactory) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(seconds=30))
    outlet, attempts = KeepingOutlet(clock), iter([True, True, False])

    def connect() -> KeepingOutlet:
        if next(attempts):
            raise ServiceError("away")  # noqa: EM101
        return outlet

    LiveMarket(options, connect, clock, clock.stop_event).run()
    assert outlet.records


def test_more_symbols_join_the_session_that_is_on(options: LiveOptions, clock_factory: ClockFactory) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(hours=3), stretch=240)
    show(options, clock, KeepingOutlet(clock))
    again = clock_factory(clock.now(), timedelta(hours=12), stretch=240)
    outlet = KeepingOutlet(again)
    show(replace(options, symbols=(*SYMBOLS, "XOM")), again, outlet)
    assert outlet.records == whole_tape(FRIDAY, (*SYMBOLS, "XOM"))


def test_another_seed_waits_for_the_next_session(options: LiveOptions, clock_factory: ClockFactory) -> None:
    clock = clock_factory(SATURDAY_MORNING, timedelta(hours=3), stretch=240)
    first = KeepingOutlet(clock)
    show(options, clock, first)
    again = clock_factory(clock.now(), timedelta(days=2, hours=20), stretch=2400)
    second = KeepingOutlet(again)
    show(replace(options, seed=2), again, second)
    monday = whole_tape(date(2026, 11, 23), seed=2)
    assert first.records + second.records == whole_tape(FRIDAY) + monday


def test_after_days_off_the_old_session_ends_at_once_and_the_newest_follows(
    options: LiveOptions, clock_factory: ClockFactory
) -> None:
    tuesday = session_of(date(2026, 11, 17))
    shown_through = tuesday.open_at + timedelta(hours=2)
    save_position(options.position_path, LivePosition(tuesday.session_date, shown_through, SYMBOLS, 1, 300))
    clock = clock_factory(SATURDAY_MORNING, timedelta(seconds=2))
    outlet = KeepingOutlet(clock)
    show(options, clock, outlet)
    rest = [record for record in whole_tape(tuesday.session_date) if moment_of(record) > shown_through]
    head = session_of(FRIDAY).open_at + timedelta(minutes=30, seconds=2)
    shown = [record for record in whole_tape(FRIDAY) if moment_of(record) <= head]
    assert outlet.records[: len(rest)] == rest
    assert outlet.records[len(rest) :] == shown[: len(outlet.records) - len(rest)]
    assert len(outlet.records) > len(rest)


def test_a_burst_ends_between_moments(options: LiveOptions) -> None:
    assert BURST_RECORDS > 0
    tape = session_tape(SYMBOLS, session_of(FRIDAY), seed=options.seed, trades_per_day=300)
    for position in (1, 2, 10, len(tape)):
        aligned = tape.align(position)
        assert aligned >= position
        assert aligned == len(tape) or tape.time_of(aligned) > tape.time_of(aligned - 1)


def test_a_moment_that_was_published_in_part_is_published_again(
    options: LiveOptions, clock_factory: ClockFactory
) -> None:
    """Every minute the heartbeats of all symbols are of one moment, so a stop may well fall between them."""
    tape = whole_tape(FRIDAY)
    cut = next(number for number, record in enumerate(tape) if isinstance(record, Heartbeat)) + 1
    assert tape[cut].ts == tape[cut - 1].ts
    clock = clock_factory(SATURDAY_MORNING, timedelta(hours=1), stretch=40)

    class StoppingOutlet(KeepingOutlet):
        def publish_all(self, records: Iterable[Record]) -> int:
            taken = super().publish_all(islice(records, cut - len(self.kept)))
            clock.stop_event.set()
            return taken

    first = StoppingOutlet(clock)
    show(options, clock, first)
    assert first.records == tape[:cut]
    again = clock_factory(clock.now(), timedelta(hours=12), stretch=240)
    second = KeepingOutlet(again)
    show(options, again, second)
    assert {identity_of(record) for record in first.records + second.records} == {identity_of(row) for row in tape}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"session_date": "2026-11-20"}', '{"session_date": 5}', "null"])
def test_a_position_that_cannot_be_read_is_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "live.json"
    path.write_text(content)
    assert load_position(path) is None


def test_a_position_is_kept(tmp_path: Path) -> None:
    position = LivePosition(FRIDAY, datetime(2026, 11, 20, 15, 0, 0, 123456, tzinfo=UTC), SYMBOLS, 5, 100)
    path = tmp_path / "run" / "live.json"
    assert load_position(path) is None
    save_position(path, position)
    assert load_position(path) == position
    assert [child.name for child in path.parent.iterdir()] == ["live.json"]
    save_position(path, replace(position, session_date=date(2026, 11, 21)))
    assert load_position(path) is None
