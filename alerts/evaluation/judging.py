"""Which alerts the changed bars ought to have: a pure function of rules and marts, as statements over temporary tables.

What belongs here: from ``changed`` (series, interval, from_at) to ``desired`` (rule, symbol, bar). What does not: which bars
changed, and what is recorded (:mod:`alerts.evaluation.recording`).

The tables, all gone with the transaction: ``changed``, ``judged_bars``, ``fired`` (where a rule's condition begins to hold, or
holds), ``events`` and ``walk_states`` (of rules for which it matters what was before), ``desired``, ``rearmed``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alerts.evaluation.bars import MARTS, bars_query, needed_columns
from alerts.evaluation.clauses import has_gone_back, held_before, holds
from market.errors import NoDataError

_MISSING: Final = """
select needed.name from unnest(%(names)s::text[]) as needed (name)
where not exists (
    select from pg_attribute
    where attrelid = to_regclass(%(mart)s) and attname = needed.name and attnum > 0 and not attisdropped
)
order by needed.name
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """Where the rules are: tables with the columns of ``app.alert_rule_versions`` and ``app.alert_clauses``."""

    versions: str = "app.alert_rule_versions"
    clauses: str = "app.alert_clauses"


RECORDED: Final = Rules()

# A bar is a version's if it ended while the version was in force. What came or changed of the time before the rule was made, as a
# replay or a backfill, is the newest version's.
_IS_PRESENT: Final = "{bar_end} > {since} and ({v}.until_at is null or {bar_end} <= {v}.until_at)"
_IS_PAST: Final = (
    "{v}.is_newest and {bar_end} <= {v}.rule_created_at and bars.revised_at >= {v}.rule_created_at "
    "and ({v}.until_at is null or bars.revised_at <= {v}.until_at)"
)
COOLDOWN: Final = "least({}.cooldown_seconds, 3155760000) * interval '1 second'"
"""For how long a version is silent, a hundred years at most: beyond what a moment can hold it would stop all rules."""

_IS_SEQUENTIAL: Final = "(rules.trigger = 'once' or rules.cooldown_seconds > 0 or rules.hysteresis > 0)"

IN_FORCE: Final = (
    "({alert}.triggered_at > versions.since_at and (versions.until_at is null or {alert}.triggered_at <= versions.until_at) "
    "or {alert}.triggered_at <= versions.rule_created_at and versions.is_newest)"
)
"""Whether a bar, by an alert about it, is one that a version looks at."""

IS_WATCHED_SINCE: Final = """(versions.watchlist_group is null or exists (
            select from app.watchlist
            where watchlist.symbol = {alert}.symbol and versions.watchlist_group in ('*', watchlist.symbol_group)
                and watchlist.added_at < {alert}.triggered_at
        ))"""
"""Whether a symbol was not added to the watchlist since an alert of a rule on it: then that rule begins anew."""

_EXPLICIT: Final = """
    select versions.*, tickers.symbol, versions.since_at as pair_since_at
    from {versions} as versions cross join lateral unnest(versions.tickers) as tickers (symbol)
"""
_WATCHED: Final = """
    select versions.*, watchlist.symbol, greatest(versions.since_at, watchlist.added_at) as pair_since_at
    from {versions} as versions
    inner join app.watchlist on versions.watchlist_group in ('*', watchlist.symbol_group)
"""
_ALL: Final = """
    select versions.*, null::text as symbol, versions.since_at as pair_since_at
    from {versions} as versions where versions.tickers is null and versions.watchlist_group is null
"""
_SCOPES: Final = (
    (_EXPLICIT, "and bars.symbol = rules.symbol"),
    (_WATCHED, "and bars.symbol = rules.symbol"),
    (_ALL, ""),
)

_TABLES: Final = """
create temporary table fired (
    rule_id bigint, version integer, symbol text, interval text, series text, bar_at timestamptz, bar_end timestamptz,
    is_past boolean, is_sequential boolean
) on commit drop;
create temporary table events (
    rule_id bigint, version integer, symbol text, interval text, is_past boolean, bar_at timestamptz, bar_end timestamptz,
    is_fire boolean
) on commit drop;
create temporary table walk_states (
    rule_id bigint, symbol text, interval text, is_past boolean, last_version integer, last_bar_at timestamptz,
    last_end timestamptz, is_armed boolean
) on commit drop;
create temporary table desired (
    rule_id bigint, version integer, symbol text, interval text, bar_at timestamptz, is_past boolean
) on commit drop;
create temporary table rearmed (
    rule_id bigint, symbol text, interval text, bar_at timestamptz, rearmed_at timestamptz
) on commit drop;
"""

# Versions of a rule are the times between its pauses, one after the other. What it has told goes on to count; whether a value has
# gone back while it looked at nothing is not known, and taken to be so.
_WALK: Final = """
do $walk$
declare
    event record;
    fired_at timestamptz;
    fired_end timestamptz;
    is_armed boolean;
    walked_version integer;
    is_open boolean;
begin
    for event in
        select
            events.rule_id, events.version, events.symbol, events.interval, events.is_past, events.bar_at, events.bar_end,
            events.is_fire, rules.trigger = 'once' as is_once, rules.hysteresis > 0 as has_hysteresis,
            {cooldown} as cooldown,
            walk_states.last_version, walk_states.last_bar_at, walk_states.last_end,
            coalesce(walk_states.is_armed, true) as was_armed,
            row_number() over (
                partition by events.rule_id, events.symbol, events.interval, events.is_past
                order by events.bar_at, events.is_fire desc
            ) as number
        from events
        inner join {versions} as rules on rules.rule_id = events.rule_id and rules.version = events.version
        left join walk_states
            on walk_states.rule_id = events.rule_id and walk_states.symbol = events.symbol
            and walk_states.interval = events.interval and walk_states.is_past = events.is_past
        order by events.rule_id, events.symbol, events.interval, events.is_past, events.bar_at, events.is_fire desc
    loop
        if event.number = 1 then
            walked_version := event.last_version;
            fired_at := event.last_bar_at;
            fired_end := event.last_end;
            is_armed := event.was_armed;
        end if;
        is_armed := is_armed or event.version is distinct from walked_version;
        walked_version := event.version;
        is_open := event.is_fire
            and (is_armed or not event.has_hysteresis)
            and (fired_at is null or not event.is_once)
            and (fired_end is null or event.bar_end >= fired_end + event.cooldown);
        if is_open then
            insert into desired values (
                event.rule_id, event.version, event.symbol, event.interval, event.bar_at, event.is_past
            );
            fired_at := event.bar_at;
            fired_end := event.bar_end;
            is_armed := false;
        elsif not event.is_fire and not is_armed and fired_at < event.bar_at then
            insert into rearmed values (event.rule_id, event.symbol, event.interval, fired_at, event.bar_at);
            is_armed := true;
        end if;
    end loop;
end
$walk$
"""


def create_tables(connection: Any) -> None:  # noqa: ANN401 - psycopg is known to warehouse only
    """Create the temporary tables that the judging of all marts fills."""
    connection.execute(_TABLES)


def judge(
    connection: Any,  # noqa: ANN401
    mart: str,
    fields: Mapping[int, str],
    rules: Rules = RECORDED,
    *,
    with_state: bool = True,
) -> None:
    """Fill ``desired`` and ``rearmed`` for the bars of ``changed`` from ``judged_from`` on.

    Parameters
    ----------
    connection
        In a transaction in which :func:`create_tables` was called.
    mart
        Which mart ``changed`` speaks of.
    fields
        The fields by number.
    rules
        Where the rules are.
    with_state
        Whether what is recorded of the bars before says how a walk begins; else it begins with nothing.

    Raises
    ------
    NoDataError
        If the mart was not built since a period was added that a rule names.
    """
    _require_columns(connection, mart, fields)
    connection.execute(f"create temporary table judged_bars on commit drop as {bars_query(MARTS[mart], fields)}")
    connection.execute("analyze judged_bars")
    connection.execute("truncate fired, events, walk_states")
    for statement in _fired(rules):
        connection.execute(statement)
    ((found,),) = connection.execute(f"select exists (select from {rules.versions} where {_MAY_BE_AHEAD})").fetchall()  # noqa: S608
    if with_state and found:
        for statement in _ahead(rules):
            connection.execute(statement)
    connection.execute(
        "insert into desired select rule_id, version, symbol, interval, bar_at, is_past from fired where not is_sequential"
    )
    _walk(connection, rules, with_state=with_state)


def _require_columns(connection: Any, mart: str, fields: Mapping[int, str]) -> None:  # noqa: ANN401
    asked = {"mart": f"marts.{mart}", "names": needed_columns(MARTS[mart], fields)}
    missing = ", ".join(name for (name,) in connection.execute(_MISSING, asked).fetchall())
    if missing:
        msg = (
            f"marts.{mart} has no {missing} yet, which a rule names: the marts were not built since dbt_project.yml says so. "
            "./run marts builds them."
        )
        raise NoDataError(msg)


def _walk(connection: Any, rules: Rules, *, with_state: bool) -> None:  # noqa: ANN401
    connection.execute(
        "insert into events select rule_id, version, symbol, interval, is_past, bar_at, bar_end, true "
        "from fired where is_sequential"
    )
    has_hysteresis = f"select exists (select from {rules.versions} where hysteresis > 0)"  # noqa: S608 - declared names
    ((found,),) = connection.execute(has_hysteresis).fetchall()
    if found:
        connection.execute(_gone_back(rules, with_state=with_state))
    ((found,),) = connection.execute("select exists (select from events)").fetchall()
    if not found:
        return
    if with_state:
        connection.execute("analyze events")
        of_alert = {"in_force": IN_FORCE.format(alert="alerts"), "is_watched": IS_WATCHED_SINCE.format(alert="alerts")}
        connection.execute(_STATES.format(versions=rules.versions, **of_alert))
    connection.execute(_WALK.format(versions=rules.versions, cooldown=COOLDOWN.format("rules")))


def _fired(rules: Rules) -> Iterator[str]:
    for scope, on_symbol in _SCOPES:
        present, past = _domain("rules", "bars.bar_end")
        yield f"""
insert into fired
select
    rules.rule_id, rules.version, bars.symbol, bars.interval, bars.series, bars.bar_at, bars.bar_end,
    not ({present}), {_IS_SEQUENTIAL}
from ({scope.format(versions=rules.versions)}) as rules
inner join judged_bars as bars on bars.interval = rules.interval {on_symbol}
inner join {rules.clauses} as clauses
    on clauses.rule_id = rules.rule_id and clauses.version = rules.version and clauses.clause = 1
where {holds("clauses", "bars")}
    and (({present}) or ({past}))
    and {_IS_LOOKED_AT}
    and not exists (
        select from {rules.clauses} as others
        where others.rule_id = rules.rule_id and others.version = rules.version and others.clause > 1
            and ({holds("others", "bars")}) is not true
    )
    and (not rules.is_edge or rules.has_event or exists (
        select from {rules.clauses} as earlier
        where earlier.rule_id = rules.rule_id and earlier.version = rules.version and not ({held_before("earlier", "bars")})
    ))
"""  # noqa: S608 - declared names


_MAY_BE_AHEAD: Final = "trigger = 'once_per_bar'"


def has_ended(bar: str, rule: str) -> str:
    """Return the expression that says whether nothing more is to come for a bar of what a version of a rule looks at."""
    return f"({bar}.is_closed and ({bar}.is_quoted or not {rule}.has_quotes))"


_HAS_ENDED: Final = has_ended("bars", "rules")
_IS_LOOKED_AT: Final = (
    f"({_HAS_ENDED} or rules.trigger in ('once_per_bar', 'at_once')) "
    "and (bars.interval = '1d' or bars.segment = any(rules.segments))"
)


def _ahead(rules: Rules) -> Iterator[str]:
    """Yield the statements that find what was told of bars that have not ended: it has fired there, whatever holds by now."""
    present, past = _domain("rules", "bars.bar_end")
    for scope, on_symbol in _SCOPES:
        yield f"""
insert into fired
select
    rules.rule_id, rules.version, bars.symbol, bars.interval, bars.series, bars.bar_at, bars.bar_end,
    not ({present}), {_IS_SEQUENTIAL}
from judged_bars as bars
inner join app.alerts
    on alerts.symbol = bars.symbol and alerts.interval = bars.interval and alerts.bar_at = bars.bar_at and alerts.kind = 'alert'
inner join ({scope.format(versions=rules.versions)}) as rules
    on rules.rule_id = alerts.rule_id and rules.interval = bars.interval {on_symbol}
where rules.{_MAY_BE_AHEAD} and not {_HAS_ENDED} and {_IS_LOOKED_AT}
    and (({present}) or ({past}))
    and not exists (select from app.alerts as taken_back where taken_back.refers_to = alerts.alert_id)
    and not exists (
        select from fired
        where fired.rule_id = rules.rule_id and fired.version = rules.version and fired.symbol = bars.symbol
            and fired.interval = bars.interval and fired.bar_at = bars.bar_at
    )
"""  # noqa: S608 - declared names


def _domain(rules: str, bar_end: str) -> tuple[str, str]:
    since = f"{rules}.pair_since_at"
    present = _IS_PRESENT.format(v=rules, bar_end=bar_end, since=since)
    return present, _IS_PAST.format(v=rules, bar_end=bar_end)


def _gone_back(rules: Rules, *, with_state: bool) -> str:
    """Return the statement that finds on which bars the values of rules with hysteresis have gone back, where that can matter."""
    scopes = " union all ".join(f"({scope.format(versions=rules.versions)})" for scope, _ in _SCOPES)
    waiting = f"""
    union
    select alerts.rule_id, versions.version, alerts.symbol, alerts.interval, alerts.triggered_at <= versions.rule_created_at
    from (select distinct symbol, interval, from_at from judged_bars) as changed
    inner join app.alerts on alerts.symbol = changed.symbol and alerts.interval = changed.interval and alerts.kind = 'alert'
    inner join {rules.versions} as versions
        on versions.rule_id = alerts.rule_id and versions.hysteresis > 0
        and {IN_FORCE.format(alert="alerts")}
    left join app.alert_rearms using (alert_id)
    where alerts.bar_at < changed.from_at
        and (alert_rearms.rearmed_at is null or alert_rearms.rearmed_at >= changed.from_at)
"""  # noqa: S608 - declared names
    present, past = _domain("rules", "bars.bar_end")
    back = has_gone_back("clauses", "bars", "rules.hysteresis", "rules.is_hysteresis_percent")
    return f"""
insert into events
select pairs.rule_id, pairs.version, pairs.symbol, pairs.interval, pairs.is_past, bars.bar_at, bars.bar_end, false
from (
    select distinct fired.rule_id, fired.version, fired.symbol, fired.interval, fired.is_past
    from fired inner join {rules.versions} as versions using (rule_id, version) where versions.hysteresis > 0
    {waiting if with_state else ""}
) as pairs
inner join ({scopes}) as rules
    on rules.rule_id = pairs.rule_id and rules.version = pairs.version and (rules.symbol is null or rules.symbol = pairs.symbol)
inner join judged_bars as bars on bars.symbol = pairs.symbol and bars.interval = pairs.interval
where (case when pairs.is_past then not ({present}) and {past} else {present} end)
    and {_IS_LOOKED_AT}
    and exists (
        select from {rules.clauses} as clauses
        where clauses.rule_id = rules.rule_id and clauses.version = rules.version and {back}
    )
"""  # noqa: S608 - declared names


_STATES: Final = """
insert into walk_states
select pairs.rule_id, pairs.symbol, pairs.interval, pairs.is_past, last.version, last.bar_at, last.triggered_at,
    coalesce(last.rearmed_at < changed.from_at, false)
from (select distinct rule_id, symbol, interval, is_past from events) as pairs
inner join (
    select symbol, interval, min(from_at) as from_at from judged_bars group by symbol, interval
) as changed on changed.symbol = pairs.symbol and changed.interval = pairs.interval
cross join lateral (
    select versions.version, alerts.bar_at, alerts.triggered_at, alert_rearms.rearmed_at
    from app.alerts
    inner join {versions} as versions on versions.rule_id = alerts.rule_id and {in_force}
    left join app.alert_rearms using (alert_id)
    where alerts.rule_id = pairs.rule_id and alerts.symbol = pairs.symbol and alerts.interval = pairs.interval
        and alerts.kind = 'alert' and alerts.bar_at < changed.from_at
        and (alerts.triggered_at <= versions.rule_created_at) = pairs.is_past
        and (pairs.is_past or {is_watched})
        and not exists (select from app.alerts as taken_back where taken_back.refers_to = alerts.alert_id)
    order by alerts.bar_at desc
    limit 1
) as last
"""
