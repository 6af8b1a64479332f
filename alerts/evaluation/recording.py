"""From what ought to be to what is recorded: new alerts, retractions, what is to be sent of both; in the caller's transaction.

What belongs here: the difference between ``desired`` and ``app.alerts``, and writing it. What does not: what ought to be
(:mod:`alerts.evaluation.judging`), and sending.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from alerts.evaluation.bars import DAILY, MARTS, known_from
from alerts.evaluation.clauses import held_before, holds
from alerts.evaluation.judging import IN_FORCE, has_ended

WAKES: Final = "alert_outbox"
"""The channel of PostgreSQL's notifications that says that something is to be sent."""

# Where bars of a symbol may have changed: of days a series is a company, and alerts name the symbol of their day.
_PLACES: Final = {
    False: "select series as symbol, interval, min(from_at) as from_at from changed group by series, interval",
    True: """
        select symbol, '1d' as interval, min(from_at) as from_at from (
            select days.symbol, changed.from_at
            from changed inner join marts.daily_analytics as days on days.company = changed.series
            union all
            select regexp_replace(series, ':gone$', ''), from_at from changed
        ) as symbols group by symbol
    """,
}
_KEY: Final = "rule_id, symbol, interval, bar_at"
_ID: Final = "md5(concat_ws('/', {}))::uuid"
_ALERT_ID: Final = _ID.format(
    "{0}.rule_id, {0}.symbol, {0}.interval, extract(epoch from {0}.bar_at)::bigint, {0}.revision, '{1}'"
)

_REACHED: Final = """
create temporary table reached_tapes on commit drop as
select source, tape_at from staging.built_tapes where mart = 'intraday_analytics';
create temporary table reached_offsets on commit drop as
select topic, partition, next_offset from staging.built_offsets where mart = 'intraday_analytics'
"""
_STANDING: Final = """
create temporary table standing on commit drop as
select alerts.*
from places inner join app.alerts using (symbol, interval)
where alerts.bar_at >= places.from_at and alerts.kind = 'alert'
    and not exists (select from app.alerts as taken_back where taken_back.refers_to = alerts.alert_id)
"""

# A bar that its tier keeps no longer is not gone, and where a series was cut off its first values are not known any more: what
# was true then is left alone. What is not known behind them was taken away.
_IS_UNKNOWN: Final = """
    exists (
        select from lake.tiers where tiers.tier = 'intraday' and tiers.kept_since_at is not null and standing.interval <> '1d'
            and (
                bars.bar_at is null and standing.session_date < (tiers.kept_since_at at time zone 'UTC')::date
                or exists (
                    select from app.alert_clauses as clauses
                    where clauses.rule_id = versions.rule_id and clauses.version = versions.version
                        and bars.bar_number <= {known_from}
                        and exists (
                            select session_date from lake.bar_sessions where symbol = standing.symbol and bar_count > 0
                                and session_date < (tiers.kept_since_at at time zone 'UTC')::date
                            union all
                            select session_date from lake.vendor_bar_sessions where symbol = standing.symbol
                                and session_date < (tiers.kept_since_at at time zone 'UTC')::date
                        )
                        and (bars.before is null or {holds} is null or not versions.has_event and {held_before} is null)
                )
            )
    )
"""

# Of a symbol that is not on the watchlist any more nothing new is told. What was told is taken back when its own bar has it no
# longer, whatever else the rule would make of the bars.
_FIRES_STILL: Final = f"""
    bars.bar_at is not null and (
        versions.trigger = 'once_per_bar' and not {has_ended("bars", "versions")}
        or not exists (
            select from app.alert_clauses as clauses
            where clauses.rule_id = versions.rule_id and clauses.version = versions.version and ({{holds}}) is not true
        )
        and (not versions.is_edge or versions.has_event or exists (
            select from app.alert_clauses as clauses
            where clauses.rule_id = versions.rule_id and clauses.version = versions.version and not ({{held_before}})
        ))
    )
"""  # noqa: S608 - declared names

_RETRACTED: Final = """
create temporary table retracted on commit drop as
select standing.alert_id
from standing
inner join app.alert_rule_versions as versions on versions.rule_id = standing.rule_id and {in_force}
left join judged_bars as bars
    on bars.symbol = standing.symbol and bars.interval = standing.interval and bars.bar_at = standing.bar_at
where not exists (
        select from desired
        where desired.rule_id = standing.rule_id and desired.symbol = standing.symbol
            and desired.interval = standing.interval and desired.bar_at = standing.bar_at
    )
    and (
        standing.triggered_at > versions.rule_created_at or versions.until_at is null
        or coalesce(bars.revised_at, '-infinity') <= versions.until_at
    )
    and (
        versions.watchlist_group is null
        or exists (
            select from app.watchlist
            where watchlist.symbol = standing.symbol and versions.watchlist_group in ('*', watchlist.symbol_group)
                and (watchlist.added_at < standing.triggered_at or standing.triggered_at <= versions.rule_created_at)
        )
        or not ({fires_still})
    )
    and not {unknown}
    and not ({awaited})
"""

# What fired at once, by a trade, may be ahead of the marts: it is judged when its bar has ended there, and they have read the
# message with which it fired. Where there is no such bar, the tape of the feed that the trade came from says that it has ended.
# Once any tape is a day past, neither is waited for: nobody waits for a feed that is gone, or for an offset that never comes.
_IS_AWAITED: Final = """
    versions.trigger = 'at_once' and not exists (
        select from reached_tapes as tapes where tapes.tape_at >= standing.triggered_at + interval '1 day'
    ) and (
        case
            when bars.bar_at is not null then not bars.is_closed
            else not exists (
                select from reached_tapes as tapes
                where tapes.source = standing.evidence ->> 'origin' and tapes.tape_at >= standing.triggered_at
            )
        end
        or standing.evidence ? 'fired_by' and not exists (
            select from reached_offsets as offsets
            where offsets.topic = standing.evidence -> 'fired_by' ->> 'topic'
                and offsets.partition = (standing.evidence -> 'fired_by' ->> 'partition')::integer
                and offsets.next_offset > (standing.evidence -> 'fired_by' ->> 'offset')::bigint
        )
    )
"""
_AWAIT: Final = f"""
insert into app.pending_evaluations (mart, series, interval, source, from_at)
select 'intraday_analytics', standing.symbol, standing.interval, standing.alert_id::text, standing.bar_at
from standing
inner join app.alert_rule_versions as versions
    on versions.rule_id = standing.rule_id and versions.version = standing.rule_version
left join judged_bars as bars
    on bars.symbol = standing.symbol and bars.interval = standing.interval and bars.bar_at = standing.bar_at
where {_IS_AWAITED}
    and not exists (
        select from desired
        where desired.rule_id = standing.rule_id and desired.symbol = standing.symbol
            and desired.interval = standing.interval and desired.bar_at = standing.bar_at
    )
on conflict do nothing
"""  # noqa: S608 - declared names

_RETRACT: Final = """
insert into app.alerts (
    alert_id, rule_id, rule_name, rule_version, symbol, interval, bar_at, session_date, revision, kind, refers_to, is_historical,
    message, evidence, triggered_at, recorded_at
)
select
    {alert_id}, standing.rule_id, standing.rule_name, standing.rule_version, standing.symbol, standing.interval, standing.bar_at,
    standing.session_date, standing.revision, 'retraction', standing.alert_id, standing.is_historical,
    'Retracted: ' || standing.message,
    case
        when bars.bar_at is null then jsonb_build_object('bar', null)
        else {evidence}
    end,
    standing.triggered_at, %(now)s
from retracted
inner join standing using (alert_id)
left join judged_bars as bars
    on bars.symbol = standing.symbol and bars.interval = standing.interval and bars.bar_at = standing.bar_at
"""

_ALERT: Final = """
insert into app.alerts (
    alert_id, rule_id, rule_name, rule_version, symbol, interval, bar_at, session_date, revision, kind, refers_to, is_historical,
    message, evidence, triggered_at, recorded_at
)
select
    {alert_id}, fresh.rule_id, fresh.rule_name, fresh.version, fresh.symbol, fresh.interval, fresh.bar_at, bars.session_date,
    fresh.revision, 'alert', null,
    fresh.is_past or bars.session_date < (select max(session_date) from lake.sessions where pre_open_at <= %(now)s),
    {message}, {evidence}, bars.bar_end, %(now)s
from (
    select
        desired.*, rules.name as rule_name, versions.condition, versions.message as template,
        1 + coalesce((
            select max(revision) from app.alerts as earlier
            where earlier.rule_id = desired.rule_id and earlier.symbol = desired.symbol and earlier.interval = desired.interval
                and earlier.bar_at = desired.bar_at and earlier.kind = 'alert'
        ), 0) as revision
    from desired
    inner join app.alert_rules as rules on rules.rule_id = desired.rule_id
    inner join app.alert_rule_versions as versions on versions.rule_id = desired.rule_id and versions.version = desired.version
    where not exists (
        select from standing
        where standing.rule_id = desired.rule_id and standing.symbol = desired.symbol
            and standing.interval = desired.interval and standing.bar_at = desired.bar_at
    )
    -- What fires at once is recorded by another process too, maybe since what stands was looked at.
    and not exists (
        select from app.alerts as recorded
        where recorded.rule_id = desired.rule_id and recorded.symbol = desired.symbol and recorded.interval = desired.interval
            and recorded.bar_at = desired.bar_at and recorded.kind = 'alert'
            and not exists (select from app.alerts as taken_back where taken_back.refers_to = recorded.alert_id)
    )
) as fresh
inner join judged_bars as bars
    on bars.symbol = fresh.symbol and bars.interval = fresh.interval and bars.bar_at = fresh.bar_at
order by 1  -- two processes that record the same in one order do not wait for each other crosswise
on conflict do nothing
"""

_TRADE: Final = " || jsonb_build_object('trade', bars.trade, 'fired_by', bars.fired_by)"
_EVIDENCE: Final = """jsonb_build_object(
        'values', (
            select jsonb_object_agg(
                rtrim(fields.field, '!'),
                jsonb_build_object('now', bars.now[fields.field_number], 'before', bars.before[fields.field_number])
            )
            from app.alert_fields as fields
            where fields.field_number in ({numbers})
        ),
        'bar', jsonb_build_object(
            'open', bars.open, 'high', bars.high, 'low', bars.low, 'close', bars.close, 'volume', bars.volume,
            'revision', bars.revision, 'is_final', bars.is_final
        ),
        'origin', bars.origin, 'revised_at', bars.revised_at
    )"""
_NUMBERS: Final = """
                select unnest(array[clauses.left_field, clauses.right_field, clauses.upper_field])
                from app.alert_clauses as clauses
                where clauses.rule_id = {rule}.rule_id and clauses.version = {rule}.{version}
"""
_VALUES: Final = """(
        select string_agg(
            rtrim(fields.field, '!') || ' '
            || coalesce(trim_scale(round(bars.now[fields.field_number]::numeric, 4))::text, '-'), ', '
            order by fields.field_number
        )
        from app.alert_fields as fields
        where fields.field_number in ({numbers})
    )"""

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "rule": "fresh.rule_name",
    "symbol": "bars.symbol",
    "interval": "bars.interval",
    "condition": "fresh.condition",
    "bar_at": "to_char(bars.bar_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')",
    "session_date": "bars.session_date::text",
    **{
        name: f"coalesce(trim_scale(bars.{name}::numeric)::text, '-')"
        for name in ("open", "high", "low", "close", "volume")
    },
    "values": _VALUES,
}
"""What a template of a message may have in braces, and what it becomes; ``docs/alerts.md`` says so too."""

_OUTBOX: Final = """
insert into app.alert_outbox (
    delivery_id, alert_id, channel, kind, refers_to, triggered_at, status, attempts, next_attempt_at, created_at
)
select
    {delivery_id}, recorded.alert_id, channels.channel, recorded.kind, recorded.refers_to, recorded.triggered_at,
    'pending', 0, %(now)s, %(now)s
from app.alerts as recorded
inner join app.alert_rule_versions as versions on versions.rule_id = recorded.rule_id and versions.version = recorded.rule_version
cross join lateral (select distinct unnest(versions.channels) as channel) as channels
where recorded.alert_id = any(%(alerts)s) and not recorded.is_historical
"""

_REARMS: Final = """
delete from app.alert_rearms using places, app.alerts
where alert_rearms.alert_id = alerts.alert_id and alerts.symbol = places.symbol and alerts.interval = places.interval
    and (alert_rearms.rearmed_at >= places.from_at or alerts.bar_at >= places.from_at);
insert into app.alert_rearms (alert_id, rearmed_at)
select alerts.alert_id, rearmed.rearmed_at
from rearmed
inner join app.alerts on alerts.rule_id = rearmed.rule_id and alerts.symbol = rearmed.symbol
    and alerts.interval = rearmed.interval and alerts.bar_at = rearmed.bar_at and alerts.kind = 'alert'
where not exists (select from app.alerts as taken_back where taken_back.refers_to = alerts.alert_id)
"""


def note_progress(connection: Any) -> None:  # noqa: ANN401 - psycopg is known to warehouse only
    """Note how far the marts are with the lake, before they are read: what a build adds meanwhile is not counted on."""
    connection.execute(_REACHED)


def record(connection: Any, mart: str, fields: Mapping[int, str], now: datetime) -> dict[str, int]:  # noqa: ANN401
    """Record what is missing and take back what ought not to be, of the bars that changed; return how many of each kind.

    Reads the tables of :mod:`alerts.evaluation.judging`, and of :func:`note_progress`, from before them. Whatever is recorded has
    its rows in the outbox by the same transaction.
    """
    values = {"now": now}
    connection.execute(f"create temporary table places on commit drop as {_PLACES[mart == DAILY]}")
    connection.execute("analyze places")
    connection.execute(_STANDING)
    connection.execute("analyze standing")
    connection.execute("analyze desired")
    connection.execute(_retracted(mart, fields))
    if mart != DAILY:
        connection.execute(_AWAIT)
    retracted = connection.execute(_retract(), values).fetchall()
    fired = connection.execute(alert_statement(), values).fetchall()
    connection.execute(_REARMS)
    sent = hand_over(connection, [alert_id for alert_id, _ in (*retracted, *fired)], now)
    return {
        "fired": len(fired),
        "retracted": len(retracted),
        "historical": sum(is_historical for _, is_historical in fired),
        "queued": sent,
    }


def _retracted(mart: str, fields: Mapping[int, str]) -> str:
    truths = {"holds": holds("clauses", "bars"), "held_before": held_before("clauses", "bars")}
    numbers = ",".join(str(known_from(name, MARTS[mart])) for _, name in sorted(fields.items()))
    sides = (f"('{{{numbers}}}'::integer[])[clauses.{side}_field]" for side in ("left", "right", "upper"))
    return _RETRACTED.format(
        in_force=IN_FORCE.format(alert="standing"),
        unknown=_IS_UNKNOWN.format(known_from=f"greatest({', '.join(sides)})", **truths),
        fires_still=_FIRES_STILL.format(**truths),
        awaited=_IS_AWAITED,
    )


def _retract() -> str:
    evidence = _EVIDENCE.format(numbers=_NUMBERS.format(rule="standing", version="rule_version"))
    return _RETRACT.format(alert_id=_ALERT_ID.format("standing", "retraction"), evidence=evidence) + _RETURNING


def hand_over(connection: Any, alerts: Sequence[UUID], now: datetime) -> int:  # noqa: ANN401
    """Queue what is to be sent of alerts and retractions, wake whoever sends, and return how many messages there are."""
    if not alerts:
        return 0
    outbox = _OUTBOX.format(delivery_id=_ID.format("recorded.alert_id, channels.channel"))
    sent: int = connection.execute(outbox, {"now": now, "alerts": list(alerts)}).rowcount
    if sent:
        connection.execute("select pg_notify(%s, %s)", [WAKES, str(sent)])
    return sent


def alert_statement(*, at_once: bool = False) -> str:
    """Return the statement that records what is missing: ``desired`` without ``standing``, with the values of ``judged_bars``.

    It returns identities, and whether each is historical; ``at_once`` adds ``trade`` and ``fired_by`` of the bars.
    """
    numbers = _NUMBERS.format(rule="fresh", version="version")
    message = "fresh.template"
    for name, expression in PLACEHOLDERS.items():
        text = expression.format(numbers=numbers) if name == "values" else expression
        message = f"replace({message}, '{{{name}}}', {text})"
    return (
        _ALERT.format(
            alert_id=_ALERT_ID.format("fresh", "alert"),
            message=message,
            evidence=_EVIDENCE.format(numbers=numbers) + (_TRADE if at_once else ""),
        )
        + _RETURNING
    )


_RETURNING: Final = " returning alert_id, is_historical"
