"""A market whose bars come, are corrected and are taken back, and which alerts the rules ought to have over what is left of it.

The oracle: it shares no code with the evaluation, knows the bars from having put them, and goes through them one by one.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg

from alerts.rules.rule import Rule, Trigger
from market.sessions import Session, sessions_between
from tests.integration.mart_rows import put_bar

SYMBOLS: Final = ("AAPL", "IBM", "MSFT")
CLOCK: Final = "SPY"
"""Its bars run ahead of the others and are never taken back: so every bar of the others has ended. No rule fires on it."""
HOOK: Final = "hook"
OTHER: Final = "other"

_CLOCK_CLOSE: Final = 50
_NEW_MINUTE: Final = 0.7
_MOST_CHANGES: Final = 4
_HIGHEST: Final = 4

Holds = Callable[[Sequence[int], int], bool | None]
Key = tuple[str, str, str, datetime]
"""Rule, symbol, interval, bar: one alert stands for it at most."""


@dataclass(frozen=True)
class Watched:
    """A rule, and the same in plain Python.

    Attributes
    ----------
    rule
        What is evaluated.
    holds
        Whether the condition holds on a bar, from the closes and its number; ``None`` where that is not known.
    is_event
        Whether the condition is a moment by itself, and so needs no edge.
    """

    rule: Rule
    holds: Holds
    is_event: bool = False


def _crosses(limit: int) -> Holds:
    return lambda closes, n: closes[n] > limit >= closes[n - 1] if n else None


def _above(limit: int) -> Holds:
    return lambda closes, n: closes[n] > limit


def _new_high(closes: Sequence[int], n: int) -> bool | None:
    return closes[n] > max(closes[n - _HIGHEST : n]) if n >= _HIGHEST else None


def _above_average(closes: Sequence[int], n: int) -> bool | None:
    return closes[n] > 1.015 * (sum(closes[n - 4 : n]) / 4) if n >= 4 else None


_BOTH: Final = (HOOK, OTHER)
WATCHED: Final = (
    Watched(Rule("edge", "close above 101", channels=_BOTH), _above(101)),
    Watched(Rule("crossing", "close crosses above 100", channels=(HOOK,)), _crosses(100), is_event=True),
    Watched(Rule("level", "close above 103", is_edge=False, channels=(OTHER,)), _above(103)),
    Watched(Rule("high", f"close new high of {_HIGHEST}", channels=(HOOK,)), _new_high),
    Watched(Rule("average", "close above 1.015 * average(close, 4)", is_edge=False, channels=(HOOK,)), _above_average),
    Watched(Rule("once", "close above 104", trigger=Trigger.ONCE, channels=_BOTH), _above(104)),
    Watched(Rule("quiet", "close above 102", is_edge=False, cooldown_seconds=600, channels=(OTHER,)), _above(102)),
    Watched(Rule("five", "close crosses above 100", interval="5m", channels=(OTHER,)), _crosses(100), is_event=True),
    Watched(
        Rule("forming", "close above 102", interval="5m", trigger=Trigger.ONCE_PER_BAR, channels=(HOOK,)), _above(102)
    ),
)


def newest_session(now: datetime) -> Session:
    """Return the newest session that has begun: what is older is the past, and never sent."""
    begun = [one for one in sessions_between((now - timedelta(days=10)).date(), now.date()) if one.pre_open_at <= now]
    return begun[-1]


@dataclass
class Market:
    """Puts bars into the lake; ``closes`` are those that are there, by symbol and minute."""

    connection: psycopg.Connection[Any]
    chance: random.Random
    session: Session = field(default_factory=lambda: newest_session(datetime.now(UTC)))
    closes: dict[str, dict[int, int]] = field(default_factory=lambda: {symbol: {} for symbol in SYMBOLS})
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

    def tick(self) -> None:
        """Change what no rule looks at, so that whoever follows the marts has another look."""
        self._put_clock()

    def expected(self, channel: str | None = None) -> set[Key]:
        """Return for which bars an alert ought to stand, of the rules that go to a channel or of all."""
        return {
            (watched.rule.name, symbol, watched.rule.interval, self._at(minute))
            for watched in WATCHED
            if channel is None or channel in watched.rule.channels
            for symbol in SYMBOLS
            for minute in self._fires(watched, symbol)
        }

    def _fires(self, watched: Watched, symbol: str) -> list[int]:
        rule = watched.rule
        length = int(rule.interval.removesuffix("m"))
        bars: dict[int, int] = {}
        for minute in sorted(self.closes[symbol]):
            bars[minute // length * length] = self.closes[symbol][minute]
        starts, closes = list(bars), list(bars.values())
        found: list[int] = []
        for number, start in enumerate(starts):
            has_ended = start + length <= self.minute + 1  # the clock has a bar that begins then
            fires = watched.holds(closes, number) is True
            if rule.is_edge and not watched.is_event:
                fires = fires and number > 0 and watched.holds(closes, number - 1) is False
            is_silent = bool(found) and (
                rule.trigger is Trigger.ONCE or 60 * (start - found[-1]) < rule.cooldown_seconds
            )
            if fires and not is_silent and (has_ended or rule.trigger is Trigger.ONCE_PER_BAR):
                found.append(start)
        return found

    def _trade(self) -> None:
        self.minute += 1
        self._put_clock()
        for symbol in SYMBOLS:
            if self.chance.random() < 0.9:
                earlier = next(reversed(self.closes[symbol].values()), 100)
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
        self.closes[symbol][minute] = close

    def _put_clock(self) -> None:
        self.revision += 1
        prices = (Decimal(_CLOCK_CLOSE),) * 4
        put_bar(self.connection, "lean", CLOCK, self._at(self.minute + 1), prices, revision=self.revision)

    def _take_back(self, symbol: str, minute: int) -> None:
        self.connection.execute(
            "delete from lake.bars_1m where symbol = %s and bar_at = %s", [symbol, self._at(minute)]
        )
        self.closes[symbol].pop(minute, None)

    def _at(self, minute: int) -> datetime:
        return self.session.open_at + timedelta(minutes=minute)
