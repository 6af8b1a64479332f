"""What has to be asked of a source: the missing sessions, cut into asks that the source takes.

What belongs here: pure planning. What does not: what the lake has, which is :mod:`warehouse.history`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from ingest.history.source import Ask, Limit, Offer
from market.records import DAILY, INTERVALS
from market.sessions import Session

Missing = Mapping[str, Sequence[tuple[int, int]]]
"""By symbol the ranges of missing sessions, as numbers among the sessions that were asked for; the ends are excluded."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill will do.

    Attributes
    ----------
    symbols
        The symbols that were asked for.
    sessions
        How many sessions were asked for.
    asks
        What the source will be asked: for symbols of which all is missing first, then in order of time and symbols.
    missing
        By symbol how many sessions will be asked for.
    too_old
        By symbol how many missing sessions lie before what the source has.
    requests
        How many requests that takes, at the least.
    seconds
        How long the source's limit makes it last, at the least; 0 without a limit.
    withheld
        By symbol how many sessions the source has for other plans only: they are not asked for.
    unknown
        Symbols that the source did not know when it was asked for some of these sessions.
    """

    symbols: tuple[str, ...]
    sessions: int
    asks: tuple[Ask, ...]
    missing: Mapping[str, int]
    too_old: Mapping[str, int]
    requests: int
    seconds: float
    withheld: Mapping[str, int] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()


def make_plan(
    symbols: Sequence[str],
    sessions: Sequence[Session],
    missing: Missing,
    offer: Offer,
    *,
    today: date,
    limit: Limit | None,
) -> Plan:
    """Return the asks for what is missing.

    Parameters
    ----------
    symbols, sessions
        What was asked for; sessions in order.
    missing
        What of it the lake lacks and the source was not asked for yet.
    offer
        What the source has of the bar length.
    today
        From which day on the source counts back.
    limit
        The source's limit.
    """
    oldest = 0 if offer.days_back is None else _number_of_first(sessions, today - timedelta(days=offer.days_back))
    wanted: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    too_old: dict[str, int] = {}
    for symbol in symbols:
        ranges = missing.get(symbol, ())
        if before := sum(max(0, min(end, oldest) - start) for start, end in ranges):
            too_old[symbol] = before
        for start, end in ranges:
            for piece in _pieces(sessions, max(start, oldest), end, offer):
                wanted[piece].append(symbol)
    # Where a quota ends the run, a symbol that brings only part of what is asked for would come before others for ever.
    begun = {symbol for symbol, ranges in missing.items() if sum(end - start for start, end in ranges) < len(sessions)}
    place = {symbol: number for number, symbol in enumerate(symbols)}
    pieces = sorted(
        (is_begun, piece, [symbol for symbol in of if (symbol in begun) is is_begun])
        for piece, of in wanted.items()
        for is_begun in (False, True)
    )
    asks = tuple(
        Ask(tuple(group), offer.interval, tuple(sessions[start:end]))
        for _, (start, end), of in pieces
        for group in _groups(of, offer.symbols_per_ask)
    )
    if offer.months_per_ask is not None:
        # One symbol's asks for one month follow each other: its answer is used for all of them.
        asks = tuple(
            sorted(
                asks, key=lambda ask: (ask.symbols[0] in begun, _window(ask.sessions[0], offer), place[ask.symbols[0]])
            )
        )
    counts: dict[str, int] = dict.fromkeys(symbols, 0)
    for ask in asks:
        for symbol in ask.symbols:
            counts[symbol] += len(ask.sessions)
    requests = _requests_of(asks, offer)
    return Plan(
        symbols=tuple(symbols),
        sessions=len(sessions),
        asks=asks,
        missing={symbol: count for symbol, count in counts.items() if count},
        too_old=too_old,
        requests=requests,
        seconds=_least_seconds(requests, limit),
    )


def bars_per_session(interval: str, session: Session) -> int:
    """Return how many bars of the regular segment a session has."""
    return 1 if interval == DAILY else len(session.expected_bars(INTERVALS[interval]))


def _requests_of(asks: Sequence[Ask], offer: Offer) -> int:
    """Return how many requests asks take, if every bar is there."""
    if offer.months_per_ask is not None:
        return len({(symbol, month) for ask in asks for symbol in ask.symbols for month in ask.months})
    if offer.bars_per_request is None:
        return len(asks) * (1 + offer.other_requests)
    pages = 0
    for ask in asks:
        bars = len(ask.symbols) * sum(bars_per_session(ask.interval, session) for session in ask.sessions)
        pages += max(1, -(-bars // offer.bars_per_request))
    return pages + len(asks) * offer.other_requests


def _number_of_first(sessions: Sequence[Session], day: date) -> int:
    return next((number for number, session in enumerate(sessions) if session.session_date >= day), len(sessions))


def _pieces(sessions: Sequence[Session], start: int, end: int, offer: Offer) -> list[tuple[int, int]]:
    """Return a range in pieces, cut so that those of different symbols meet: of one length but for the last, or by months."""
    if offer.months_per_ask is None or start >= end:
        longest = offer.sessions_per_ask
        return [(first, min(first + longest, end)) for first in range(start, end, longest)]
    windows = [_window(session, offer) for session in sessions[start:end]]
    cuts = [start + number for number in range(1, len(windows)) if windows[number] != windows[number - 1]]
    return list(zip([start, *cuts], [*cuts, end], strict=True))


def _window(session: Session, offer: Offer) -> int:
    """Return the number of the months that a session may be asked for with."""
    months = session.session_date.year * 12 + session.session_date.month - 1
    return months // (offer.months_per_ask or 1)


def _groups(symbols: Sequence[str], most: int) -> list[Sequence[str]]:
    return [symbols[first : first + most] for first in range(0, len(symbols), most)]


def _least_seconds(requests: int, limit: Limit | None) -> float:
    """Return how long so many requests last at the least: the first ones of a limit may come at once."""
    if limit is None or requests <= limit.requests:
        return 0.0
    return (requests - limit.requests) * limit.seconds / limit.requests
