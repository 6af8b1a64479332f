"""The minute under way of each symbol, from the trades as they come, by the rules by which bars are made of them.

What belongs here: which minute a trade is of, what it counts for, and the close before. What does not: rules
(:mod:`alerts.at_once.levels`). Moments are UTC epoch microseconds.
"""

import re
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from market.domains import FEED_PATTERN
from market.eligibility import RULES, Use, counted, is_closing_auction
from market.instruments import SYMBOL_PATTERN
from market.records import (
    CONDITION_BITS_PATTERN,
    ID_PATTERN,
    MAX_CONDITIONS_CHARACTERS,
    MAX_EXCHANGE_CHARACTERS,
    MAX_PRICE,
    MAX_SEQUENCE,
    MAX_SIZE_SHARES,
    NUL,
    PRICE_DECIMALS,
    Trade,
)
from market.sessions import Segment, Session, find_session

MINUTE: Final = 60_000_000
MAX_AHEAD: Final = 300_000_000
"""A trade that is further ahead of the wall clock is bad: it is set aside by the stream."""
_EASTERN_STANDARD: Final = 5 * 3600 * 1_000_000
_DAY: Final = 86_400 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SYMBOL: Final = re.compile(SYMBOL_PATTERN)
_SOURCE: Final = re.compile(FEED_PATTERN)
_ID: Final = re.compile(ID_PATTERN)
_CONDITION_BITS: Final = re.compile(CONDITION_BITS_PATTERN)

Position = tuple[int, int, float]
"""Order of the trades of a minute: time, sequence, price."""


@dataclass(slots=True)
class Minute:
    """A minute of a symbol so far.

    Attributes
    ----------
    before
        The close of the bar before it in the series of the symbol; ``None`` if it is not known.
    first, last
        Positions of the trades that make open and close.
    high_by, low_by
        The trades that made the extremes; ``None`` where they were published before.
    trade_ids
        Of the trades that it has: the same id again is the same trade.
    seen_high, seen_low
        The extremes at the last look at the rules.
    fired
        The rules that fired on it.
    is_doubted
        Whether a trade of it, or the one before it, may never have been: neither it nor its close makes anything fire.
    is_closed
        Whether it only says what the close before the next one is: its own trades are left to the marts.
    """

    source: str
    symbol: str
    bar_at: int
    session_date: date
    segment: str
    before: float | None = None
    first: Position | None = None
    last: Position | None = None
    high: float | None = None
    low: float | None = None
    volume: int = 0
    high_by: Trade | None = None
    low_by: Trade | None = None
    trade_ids: set[str] = field(default_factory=set)
    seen_high: float | None = None
    seen_low: float | None = None
    fired: set[int] = field(default_factory=set)
    is_doubted: bool = False
    is_closed: bool = False

    @property
    def bar_end(self) -> int:
        """When it ends; segments begin and end on whole minutes."""
        return self.bar_at + MINUTE

    @property
    def close(self) -> float | None:
        """Its last price so far; a minute without one is no bar of the series."""
        return self.last[2] if self.last is not None else None

    def copy(self) -> "Minute":
        """Return it as it is now."""
        return replace(self, fired=set(), trade_ids=set())

    @property
    def has_news(self) -> bool:
        """Whether it is a bar, and went further than at the last look."""
        if self.is_doubted or self.last is None or self.high is None or self.low is None:
            return False
        return self.seen_high is None or self.seen_low is None or self.high > self.seen_high or self.low < self.seen_low


class Minutes:
    """Takes trades, and keeps the minute under way of each symbol and source.

    Parameters
    ----------
    segments
        Parts of the session whose bars make the series.
    known
        Minutes that are known to begin with: the newest of each symbol and source, as they were.
    """

    def __init__(self, segments: Collection[str], known: Iterable[Minute] = ()) -> None:
        self._segments = frozenset(segments)
        self._under_way = {(minute.source, minute.symbol): minute for minute in known}

    def take(self, trade: Trade, *, now: int, begun: int) -> Minute | None:
        """Return the minute of a trade with the trade in it; ``None`` if it is left to the marts.

        Parameters
        ----------
        trade
            A trade.
        now
            The wall clock.
        begun
            When the newest session began by the wall clock: what was before is history.
        """
        if trade.ts < begun:
            return None
        place = _placed(trade, now)
        if place is None:
            return None
        session_date, segment, bar_at = place
        if segment not in self._segments:
            return None
        use = _use(trade.source, segment, trade.conditions)
        if use is None:
            return None
        minute = self._minute(trade, session_date, segment, bar_at)
        if minute is None:
            return None
        if trade.trade_id not in minute.trade_ids:
            minute.trade_ids.add(trade.trade_id)
            _add(minute, trade, use)
        return minute

    def under_way(self) -> Iterable[Minute]:
        """Return the newest minute of each symbol and source."""
        return self._under_way.values()

    def doubt(self, source: str, symbol: str) -> None:
        """Leave the minute under way to the marts, and whether the next one crosses what it closes at."""
        minute = self._under_way.get((source, symbol))
        if minute is not None:
            minute.is_doubted = True

    def look_again(self) -> None:
        """Have every minute looked at anew from its beginning, for rules that were not there."""
        for minute in self._under_way.values():
            minute.seen_high = minute.seen_low = None

    def _minute(self, trade: Trade, session_date: date, segment: str, bar_at: int) -> Minute | None:
        key = (trade.source, trade.symbol)
        known = self._under_way.get(key)
        if known is not None and known.bar_at == bar_at:
            return None if known.is_closed else known
        if known is None:
            if _SYMBOL.fullmatch(trade.symbol) is None or _SOURCE.fullmatch(trade.source) is None:
                return None
            before = None
        elif bar_at < known.bar_at:  # the minute is over: what comes late is in the bars, and so in the marts
            return None
        else:
            before = known.close if known.close is not None else known.before
            if known.is_doubted:
                before = None
        minute = Minute(trade.source, trade.symbol, bar_at, session_date, segment, before)
        self._under_way[key] = minute
        return minute


def _add(minute: Minute, trade: Trade, use: Use) -> None:
    price = float(trade.price)
    if Use.OPEN_CLOSE in use:
        sequence = trade.sequence if trade.sequence is not None else zlib.crc32(trade.trade_id.encode())
        position = (trade.ts, sequence, price)
        if minute.first is None or position < minute.first:
            minute.first = position
        if minute.last is None or position > minute.last:
            minute.last = position
    if Use.HIGH_LOW in use:
        if minute.high is None or price > minute.high:
            minute.high, minute.high_by = price, trade
        if minute.low is None or price < minute.low:
            minute.low, minute.low_by = price, trade
    if Use.VOLUME in use:
        minute.volume += trade.size


def _placed(trade: Trade, now: int) -> tuple[date, str, int] | None:
    """Return the session, the segment and the minute of a trade; ``None`` if it has none, or is no trade that counts."""
    ts = trade.ts
    if not _is_possible(trade, now):
        return None
    bounds = _bounds((ts - _EASTERN_STANDARD) // _DAY)
    if bounds is None or not bounds.pre_open <= ts < bounds.post_close:
        return None
    bar_at = ts - ts % MINUTE
    if ts < bounds.open:
        return bounds.session_date, Segment.PRE, bar_at
    if ts < bounds.close:
        return bounds.session_date, Segment.REGULAR, bar_at
    if _is_auction(trade.source, trade.conditions, ts - bounds.close):
        return bounds.session_date, Segment.REGULAR, bounds.close - MINUTE
    return bounds.session_date, Segment.POST, bar_at


def _is_possible(trade: Trade, now: int) -> bool:
    """Return whether what a trade states, but for source and symbol, is such that the stream takes it."""
    price, sequence = trade.price, trade.sequence
    if not (price.is_finite() and 0 < price < MAX_PRICE and price == round(price, PRICE_DECIMALS)):
        return False
    if not (0 < trade.size <= MAX_SIZE_SHARES and 0 <= trade.ts <= now + MAX_AHEAD):
        return False
    if sequence is not None and not 0 <= sequence <= MAX_SEQUENCE:
        return False
    if _ID.fullmatch(trade.trade_id) is None or len(trade.exchange) > MAX_EXCHANGE_CHARACTERS:
        return False
    return _has_conditions(trade.source, trade.conditions)


@lru_cache(maxsize=10_000)
def _has_conditions(source: str, conditions: str) -> bool:
    """Return whether the stream takes such conditions, and PostgreSQL can hold them as evidence."""
    if len(conditions) > MAX_CONDITIONS_CHARACTERS or NUL in conditions:
        return False
    return source not in RULES or _CONDITION_BITS.fullmatch(conditions) is not None


def _is_auction(source: str, conditions: str, after_close: int) -> bool:
    try:
        return is_closing_auction(source, conditions, timedelta(microseconds=after_close))
    except ValueError:
        return False


@lru_cache(maxsize=10_000)
def _use(source: str, segment: str, conditions: str) -> Use | None:
    """Return what trades with such conditions count for; ``None`` if no rule can read them."""
    try:
        return counted(source, segment, conditions)[0]
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Bounds:
    session_date: date
    pre_open: int
    open: int
    close: int
    post_close: int


@lru_cache(maxsize=1_000)
def _bounds(day: int) -> _Bounds | None:
    """Return the session of a day since 1970: that of (moment - 5 h), for each moment of a session."""
    if not 0 <= day < date.max.toordinal() - _EPOCH.toordinal():
        return None
    session: Session | None = find_session((_EPOCH + timedelta(days=day)).date())
    if session is None:
        return None
    moments = (session.pre_open_at, session.open_at, session.close_at, session.post_close_at)
    return _Bounds(session.session_date, *(micros(moment) for moment in moments))


def micros(moment: datetime) -> int:
    """Return a moment in UTC epoch microseconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(micros_since: int) -> datetime:
    """Return the moment of UTC epoch microseconds."""
    return _EPOCH + timedelta(microseconds=micros_since)
