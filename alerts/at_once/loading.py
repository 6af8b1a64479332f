"""What the watch begins with: the rules that fire at once, and the newest bars as the stream has published them.

What belongs here: queries. What does not: what is made of them.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from alerts.at_once.levels import Book, Watch
from alerts.at_once.minutes import Minute, micros
from alerts.at_once.watcher import Preference
from market.topics import TRADES
from warehouse.dbt import dbt_variables

# Small tables: they are asked every second. A new rule and a new version raise the sum, and what becomes of a version otherwise
# goes one way: paused, ended. No moment will do: who wrote it may have waited for another whose moment is later.
_MARK: Final = """
select
    (select array[sum(version), count(*) filter (where status = 'active'), count(*) filter (where status = 'ended')]
    from app.alert_rules),
    (select md5(string_agg(concat_ws('/', symbol, symbol_group, added_at), ',' order by symbol)) from app.watchlist)
"""
_RULES: Final = """
select
    versions.rule_id, versions.version, clauses.operator, clauses.right_factor,
    coalesce(clauses.upper_factor, clauses.right_factor), versions.segments, named.symbol, named.since_at, versions.until_at
from app.alert_rule_versions as versions
inner join app.alert_clauses as clauses using (rule_id, version)
cross join lateral (
    select symbol, versions.since_at from unnest(versions.tickers) as tickers (symbol)
    union all
    select symbol, greatest(versions.since_at, added_at) from app.watchlist
    where versions.watchlist_group in ('*', symbol_group)
    union all
    select null, versions.since_at where versions.tickers is null and versions.watchlist_group is null
) as named
where versions.trigger = 'at_once' and versions.is_newest and (versions.until_at is null or versions.until_at > %(now)s)
"""
# Each source and symbol, and the two newest bars of each, by the index.
_EVERY: Final = """
with recursive every as (
    (select source, symbol from lake.bars_1m order by source, symbol limit 1)
    union all
    select next.source, next.symbol from every cross join lateral (
        select bars.source, bars.symbol from lake.bars_1m as bars
        where (bars.source, bars.symbol) > (every.source, every.symbol)
        order by bars.source, bars.symbol limit 1
    ) as next
)
"""
_BARS: Final = f"""
{_EVERY}
select
    every.source, every.symbol, newest.bar_at, newest.session_date, newest.segment, newest.open::double precision,
    newest.high::double precision, newest.low::double precision, newest.close::double precision, newest.volume
from every cross join lateral (
    select * from lake.bars_1m as bars
    where bars.source = every.source and bars.symbol = every.symbol and bars.close is not null
        and bars.segment = any(%(segments)s)
    order by bars.bar_at desc limit 2
) as newest
order by every.source, every.symbol, newest.bar_at
"""  # noqa: S608 - declared names
_TRADED: Final = f"""
{_EVERY}
select symbol, source from every
where exists (
    select from lake.bars_1m as bars
    where bars.source = every.source and bars.symbol = every.symbol and bars.close is not null
        and bars.segment = any(%(segments)s)
)
"""  # noqa: S608 - declared names
_COUNTS: Final = f"""
{_EVERY}
, newest as (
    select found.*, count(*) over (partition by found.symbol, found.session_date) > 1 as has_others
    from every cross join lateral (
        select * from lake.bar_sessions as sessions
        where sessions.source = every.source and sessions.symbol = every.symbol and sessions.bar_count > 0
        order by sessions.session_date desc limit 1
    ) as found
)
select
    newest.symbol, newest.session_date, newest.source,
    case when newest.has_others then counted.count else newest.bar_count end, counted.count_from_open
from newest cross join lateral (
    select count(*), count(*) filter (where bars.segment <> 'pre') as count_from_open from lake.bars_1m as bars
    where newest.has_others and bars.source = newest.source and bars.symbol = newest.symbol
        and bars.session_date = newest.session_date and bars.open is not null
        and bars.bar_at >= newest.session_date::timestamp at time zone 'UTC'
) as counted
"""  # noqa: S608 - declared names
_SHOWN: Final = """
with recursive every as (
    (select symbol from marts.intraday_analytics where interval = '1m' order by symbol limit 1)
    union all
    select next.symbol from every cross join lateral (
        select bars.symbol from marts.intraday_analytics as bars
        where bars.symbol > every.symbol and bars.interval = '1m' order by bars.symbol limit 1
    ) as next
)
select
    every.symbol, newest.bar_at, newest.session_date, newest.segment, newest.close::double precision, newest.origin
from every cross join lateral (
    select * from marts.intraday_analytics as bars
    where bars.symbol = every.symbol and bars.interval = '1m' order by bars.bar_at desc limit 1
) as newest
"""
_OFFSETS: Final = "select partition, next_offset from lake.stream_offsets where topic = %s"


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the watch begins.

    Attributes
    ----------
    minutes
        The newest minute of each source and symbol, as published.
    preference
        Which source counts of a symbol.
    offsets
        By partition the first message that is not in these minutes; empty if the stream never ran.
    """

    minutes: list[Minute]
    preference: Preference
    offsets: Mapping[int, int]


def mark_of_rules(connection: Any) -> tuple[Any, ...]:  # noqa: ANN401 - psycopg is known to warehouse only
    """Return something that is another once the rules or the watchlist are."""
    mark: tuple[Any, ...] = connection.execute(_MARK).fetchone()
    return mark


def load_rules(connection: Any, now: datetime) -> tuple[Book, int]:  # noqa: ANN401
    """Return what is watched, and how many rules that are."""
    by_symbol: dict[str, list[Watch]] = {}
    of_all: list[Watch] = []
    rules = set()
    for rule_id, version, operator, low, high, segments, symbol, since, until in connection.execute(
        _RULES, {"now": now}
    ):
        rules.add(rule_id)
        ends = micros(until) if until is not None else None
        watch = Watch(rule_id, version, operator, low, high, frozenset(segments), micros(since), ends)
        (of_all if symbol is None else by_symbol.setdefault(symbol, [])).append(watch)
    return Book(by_symbol, of_all), len(rules)


def load_beginning(connection: Any, segments: list[str]) -> Beginning:  # noqa: ANN401
    """Return the newest bars and how far the stream was with them, both as of one moment."""
    connection.execute("set transaction isolation level repeatable read")
    minutes: dict[tuple[str, str], Minute] = {}
    for row in connection.execute(_BARS, {"segments": segments}):
        before = minutes.get(row[:2])
        minutes[row[:2]] = _minute(row, before.close if before is not None else None)
    shown = _shown(connection)
    preference = load_preference(connection, segments)
    offsets = dict(connection.execute(_OFFSETS, [TRADES.name]).fetchall())
    connection.commit()
    _go_on_from_shown(minutes, shown)
    return Beginning(list(minutes.values()), preference, offsets)


def load_preference(connection: Any, segments: list[str]) -> Preference:  # noqa: ANN401
    """Return which symbols have bars of sources that are no last resort, and how many of its newest session each source has."""
    variables = dbt_variables()
    order = Preference(
        variables["source_priority"],
        completeness_percent=variables["vendor_completeness_percent"],
        margin_minutes=variables["feed_margin_minutes"],
    )
    counts: dict[tuple[str, date], dict[str, int]] = defaultdict(dict)
    from_open: dict[tuple[str, date], dict[str, int]] = defaultdict(dict)
    without_price: set[tuple[str, date, str]] = set()
    for symbol, session_date, source, count, count_from_open in connection.execute(_COUNTS):
        counts[symbol, session_date][source] = count
        from_open[symbol, session_date][source] = count_from_open
        if not count:
            without_price.add((symbol, session_date, source))
    for session, known in from_open.items():
        open_places = {order.rank(source)[0] for source, count in known.items() if count}
        counts[session] |= {source: count for source, count in known.items() if order.rank(source)[0] in open_places}
    origins = {(symbol, origin) for symbol, *_, origin in _shown(connection)}
    origins |= set(connection.execute(_TRADED, {"segments": segments}))
    real = frozenset(symbol for symbol, source in origins if not order.is_last_resort(source))
    return replace(order, real=real, counts=counts, without_price=without_price)


def _shown(connection: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Return the newest bar of each symbol that the marts show; nothing if there are no marts yet."""
    if not connection.execute("select to_regclass('marts.intraday_analytics') is not null").fetchone()[0]:
        return []
    found: list[tuple[Any, ...]] = connection.execute(_SHOWN).fetchall()
    return found


def _go_on_from_shown(minutes: dict[tuple[str, str], Minute], shown: list[tuple[Any, ...]]) -> None:
    """Let a series go on from the bar that the marts show, where that is another source's and newer."""
    newest = {symbol: place for symbol, *place, _ in shown}
    for (source, symbol), minute in minutes.items():
        if symbol not in newest:
            continue
        at, session_date, segment, close = newest[symbol]
        if micros(at) > minute.bar_at:  # of the bar of another source only the close is of use
            minutes[source, symbol] = Minute(source, symbol, micros(at), session_date, segment, close, is_closed=True)


def _minute(row: tuple[Any, ...], before: float | None) -> Minute:
    source, symbol, bar_at, session_date, segment, first, high, low, last, volume = row
    minute = Minute(source, symbol, micros(bar_at), session_date, segment, before)
    minute.first, minute.last = (
        (-1, 0, first),
        (0, 0, last),
    )  # the one goes before, the other behind no trade that is to come
    minute.high, minute.low, minute.volume = high, low, volume
    return minute
