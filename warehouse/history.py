"""Which history is missing: the sessions of the calendar minus what the lake has, and minus what sources were asked for.

A session is had when the lake has every bar that the calendar expects of its regular hours, or when the source was asked for it
and everything that it answered is in the lake: a share does not trade in every five minutes, and was not listed for ever. A
session of which it had no bar at all is asked for once more, half a day later or after. So is one for which it did not know the
symbol; that one is also missing again as soon as the source has a bar of the symbol. What it has for other plans only is asked
for again after a month.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from market.records import DAILY, INTERVALS
from market.sessions import Session
from market.settings import Settings
from warehouse.collected_history import PLAN_RECHECK_AFTER
from warehouse.connection import connect

_APPLICATION: Final = "tapehouse history"
RECHECK_AFTER: Final = timedelta(hours=12)
"""How long after it was asked for first a session without any bar is asked for once more: the next day, but not at once.

The second answer counts for good: so it ends, also for what never trades."""
_MISSING: Final = """
with days as (
    select session_date, open_at, close_at, row_number() over (order by session_date) - 1 as number,
        case when %(seconds)s::int is null then 1
            else ceil(extract(epoch from close_at - open_at) / %(seconds)s) end as expected
    from lake.sessions
    where session_date between %(start)s and %(end)s and post_close_at <= %(until)s
), asked as (
    select symbol,
        case
            when %(again)s then '{}'
            else covered
                - case when without_bars_at <= now() - %(recheck)s then without_bars else '{}' end
                - case when withheld_at <= now() - %(plan_recheck)s or %(withheld)s then coalesce(withheld, '{}') else '{}' end
        end as covered
    from unnest(%(symbols)s::text[]) as symbol
    left join (
        select * from app.collected_history where source = %(source)s and interval = %(interval)s
    ) as history using (symbol)
), stored as (
    select symbol, session_date, count(*) as bars
    from lake.vendor_bars
    join days using (session_date)
    where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
        -- what there is before the open and after the close does not stand for what lacks between
        and (
            %(seconds)s::int is null
            or (bar_at < close_at and bar_at > open_at - make_interval(secs => %(seconds)s::int))
        )
    group by symbol, session_date
)
select symbol, range_agg(int4range(number::int, number::int + 1))
from asked
cross join days
left join stored using (symbol, session_date)
where (covered @> open_at) is not true and coalesce(bars, 0) < expected
group by symbol
"""
_NOT_ASKED: Final = """
with days as (
    select range_agg(tstzrange(open_at, open_at, '[]')) as opens
    from lake.sessions
    where session_date between %(start)s and %(end)s and post_close_at <= %(until)s
)
select wanted.symbol
from unnest(%(symbols)s::text[]) as wanted (symbol)
cross join days
left join app.collected_history as history
    on history.source = %(source)s and history.interval = %(interval)s and history.symbol = wanted.symbol
where opens is not null
    and (
        covered
        - case when without_bars_at <= now() - %(recheck)s then without_bars else '{}' end
        - case when withheld_at <= now() - %(plan_recheck)s then withheld else '{}' end
        @> opens
    ) is not true
order by wanted.symbol
"""
_STORED: Final = """
select symbol, session_date, count(*)
from lake.vendor_bars
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
    and session_date between %(start)s and %(end)s
group by symbol, session_date
"""
_FIRST: Final = """
select symbol, bars.session_date
from unnest(%(symbols)s::text[]) as symbol
cross join lateral (
    select session_date from lake.vendor_bars as bars
    where bars.source = %(source)s and bars.symbol = symbol.symbol and bars.interval = %(interval)s
    order by bar_at
    limit 1
) as bars
"""
_WITHOUT_BARS: Final = """
with stored as (
    select distinct symbol, session_date from lake.vendor_bars
    where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s)
), listed as (
    select symbol, min(session_date) as since from stored group by symbol
)
select symbol, count(*), min(session_date), max(session_date)
from app.collected_history
join lake.sessions
    on covered - coalesce(unknown, '{}') - coalesce(withheld, '{}') @> open_at and session_date between %(start)s and %(end)s
left join stored using (symbol, session_date)
left join listed using (symbol)
where source = %(source)s and interval = %(interval)s and symbol = any(%(symbols)s) and stored.symbol is null
    and (session_date >= coalesce(since, session_date) or without_bars @> open_at)
group by symbol
order by symbol
"""


_KNOWN_CLOSES: Final = """
select symbol, near.is_before, near.source, (extract(epoch from near.bar_at) * 1000000)::bigint, near.close
from unnest(%(symbols)s::text[]) as symbol
cross join lateral (
    (
        select true as is_before, source, bar_at, close
        from lake.vendor_bars as bars
        where bars.symbol = symbol.symbol and bars.interval = any(%(intervals)s)
            and bars.bar_at >= %(start)s::timestamptz - %(reach)s and bars.bar_at < %(opened)s
        order by bar_at desc
        limit 1
    )
    union all
    (
        select false as is_before, source, bar_at, close
        from lake.vendor_bars as bars
        where bars.symbol = symbol.symbol and bars.interval = any(%(intervals)s)
            and bars.bar_at >= %(closing)s and bars.bar_at < %(end)s::timestamptz + %(reach)s
        order by bar_at
        limit 1
    )
) as near
"""
_KNOWN_SPLITS: Final = """
with newest as (
    select distinct on (source, symbol, session_date) source, symbol, session_date, is_withdrawn, new_shares, old_shares
    from lake.corporate_actions
    where action = 'split' and symbol = any(%(symbols)s)
        and session_date between (%(start)s::timestamptz - %(reach)s)::date and (%(end)s::timestamptz + %(reach)s)::date
    order by
        source, symbol, session_date, case when source <> 'user' then known_at end desc, ingested_at desc, partition desc,
        "offset" desc
)
select
    symbol,
    source,
    (extract(epoch from session_date::timestamp at time zone 'America/New_York') * 1000000)::bigint as ts,
    old_shares / new_shares
from newest
where not is_withdrawn
order by symbol, source, ts
"""
_REACH: Final = timedelta(days=30)
"""How far away a close may lie that is near still."""


@dataclass(frozen=True, slots=True)
class KnownClose:
    """The close of a vendor's bar that the lake has; ``ts`` is its start in UTC epoch microseconds."""

    source: str
    ts: int
    close: Decimal


@dataclass(frozen=True, slots=True)
class KnownSplit:
    """A split as a source tells it: from ``ts`` on, the start of its day in New York, a price is ``times`` what it was."""

    source: str
    ts: int
    times: Decimal


@dataclass(frozen=True, slots=True)
class KnownCloses:
    """The closes that the lake has nearest to some sessions: in the first of them or before, in the last of them or after.

    ``splits`` are those that the lake knows of between, of every source.
    """

    before: KnownClose | None = None
    after: KnownClose | None = None
    splits: tuple[KnownSplit, ...] = ()


def missing_sessions(
    settings: Settings,
    source: str,
    interval: str,
    symbols: Sequence[str],
    *,
    start: date,
    end: date,
    until: datetime,
    again: bool = False,
    withheld: bool = False,
) -> dict[str, list[tuple[int, int]]]:
    """Return by symbol which sessions are missing.

    Parameters
    ----------
    settings
        Says where the database is.
    source, interval, symbols
        Of whose bars.
    start, end
        The first and the last session, both included.
    until
        Sessions that were not over by then are not expected yet.
    again
        Whether to pass over what the source was asked for: then all that the lake does not have whole is missing.
    withheld
        Whether what the source has for other plans only is missing, too.

    Returns
    -------
    dict
        By symbol ranges of sessions, numbered from 0 at ``start``; the ends are excluded. Symbols without any are left out.

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
        "until": until,
        "recheck": RECHECK_AFTER,
        "plan_recheck": PLAN_RECHECK_AFTER,
        "again": again,
        "withheld": withheld,
        "seconds": None if interval == DAILY else INTERVALS[interval],
    }
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        rows = connection.execute(_MISSING, values).fetchall()
    return {symbol: [(span.lower, span.upper) for span in spans] for symbol, spans in rows}


def known_closes(
    settings: Settings, interval: str, symbols: Sequence[str], first: Session, last: Session
) -> dict[str, KnownCloses]:
    """Return closes that the lake has near some sessions, of whichever source, unadjusted.

    Returns
    -------
    dict
        By symbol the newest of the session ``first`` or the 30 days before, and the oldest of the session ``last`` or the 30 days
        after, of daily bars and of bars of ``interval``, with the splits of that time. Symbols without any are left out.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {
        "symbols": list(symbols),
        "intervals": sorted({DAILY, interval}),
        "start": first.pre_open_at,
        "opened": first.close_at,
        "closing": last.open_at,
        "end": last.post_close_at,
        "reach": _REACH,
    }
    found: dict[str, dict[str, KnownClose]] = {}
    splits: dict[str, list[KnownSplit]] = {}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        for symbol, is_before, source, ts, close in connection.execute(_KNOWN_CLOSES, values):
            found.setdefault(symbol, {})["before" if is_before else "after"] = KnownClose(source, ts, close)
        for symbol, source, ts, times in connection.execute(_KNOWN_SPLITS, values):
            splits.setdefault(symbol, []).append(KnownSplit(source, ts, times))
    return {
        symbol: KnownCloses(**found.get(symbol, {}), splits=tuple(splits.get(symbol, ())))
        for symbol in found.keys() | splits.keys()
    }


def symbols_to_ask(
    settings: Settings,
    source: str,
    interval: str,
    symbols: Sequence[str],
    *,
    start: date,
    end: date,
    until: datetime,
) -> list[str]:
    """Return the symbols of which a source was not asked for every session that is over; the lake may have these all the same.

    This looks at what was asked for only, which is a row a symbol: cheap enough for every minute, where
    :func:`missing_sessions` counts the bars of the lake.

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
        "until": until,
        "recheck": RECHECK_AFTER,
        "plan_recheck": PLAN_RECHECK_AFTER,
    }
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return [row[0] for row in connection.execute(_NOT_ASKED, values)]


def stored_bars(
    settings: Settings, source: str, interval: str, symbols: Sequence[str], *, start: date, end: date
) -> dict[tuple[str, date], int]:
    """Return how many bars of a source the lake has, by symbol and session; those without any are left out.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {"source": source, "interval": interval, "symbols": list(symbols), "start": start, "end": end}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return {(symbol, day): bars for symbol, day, bars in connection.execute(_STORED, values)}


def first_sessions(settings: Settings, source: str, interval: str, symbols: Collection[str]) -> dict[str, date]:
    """Return by symbol the first session of which the lake has a bar of a source; symbols without any are left out.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {"source": source, "interval": interval, "symbols": list(symbols)}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return dict(connection.execute(_FIRST, values).fetchall())


def without_bars(
    settings: Settings, source: str, interval: str, symbols: Sequence[str], *, start: date, end: date
) -> dict[str, tuple[int, date, date]]:
    """Return by symbol how many sessions a source was asked for and had no bar of, the first and the last.

    Sessions before the first bar that the lake has of the source do not count, unless they are asked for once more; nor those for
    which the source did not know the symbol. Symbols without any are left out.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {"source": source, "interval": interval, "symbols": list(symbols), "start": start, "end": end}
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        found = connection.execute(_WITHOUT_BARS, values).fetchall()
    return {symbol: (sessions, first, last) for symbol, sessions, first, last in found}
