"""A process that publishes trades by the project's own replay, told by files when to go on.

After the first part it waits until ``<folder>/go`` is there, hands in the rest, says so by ``<folder>/queued`` and waits for
SIGTERM, which ends it as it ends ``./run replay``. What became of the records is left in ``<folder>/summary.json``.
"""

import argparse
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Final

from ingest.feeds import FeedRequest
from ingest.replay import replay
from market.records import Record, encode
from market.records import Trade as TradeRecord
from tests.faults.tape import SOURCE, Message, Tape, Trade

FIRST: Final = 2_000
QUEUED: Final = 10_000
_GIVE_UP_SECONDS: Final = 2.0


def trades(seed: int) -> list[Trade]:
    """Return the trades that are published, each once."""
    found: dict[str, Trade] = {}
    tape = Tape(seed)
    while len(found) < FIRST + QUEUED:
        for message in tape.take(1_000):
            if isinstance(message.meaning, Trade):
                found.setdefault(message.meaning.trade_id, message.meaning)
    return list(found.values())[: FIRST + QUEUED]


def as_record(trade: Trade) -> TradeRecord:
    price = Decimal(trade.price).scaleb(-6)
    return TradeRecord(SOURCE, trade.symbol, trade.ts, price, trade.size, trade.trade_id, trade.sequence)


def as_message(trade: Trade) -> Message:
    return Message("market.trades.v1", trade.symbol, encode(as_record(trade)), trade)


class HeldFeed:
    """A feed whose reader is held between its two parts, and after them."""

    def __init__(self, seed: int, folder: Path, stop: Event, *, is_held: bool) -> None:
        self._records = [as_record(trade) for trade in trades(seed)]
        self._folder = folder
        self._stop = stop
        self._is_held = is_held

    @property
    def name(self) -> str:
        return SOURCE

    def check(self, request: FeedRequest) -> int:
        del request
        return len(self._records)

    def read(self, request: FeedRequest) -> Iterator[Record]:
        del request
        yield from self._records[:FIRST]
        if self._is_held:
            while not (self._folder / "go").exists():
                time.sleep(0.01)
        yield from self._records[FIRST:]
        (self._folder / "queued").touch()
        if self._is_held:
            self._stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--held", action="store_true")
    options = parser.parse_args()
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    feed = HeldFeed(options.seed, options.folder, stop, is_held=options.held)
    request = FeedRequest(symbols=(), start=date(2013, 10, 7), end=date(2013, 10, 7))
    patience = _GIVE_UP_SECONDS if options.held else 60.0
    summary = replay(options.servers, feed, request, stop_event=stop, deadline_seconds=patience)
    (options.folder / "summary.json").write_text(json.dumps(asdict(summary)))


if __name__ == "__main__":
    main()
