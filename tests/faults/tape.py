"""A made-up tape that never ends: what is sent, byte for byte, and what each message means.

A tape is a function of its seed. It moves through several sessions; 2 % of the trades are late, 1 % of the messages repeat an
earlier one exactly, some contradict one, some cancel or correct a trade that was sent before or will be sent after, and 1 %
are poison of every kind that ``docs/wire-format.md`` names. What does not belong here: what follows from the messages, which
is :mod:`tests.faults.expected`.
"""

import json
import random
import zlib
from dataclasses import dataclass
from typing import Any, Final

from tests.faults.poison import poison

SOURCE: Final = "fault"
SYMBOLS: Final = ("AAPL", "BRK.B", "IBM", "MSFT", "SPY")
MINUTE: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """A trading day by the exchange's notices, UTC epoch microseconds."""

    date: str
    open: int
    close: int

    def segment(self, moment: int) -> str:
        if moment < self.open:
            return "pre"
        return "regular" if moment < self.close else "post"


SESSIONS: Final = (
    Session("2013-10-07", 1_381_152_600_000_000, 1_381_176_000_000_000),
    Session("2013-10-08", 1_381_239_000_000_000, 1_381_262_400_000_000),
    Session("2013-10-09", 1_381_325_400_000_000, 1_381_348_800_000_000),
    Session("2013-11-29", 1_385_735_400_000_000, 1_385_748_000_000_000),  # a half-day, in standard time
)
_MESSAGES_PER_SESSION: Final = 1_500


@dataclass(frozen=True, slots=True)
class Trade:
    symbol: str
    trade_id: str
    ts: int
    price: int
    size: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Amendment:
    """A cancel states neither price nor size."""

    symbol: str
    kind: str
    ref_id: str
    ts: int
    price: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Quote:
    symbol: str
    quote_id: str
    ts: int
    bid: int | None
    bid_size: int | None
    ask: int | None
    ask_size: int | None
    sequence: int


@dataclass(frozen=True, slots=True)
class VendorBar:
    symbol: str
    interval: str
    ts: int
    prices: tuple[int, int, int, int]
    volume: int


@dataclass(frozen=True, slots=True)
class Poison:
    reason: str


Meaning = Trade | Amendment | Quote | VendorBar | Poison


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to Kafka, and what it means; prices are whole millionths."""

    topic: str
    key: str
    value: bytes | None
    meaning: Meaning


class Tape:
    """The messages of one seed, a few at a time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._chance = random.Random(seed)
        self._count = 0
        self._trades: list[Trade] = []
        self._bars: list[VendorBar] = []
        self._sent: list[Message] = []
        self._to_come: list[Trade] = []

    def take(self, count: int) -> list[Message]:
        """Return the next messages of the tape."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Message:
        self._count += 1
        draw = self._chance.random()
        if draw < 0.01:
            message = self._poison()
        elif draw < 0.02 and self._sent:
            message = self._chance.choice(self._sent)
        elif draw < 0.025 and self._trades:
            message = self._conflict()
        elif draw < 0.06 and self._trades:
            message = self._amendment()
        elif draw < 0.20:
            message = self._quote()
        elif draw < 0.27:
            message = self._vendor_bar()
        elif draw < 0.29 and self._to_come:
            message = self._as_message(self._to_come.pop())
        else:
            message = self._as_message(self._trade())
        self._sent.append(message)
        return message

    def _moment(self) -> int:
        """Return when it happened: near the tape's clock, in 2 of 100 any time before."""
        day = self._count // _MESSAGES_PER_SESSION
        session = SESSIONS[day % len(SESSIONS)]
        through = (self._count % _MESSAGES_PER_SESSION) / _MESSAGES_PER_SESSION
        if self._chance.random() < 0.02:
            session = self._chance.choice(SESSIONS[: min(day + 1, len(SESSIONS))])
            through = self._chance.random() * (through if day == 0 else 1)
        if through < 0.7:
            at = session.open - 5 * MINUTE + int(20 * MINUTE * through / 0.7)
        else:
            at = session.close - 5 * MINUTE + int(10 * MINUTE * (through - 0.7) / 0.3)
        return at - at % 500_000 + self._chance.randrange(40) * 500_000  # many at the same moment

    def _price(self) -> int:
        return self._chance.randrange(95_000_000, 105_000_000)

    def _trade(self) -> Trade:
        trade_id = f"t{self.seed}:{self._count}"
        sequence = zlib.crc32(trade_id.encode()) if self._chance.random() < 0.1 else self._chance.randrange(10**6)
        symbol = self._chance.choice(SYMBOLS)
        trade = Trade(symbol, trade_id, self._moment(), self._price(), self._chance.randrange(1, 1_000), sequence)
        self._trades.append(trade)
        return trade

    def _conflict(self) -> Message:
        known = self._chance.choice(self._trades)
        return self._as_message(
            Trade(known.symbol, known.trade_id, known.ts, known.price + 1, known.size, known.sequence)
        )

    def _amendment(self) -> Message:
        """Return a cancel or a correction of a trade that was sent, or of one that is sent later."""
        if self._chance.random() < 0.2:
            trade = self._trade()
            self._to_come.append(trade)
        else:
            trade = self._chance.choice(self._trades)
        ts = trade.ts + self._chance.randrange(3) * 1_000_000  # often several at the same moment
        fields: dict[str, Any] = {"source": SOURCE, "symbol": trade.symbol, "ts": ts, "ref_id": trade.trade_id}
        if self._chance.random() < 0.4:
            meaning = Amendment(trade.symbol, "cancel", trade.trade_id, ts, None, None)
            return self._message("market.trades.v1", {"kind": "cancel", **fields}, meaning)
        price, size = self._price(), self._chance.randrange(1, 1_000)
        meaning = Amendment(trade.symbol, "correction", trade.trade_id, ts, price, size)
        stated = {"price": self._written(price), "size": size}
        return self._message("market.trades.v1", {"kind": "correction", **fields, **stated}, meaning)

    def _quote(self) -> Message:
        symbol, quote_id = self._chance.choice(SYMBOLS), f"q{self.seed}:{self._count}"
        sides = self._chance.choice([("bid",), ("ask",), ("bid", "ask")])
        stated = {side: self._price() for side in sides}
        sizes = {f"{side}_size": self._chance.randrange(1_000) for side in sides if self._chance.random() < 0.8}
        ts, sequence = self._moment(), self._chance.randrange(1_000)
        meaning = Quote(
            symbol,
            quote_id,
            ts,
            stated.get("bid"),
            sizes.get("bid_size"),
            stated.get("ask"),
            sizes.get("ask_size"),
            sequence,
        )
        fields: dict[str, Any] = {"kind": "quote", "source": SOURCE, "symbol": symbol, "ts": ts, "quote_id": quote_id}
        written = {side: self._written(price) for side, price in stated.items()}
        return self._message("market.quotes.v1", {**fields, **written, **sizes, "sequence": sequence}, meaning)

    def _vendor_bar(self) -> Message:
        """Return a bar, every third one another version of a bar that was sent."""
        if self._bars and self._chance.random() < 0.3:
            known = self._chance.choice(self._bars)
            symbol, interval, ts = known.symbol, known.interval, known.ts
        else:
            symbol, interval = self._chance.choice(SYMBOLS), self._chance.choice(("1m", "5m"))
            moment = self._moment()
            ts = moment - moment % MINUTE
        prices = sorted(self._price() for _ in range(4))
        opened, closed = self._chance.sample(prices, 2)
        stated = (opened, prices[-1], prices[0], closed)
        bar = VendorBar(symbol, interval, ts, stated, self._chance.randrange(10**6))
        self._bars.append(bar)
        fields = {"kind": "bar", "source": SOURCE, "symbol": symbol, "interval": interval, "ts": ts}
        written = {
            name: self._written(price) for name, price in zip(("open", "high", "low", "close"), stated, strict=True)
        }
        return self._message("market.bars.v1", {**fields, **written, "volume": bar.volume}, bar)

    def _poison(self) -> Message:
        topic, value, reason = poison(self._chance, SOURCE, SESSIONS[0].open, f"p{self.seed}:{self._count}")
        return Message(topic, self._chance.choice(SYMBOLS), value, Poison(reason))

    def _as_message(self, trade: Trade) -> Message:
        fields: dict[str, Any] = {
            "kind": "trade",
            "source": SOURCE,
            "symbol": trade.symbol,
            "ts": trade.ts,
            "price": self._written(trade.price),
            "size": trade.size,
            "trade_id": trade.trade_id,
        }
        if trade.sequence != zlib.crc32(trade.trade_id.encode()):
            fields["sequence"] = trade.sequence
        return self._message("market.trades.v1", fields, trade)

    def _written(self, price: int) -> object:
        """Return a price as producers write it: a number or a text, with all decimals or with as few as do."""
        text = f"{price // 10**6}.{price % 10**6:06d}"
        return text if self._chance.random() < 0.3 else _Digits(text)

    def _message(self, topic: str, fields: dict[str, Any], meaning: Meaning) -> Message:
        """Return the message, its JSON written in one of the ways of encoders."""
        draw = self._chance.random()
        members = list(fields.items())
        if draw < 0.1:
            self._chance.shuffle(members)
        if draw < 0.03:
            members.append(("note", "ignored \u00e9"))
        space = " " if draw > 0.8 else ""
        text = f",{space}".join(f"{json.dumps(name)}:{space}{_as_json(value)}" for name, value in members)
        return Message(topic, str(fields["symbol"]), f"{{{text}}}".encode(), meaning)


class _Digits(str):
    """A number as it is written."""

    __slots__ = ()


def _as_json(value: object) -> str:
    return str(value) if isinstance(value, _Digits) else json.dumps(value)
