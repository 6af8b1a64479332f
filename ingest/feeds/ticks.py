"""Ticks of one session as columns, and how they become records.

What belongs here: the columnar form that tick feeds share, its order, the heartbeats between the ticks, and the tight loop
that builds the records.
What does not: where ticks come from.

A tick frame has the columns of :data:`TICK_SCHEMA`. Prices are integers in 1/10,000 of the currency. A trade has its
price and size in ``bid`` and ``bid_size``; in a quote, 0 stands for a side that did not change.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

import polars as pl

from market.records import Heartbeat, Quote, Record, Trade
from market.sessions import Session

TICK_SCHEMA: Final = {
    "ts": pl.Int64,
    "symbol": pl.String,
    "is_quote": pl.Boolean,
    "sequence": pl.Int64,
    "bid": pl.Int64,
    "bid_size": pl.Int64,
    "ask": pl.Int64,
    "ask_size": pl.Int64,
    "exchange": pl.String,
    "conditions": pl.String,
}
PRICE_SCALE: Final = 10_000
CHUNK_ROWS: Final = 16_384
"""Rows that become Python objects at a time: bounds memory, and a stop is seen soon."""


HEARTBEAT_EVERY: Final = timedelta(minutes=15)
"""How much of a recorded session one heartbeat covers: a replay at the pace of the market is not silent for longer."""
COVERAGE_SCHEMA: Final = {"ts": pl.Int64, "symbol": pl.String, "since": pl.Int64}


def whole_session(
    symbols: Sequence[str], session: Session, every: timedelta = HEARTBEAT_EVERY, *, has_trades: bool = True
) -> pl.DataFrame:
    """Return the heartbeats that cover a session of some symbols, from the start of pre to the end of post.

    Parameters
    ----------
    symbols, session
        What is covered.
    every
        How much of it one heartbeat covers.
    has_trades
        Whether trades are delivered at all; without them nothing is covered.

    Returns
    -------
    polars.DataFrame
        The columns of :data:`COVERAGE_SCHEMA`: a heartbeat's end, symbol and start.
    """
    start, end = (round(moment.timestamp()) * 1_000_000 for moment in (session.pre_open_at, session.post_close_at))
    step = every // timedelta(microseconds=1)
    spans = [(since, min(since + step, end)) for since in range(start, end, step)] if has_trades else []
    rows = [(until, symbol, since) for since, until in spans for symbol in symbols]
    return pl.DataFrame(rows, schema=COVERAGE_SCHEMA, orient="row")


class _Prices(dict[int, Decimal]):
    """Decimals of scaled prices, made once each: a session has few distinct prices."""

    def __missing__(self, scaled: int) -> Decimal:
        price = Decimal(scaled) / PRICE_SCALE
        self[scaled] = price
        return price


class Tape:
    """The ticks of one session in order of event time, then symbol, trades before quotes, then sequence.

    A heartbeat comes before the ticks of the moment at which it ends, for it does not cover them.

    Parameters
    ----------
    source
        Feed that the ticks come from.
    session_date
        The session; record identities are ``yyyymmdd-sequence``.
    frames
        Tick frames of any symbols and kinds.
    coverage
        The heartbeats, with the columns of :data:`COVERAGE_SCHEMA`.
    """

    def __init__(
        self, source: str, session_date: date, frames: Iterable[pl.DataFrame], coverage: pl.DataFrame | None = None
    ) -> None:
        self._source = source
        self._prefix = f"{session_date:%Y%m%d}-"
        heartbeats = pl.DataFrame(schema=COVERAGE_SCHEMA) if coverage is None else coverage
        everything = pl.concat([*frames, heartbeats], how="diagonal")
        in_order = ("ts", "since", "symbol", "is_quote", "sequence")
        self._frame = everything.sort(in_order, nulls_last=True, maintain_order=True)
        self._prices = _Prices()

    def __len__(self) -> int:
        return self._frame.height

    def count_through(self, ts: int) -> int:
        """Return how many ticks have an event time of at most ``ts`` (UTC epoch microseconds)."""
        return int(self._frame["ts"].search_sorted(ts, side="right"))

    def time_of(self, position: int) -> int:
        """Return the event time of the tick at ``position``, UTC epoch microseconds."""
        return int(self._frame["ts"][position])

    def align(self, position: int) -> int:
        """Return ``position``, moved on past the ticks with the same event time as the one before it."""
        return self.count_through(self.time_of(position - 1)) if position else 0

    def whole_moments(self, position: int) -> int:
        """Return ``position``, moved back before the ticks of the moment that it would cut in two."""
        if 0 < position < len(self) and self.time_of(position) == self.time_of(position - 1):
            return int(self._frame["ts"].search_sorted(self.time_of(position), side="left"))
        return position

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]:
        """Yield the records from position ``start`` up to, not including, ``stop``."""
        end = len(self) if stop is None else min(stop, len(self))
        for offset in range(start, end, CHUNK_ROWS):
            yield from self._chunk(offset, min(CHUNK_ROWS, end - offset))

    def _chunk(self, offset: int, length: int) -> list[Record]:
        source, prefix, prices = self._source, self._prefix, self._prices
        columns = [self._frame[name].slice(offset, length).to_list() for name in (*TICK_SCHEMA, "since")]
        return [
            Heartbeat(source, symbol, since, ts)
            if since is not None
            else Quote(
                source,
                symbol,
                ts,
                f"{prefix}{sequence}",
                prices[bid] if bid else None,
                bid_size if bid else None,
                prices[ask] if ask else None,
                ask_size if ask else None,
                sequence,
                exchange,
                conditions,
            )
            if is_quote
            else Trade(source, symbol, ts, prices[bid], bid_size, f"{prefix}{sequence}", sequence, exchange, conditions)
            for ts, symbol, is_quote, sequence, bid, bid_size, ask, ask_size, exchange, conditions, since in zip(
                *columns, strict=True
            )
        ]
