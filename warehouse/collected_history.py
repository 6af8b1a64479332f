"""What sources were asked for of history, and what they said of it: one row per source, symbol and bar length.

What belongs here: remembering and forgetting. What does not: what follows from it for what is missing (:mod:`warehouse.history`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from market.sessions import Session
from market.settings import Settings
from warehouse.connection import connect

PLAN_RECHECK_AFTER: Final = timedelta(days=30)
"""How long after it was refused what a source has for other plans only is asked for again: plans and keys change."""
_APPLICATION: Final = "tapehouse history"
_REMEMBER: Final = """
insert into app.collected_history as known
    (source, symbol, interval, covered, is_unknown, asked_at, without_bars, without_bars_at, unknown, withheld, withheld_at)
values (
    %(source)s, %(symbol)s, %(interval)s, %(covered)s, %(is_unknown)s, %(now)s, %(without_bars)s::tstzmultirange,
    case when not isempty(%(without_bars)s::tstzmultirange) then %(now)s::timestamptz end, %(unknown)s::tstzmultirange,
    %(withheld)s::tstzmultirange, case when not isempty(%(withheld)s::tstzmultirange) then %(now)s::timestamptz end
)
on conflict (source, symbol, interval) do update set
    covered = known.covered + excluded.covered,
    is_unknown = excluded.is_unknown,
    asked_at = excluded.asked_at,
    without_bars = coalesce(known.without_bars, '{}') - excluded.covered + (excluded.without_bars - known.covered),
    without_bars_at =
        case when isempty(excluded.without_bars - known.covered) then known.without_bars_at else excluded.asked_at end,
    unknown = coalesce(known.unknown, '{}') - excluded.covered + excluded.unknown,
    withheld = coalesce(known.withheld, '{}') - excluded.covered + excluded.withheld,
    withheld_at = case when isempty(excluded.withheld) then known.withheld_at else excluded.asked_at end
"""
_KNOWN_AFTER_ALL: Final = """
update app.collected_history
set covered = covered - unknown, without_bars = without_bars - unknown, unknown = '{}', is_unknown = false
where source = %(source)s and symbol = %(symbol)s and interval = %(interval)s and not isempty(unknown)
returning symbol
"""
_UNKNOWN: Final = """
select symbol
from app.collected_history
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
    and exists (
        select from lake.sessions where session_date between %(start)s and %(end)s and unknown @> open_at
    )
order by symbol
"""
_FORGET: Final = """
update app.collected_history
set covered = covered - %(span)s, without_bars = without_bars - %(span)s, unknown = unknown - %(span)s,
    withheld = withheld - %(span)s
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
"""
_WITHHELD: Final = """
select symbol, count(*)
from app.collected_history
join lake.sessions on withheld @> open_at and session_date between %(start)s and %(end)s
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s) and withheld_at > now() - %(recheck)s
group by symbol
order by symbol
"""


@dataclass(frozen=True, slots=True)
class Collected:
    """Some adjoining sessions of a symbol of which everything that a source has is in the lake.

    Attributes
    ----------
    symbol, sessions
        Whose, and which; no session if the source only turned out to know the symbol.
    without_bars
        Those that had no bar although one was expected: they are asked for once more.
    unknown
        Those for which the source did not know the symbol: they are missing again once it has a bar of it.
    withheld
        Those that the source has for other plans only: they are asked for again after a month.
    is_unknown
        Whether the source did not know the symbol.
    has_bars
        Whether it answered with a bar: then it knows the symbol, and what it said of it before as unknown does not count.
    """

    symbol: str
    sessions: tuple[Session, ...]
    without_bars: tuple[Session, ...] = ()
    unknown: tuple[Session, ...] = ()
    withheld: tuple[Session, ...] = ()
    is_unknown: bool = False
    has_bars: bool = False


def unknown_symbols(
    settings: Settings, source: str, interval: str, symbols: Sequence[str], *, start: date, end: date
) -> list[str]:
    """Return the symbols that a source did not know when it was asked for some of these sessions, and has had no bar of since.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {"source": source, "interval": interval, "symbols": list(symbols), "start": start, "end": end}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return [row[0] for row in connection.execute(_UNKNOWN, values)]


def withheld_sessions(
    settings: Settings, source: str, interval: str, symbols: Sequence[str], *, start: date, end: date
) -> dict[str, int]:
    """Return by symbol how many sessions a source has for other plans only, as it said within the last month.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {
        "source": source,
        "interval": interval,
        "symbols": list(symbols),
        "start": start,
        "end": end,
        "recheck": PLAN_RECHECK_AFTER,
    }
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return dict(connection.execute(_WITHHELD, values).fetchall())


def remember(settings: Settings, source: str, interval: str, collected: Collection[Collected]) -> set[str]:
    """Note that everything that a source has of some sessions is in the lake.

    Returns
    -------
    set
        The symbols that the source did not know before and knows now: what was remembered of that time is missing again.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    now = datetime.now(UTC)
    found: set[str] = set()
    with connect(settings, application_name=_APPLICATION) as connection:
        for one in sorted(collected, key=lambda one: one.symbol):
            values: Mapping[str, Any] = {
                "source": source,
                "interval": interval,
                "symbol": one.symbol,
                "covered": _span_of(one.sessions),
                "without_bars": _spans_of(one.without_bars),
                "unknown": _spans_of(one.unknown),
                "withheld": _spans_of(one.withheld),
                "is_unknown": one.is_unknown,
                "now": now,
            }
            if one.has_bars and connection.execute(_KNOWN_AFTER_ALL, values).fetchone() is not None:
                found.add(one.symbol)
            if one.sessions:
                connection.execute(_REMEMBER, values)
    return found


def forget(settings: Settings, source: str, interval: str, symbols: Sequence[str], sessions: Sequence[Session]) -> None:
    """Forget that a source was asked for some adjoining sessions, in order: what the lake has counts still.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {"source": source, "interval": interval, "symbols": list(symbols), "span": _span_of(sessions)}
    with connect(settings, application_name=_APPLICATION) as connection:
        connection.execute(_FORGET, values)


def _span_of(sessions: Sequence[Session]) -> Multirange[datetime]:
    """Return the time of adjoining sessions, in order."""
    return Multirange([Range(sessions[0].pre_open_at, sessions[-1].post_close_at)] if sessions else [])


def _spans_of(sessions: Sequence[Session]) -> Multirange[datetime]:
    return Multirange(Range(session.pre_open_at, session.post_close_at) for session in sessions)
