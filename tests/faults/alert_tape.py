"""Trades that come over Kafka, late, twice, cancelled and corrected ones too; and their bars, put in the stream's stead.

The tape knows each message and its place in the topic. What the bars come to is worked out anew from the messages up to there.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

import psycopg
from confluent_kafka import Producer

from ingest.topics import end_offsets
from market.records import Cancel, Correction, Record, Trade, encode
from market.sessions import Session
from market.topics import TRADES
from tests.faults.alert_rules import SURE_PRICE, Bar
from tests.integration.mart_rows import put_bar

FEED: Final = "otherfeed"
CLOCK: Final = "TICK"
"""It trades ahead of the others at times: then the tape has passed minutes that are not over. No rule fires on it."""

_CLOCK_PRICE: Final = 50
_SYMBOLS: Final = ("AA{}", "BB{}")
_MOST_TRADES: Final = 6
_NEW_MINUTE: Final = 0.5
_KINDS: Final = {"trade": 78.0, "late": 12.0, "again": 4.0, "cancel": 3.0, "correction": 3.0}
_LATE_MINUTES: Final = 8
_RECENT: Final = 8
_SLOT_MICROS: Final = 100_000
_LAST_MINUTES: Final = 12
_FLUSH_SECONDS: Final = 60
_OFFSET: Final = """
insert into lake.stream_offsets values (%s, %s, %s)
on conflict (topic, partition) do update set next_offset = excluded.next_offset
"""


@dataclass(frozen=True)
class Tilt:
    """What happens while there is no watch, and to the minute under way as the next begins; each so often.

    Attributes
    ----------
    landed
        Bars are published; all that are due, if it is always.
    amended
        A trade of it is cancelled or corrected.
    """

    landed: float = 0.5
    amended: float = 0.3


class Message(NamedTuple):
    """A message in the topic; ``minute`` and ``moment`` are the trade's, and of a cancel ``price`` is 0."""

    offset: int
    kind: str
    trade_id: str
    minute: int
    moment: tuple[int, int]
    price: int


@dataclass(frozen=True)
class Landing:
    """How far the bars in the lake are.

    Attributes
    ----------
    offsets
        By partition, the first message that is not in them.
    bars
        By symbol and minute, those that have prices.
    minute
        The newest of them all: what ends by then has ended.
    """

    offsets: dict[int, int]
    bars: dict[str, dict[int, Bar]]
    minute: int = -1


def bars_of(messages: Iterable[Message]) -> dict[int, Bar]:
    """Return what trades come to: each id once, without the cancelled ones, as corrected, in order of time and then sequence."""
    trades: dict[str, Message] = {}
    for one in messages:
        if one.kind == "trade":
            trades.setdefault(one.trade_id, one)
        elif one.kind == "cancel":
            trades.pop(one.trade_id, None)
        else:
            trades[one.trade_id] = trades[one.trade_id]._replace(price=one.price)
    minutes: dict[int, list[int]] = defaultdict(list)
    for trade in sorted(trades.values(), key=lambda trade: trade.moment):
        minutes[trade.minute].append(trade.price)
    return {at: Bar(prices[0], max(prices), min(prices), prices[-1]) for at, prices in minutes.items()}


@dataclass
class Tape:
    """Publishes trades and lands their bars; ``messages`` are those of each symbol, in the order of its partition."""

    connection: psycopg.Connection[Any]
    servers: str
    session: Session
    chance: random.Random
    messages: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))
    partitions: dict[str, int] = field(default_factory=dict)
    landings: list[Landing] = field(default_factory=list)
    minute: int = 0
    _generation: int = 0
    _sequence: int = 0
    _revision: int = 0
    _recent: dict[str, list[Trade]] = field(default_factory=lambda: defaultdict(list))
    _waiting: list[tuple[Record, Message]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": self.servers, "enable.idempotence": True, "linger.ms": 0})
        ends = end_offsets(self.servers, topics=(TRADES,))
        self.landings.append(Landing({partition: end for (_, partition), end in ends.items()}, {}))
        self._put_offsets(self.landings[-1].offsets)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Those that trade now: a session has so many minutes, and a long campaign goes on with others."""
        return tuple(symbol.format(self._generation) for symbol in _SYMBOLS)

    def step(self) -> None:
        """Let trades come, and have the bars of some of them published, or of all, or of none."""
        self.trade()
        if self.chance.random() < 0.6:
            self.land(is_whole=self.chance.random() < 0.5)

    def trade(self, most: int = _MOST_TRADES) -> None:
        """Let some messages come."""
        for _ in range(self.chance.randrange(1, most + 1)):
            if self.chance.random() < _NEW_MINUTE / 3:
                self._next_minute()
            self._happen(self.chance.choice(self.symbols))
        self._publish()

    def amend(self) -> None:
        """Let the newest trade of each symbol be cancelled or corrected."""
        for symbol in self.symbols:
            if self._recent[symbol]:
                self._amend(symbol, self._recent[symbol].pop(), self.chance.choice(["cancel", "correction"]))
        self._publish()

    def trade_surely(self) -> int:
        """Have each symbol open another minute at a price at which an alert is sure to fire; return the minute."""
        self._next_minute()
        for symbol in self.symbols:
            self._put(symbol, self.minute, SURE_PRICE)
        self._publish()
        return self.minute

    def finish(self, *, ahead: int = 1) -> None:
        """Have the tape pass the last minute of the others, by so many minutes, and all bars published."""
        self._put(CLOCK, self.minute + ahead, _CLOCK_PRICE)
        self._publish()
        self.land(is_whole=True)

    def land(self, *, is_whole: bool) -> None:
        """Publish bars of what is in the topic, up to its end or up to some place in each partition, in one transaction."""
        last = self.landings[-1]
        offsets = dict(last.offsets)
        for partition in sorted(set(self.partitions.values())):
            end = max(self.messages[one][-1].offset + 1 for one, at in self.partitions.items() if at == partition)
            offsets[partition] = end if is_whole else self.chance.randrange(offsets[partition], end + 1)
        bars = dict(last.bars)
        with self.connection.transaction():
            for symbol in (*self.symbols, CLOCK):
                if symbol in self.partitions:
                    bars[symbol] = bars_of(self.until(symbol, offsets))
                    self._put_bars(symbol, last.bars.get(symbol, {}), bars[symbol])
            self._put_offsets(offsets)
        newest = max((minute for of_symbol in bars.values() for minute in of_symbol), default=-1)
        self.landings.append(Landing(offsets, bars, newest))

    def until(self, symbol: str, offsets: dict[int, int]) -> list[Message]:
        """Return the messages of a symbol that are before the offset of its partition."""
        end = offsets[self.partitions[symbol]]
        return [one for one in self.messages[symbol] if one.offset < end]

    def at(self, minute: int) -> datetime:
        return self.session.open_at + timedelta(minutes=minute)

    def minute_of(self, at: datetime) -> int:
        return (at - self.session.open_at) // timedelta(minutes=1)

    def _next_minute(self) -> None:
        self.minute += 1
        if self.minute + _LAST_MINUTES > self.minute_of(self.session.close_at):
            self._generation += 1
            self.minute = 0
        if self.chance.random() < 0.5:
            self._put(CLOCK, self.minute + self.chance.randrange(3), _CLOCK_PRICE)

    def _happen(self, symbol: str) -> None:
        kind = self.chance.choices(list(_KINDS), list(_KINDS.values()))[0]
        recent = self._recent[symbol]
        if kind == "late":
            self._put(symbol, max(0, self.minute - self.chance.randrange(1, _LATE_MINUTES)), self._price(symbol))
        elif kind == "trade" or not recent:
            self._put(symbol, self.minute, self._price(symbol))
        elif kind == "again":
            self._note(self.chance.choice(recent))
        else:
            self._amend(symbol, recent.pop(self.chance.randrange(len(recent))), kind)

    def _price(self, symbol: str) -> int:
        last = int(self._recent[symbol][-1].price) if self._recent[symbol] else 100
        return min(106, max(95, last + self.chance.randrange(-3, 4)))

    def _put(self, symbol: str, minute: int, price: int) -> None:
        """Note a trade of a minute, mostly one behind those that came."""
        self._sequence += 1
        slot = self._sequence % 500
        if self.chance.random() < 0.1:
            slot = self.chance.randrange(slot + 1)
        ts = round(self.at(minute).timestamp()) * 10**6 + slot * _SLOT_MICROS
        trade = Trade(FEED, symbol, ts, Decimal(price), 100, f"t{self._sequence}", sequence=self._sequence)
        self._note(trade)
        if symbol != CLOCK:
            self._recent[symbol] = [*self._recent[symbol], trade][-_RECENT:]

    def _amend(self, symbol: str, trade: Trade, kind: str) -> None:
        """Note the first and last cancel or correction of a trade."""
        if kind == "cancel":
            price = 0
            amendment: Record = Cancel(FEED, symbol, trade.ts, trade.trade_id)
        else:
            price = self.chance.randrange(95, 107)
            amendment = Correction(FEED, symbol, trade.ts, trade.trade_id, Decimal(price), trade.size)
        self._waiting.append((amendment, Message(-1, kind, trade.trade_id, -1, (0, 0), price)))

    def _note(self, trade: Trade) -> None:
        minute = (trade.ts - round(self.session.open_at.timestamp()) * 10**6) // 60_000_000
        moment = (trade.ts, trade.sequence or 0)
        self._waiting.append((trade, Message(-1, "trade", trade.trade_id, minute, moment, int(trade.price))))

    def _publish(self) -> None:
        """Send what is noted, and wait until the broker has it."""
        places: list[tuple[int, int] | None] = [None] * len(self._waiting)
        for number, (record, _) in enumerate(self._waiting):

            def report(error: Any, sent: Any, number: int = number) -> None:
                assert error is None, error
                places[number] = (sent.partition(), sent.offset())

            self._producer.produce(TRADES.name, encode(record), record.symbol, on_delivery=report)
        assert self._producer.flush(_FLUSH_SECONDS) == 0, "the broker did not acknowledge what was sent"
        for place, (record, message) in zip(places, self._waiting, strict=True):
            assert place is not None
            self.partitions[record.symbol] = place[0]
            self.messages[record.symbol].append(message._replace(offset=place[1]))
        self._waiting = []

    def _put_bars(self, symbol: str, before: dict[int, Bar], now: dict[int, Bar]) -> None:
        for minute in sorted(before.keys() | now.keys()):
            if before.get(minute) != now.get(minute):
                self._revision += 1
                prices: Sequence[int] | None = now.get(minute)
                put_bar(
                    self.connection,
                    FEED,
                    symbol,
                    self.at(minute),
                    tuple(map(Decimal, prices)) if prices is not None else None,
                    volume=100 if prices is not None else 0,
                    revision=self._revision,
                )

    def _put_offsets(self, offsets: dict[int, int]) -> None:
        for partition, offset in offsets.items():
            self.connection.execute(_OFFSET, [TRADES.name, partition, offset])
