"""A small world in which a keeper works: twelve minutes of a session, time that passes only in waits, and things that break.

The tape is known. A connection brings what happens while it is up, a history has what happened, a broker acknowledges or loses.
Nothing in here knows how the keeper does it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event

from ingest.history.source import SourceBusyError
from ingest.live.keeper import Keeper
from ingest.live.reach import Reach
from ingest.live.source import Capability, Delivery, Filled, Hole, HoleSize, Wishes
from ingest.live.spans import Spans
from ingest.publisher import PublishSummary
from market.errors import FeedError, PublishError, ServiceError
from market.records import Heartbeat, Record, Trade
from market.sessions import Session

DAY = date(2026, 11, 20)
START = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SESSION = Session(DAY, START, START + 2 * MINUTE, START + 10 * MINUTE, START + 12 * MINUTE, is_half_day=False)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
END = SESSION.post_close_at
SECOND = 1_000_000
WHOLE = set(range(12 * 60))
"""Its seconds."""


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * SECOND)


def at(seconds: float) -> int:
    """Moments of the session by seconds since its start."""
    return micros(START) + round(seconds * SECOND)


def trade(symbol: str, seconds: float) -> Trade:
    return Trade("alpaca", symbol, at(seconds), Decimal("10.5"), 100, f"{symbol}-{seconds:g}")


def every(seconds: float, symbols: Sequence[str] = ("IBM", "SPY")) -> list[Trade]:
    """A tape with a trade of each symbol every so many seconds."""
    count = int((END - START).total_seconds() / seconds)
    return [trade(symbol, number * seconds + 0.5) for number in range(count) for symbol in symbols]


class KilledError(BaseException):
    """The process is gone: nothing catches it."""


class TurningClock:
    """Time that passes only in waits; whoever wants to do something at a moment says so."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start
        self.due: list[tuple[datetime, Callable[[], None]]] = []

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=max(seconds, 1.0))
        while happens := [one for one in self.due if one[0] <= self.time]:
            self.due.remove(happens[0])
            happens[0][1]()


class Outlet:
    """A broker: acknowledges what it has when asked to; one that is doomed loses all of that instead."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.pending: list[Record] = []
        self.is_doomed = False
        self.has_losses = False

    def publish_all(self, records: Iterable[Record]) -> int:
        count = 0
        for record in records:
            if isinstance(record, Heartbeat):
                self.flush(1.0)
            elif self.world.is_stopped_after is not None and count >= self.world.is_stopped_after:
                self.world.stop.set()
                break
            if self.has_losses:
                msg = "lost"
                raise PublishError(msg)
            self.pending.append(record)
            count += 1
        return count

    def flush(self, timeout_seconds: float) -> int:
        assert timeout_seconds > 0
        self.has_losses = self.has_losses or self.is_doomed
        if not self.has_losses:
            self.world.published += self.pending
        self.pending = []
        return 0

    def close(self, deadline_seconds: float) -> PublishSummary:
        assert deadline_seconds > 0
        return PublishSummary()


class Line:
    """A connection: subscribed after a second, then what happens, a little late, until it breaks.

    While it is mute it brings nothing but what it mumbles; what happened meanwhile it brings later, or never.
    """

    def __init__(self, world: "World", symbols: Sequence[str]) -> None:
        self.world = world
        self.begun_at = world.clock.now()
        self.asked: list[tuple[datetime, tuple[str, ...]]] = [(self.begun_at, tuple(symbols))]
        self.since: dict[str, int] = {}
        self.told = 0
        self.is_closed = False
        self.fails: FeedError | None = world.refusal
        self.brings: list[Trade] = []
        self.subscriptions: list[tuple[str, ...]] = []

    @property
    def error(self) -> FeedError | None:
        return self.fails

    def subscribe(self, symbols: Sequence[str]) -> None:
        self.asked.append((self.world.clock.now(), tuple(symbols)))

    def take(self) -> list[Delivery]:
        now = self.world.clock.now()
        if self.fails or self.is_closed or now - self.begun_at < timedelta(seconds=1):
            return []
        brought = []
        while self.asked and now - self.asked[0][0] >= timedelta(seconds=1):
            brought.append(self._answer(self.asked.pop(0)[1], now))
        extra, self.brings = self.brings, []
        until = micros(now - self.world.delay)
        if self.world.is_mute:
            self.told = max(self.told, until) if self.world.drops_when_mute else self.told
            return [*brought, Delivery(extra), *self.world.mumbles]
        records = [r for r in self.world.between(self.told, until) if r.ts >= self.since.get(r.symbol, 2**62)]
        bad = frozenset(r.symbol for r in records if r in self.world.unreadable)
        good = [r for r in records if r not in self.world.unreadable]
        self.told = max(self.told, until)
        return [*brought, Delivery(good, unreadable=bad)]

    def close(self) -> None:
        self.is_closed = True

    def _answer(self, symbols: tuple[str, ...], now: datetime) -> Delivery:
        """Subscribe to the symbols, or to none that is new if these are too many: the others go on."""
        if len(symbols) > self.world.most_symbols:
            self.fails = SourceBusyError("too many, and good bye") if self.world.hangs_up_on_too_many else None
            return Delivery(too_many=len(symbols), refusal="too many symbols: take some off")
        self.since = {symbol: self.since.get(symbol, micros(now)) for symbol in symbols}
        self.subscriptions.append(symbols)
        return Delivery(subscribed=frozenset(symbols))


class Filling:
    """The history asked for a hole: it answers after some seconds, with what it has when it was asked."""

    def __init__(self, world: "World", hole: Hole) -> None:
        self.world = world
        self.ready_at = world.clock.now() + timedelta(seconds=2)
        self.hole = hole
        known = micros(world.clock.now() - world.history_is_late_by)
        self.found = [r for r in world.between(hole.since, min(hole.until, known)) if r.symbol in hole.symbols]
        self.answer: Filled | FeedError = Filled(frozenset(hole.symbols) & world.unknown, "unknown")
        if world.history_fails:
            self.answer, self.found = SourceBusyError("no answer"), self.found[: len(self.found) // 2]
        if world.history_refusal is not None:
            self.answer, self.found = world.history_refusal, []

    @property
    def outcome(self) -> Filled | FeedError | None:
        return self.answer if self.world.clock.now() >= self.ready_at and not self.found else None

    def take(self) -> list[Record]:
        found, self.found = self.found, []
        self.world.outlets[-1].is_doomed |= self.world.is_lost_after_filling and bool(found)
        return list(found)

    def close(self) -> None:
        self.found = []


class Source:
    """What the keeper asks a source: its name, and what it promises."""

    name = "alpaca"
    capabilities = frozenset({Capability.TRADES})
    hole_size = HoleSize(symbols=10, hours=1)
    history_lag_seconds = 15
    history_settles_seconds = 300
    limit = None

    def __init__(self, *, has_every_trade: bool = True) -> None:
        self.has_every_trade = has_every_trade

    def check(self) -> None:
        """Be fine."""

    async def stream(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        raise NotImplementedError

    def fill(self, hole: Hole, pace: Callable[[], None], deliver: Callable[[Sequence[Record]], None]) -> Filled:
        raise NotImplementedError


@dataclass
class World:
    """Everything around a keeper."""

    tape: list[Trade]
    path: Path
    clock: TurningClock = field(default_factory=TurningClock)
    symbols: tuple[str, ...] = ("IBM", "SPY")
    delay: timedelta = timedelta(seconds=1)
    has_every_trade: bool = True
    is_mute: bool = False
    drops_when_mute: bool = False
    mumbles: list[Delivery] = field(default_factory=list)
    most_symbols: int = 1_000
    hangs_up_on_too_many: bool = False
    refusal: FeedError | None = None
    history_fails: bool = False
    history_refusal: FeedError | None = None
    history_is_late_by: timedelta = timedelta(seconds=5)
    broker_is_away: bool = False
    is_lost_after_filling: bool = False
    is_stopped_after: int | None = None
    unknown: frozenset[str] = frozenset()
    unreadable: list[Trade] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    asked: list[tuple[datetime, Hole]] = field(default_factory=list)
    outlets: list[Outlet] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    told: list[tuple[str, str]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def keep(self, session: Session = SESSION, until: datetime = NEVER) -> None:
        """Let a process keep the session until it is done, killed or stopped."""
        self.keeper().keep(session, until)

    def keeper(self) -> Keeper:
        reach = Reach(
            self._connect, self._fill, self._open_outlet, lambda: self.symbols, self._hear, self.warned.append
        )
        source = Source(has_every_trade=self.has_every_trade)
        return Keeper(source, reach, self.path, self.clock, self.stop)

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Let something happen so many seconds into the session."""
        self.clock.due.append((START + timedelta(seconds=seconds), what))

    def lapses(self, seconds: float, until: float) -> None:
        """Let connections be mute between two moments, and what happens meanwhile never be said."""
        self.drops_when_mute = True
        self.at(seconds, lambda: setattr(self, "is_mute", True))
        self.at(until, lambda: setattr(self, "is_mute", False))

    def breaks(self) -> None:
        self.lines[-1].fails = SourceBusyError("the connection broke")

    def dies(self) -> None:
        raise KilledError

    def loses(self) -> None:
        self.outlets[-1].is_doomed = True

    def between(self, since: int, until: int) -> list[Trade]:
        """What happened from a moment, included, until another."""
        first, last = (bisect_left(self.tape, moment, key=lambda record: record.ts) for moment in (since, until))
        return self.tape[first:last]

    @property
    def trades(self) -> list[Trade]:
        return [record for record in self.published if isinstance(record, Trade)]

    @property
    def heartbeats(self) -> list[Heartbeat]:
        return [record for record in self.published if isinstance(record, Heartbeat)]

    def _hear(self, state: str, detail: str) -> None:
        self.told.append((str(state), detail))

    def _connect(self, symbols: Sequence[str]) -> Line:
        self.lines.append(Line(self, symbols))
        return self.lines[-1]

    def _fill(self, hole: Hole) -> Filling:
        self.asked.append((self.clock.now(), hole))
        return Filling(self, hole)

    def _open_outlet(self) -> Outlet:
        if self.broker_is_away:
            msg = "away"
            raise ServiceError(msg)
        self.outlets.append(Outlet(self))
        return self.outlets[-1]


def ids(trades: Sequence[Trade]) -> set[str]:
    return {trade.trade_id for trade in trades}


def covered_seconds(world: World, symbol: str) -> set[int]:
    """The whole seconds of the session that heartbeats cover."""
    covered = Spans((beat.since, beat.ts) for beat in world.heartbeats if beat.symbol == symbol)
    seconds = range(int((END - START).total_seconds()))
    return {second for second in seconds if not Spans([(at(second), at(second + 1))]) - covered}


def assert_heartbeats_are_true(world: World) -> None:
    """Every trade that a heartbeat covers was published before it."""
    seen: set[str] = set()
    for record in world.published:
        if isinstance(record, Trade):
            seen.add(record.trade_id)
        elif isinstance(record, Heartbeat):
            assert micros(SESSION.pre_open_at) <= record.since < record.ts <= micros(END)
            missing = [
                t.trade_id
                for t in world.tape
                if t.symbol == record.symbol and record.since <= t.ts < record.ts and t.trade_id not in seen
            ]
            assert not missing, f"{record} claims {missing[:3]}"
