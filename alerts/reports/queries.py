"""The questions that a report asks of the marts.

All have the parameters ``days`` (its sessions), ``before`` (the session before them), ``known`` (that and these) and
``priority`` (of sources).

What belongs here: SQL. Definitions are those of the marts; for a session the movers are those of ``marts.top_movers``,
but for what has no close of the session before.
"""

from typing import Final

# Whether a source makes its prices up: it stands after "*" in source_priority, as the macro is_last_resort has it.
_IS_SIMULATED: Final = (
    "coalesce(array_position(%(priority)s::text[], {0}) > array_position(%(priority)s::text[], '*'), false)"
)

NEWEST_SESSION: Final = """
select greatest(
    (select max(session_date) from marts.daily_analytics where session_date <= %(today)s),
    (select max(session_date) from marts.data_quality where session_date <= %(today)s)
)
"""
NEAREST_SESSION: Final = """
select session_date
from (
    (select session_date from marts.daily_analytics where session_date <= %(day)s order by session_date desc limit 1)
    union all
    (select session_date from marts.daily_analytics where session_date > %(day)s order by session_date limit 1)
    union all
    (select session_date from marts.data_quality where session_date <= %(day)s order by session_date desc limit 1)
    union all
    (select session_date from marts.data_quality where session_date > %(day)s order by session_date limit 1)
) as sessions
order by abs(session_date - %(day)s::date), session_date desc
limit 1
"""
HAS_DATA: Final = """
select exists (select from marts.daily_analytics where session_date = any(%(days)s))
    or exists (select from marts.intraday_analytics where session_date = any(%(days)s))
    or exists (select from marts.data_quality where session_date = any(%(days)s))
"""
BREADTH: Final = (
    "select * from marts.market_breadth where session_date = any(%(days)s) order by is_simulated, session_date"
)

# A close counts as that of the day before only if it is of the session before, by the calendar, and of the same population.
SESSIONS: Final = f"""
with days as (
    select
        company, session_date, volume, return_1, is_simulated,
        lag(session_date) over (partition by is_simulated, company order by bar_at) as day_before
    from (
        select *, {_IS_SIMULATED.format("origin")} as is_simulated
        from marts.daily_analytics
        where session_date = any(%(days)s) or session_date = %(before)s::date
    ) as listed
), compared as (
    select
        is_simulated, session_date, volume,
        case
            when day_before = (%(known)s::date[])[array_position(%(known)s::date[], session_date) - 1] then return_1
        end as change
    from days
    where session_date = any(%(days)s)
)
select
    is_simulated, session_date, sum(volume) as volume,
    count(*) filter (where change > 0) as advancing,
    count(*) filter (where change < 0) as declining,
    100 * percentile_cont(0.5) within group (order by change) as median_change
from compared
group by is_simulated, session_date
order by is_simulated, session_date
"""  # noqa: S608 - own text

# The change of a period is that of its last close against the close of the session before it: for one session it is return_1.
# Of a company without that close it is null; then ``since`` is the day of the close that there is, and ``change_since_pct`` the
# change against that. Both are null, too, where there is none, or where only one of both is simulated.
MOVES: Final = f"""
with days as (
    select
        symbol, company, bar_at, session_date, close, volume, return_1, is_final, origin,
        (to_jsonb(days) ->> 'relative_volume_20')::double precision as relative_volume_20, -- a period that may not be configured
        {_IS_SIMULATED.format("origin")} as is_simulated
    from marts.daily_analytics as days
    where session_date = any(%(days)s)
), closes_before as (
    select distinct company, {_IS_SIMULATED.format("origin")} as is_simulated
    from marts.daily_analytics
    where session_date = %(before)s::date
), moves as (
    select
        is_simulated,
        company,
        (array_agg(symbol order by bar_at desc))[1] as symbol,
        (array_agg(close order by bar_at desc))[1] as close,
        case
            when count(*) = 1 then 100 * max(return_1)
            else 100 * (
                (array_agg(close order by bar_at desc))[1]::double precision
                * (1 + (array_agg(return_1 order by bar_at))[1])
                / nullif((array_agg(close order by bar_at))[1], 0) - 1
            )
        end as change_pct,
        sum(volume) as volume,
        case when count(*) = 1 then max(relative_volume_20) else avg(relative_volume_20) end as volume_ratio,
        bool_and(is_final) as is_final,
        string_agg(distinct origin, ', ') as origin,
        count(*) as sessions,
        min(bar_at) as first_at,
        max(bar_at) as last_at
    from days
    group by is_simulated, company
), compared as (
    select
        moves.*,
        closes_before.company is not null as has_close_before,
        case
            when closes_before.company is null then (
                select case when {_IS_SIMULATED.format("earlier.origin")} = moves.is_simulated then earlier.session_date end
                from marts.daily_analytics as earlier
                where earlier.company = moves.company and earlier.bar_at < moves.first_at
                order by earlier.bar_at desc
                limit 1
            )
        end as since
    from moves
    left join closes_before
        on closes_before.company = moves.company and closes_before.is_simulated = moves.is_simulated
)
select
    is_simulated, symbol, close,
    case when has_close_before then change_pct end as change_pct,
    since,
    case when since is not null then change_pct end as change_since_pct,
    volume, volume_ratio, is_final, origin, sessions
from compared
order by is_simulated, symbol, last_at
"""  # noqa: S608 - own text

ALERTS: Final = """
with sent as (
    select
        outbox.alert_id,
        count(*) filter (where outbox.status = 'delivered') as delivered, count(*) filter (where outbox.status = 'held') as held,
        count(*) filter (where outbox.status = 'dead') as dead, count(*) filter (where outbox.status = 'pending') as pending
    from app.alert_outbox as outbox
    inner join app.alerts as recorded on recorded.alert_id = outbox.alert_id
    where recorded.session_date = any(%(days)s)
    group by outbox.alert_id
)
select
    alerts.*, coalesce(sent.delivered, 0) as delivered, coalesce(sent.held, 0) as held, coalesce(sent.dead, 0) as dead,
    coalesce(sent.pending, 0) as pending
from marts.alerts as alerts
left join sent on sent.alert_id = alerts.alert_id
where alerts.session_date = any(%(days)s)
order by alerts.triggered_at, alerts.symbol, alerts.rule_name, alerts.revision
"""
RULES: Final = """
with held as (
    select recorded.rule_id, count(*) as held
    from app.alert_held as held
    inner join app.alert_outbox as outbox on outbox.delivery_id = held.delivery_id
    inner join app.alerts as recorded on recorded.alert_id = outbox.alert_id
    where recorded.session_date = any(%(days)s)
    group by recorded.rule_id
)
select
    rules.rule_id, rules.name, rules.condition, rules.interval, rules.symbols, rules.status, rules.created_at,
    count(alerts.alert_id) filter (where alerts.session_date = any(%(days)s)) as fired,
    count(alerts.alert_id) filter (where alerts.session_date = any(%(days)s) and alerts.is_retracted) as retracted,
    count(distinct (alerts.symbol, alerts.session_date)) filter (
        where alerts.session_date = any(%(days)s)
    ) as symbol_sessions,
    count(alerts.alert_id) as fired_ever,
    coalesce(max(held.held), 0) as held
from app.alert_rules as rules
left join held on held.rule_id = rules.rule_id
left join marts.alerts as alerts on alerts.rule_id = rules.rule_id
group by rules.rule_id
having rules.status <> 'ended' or bool_or(alerts.session_date = any(%(days)s))
order by rules.name, rules.created_at
"""

ANOMALIES: Final = """
select * from marts.anomalies
where session_date = any(%(days)s) order by is_simulated, abs(z) desc nulls first, symbol, session_date, kind
"""
SCORED: Final = "select count(distinct session_date) from staging.int_robust_scores where session_date = any(%(days)s)"
QUALITY: Final = """
select * from marts.data_quality where session_date = any(%(days)s) order by is_simulated, origin, session_date, symbol
"""
# Spans of an origin, reason and time that several symbols share are one row: a feed that is down is one gap, not five hundred.
GAPS: Final = f"""
select
    session_date, origin, reason, gap_at, gap_end_at, count(*) as symbols, sum(missing_bars) as minutes,
    min(symbol) as first_symbol,
    {_IS_SIMULATED.format("origin")} as is_simulated
from marts.bar_gaps
where session_date = any(%(days)s)
group by session_date, origin, reason, gap_at, gap_end_at
order by sum(missing_bars) desc, gap_at, min(symbol)
"""  # noqa: S608

# An indicator that still depends on where its series begins is not drawn.
_STABLE: Final = (
    "case when bars.bar_number >= (select stable_from_bar from marts.indicator_definitions "
    "where indicator = '{0}' and is_daily = {1}) then bars.{0} end as {0}"
)
_BARS: Final = "bars.symbol, bars.bar_at, bars.session_date, bars.open, bars.high, bars.low, bars.close, bars.volume"
INTRADAY_BARS: Final = f"""
select {_BARS}, {{indicators}}
from marts.intraday_analytics as bars
where bars.symbol = any(%(symbols)s) and bars.interval = %(interval)s and bars.session_date = any(%(days)s)
    and bars.segment = 'regular'
order by bars.symbol, bars.bar_at
"""  # noqa: S608
DAILY_BARS: Final = f"""
select {_BARS}, {{indicators}}
from marts.daily_analytics as bars
where bars.symbol = any(%(symbols)s) and bars.session_date = any(%(shown)s)
order by bars.symbol, bars.bar_at
"""  # noqa: S608
SHADES: Final = """
select symbol, gap_at, gap_end_at, reason from marts.bar_gaps
where symbol = any(%(symbols)s) and session_date = any(%(days)s) and reason <> 'no_trade' order by symbol, gap_at
"""
COLUMNS: Final = """
select attname::text from pg_attribute where attrelid = to_regclass(%(relation)s) and attnum > 0 and not attisdropped
"""


def indicators_of(names: list[str], *, is_daily: bool) -> str:
    """Return the columns of indicators, each null before the end of its warm-up; of those that are not configured, none."""
    return ", ".join(_STABLE.format(name, str(is_daily).lower()) for name in names) or "null as no_indicator"


# The state of each table, as of these sessions: a digest of what tells a row from its earlier versions, and the newest change.
_DIGEST: Final = "left(md5(string_agg({0}, ',' order by {0})), 8)"


def _state(name: str, change: str, row: str, where: str = "session_date = any(%(days)s)") -> str:
    return (
        f"select '{name}' as relation, {_DIGEST.format(row)} as version, max({change}) as changed_at "  # noqa: S608
        f"from {name} where {where}"
    )


_ALERT_STATE: Final = _state("app.alerts", "recorded_at", "alert_id::text")
_DAYS: Final = _state(
    "marts.daily_analytics", "revised_at", "concat_ws('/', symbol, session_date, revision, revised_at)"
)
_REST: Final = (
    " where session_date = any(%(days)s)) as version, "
    "(select max(revised_at) from marts.daily_analytics where session_date = any(%(days)s)) as changed_at"
)
_OF_DAYS: Final = f"select '{{0}}' as relation, (select {_DIGEST.format('found::text')} from {{0}} as found{_REST}"  # noqa: S608
_QUALITY_STATE: Final = (
    "select 'marts.data_quality' as relation, (select max(change_number)::text from lake.bar_sessions "
    "where session_date = any(%(days)s)) as version, greatest((select max(revised_at) from lake.bar_sessions "
    "where session_date = any(%(days)s)), (select max(counted_at) from lake.session_arrivals "
    "where session_date = any(%(days)s))) as changed_at"
)
_GAP_STATE: Final = (
    "select 'marts.bar_gaps' as relation, (select max(change_number)::text from lake.bar_sessions "
    "where session_date = any(%(days)s)) as version, (select max(revised_at) from lake.bar_sessions "
    "where session_date = any(%(days)s)) as changed_at"
)
STATES: Final = " union all ".join(
    (
        _DAYS,
        _state(
            "marts.intraday_analytics",
            "revised_at",
            "concat_ws('/', symbol, bar_at, revision, revised_at)",
            "session_date = any(%(days)s) and interval = '5m'",
        ),
        _OF_DAYS.format("marts.market_breadth"),
        _OF_DAYS.format("marts.anomalies"),
        _QUALITY_STATE,
        _GAP_STATE,
        _ALERT_STATE,
        _state("app.alert_rules", "changed_at", "concat_ws('/', rule_id, version, status)", "true"),
    )
)
HAS_DAGSTER: Final = "select to_regclass('dagster.event_logs') is not null"
# What Dagster recorded as made last of each asset; the index is on (asset_key, dagster_event_type, id).
RUNS: Final = """
select asset_key, run_id, made_at
from unnest(%(assets)s::text[]) as asset (asset_key)
cross join lateral (
    select run_id, "timestamp" at time zone 'UTC' as made_at
    from dagster.event_logs as events
    where events.asset_key = asset.asset_key and events.dagster_event_type = 'ASSET_MATERIALIZATION'
    order by events.id desc
    limit 1
) as newest
"""
BATCHES: Final = """
select left(query_id, 8) || '/' || max(batch_id) as batch, max(published_at) as published_at, sum(messages)::bigint as messages,
    sum(quarantined)::bigint as quarantined, sum(duplicates)::bigint as duplicates
from lake.stream_batches group by query_id order by query_id
"""
SNAPSHOT: Final = "select pg_current_snapshot()::text as snapshot, now() as asked_at"
