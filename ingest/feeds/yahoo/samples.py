"""Which samples of Yahoo's stream are believed: those of now, at prices that are near the symbol's last one or confirmed.

What belongs here: what a sample is held against, over all connections of a process. What does not: what a message states
(:mod:`ingest.feeds.yahoo.messages`), or whether the vendor's bars are believed (:mod:`ingest.history.check`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import structlog

from ingest.live.source import Delivery
from market.records import Record, Trade
from market.sessions import Session, session_at

OFF_BY: Final = 2
"""A sample waits for the next one if one price is more than so many times the other. That of history is 50, since it is final;
here the next sample decides within moments, and a share that halves or doubles between two samples is rare."""
LATE_BY: Final = timedelta(minutes=5)
"""So long after its session a sample may come."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)


class Samples:
    """Holds each sample against the clock and against the last believed price of its symbol.

    A lone wrong price would be the high or the low of its minute and of its day; so it waits until another sample is near it, and
    is passed over if the next is not. The first sample of a symbol is held against the last close that is known of it, and
    believed if none is. A message that says once more what the last one of its symbol said is passed over.

    Parameters
    ----------
    now
        The clock.
    closes
        Says the last known closes of symbols, as far as there are, or ``None`` if that cannot be said now; asked once a symbol,
        and again only if it could not be said.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        closes: Callable[[Sequence[str]], Mapping[str, Decimal] | None] = lambda _: {},
    ) -> None:
        self._now = now
        self._closes = closes
        self._learning = threading.Lock()
        self._asked: set[str] = set()
        self._said: dict[str, Sequence[Record]] = {}
        self._prices: dict[str, Decimal] = {}
        self._held: dict[str, tuple[Trade, Delivery]] = {}

    def learn(self, symbols: Sequence[str]) -> None:
        """Ask for the closes of symbols of which nobody could say them before; threads may, while samples come.

        A thread waits for one that asks already, so that no symbol is subscribed to before its close is there.
        """
        with self._learning:
            new = [symbol for symbol in symbols if symbol not in self._asked]
            closes = self._closes(new) if new else None
            if closes is None:
                return
            for symbol, close in closes.items():
                self._prices.setdefault(symbol, close)  # one step: a sample that comes meanwhile is not undone
            self._asked.update(new)

    def believed(self, delivery: Delivery) -> Delivery:
        """Return what of a message is believed, with the sample before it if this one confirms it."""
        trade = next((record for record in delivery.records if isinstance(record, Trade)), None)
        if trade is None:
            return delivery
        session = _session(trade)
        if session is None or not session.pre_open_at <= self._now() < session.post_close_at + LATE_BY:
            return Delivery(passed_over={"other_session": 1}, is_old=True)
        held_trade, held = self._held.get(trade.symbol, (None, Delivery()))
        if held_trade is not None and held_trade.trade_id == trade.trade_id:
            return Delivery()
        if self._said.get(trade.symbol) == delivery.records:
            return Delivery(passed_over={"repeated": 1}, is_old=True)
        self._said[trade.symbol] = delivery.records
        last = self._prices.get(trade.symbol)
        if last is not None and _is_far(trade.price, last):
            if held_trade is None or _is_far(trade.price, held_trade.price):
                self._held[trade.symbol] = trade, delivery
                return self._pass_over(held_trade, last)
            if _session(held_trade) == session:
                delivery = Delivery([*held.records, *delivery.records])
            held_trade = None
        self._prices[trade.symbol] = trade.price
        self._held.pop(trade.symbol, None)
        return Delivery(delivery.records, passed_over=self._pass_over(held_trade, trade.price).passed_over)

    def _pass_over(self, trade: Trade | None, near: Decimal) -> Delivery:
        if trade is None:
            return Delivery()
        _log.warning(
            "live_sample_passed_over", symbol=trade.symbol, price=str(trade.price), ts=trade.ts, others=str(near)
        )
        return Delivery(passed_over={"off_by_far": 1})


def _session(trade: Trade) -> Session | None:
    return session_at(_EPOCH + timedelta(microseconds=trade.ts))


def _is_far(price: Decimal, other: Decimal) -> bool:
    return max(price, other) > OFF_BY * min(price, other)
