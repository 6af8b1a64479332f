"""The rules in PostgreSQL: adding, pausing, resuming and ending them, and reading them and their alerts.

What belongs here: what users do with rules. What does not: what rules come to (:mod:`alerts.evaluation`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from alerts.rules.compiled import CompiledClause, Side
from alerts.rules.rule import Rule, Trigger, check_expiry
from market.errors import RuleError
from market.settings import Settings
from warehouse.connection import connect

ACTIVE: Final = "active"
PAUSED: Final = "paused"
ENDED: Final = "ended"

_APPLICATION: Final = "tapehouse alerts"
_LOCK: Final = "lock table app.alert_rules in share row exclusive mode"
# Whoever writes quotes queues what changed only if a rule names quotes: batches that began without the first one are waited for.
_LOCK_QUOTES: Final = "lock table lake.quotes_1m in share mode"
_SETTINGS: Final = (
    'symbols, "interval", "trigger", is_edge, cooldown_seconds, hysteresis, is_hysteresis_percent, segments, '
    "message, channels"
)
_VALUES: Final = (
    "%(symbols)s, %(interval)s, %(trigger)s, %(is_edge)s, %(cooldown_seconds)s, %(hysteresis)s, %(is_hysteresis_percent)s, "
    "%(segments)s, %(message)s, %(channels)s"
)
_ADD_RULE: Final = f"""
insert into app.alert_rules (rule_id, name, condition, {_SETTINGS}, expires_at, status, version, created_at, changed_at)
values (%(rule_id)s, %(name)s, %(condition)s, {_VALUES}, %(expires_at)s, 'active', 1, %(now)s, %(now)s)
"""  # noqa: S608 - declared names
_ADD_VERSION: Final = f"""
insert into app.alert_rule_versions (
    rule_id, version, condition, {_SETTINGS}, tickers, watchlist_group, has_event, has_quotes, rule_created_at,
    since_at, until_at, is_newest
)
values (
    %(rule_id)s, 1, %(condition)s, {_VALUES}, %(tickers)s, %(watchlist_group)s, %(has_event)s, %(has_quotes)s, %(now)s,
    %(now)s, %(expires_at)s, true
)
"""  # noqa: S608
_ADD_CLAUSE: Final = """
insert into app.alert_clauses (
    rule_id, version, clause, operator, left_field, left_factor, right_field, right_factor, upper_field, upper_factor
)
values (
    %(rule_id)s, 1, %(clause)s, %(operator)s, %(left_field)s, %(left_factor)s, %(right_field)s, %(right_factor)s, %(upper_field)s,
    %(upper_factor)s
)
"""
_ADD_FIELD: Final = """
insert into app.alert_fields (field_number, field)
select coalesce(max(field_number), 0) + 1, %(field)s from app.alert_fields
having not exists (select from app.alert_fields where field = %(field)s)
"""
_QUEUE: Final = """
insert into app.pending_evaluations as pending (mart, series, "interval", source, from_at)
select
    case when versions."interval" = '1d' then 'daily_analytics' else 'intraday_analytics' end,
    named.series, versions."interval", '',
    %(now)s::timestamptz - interval '2 days'
from app.alert_rule_versions as versions
cross join lateral unnest(coalesce(versions.tickers, array['*'])) as named (series)
where versions.rule_id = any(%(rules)s) and versions.is_newest
group by 1, 2, 3
on conflict (mart, series, "interval", source) do update set from_at = least(pending.from_at, excluded.from_at)
"""
_CHANGE: Final = """
update app.alert_rules set status = %(status)s, changed_at = %(now)s
where name = %(name)s and status = any(%(before)s)
returning rule_id, version, expires_at
"""
_CLOSE: Final = """
update app.alert_rule_versions set until_at = least(until_at, %(now)s) where rule_id = %(rule_id)s and version = %(version)s
"""
_RESUME: Final = f"""
with before as (
    update app.alert_rule_versions set is_newest = false where rule_id = %(rule_id)s and version = %(version)s returning *
), clauses as (
    insert into app.alert_clauses (
        rule_id, version, clause, operator, left_field, left_factor, right_field, right_factor, upper_field, upper_factor
    )
    select rule_id, version + 1, clause, operator, left_field, left_factor, right_field, right_factor, upper_field, upper_factor
    from app.alert_clauses where rule_id = %(rule_id)s and version = %(version)s
), raised as (
    update app.alert_rules set version = version + 1 where rule_id = %(rule_id)s returning expires_at
)
insert into app.alert_rule_versions (
    rule_id, version, condition, {_SETTINGS}, tickers, watchlist_group, has_event, has_quotes, rule_created_at,
    since_at, until_at, is_newest
)
select
    rule_id, version + 1, condition, {_SETTINGS}, tickers, watchlist_group, has_event, has_quotes, rule_created_at, %(now)s,
    (select expires_at from raised), true
from before
"""  # noqa: S608
_RULES: Final = f"""
select rules.rule_id, rules.name, rules.condition, {_SETTINGS}, rules.expires_at, rules.status, rules.version, rules.created_at,
    (select count(*) from app.alerts where alerts.rule_id = rules.rule_id and kind = 'alert') as alerts,
    (select count(*) from app.alerts where alerts.rule_id = rules.rule_id and kind = 'retraction') as retractions,
    (select max(triggered_at) from app.alerts where alerts.rule_id = rules.rule_id and kind = 'alert') as newest_at
from app.alert_rules as rules
where (%(name)s::text is null or rules.name = %(name)s) and (%(ended)s or rules.status <> 'ended')
order by rules.rule_id
"""  # noqa: S608
_HISTORY: Final = """
select recorded_at, kind, rule_name, symbol, "interval", bar_at, revision, is_historical, message,
    exists (select from app.alerts as taken_back where taken_back.refers_to = alerts.alert_id) as is_retracted
from app.alerts
where (%(name)s::text is null or rule_name = %(name)s) and (%(symbol)s::text is null or symbol = %(symbol)s)
order by recorded_at desc, triggered_at desc, alert_id
limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer: the names of its columns, and its rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def add_rules(settings: Settings, rules: Sequence[Rule], now: datetime) -> list[int]:
    """Keep new rules, all of them or none, and return their numbers.

    Raises
    ------
    RuleError
        If one expires before it could fire, or its name is taken.
    ServiceError
        If the database cannot be reached.
    """
    for rule in rules:
        check_expiry(rule.expires_at, now)
    with connect(settings, application_name=_APPLICATION) as connection:
        connection.execute(_LOCK)
        names = [rule.name for rule in rules]
        query = "select name from app.alert_rules where name = any(%s) and status <> 'ended' limit 1"
        taken = connection.execute(query, [names]).fetchone()
        if taken is not None or len(set(names)) < len(names):
            msg = f"There is a rule {taken[0] if taken else names[0]!r} already. Give another name, or delete it first."
            raise RuleError(msg)
        compiled = [rule.clauses for rule in rules]
        fields = _field_numbers(connection, compiled)
        ((newest,),) = connection.execute("select coalesce(max(rule_id), 0) from app.alert_rules").fetchall()
        numbers = list(range(newest + 1, newest + 1 + len(rules)))
        _add(connection, dict(zip(numbers, rules, strict=True)), dict(zip(numbers, compiled, strict=True)), fields, now)
        if any(rule.has_quotes for rule in rules):
            connection.execute(_LOCK_QUOTES)  # last, so that nobody who writes quotes waits for what is waited for here
        return numbers


def change_status(settings: Settings, name: str, status: str, now: datetime) -> None:
    """Pause, resume or end a rule. What it has recorded stays, and is taken back where its bars are corrected.

    Raises
    ------
    RuleError
        If there is no such rule that this could be done to, or it has expired and is to be resumed.
    """
    before = {PAUSED: [ACTIVE], ACTIVE: [PAUSED], ENDED: [ACTIVE, PAUSED]}[status]
    with connect(settings, application_name=_APPLICATION) as connection:
        connection.execute(_LOCK)
        found = connection.execute(_CHANGE, {"name": name, "status": status, "now": now, "before": before}).fetchone()
        if found is None:
            msg = f"There is no rule {name!r} that is {' or '.join(before)}. ./run alert list shows all."
            raise RuleError(msg)
        if status == ACTIVE:
            check_expiry(found[2], now)
        values = {"rule_id": found[0], "version": found[1], "now": now}
        connection.execute(_RESUME if status == ACTIVE else _CLOSE, values)
        connection.execute(_QUEUE, {"rules": [found[0]], "now": now})


def read_rules(settings: Settings, name: str | None = None, *, ended: bool = False) -> Rows:
    """Return the rules, or one, with how many alerts each has."""
    return _read(settings, _RULES, {"name": name, "ended": ended})


def stored_rule(settings: Settings, name: str) -> Rule | None:
    """Return the rule of a name as it was stated; ``None`` if there is none."""
    found = read_rules(settings, name)
    if not found.rows:
        return None
    row = dict(zip(found.columns, found.rows[-1], strict=True))
    query = (
        "select not bool_and(field like '%%!') from app.alert_clauses inner join app.alert_fields "
        "on field_number in (left_field, right_field, upper_field) where rule_id = %(rule_id)s"
    )
    ((warm_up,),) = _read(settings, query, {"rule_id": row["rule_id"]}).rows
    return Rule(
        name,
        row["condition"],
        row["symbols"],
        row["interval"],
        Trigger(row["trigger"]),
        is_edge=row["is_edge"],
        warm_up=warm_up is not False,
        cooldown_seconds=row["cooldown_seconds"],
        hysteresis=row["hysteresis"],
        is_hysteresis_percent=row["is_hysteresis_percent"],
        expires_at=row["expires_at"],
        segments=tuple(row["segments"]),
        message=row["message"],
        channels=tuple(row["channels"]),
    )


def read_history(settings: Settings, name: str | None, symbol: str | None, limit: int) -> Rows:
    """Return the newest alerts and retractions."""
    return _read(settings, _HISTORY, {"name": name, "symbol": symbol, "limit": limit})


def clause_values(clauses: Sequence[CompiledClause], fields: dict[str, int]) -> list[dict[str, Any]]:
    """Return the clauses as rows of ``app.alert_clauses`` without their rule."""

    def number(side: Side | None) -> int | None:
        return fields[side.field] if side is not None and side.field is not None else None

    return [
        {
            "clause": place,
            "operator": clause.operator,
            "left_field": number(clause.left),
            "left_factor": clause.left.factor,
            "right_field": number(clause.right),
            "right_factor": clause.right.factor,
            "upper_field": number(clause.upper),
            "upper_factor": clause.upper.factor if clause.upper is not None else None,
        }
        for place, clause in enumerate(clauses, start=1)
    ]


def fields_named(clauses: Sequence[CompiledClause]) -> list[str]:
    """Return the fields that clauses name, each once."""
    sides = (side for clause in clauses for side in (clause.left, clause.right, clause.upper) if side is not None)
    return list(dict.fromkeys(side.field for side in sides if side.field is not None))


def version_values(rule: Rule) -> dict[str, Any]:
    """Return the settings of a rule as a version has them."""
    return {
        "condition": str(rule.condition),
        "symbols": rule.symbols,
        "interval": rule.interval,
        "trigger": str(rule.trigger),
        "is_edge": rule.is_edge,
        "cooldown_seconds": rule.cooldown_seconds,
        "hysteresis": rule.hysteresis,
        "is_hysteresis_percent": rule.is_hysteresis_percent,
        "segments": list(rule.segments),
        "message": rule.message,
        "channels": list(rule.channels),
        "tickers": list(rule.tickers) if rule.tickers is not None else None,
        "watchlist_group": rule.watchlist_group,
        "has_event": rule.has_event,
        "has_quotes": rule.has_quotes,
        "expires_at": rule.expires_at,
    }


def _add(
    connection: Any,  # noqa: ANN401 - psycopg is known to warehouse only
    rules: Mapping[int, Rule],
    compiled: Mapping[int, Sequence[CompiledClause]],
    fields: dict[str, int],
    now: datetime,
) -> None:
    rows = [
        {**version_values(rule), "name": rule.name, "now": now, "rule_id": number} for number, rule in rules.items()
    ]
    clauses = [{**row, "rule_id": number} for number, parts in compiled.items() for row in clause_values(parts, fields)]
    with connection.cursor() as cursor:
        cursor.executemany(_ADD_RULE, rows)
        cursor.executemany(_ADD_VERSION, rows)
        cursor.executemany(_ADD_CLAUSE, clauses)
    connection.execute(_QUEUE, {"rules": list(rules), "now": now})


def _field_numbers(connection: Any, compiled: Sequence[Sequence[CompiledClause]]) -> dict[str, int]:  # noqa: ANN401
    for field in dict.fromkeys(name for clauses in compiled for name in fields_named(clauses)):
        connection.execute(_ADD_FIELD, {"field": field})
    return dict(connection.execute("select field, field_number from app.alert_fields").fetchall())


def _read(settings: Settings, query: str, values: dict[str, Any]) -> Rows:
    with connect(settings, read_only=True, application_name=_APPLICATION) as connection:
        cursor = connection.execute(query.encode(), values)
        return Rows(tuple(column.name for column in cursor.description or ()), cursor.fetchall())
