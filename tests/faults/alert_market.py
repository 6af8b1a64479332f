"""A market whose bars come, are corrected and are taken back, and whose trades come over Kafka; which alerts ought to stand.

The market knows the bars from having put them; what rules make of them is in :mod:`tests.faults.alert_rules`.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg

from market.sessions import Session, sessions_between
from tests.faults.alert_rules import WATCHED, Bar, Watched, fires, may_be_told
from tests.faults.alert_tape import Tape
from tests.integration.mart_rows import put_bar

SYMBOLS: Final = ("AAPL", "IBM", "MSFT")
CLOCK: Final = "SPY"
"""Its bars run ahead of the others and are never taken back: so every bar of the others has ended. No rule fires on it."""

_CLOCK_CLOSE: Final = 50
_NEW_MINUTE: Final = 0.7
_MOST_CHANGES: Final = 4

Key = tuple[str, str, str, datetime]
"""Rule, symbol, interval, bar: one alert stands for it at most."""


def newest_session(now: datetime) -> Session:
    """Return the newest session that has begun: what is older is the past, and never sent."""
    begun = [one for one in sessions_between((now - timedelta(days=10)).date(), now.date()) if one.pre_open_at <= now]
    return begun[-1]


@dataclass
class Market:
    """Puts bars into the lake; ``bars`` are those that are there, by symbol and minute. ``tape`` has symbols of its own."""

    connection: psycopg.Connection[Any]
    chance: random.Random
    tape: Tape
    session: Session
    bars: dict[str, dict[int, Bar]] = field(default_factory=lambda: {symbol: {} for symbol in SYMBOLS})
    minute: int = -1
    revision: int = 0

    @property
    def minutes(self) -> int:
        return int((self.session.close_at - self.session.open_at).total_seconds()) // 60

    def open(self) -> None:
        """Have the first minutes of the session trade."""
        with self.connection.transaction():
            for _ in range(10):
                self._trade()

    def step(self) -> None:
        """Let time go on, or not, and change some bars that were there, in one transaction as a batch of the stream."""
        with self.connection.transaction():
            if self.chance.random() < _NEW_MINUTE and self.minute + 2 < self.minutes:
                self._trade()
            for _ in range(self.chance.randrange(1, _MOST_CHANGES + 1)):
                symbol, minute = self.chance.choice(SYMBOLS), self._earlier_minute()
                if self.chance.random() < 0.3:
                    self._take_back(symbol, minute)
                else:
                    self._put(symbol, minute, self.chance.randrange(97, 107))
        self.tape.step()

    def tick(self) -> None:
        """Change what no rule looks at, so that whoever follows the marts has another look."""
        self._put_clock()

    def expected(self, channel: str | None = None) -> set[Key]:
        """Return for which bars an alert ought to stand, of the rules that go to a channel or of all."""
        return self._where(fires, channel)

    def may_be_told(self, channel: str | None = None) -> set[Key]:
        """Return for which other bars an alert may stand, because they have not ended."""
        return self._where(may_be_told, channel)

    def _where(self, found: Callable[[Watched, dict[int, Bar], int], Iterable[int]], channel: str | None) -> set[Key]:
        return {
            (watched.rule.name, symbol, watched.rule.interval, self._at(minute))
            for watched in WATCHED
            if channel is None or channel in watched.rule.channels
            for symbol, bars, tape in self._series()
            for minute in found(watched, bars, tape)
        }

    def _series(self) -> Iterator[tuple[str, dict[int, Bar], int]]:
        """Yield the bars of each symbol, with the minute that the tape of their feed has reached."""
        for symbol, bars in self.bars.items():
            yield symbol, bars, self.minute + 1  # the clock has a bar that begins then
        for symbol, bars in self.tape.landings[-1].bars.items():
            yield symbol, bars, self.tape.landings[-1].minute

    def _trade(self) -> None:
        self.minute += 1
        self._put_clock()
        for symbol in SYMBOLS:
            if self.chance.random() < 0.9:
                earlier = next((bar.close for bar in reversed(self.bars[symbol].values())), 100)
                self._put(symbol, self.minute, min(106, max(95, earlier + self.chance.randrange(-3, 4))))

    def _earlier_minute(self) -> int:
        """Return a minute that may be changed: mostly a late one, as corrections come soon."""
        if self.chance.random() < 0.7:
            return max(0, self.minute - self.chance.randrange(15))
        return self.chance.randrange(self.minute + 1)

    def _put(self, symbol: str, minute: int, close: int) -> None:
        self.revision += 1
        prices = (Decimal(close),) * 4
        put_bar(self.connection, "lean", symbol, self._at(minute), prices, revision=self.revision)
        self.bars[symbol][minute] = Bar(close, close, close, close)

    def _put_clock(self) -> None:
        self.revision += 1
        prices = (Decimal(_CLOCK_CLOSE),) * 4
        put_bar(self.connection, "lean", CLOCK, self._at(self.minute + 1), prices, revision=self.revision)

    def _take_back(self, symbol: str, minute: int) -> None:
        self.connection.execute(
            "delete from lake.bars_1m where symbol = %s and bar_at = %s", [symbol, self._at(minute)]
        )
        self.bars[symbol].pop(minute, None)

    def _at(self, minute: int) -> datetime:
        return self.session.open_at + timedelta(minutes=minute)
