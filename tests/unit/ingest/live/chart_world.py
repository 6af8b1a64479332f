"""A keeper of Yahoo's stream in a real session: the stream is that of the small world, the history a chart that may be late.

The tape is known. The chart is made of it by whoever asks, minute by minute; its newest minute still grows.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby

from ingest.feeds.yahoo.live import YahooLive
from ingest.history.source import Answer, Ask, SourceBusyError
from ingest.live.coverage import MINUTE
from ingest.live.covered_file import load_covered
from ingest.live.keeper import Keeper
from ingest.live.reach import Reach
from ingest.live.source import Filled, Hole
from ingest.live.spans import Spans
from market.errors import FeedError
from market.records import Bar, Record, Trade
from market.sessions import find_session
from market.settings import Settings
from tests.unit.ingest.live.small_world import DAY, START, TurningClock, World, at, micros

_SESSION = find_session(DAY)
assert _SESSION is not None
SESSION = _SESSION
OPEN = (SESSION.open_at - START).total_seconds()
"""In seconds of the world, as all moments of tests."""
CLOSE = (SESSION.close_at - START).total_seconds()
REQUESTS_AN_ASK = 2
Prices = tuple[Decimal, Decimal, Decimal, Decimal]


def sampled(symbol: str, seconds: float, cents: int = 0) -> Trade:
    price = Decimal(10) + Decimal(cents) / 100
    return Trade("yahoo", symbol, at(seconds), price, 1, f"{symbol}-{seconds:g}", conditions="1")


def tape_of(symbols: Sequence[str], since: float, until: float, step: float) -> list[Trade]:
    """Trades of each symbol every so many seconds, at prices that change, in order."""
    trades = [
        sampled(symbol, since + number * step + place / 10, (number * 37 + place) % 50)
        for place, symbol in enumerate(symbols)
        for number in range(int((until - since) / step))
    ]
    return sorted(trades, key=lambda trade: trade.ts)


def prices_of(trades: Sequence[Trade]) -> dict[tuple[str, int], Prices]:
    """First, highest, lowest and last price by symbol and minute; of several last ones at one moment none."""
    in_order = sorted(trades, key=lambda trade: (trade.symbol, trade.ts))
    found = {}
    for place, same in groupby(in_order, key=lambda trade: (trade.symbol, trade.ts // MINUTE * MINUTE)):
        minute = list(same)
        last = {trade.price for trade in minute if trade.ts == minute[-1].ts}
        prices = [trade.price for trade in minute]
        found[place] = prices[0], max(prices), min(prices), prices[-1] if len(last) == 1 else Decimal("NaN")
    return found


class SteppingClock(TurningClock):
    """Time in steps of some seconds: an hour passes sooner."""

    def __init__(self, start: datetime, step: float) -> None:
        super().__init__(start)
        self.step = step

    def wait(self, seconds: float) -> None:
        super().wait(max(seconds, self.step))


class Chart:
    """Minute bars of what was traded until some time ago; what it once had it has."""

    def __init__(self, tape: Sequence[Trade], now: Callable[[], datetime]) -> None:
        self._tape = defaultdict[str, list[Trade]](list)
        for trade in tape:
            self._tape[trade.symbol].append(trade)
        self._now = now
        self.late = timedelta()
        self.has_until = 0

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        for _ in range(REQUESTS_AN_ASK):
            pace()
        self.has_until = max(self.has_until, micros(self._now() - self.late))
        trades = [trade for symbol in ask.symbols for trade in self._tape[symbol] if trade.ts < self.has_until]
        return Answer(
            [
                Bar("yahoo", symbol, "1m", minute, first, highest, lowest, last, 100)
                for (symbol, minute), (first, highest, lowest, last) in prices_of(trades).items()
            ]
        )


class ChartFilling:
    """A hole asked of the chart: the answer is of the moment of asking, and there after two seconds."""

    def __init__(self, world: "ChartWorld", hole: Hole) -> None:
        self._now = world.clock.now
        self._ready_at = world.clock.now() + timedelta(seconds=2)
        self._found: list[Record] = []
        self._answer: Filled | FeedError
        try:
            self._answer = world.source.fill(hole, world.count_request, self._found.extend)
        except SourceBusyError as error:
            self._answer = error

    @property
    def outcome(self) -> Filled | FeedError | None:
        return self._answer if self._now() >= self._ready_at and not self._found else None

    def take(self) -> list[Record]:
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        self._found = []


@dataclass
class ChartWorld(World):
    """Everything around a keeper of Yahoo's."""

    clock: TurningClock = field(default_factory=lambda: TurningClock(SESSION.open_at - timedelta(seconds=30)))
    requests: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.true_prices = prices_of(self.tape)
        self.chart = Chart(self.tape, self.clock.now)
        self.source = YahooLive(Settings(), self.clock.now, lambda _: {})
        self.source.__dict__["_history"] = self.chart

    def keeper(self) -> Keeper:
        reach = Reach(self._connect, self.fills, self._open_outlet, lambda: self.symbols, self._hear)
        return Keeper(self.source, reach, self.path, self.clock, self.stop)

    def run(self, until: float, looks_every: int = 60) -> None:
        """Keep the session until so many seconds, and look now and then whether what is covered is there."""
        for seconds in range(int(OPEN), int(until), looks_every):
            self.at(seconds, self.assert_covered_is_there)
        self.keep(SESSION, START + timedelta(seconds=until))
        self.assert_covered_is_there()

    def is_away(self, since: float, until: float) -> None:
        """Let there be no connection between two moments."""
        self.at(since, lambda: setattr(self, "refusal", SourceBusyError("away")))
        self.at(since, self.breaks)
        self.at(until, lambda: setattr(self, "refusal", None))

    def request_seconds(self) -> list[float]:
        """When there was a request, in seconds."""
        return [(moment - START).total_seconds() for moment in self.requests]

    def count_request(self) -> None:
        self.requests.append(self.clock.now())

    def asks(self, symbol: str, since: float, until: float) -> list[float]:
        """When it was asked for a symbol between two moments, in seconds."""
        times = [(moment - START).total_seconds() for moment, hole in self.asked if symbol in hole.symbols]
        return [seconds for seconds in times if since <= seconds < until]

    def covered(self, symbol: str) -> Spans:
        saved = load_covered(self.path, DAY)
        return saved.spans.get(symbol, Spans()) if saved is not None else Spans()

    def assert_covered_is_there(self) -> None:
        """Of every minute that counts as covered the broker has first, highest, lowest and last price as they became."""
        published = prices_of(self.trades)
        covered = {symbol: self.covered(symbol) for symbol in self.symbols}
        for (symbol, minute), prices in self.true_prices.items():
            if not Spans([(minute, minute + MINUTE)]) - covered[symbol]:
                assert published.get((symbol, minute)) == prices, f"{symbol} counts as covered at {minute}"

    def assert_whole(self, until: float) -> None:
        """Everything of regular hours is covered until a moment, and there."""
        for symbol in self.symbols:
            lacking = Spans([(at(OPEN), at(until))]) - self.covered(symbol)
            assert not lacking, f"{symbol} lacks {lacking}"

    def fills(self, hole: Hole) -> ChartFilling:
        self.asked.append((self.clock.now(), hole))
        return ChartFilling(self, hole)
