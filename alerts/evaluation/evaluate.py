"""One evaluation: what is queued is taken off, judged and recorded, in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from alerts.evaluation.bars import DAILY, INTRADAY, LENGTHS, MARTS
from alerts.evaluation.judging import create_tables, judge
from alerts.evaluation.recording import note_progress, record
from market.settings import Settings
from warehouse.connection import connect

_APPLICATION: Final = "tapehouse alerts"
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('app.alerts'))"

# A build that is adding to a row holds it: then it stays for the next evaluation. What fired at once may be of a mart that is yet
# to be built.
# A batch that is adding quotes is waited for: it is soon done, and waits for nobody.
_TAKE: Final = """
create temporary table taken on commit drop as
with taken as (
    delete from app.pending_evaluations
    where ctid = any(array(
        select ctid from app.pending_evaluations where to_regclass('marts.' || mart) is not null for update skip locked
    ))
    returning mart, series, interval, source, from_at
), quoted as (
    delete from staging.pending_quotes where to_regclass('marts.{mart}') is not null
    returning source, symbol, from_at
), lengths as (
    select distinct interval from app.alert_rule_versions where has_quotes
)
select * from taken
union all
-- The bar that a minute is of begins before it; of a feed that went on, bars ended as by a tape.
select
    '{mart}', quoted.symbol, lengths.interval,
    case when quoted.symbol = '*' and quoted.source <> '*' then quoted.source else '' end,
    quoted.from_at - case when quoted.symbol = '*' then interval '0' else {length} - interval '1 minute' end
from quoted cross join lengths
"""

_SCOPE: Final = """
create temporary table scope on commit drop as
select interval, bool_or(tickers is null) as is_open, min(since_at) as since_at, min(rule_created_at) as created_at,
    count(*) filter (where until_at is null or until_at > %(now)s) as rules
from app.alert_rule_versions
group by interval
"""

# Every series of a mart, by its index: nobody looks through all bars.
EVERY_SERIES: Final[Mapping[str, str]] = {
    INTRADAY: """
        with recursive every as (
            (select symbol, interval from marts.intraday_analytics order by symbol, interval limit 1)
            union all
            select next.symbol, next.interval from every cross join lateral (
                select bars.symbol, bars.interval from marts.intraday_analytics as bars
                where (bars.symbol, bars.interval) > (every.symbol, every.interval)
                order by bars.symbol, bars.interval limit 1
            ) as next
        )
        select symbol as series, interval from every
    """,
    DAILY: """
        with recursive every as (
            (select company from marts.daily_analytics order by company limit 1)
            union all
            select next.company from every cross join lateral (
                select bars.company from marts.daily_analytics as bars
                where bars.company > every.company order by bars.company limit 1
            ) as next
        )
        select company as series, '1d' as interval from every
    """,
}

_CHANGED: Final = """
create temporary table changed on commit drop as
with every as (
    select * from ({every}) as every_series
    where exists (select from taken where mart = '{mart}' and series = '*')
), touched as (
    select series, interval, from_at from taken where mart = '{mart}' and series <> '*'
    union all
    select every.series, every.interval, taken.from_at
    from taken inner join every on taken.interval in ('*', every.interval)
    where taken.mart = '{mart}' and taken.series = '*' and taken.source = ''
    union all
    select every.series, every.interval, ended.bar_at
    from taken
    inner join every on taken.interval in ('*', every.interval)
    cross join lateral (
        select bars.bar_at from marts.{mart} as bars
        where bars.{column} = every.series and bars.interval = every.interval
            and bars.bar_at > taken.from_at - {length} and bars.origin = taken.source
        order by bars.bar_at limit 1
    ) as ended
    where taken.mart = '{mart}' and taken.series = '*' and taken.source <> ''
), grouped as (
    select series, interval, min(from_at) as from_at from touched group by series, interval
)
select grouped.*, judged.bar_at as judged_from
from grouped
inner join scope using (interval)
left join lateral (
    select bars.bar_at from marts.{mart} as bars
    where bars.{column} = grouped.series and bars.interval = grouped.interval and bars.bar_at >= grouped.from_at
        and (bars.bar_at > scope.since_at - interval '1 day' or bars.revised_at >= scope.created_at)
    order by bars.bar_at limit 1
) as judged on true
"""

_NAMED: Final = """
    where scope.is_open or exists (
        select from named where named.symbol = grouped.series and named.interval = grouped.interval
    )
"""
_NAMES: Final = """
create temporary table named on commit drop as
select distinct tickers.symbol, versions.interval
from app.alert_rule_versions as versions cross join lateral unnest(versions.tickers) as tickers (symbol)
"""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation did.

    Attributes
    ----------
    series
        How many series of bars were looked at.
    rules
        How many rules look at bars of their lengths.
    fired, retracted
        How many alerts were recorded, and taken back.
    historical
        How many of those that fired are about the past, and so not sent.
    queued
        How many messages are to be sent.
    """

    series: int = 0
    rules: int = 0
    fired: int = 0
    retracted: int = 0
    historical: int = 0
    queued: int = 0


def evaluate(settings: Settings, now: datetime) -> Evaluated:
    """Take off what is queued, and bring the alerts where they ought to be for it; all of it happens, or nothing.

    Parameters
    ----------
    settings
        Where the database is.
    now
        The time by the wall clock: it says which sessions are of the past.

    Raises
    ------
    SettingsError
        If no database is set.
    ServiceError
        If it cannot be reached.
    """
    with connect(settings, application_name=_APPLICATION) as connection:
        connection.execute(_LOCK)
        connection.execute(_TAKE.format(mart=INTRADAY, length=LENGTHS.format("lengths")))
        marts = [mart for (mart,) in connection.execute("select distinct mart from taken order by mart").fetchall()]
        if not marts:
            return Evaluated()
        connection.execute(_SCOPE, {"now": now})
        connection.execute(_NAMES)
        connection.execute("analyze named")
        note_progress(connection)
        found = [_evaluate_mart(connection, mart, now) for mart in marts]
    return Evaluated(
        series=sum(one.series for one in found),
        rules=sum(one.rules for one in found),
        fired=sum(one.fired for one in found),
        retracted=sum(one.retracted for one in found),
        historical=sum(one.historical for one in found),
        queued=sum(one.queued for one in found),
    )


def known_fields(connection: Any) -> Mapping[int, str]:  # noqa: ANN401 - psycopg is known to warehouse only
    """Return the fields that rules ever named, by number."""
    return dict(connection.execute("select field_number, field from app.alert_fields").fetchall())


def _evaluate_mart(connection: Any, mart: str, now: datetime) -> Evaluated:  # noqa: ANN401
    column = MARTS[mart].series
    # A company goes by other symbols too: of days nothing is left out.
    named = "" if mart == DAILY else _NAMED
    connection.execute(
        _CHANGED.format(every=EVERY_SERIES[mart], mart=mart, column=column, length=LENGTHS.format("every")) + named
    )
    ((series, rules),) = connection.execute(
        "select count(*), (select coalesce(sum(rules), 0) from scope where interval in (select interval from changed)) "
        "from changed"
    ).fetchall()
    if not series:
        connection.execute("drop table changed")
        return Evaluated()
    connection.execute("analyze changed")
    create_tables(connection)
    fields = known_fields(connection)
    judge(connection, mart, fields)
    counts = record(connection, mart, fields, now)
    connection.execute(
        "drop table changed, fired, events, walk_states, desired, rearmed, judged_bars, places, standing, retracted"
    )
    return Evaluated(series=series, rules=int(rules), **counts)
