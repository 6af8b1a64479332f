"""What a user asks a backfill for, completed: symbols, interval and sessions, and the plan that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final, Self

from ingest.history.files import DAMAGED, FileSource
from ingest.history.plan import Plan, make_plan
from ingest.history.source import HistorySource, Problem
from market import tiers
from market.errors import FeedError, UsageError
from market.instruments import parse_symbols
from market.records import DAILY, INTERVALS
from market.sessions import EXCHANGE_ZONE, FIRST_SESSION, Session, sessions_between
from market.settings import Settings
from market.tiers import COLLECTED_DAYS
from warehouse.collected_history import unknown_symbols, withheld_sessions
from warehouse.history import missing_sessions
from warehouse.watchlist import watched

KEPT_DAYS: Final = {
    DAILY: COLLECTED_DAYS[tiers.DAILY.name],
    **dict.fromkeys(INTERVALS, COLLECTED_DAYS[tiers.INTRADAY.name]),
}
"""How many days back history is collected if nothing is said; files are taken whole."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted.

    Attributes
    ----------
    symbols
        The tickers.
    interval
        The bar length.
    sessions
        The sessions that are over, in order, one at least.
    now
        The present moment.
    refused
        What was named and cannot be asked for, such as what is no symbol in a file.
    """

    symbols: tuple[str, ...]
    interval: str
    sessions: tuple[Session, ...]
    now: datetime
    refused: tuple[Problem, ...] = ()

    @classmethod
    def of(
        cls,
        settings: Settings,
        source: HistorySource,
        interval: str,
        *,
        symbols: str,
        start: date | None,
        end: date | None,
        now: datetime,
    ) -> Self:
        """Return a whole order.

        Parameters
        ----------
        settings
            Says where the watchlist is.
        source
            Who is asked.
        interval
            The bar length.
        symbols
            Comma-separated tickers; empty means all of a file, or the watchlist.
        start, end
            The first and the last session, as far as they are given.
        now
            The present moment.

        Raises
        ------
        UsageError
            If the source has no such bars, the range lies in the future, or there is no symbol.
        SourceError
            If the source cannot be asked at all.
        FeedError
            If no session of the range is over, or its files name no symbol.
        """
        if interval not in source.offers:
            msg = f"The source {source.name} has no bars of {interval!r}. It has: {', '.join(source.offers)}."
            raise UsageError(msg)
        source.check()
        wanted, refused = _symbols(settings, source, symbols)
        return cls(
            symbols=wanted,
            interval=interval,
            sessions=tuple(_sessions(interval, start, end, now, is_whole=isinstance(source, FileSource))),
            now=now,
            refused=refused,
        )


def plan_of(settings: Settings, source: HistorySource, order: Order, *, again: bool = False) -> Plan:
    """Return what has to be asked for an order; with ``again`` also what the source was asked for before, and the lake lacks.

    Of files everything is read, whatever the lake has.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    today = order.now.astimezone(EXCHANGE_ZONE).date()
    if isinstance(source, FileSource):
        every = {symbol: [(0, len(order.sessions))] for symbol in order.symbols}
        plan = make_plan(order.symbols, order.sessions, every, source.offers[order.interval], today=today, limit=None)
        return replace(plan, missing={})  # how much that is will be seen in the files
    place = (settings, source.name, order.interval, order.symbols)
    start, end = order.sessions[0].session_date, order.sessions[-1].session_date
    missing = missing_sessions(*place, start=start, end=end, until=order.now, again=again)
    plan = make_plan(
        order.symbols, order.sessions, missing, source.offers[order.interval], today=today, limit=source.limit
    )
    return replace(
        plan,
        unknown=frozenset(unknown_symbols(*place, start=start, end=end)),
        withheld={} if again else withheld_sessions(*place, start=start, end=end),
    )


def _symbols(settings: Settings, source: HistorySource, text: str) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    if text:
        refused = source.misnamed() if isinstance(source, FileSource) else ()
        return parse_symbols(text), tuple(problem for problem in refused if problem.code == DAMAGED)
    if isinstance(source, FileSource) and (found := source.symbols()) is not None:
        refused = source.misnamed()
        if not found:
            msg = "\n".join(["The files name no symbol.", *(problem.detail for problem in refused[:5])])
            raise FeedError(msg)
        return found, refused
    symbols = tuple(watched(settings))
    if not symbols:
        msg = "No symbol given, and the watchlist is empty. Give --symbols spy,ibm, or ./run watchlist add spy ibm"
        raise UsageError(msg)
    return symbols, ()


def _sessions(
    interval: str, start: date | None, end: date | None, now: datetime, *, is_whole: bool
) -> Sequence[Session]:
    today = now.astimezone(EXCHANGE_ZONE).date()
    first = start or FIRST_SESSION
    if start is None and not is_whole:
        first = max(FIRST_SESSION, (end or today) - timedelta(days=KEPT_DAYS[interval]))
    last = end or today
    if first > today:
        msg = f"The range begins on {first}, which lies in the future. Today is {today}."
        raise UsageError(msg)
    if last < FIRST_SESSION:
        msg = f"The range ends on {last}, and the calendar begins with {FIRST_SESSION}. Choose later days."
        raise UsageError(msg)
    sessions = [session for session in sessions_between(first, last) if session.post_close_at <= now]
    if not sessions:
        msg = f"The exchange had no session from {first} to {last} that is over. Choose days with trading."
        raise FeedError(msg)
    return sessions
