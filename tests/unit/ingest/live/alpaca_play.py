"""A keeper between Alpaca's real protocol, stream and history, and a broker; time waits for the network."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
from pydantic import SecretStr

from ingest.feeds.alpaca.live import AlpacaLive
from ingest.live.connection import Connection, Request
from ingest.live.keeper import Keeper
from ingest.live.market import Outlet
from ingest.live.reach import Reach
from ingest.live.source import Delivery, Wishes
from ingest.live.spans import Spans
from market.records import Trade
from market.settings import Settings
from tests.unit.ingest.history.alpaca_server import KEY_ID, SECRET_KEY, AlpacaServer
from tests.unit.ingest.live.alpaca_stream import frame, raw_trade, subscribe, welcome
from tests.unit.ingest.live.small_world import NEVER, SESSION, World, at, micros
from tests.unit.ingest.live.stream_server import Peer, StreamServer

DEADLINE_SECONDS = 20.0
SYMBOLS = ("IBM", "SPY")
NANOSECONDS = 123
"""Of every trade, within its microsecond: the same trade has them in the stream and in the history."""


def tape_trade(symbol: str, seconds: float, number: int) -> Trade:
    sequence = NANOSECONDS * 2**27 + number
    return Trade("alpaca", symbol, at(seconds), Decimal("25.5"), 100, f"20261120-V-{number}", sequence, "V")


def tape() -> list[Trade]:
    moments = [(seconds, symbol) for seconds in range(1, 719, 3) for symbol in SYMBOLS]
    return [tape_trade(symbol, seconds, number) for number, (seconds, symbol) in enumerate(moments, 1)]


def number_of(trade: Trade) -> int:
    return int(trade.trade_id.rpartition("-")[2])


def row(trade: Trade, **others: Any) -> dict[str, Any]:
    """A trade as the history writes it."""
    t = datetime.fromtimestamp(trade.ts / 1_000_000, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.%f{NANOSECONDS}Z")
    return {"t": t, "x": "V", "p": float(trade.price), "s": 100, "c": ["@"], "i": number_of(trade), "z": "A"} | others


def message(trade: Trade) -> dict[str, Any]:
    """A trade as the stream writes it."""
    stamp = msgpack.Timestamp(trade.ts // 1_000_000, trade.ts % 1_000_000 * 1000 + NANOSECONDS)
    return raw_trade(trade.symbol, stamp, number_of(trade))


def live_at(history: AlpacaServer, stream_url: str, now: Callable[[], datetime]) -> "CountedLive":
    update = {
        "alpaca_key_id": SecretStr(KEY_ID),
        "alpaca_secret_key": SecretStr(SECRET_KEY),
        "alpaca_url": history.url,
        "alpaca_stream_url": stream_url,
    }
    return CountedLive(Settings().model_copy(update=update), now)


class CountedLive(AlpacaLive):
    """Alpaca, with a count of what the stream brought."""

    received = 0

    async def stream(self, wishes: Wishes, deliver: Callable[[Delivery], None]) -> None:
        def counted(delivery: Delivery) -> None:
            deliver(delivery)
            self.received += len(delivery.records)

        await super().stream(wishes, counted)


class Play:
    """A keeper, the vendor, and a broker that keeps everything unless another is given.

    The stream is cut at the moments of ``cuts``; what happens in the spans of ``dropped`` it never says.
    """

    def __init__(self, path: Path, history: AlpacaServer, open_outlet: Callable[[], Outlet] | None = None) -> None:
        self.world = World(tape(), path)
        history.trades.update({symbol: [row(t) for t in self.world.tape if t.symbol == symbol] for symbol in SYMBOLS})
        self.cuts: list[datetime] = []
        self.dropped = Spans()
        self.sent = 0
        self.server = StreamServer(self._stream)
        self.source = live_at(history, self.server.url, self.world.clock.now)
        reach = Reach(
            partial(Connection, self.source),
            lambda hole: Request(self.source, hole, lambda: None),
            open_outlet or self.world._open_outlet,
            lambda: SYMBOLS,
        )
        self.keeper = Keeper(self.source, reach, self.world.path, self.world.clock, self.world.stop)
        self._pass = self.world.clock.wait
        self.world.clock.wait = self._wait  # type: ignore[method-assign]

    def run(self) -> None:
        with self.server:
            self.keeper.keep(SESSION, NEVER)

    def _stream(self, peer: Peer) -> None:
        welcome(peer)
        subscribe(peer)
        told = micros(self.world.clock.now())
        while not self.server.closing.is_set():
            now = self.world.clock.now()
            until = micros(now - timedelta(seconds=1))
            if due := [t for t in self.world.between(told, until) if not self._is_dropped(t)]:
                self.sent += len(due)
                peer.send(frame(*(message(trade) for trade in due)))
            told = max(told, until)
            if self.cuts and now >= self.cuts[0]:
                self.cuts.pop(0)
                peer.cut()
                return
            time.sleep(0.0005)

    def _is_dropped(self, trade: Trade) -> bool:
        return any(since <= trade.ts < until for since, until in self.dropped)

    def _wait(self, seconds: float) -> None:
        """Let time pass, and then the network bring what there is until then."""
        self._pass(seconds)
        deadline = time.monotonic() + DEADLINE_SECONDS
        time.sleep(0.002)
        while not self._is_quiet():
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def _is_quiet(self) -> bool:
        live, filling = self.keeper._link._live, self.keeper._filler._under_way
        if filling is not None and filling.filling._thread.is_alive() and filling.filling._waiting.empty():  # type: ignore[attr-defined]
            return False
        if live is None or live.line.error is not None or not live.line._waiting.empty():  # type: ignore[attr-defined]
            return True
        return bool(live.since) and self.source.received >= self.sent
