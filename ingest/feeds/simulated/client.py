"""The simulated feed: which symbols and sessions of the model a request means."""

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from ingest.feeds.base import BOTH_KINDS, Feed, FeedRequest, Kind, requested_sessions, requested_symbols
from ingest.feeds.simulated.model import count_events, generate_session
from ingest.feeds.simulated.parse import tick_frame
from ingest.feeds.ticks import HEARTBEAT_EVERY, Tape, whole_session
from market.records import Record
from market.sessions import Session


class SimulatedFeed(Feed):
    """Trades and quotes of a market that is a function of the seed: any ticker, any session of the calendar.

    Needs symbols and a range. A record depends on its symbol, its session, the seed and the trades per day only: not
    on which other symbols or sessions are asked for. Its identity is ``yyyymmdd-number``, so two seeds do not mix in
    one lake: use a home for each.
    """

    name = "simulated"

    def check(self, request: FeedRequest) -> int:
        """Return the number of ticks and heartbeats; there is nothing that could be missing."""
        symbols, sessions = _scope(request)
        total = 0
        for session in sessions:
            total += whole_session(symbols, session, has_trades=Kind.TRADES in request.kinds).height
            for symbol in symbols:
                trades, quotes = count_events(symbol, session, request.seed, request.trades_per_day)
                total += trades * (Kind.TRADES in request.kinds) + quotes * (Kind.QUOTES in request.kinds)
        return total

    def read(self, request: FeedRequest) -> Iterator[Record]:
        """Return the ticks and heartbeats; holds one session in memory at a time."""
        symbols, sessions = _scope(request)
        tapes = (
            session_tape(
                symbols, session, seed=request.seed, trades_per_day=request.trades_per_day, kinds=request.kinds
            )
            for session in sessions
        )
        return (record for tape in tapes for record in tape.records())


def session_tape(
    symbols: tuple[str, ...],
    session: Session,
    *,
    seed: int,
    trades_per_day: int,
    kinds: frozenset[Kind] = BOTH_KINDS,
    heartbeat_every: timedelta = HEARTBEAT_EVERY,
) -> Tape:
    """Return the ticks of some symbols in one session, with heartbeats that cover it whole."""
    frames = [tick_frame(symbol, generate_session(symbol, session, seed, trades_per_day)) for symbol in symbols]
    if kinds != BOTH_KINDS:
        frames = [frame.filter(pl.col("is_quote") == (Kind.QUOTES in kinds)) for frame in frames]
    coverage = whole_session(symbols, session, heartbeat_every, has_trades=Kind.TRADES in kinds)
    return Tape(SimulatedFeed.name, session.session_date, frames, coverage)


def _scope(request: FeedRequest) -> tuple[tuple[str, ...], tuple[Session, ...]]:
    return requested_symbols(SimulatedFeed.name, request), requested_sessions(SimulatedFeed.name, request)
