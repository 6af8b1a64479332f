"""The tiers of the marts: since when each keeps what it has, and whether what is there agrees with that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from market.records import DAILY as DAILY_INTERVAL
from market.records import INTERVALS
from market.settings import Settings
from market.tiers import COLLECTED_DAYS, DAILY, INTRADAY, Tier
from warehouse.connection import connect

_APPLICATION: Final = "tapehouse tiers"
_MOVE: Final = """
insert into lake.tiers as known (tier, kept_since_at, moved_at) values (%(tier)s, %(keep_from)s, %(now)s)
on conflict (tier) do update set kept_since_at = excluded.kept_since_at, moved_at = excluded.moved_at
"""
_HELD: Final = """
with recursive built as (
    (select symbol, session_date from marts.intraday_ohlcv order by symbol, session_date limit 1)
    union all
    select following.symbol, following.session_date
    from built cross join lateral (
        select bars.symbol, bars.session_date from marts.intraday_ohlcv as bars
        where (bars.symbol, bars.session_date) > (built.symbol, built.session_date)
        order by bars.symbol, bars.session_date limit 1
    ) as following
), old as (
    select built.symbol, built.session_date, greatest(
        (
            select max(own.revised_at) from lake.bar_sessions as own
            where own.symbol = built.symbol and own.session_date = built.session_date
        ),
        (
            select max(vendors.revised_at) from lake.vendor_bar_sessions as vendors
            where vendors.symbol = built.symbol and vendors.session_date = built.session_date
        )
    ) as revised_at
    from built where built.session_date < (%(keep_from)s::timestamptz at time zone 'UTC')::date
)
select count(*), min(session_date), (select count(*) from old where (revised_at >= %(keep_from)s) is not true),
    (select min(session_date) from old where (revised_at >= %(keep_from)s) is not true)
from built
"""
"""The sessions are looked up one after the other, by an index: there are hundreds of bars in each."""
_COLLECTED: Final = """
with days as (
    select session_date, open_at from lake.sessions where session_date >= %(first)s and post_close_at <= %(now)s
), had as (
    select distinct symbol, session_date from lake.vendor_bars where interval = any(%(intervals)s) and session_date >= %(first)s
    union
    select symbol, session_date from lake.bar_sessions where bar_count > 0 and session_date >= %(first)s
), asked as (
    select symbol, range_agg(spans) as covered
    from app.collected_history cross join lateral unnest(covered) as spans
    where interval = any(%(intervals)s) group by symbol
)
select symbol, count(*) filter (where session_date >= %(reach)s), min(session_date) filter (where session_date >= %(reach)s),
    count(*) filter (where session_date < %(reach)s)
from app.watchlist cross join days left join had using (symbol, session_date) left join asked using (symbol)
where had.symbol is null and (asked.covered @> days.open_at) is not true
group by symbol order by symbol
"""
_INTERVALS: Final[Mapping[str, Sequence[str]]] = {DAILY.name: (DAILY_INTERVAL,), INTRADAY.name: tuple(INTERVALS)}


@dataclass(frozen=True, slots=True)
class Held:
    """What the tier of intraday bars holds.

    Attributes
    ----------
    sessions, first_session
        How many symbols' sessions, and the oldest of them; ``None`` if there is none.
    expired, first_expired
        Of these, those that are kept no longer, and ought to be gone.
    """

    sessions: int
    first_session: date | None
    expired: int
    first_expired: date | None


@dataclass(frozen=True, slots=True)
class Uncollected:
    """Sessions of a symbol of the watchlist that nobody was asked for, and that nobody brought.

    Attributes
    ----------
    symbol
        The ticker.
    sessions, first_session
        How many of them may be had, and the first of these; ``None`` if there is none.
    too_old
        How many others lie before what the source has.
    """

    symbol: str
    sessions: int
    first_session: date | None
    too_old: int = 0


def move_tiers(settings: Settings, keep_from: Mapping[str, datetime | None], now: datetime) -> None:
    """Say since when tiers keep sessions and changes of them; the next build of the marts removes what is older.

    Parameters
    ----------
    settings
        Says where the database is.
    keep_from
        By tier since when; ``None`` keeps all.
    now
        The present moment.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    with connect(settings, application_name=_APPLICATION) as connection:
        for tier, moment in keep_from.items():
            connection.execute(_MOVE, {"tier": tier, "keep_from": moment, "now": now})


def held(settings: Settings) -> Held:
    """Return what the tier of intraday bars holds, measured by what was said last of since when it keeps them.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    question = "select kept_since_at from lake.tiers where tier = %s"
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        (keep_from,) = connection.execute(question, (INTRADAY.name,)).fetchone() or (None,)
        row = connection.execute(_HELD, {"keep_from": keep_from}).fetchone()
    if row is None:
        raise AssertionError(_HELD)
    return Held(*row)


def uncollected(settings: Settings, tier: Tier, now: datetime, reach: date | None = None) -> list[Uncollected]:
    """Return what a tier lacks of the symbols of the watchlist, though it is to go back so far.

    A session is collected if the lake has a bar of it, or if a source was asked for it: a share was not listed for ever.
    ``reach`` is the first day that the source which is asked may have; ``None`` if it may have all.

    Raises
    ------
    ServiceError
        If the database cannot be reached.
    """
    values = {
        "first": (now - timedelta(days=COLLECTED_DAYS[tier.name])).date(),
        "now": now,
        "reach": reach or date.min,
        "intervals": list(_INTERVALS[tier.name]),
    }
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        return [Uncollected(*row) for row in connection.execute(_COLLECTED, values)]
