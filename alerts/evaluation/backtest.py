"""When a rule would have fired on the bars that there are: the same statements as an evaluation, over a rule that is not kept.

What belongs here: rules that are tried. What does not: what is recorded, which is nothing: the transaction is rolled back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from alerts.evaluation.bars import DAILY, MARTS
from alerts.evaluation.evaluate import EVERY_SERIES
from alerts.evaluation.judging import Rules, create_tables, judge
from alerts.rules.fields import mart_of
from alerts.rules.rule import Rule
from alerts.store import clause_values, fields_named, version_values
from market.errors import ServiceError
from market.settings import Settings
from warehouse.connection import connect

_TRIED: Final = Rules("tried_versions", "tried_clauses")
_TABLES: Final = """
create temporary table tried_versions (like app.alert_rule_versions) on commit drop;
create temporary table tried_clauses (like app.alert_clauses) on commit drop
"""
_VERSION: Final = """
insert into tried_versions (
    rule_id, version, condition, symbols, "interval", "trigger", is_edge, cooldown_seconds, hysteresis, is_hysteresis_percent,
    segments, message, channels, tickers, watchlist_group, has_event, has_quotes, rule_created_at, since_at, until_at,
    is_newest
)
values (
    0, 1, %(condition)s, %(symbols)s, %(interval)s, %(trigger)s, %(is_edge)s, %(cooldown_seconds)s, %(hysteresis)s,
    %(is_hysteresis_percent)s, %(segments)s, %(message)s, %(channels)s, %(tickers)s, null, %(has_event)s,
    %(has_quotes)s, '-infinity', '-infinity', %(expires_at)s, false
)
"""
_CLAUSE: Final = """
insert into tried_clauses values (
    0, 1, %(clause)s, %(operator)s, %(left_field)s, %(left_factor)s, %(right_field)s, %(right_factor)s, %(upper_field)s,
    %(upper_factor)s
)
"""
_CHANGED: Final = """
create temporary table changed on commit drop as
select every.series, every.interval, found.bar_at as from_at, found.bar_at as judged_from
from ({every}) as every
cross join lateral (
    select bars.bar_at from marts.{mart} as bars
    where bars.{column} = every.series and bars.interval = every.interval and bars.bar_at >= %(start)s
    order by bars.bar_at {order} limit 1
) as found
where every.interval = %(interval)s and (%(symbols)s::text[] is null or every.series = any(%(symbols)s))
"""
_WATCHED: Final = "select symbol from app.watchlist where %s in ('*', symbol_group)"
_COMPANIES: Final = "select distinct company from marts.daily_analytics where symbol = any(%s)"
_WITHIN: Final = """(%(end)s::timestamptz is null or bars.bar_end <= %(end)s)
    and (%(symbols)s::text[] is null or bars.symbol = any(%(symbols)s))"""
_LOOKED_AT: Final = f"select count(*) from judged_bars as bars where {_WITHIN}"  # noqa: S608 - text of our own
_FOUND: Final = f"""
select
    bars.symbol, bars.interval, bars.bar_at, bars.close, bars.is_final, bars.is_closed, bars.now, bars.before,
    desired.rule_id is not null
from judged_bars as bars
left join desired using (symbol, interval, bar_at)
where (%(everything)s or desired.rule_id is not null) and {_WITHIN}
order by bars.bar_at, bars.symbol
"""  # noqa: S608 - text of our own


@dataclass(frozen=True, slots=True)
class Tried:
    """A bar that a rule was tried on.

    Attributes
    ----------
    symbol, interval, bar_at, close
        The bar.
    is_final, is_closed
        Whether its segment is over, and whether it is.
    now, before
        The values that the rule names, on the bar and on the one before it; null where there is none.
    fires
        Whether the rule fires on it.
    """

    symbol: str
    interval: str
    bar_at: datetime
    close: Any
    is_final: bool
    is_closed: bool
    now: Mapping[str, float | None]
    before: Mapping[str, float | None]
    fires: bool


def backtest(settings: Settings, rule: Rule, *, start: datetime, end: datetime | None = None) -> list[Tried]:
    """Return the bars on which the rule would have fired, in order; before ``start`` nothing is known of it.

    Raises
    ------
    ServiceError
        If the database cannot be reached, or has no marts yet.
    """
    return backtest_counted(settings, rule, start=start, end=end)[0]


def backtest_counted(
    settings: Settings, rule: Rule, *, start: datetime, end: datetime | None = None
) -> tuple[list[Tried], int]:
    """Return what :func:`backtest` does, and how many bars were looked at."""
    return _tried(settings, rule, start=start, end=end, newest_alone=False)


def try_newest(settings: Settings, rule: Rule) -> list[Tried]:
    """Return the newest bar of each symbol, and whether the rule would fire on it; raises as :func:`backtest`."""
    return _tried(settings, rule, start=None, end=None, newest_alone=True)[0]


def _tried(
    settings: Settings, rule: Rule, *, start: datetime | None, end: datetime | None, newest_alone: bool
) -> tuple[list[Tried], int]:
    clauses = rule.clauses
    fields = dict(enumerate(fields_named(clauses), start=1))
    numbers = {name: number for number, name in fields.items()}
    mart = mart_of(rule.interval)
    with connect(settings, application_name="tapehouse backtest") as connection:
        if connection.execute("select to_regclass(%s)", [f"marts.{mart}"]).fetchone() == (None,):
            msg = f"There is no marts.{mart} yet. Build the marts first: ./run marts"
            raise ServiceError(msg)
        symbols = _symbols(connection, rule)
        connection.execute(_TABLES)
        connection.execute(_VERSION, {**version_values(rule), "tickers": symbols})
        for row in clause_values(clauses, numbers):
            connection.execute(_CLAUSE, row)
        order = "desc" if newest_alone else "asc"
        changed = _CHANGED.format(every=EVERY_SERIES[mart], mart=mart, column=MARTS[mart].series, order=order)
        values = {
            "start": start or "-infinity",
            "interval": rule.interval,
            "symbols": _series(connection, mart, symbols),
        }
        connection.execute(changed.encode(), values)
        connection.execute("analyze changed")
        create_tables(connection)
        judge(connection, mart, fields, _TRIED, with_state=False)
        asked: dict[str, Any] = {"everything": newest_alone, "end": end, "symbols": symbols}
        rows = connection.execute(_FOUND, asked).fetchall()
        ((number,),) = connection.execute(_LOOKED_AT, asked).fetchall()
        connection.rollback()
    return [_as_tried(row, list(fields.values())) for row in rows], number


def _symbols(connection: Any, rule: Rule) -> list[str] | None:  # noqa: ANN401 - psycopg is known to warehouse only
    """Return the symbols that a rule means now; ``None`` is all."""
    if rule.watchlist_group is not None:
        return [symbol for (symbol,) in connection.execute(_WATCHED, [rule.watchlist_group]).fetchall()]
    return list(rule.tickers) if rule.tickers is not None else None


def _series(connection: Any, mart: str, symbols: Sequence[str] | None) -> list[str] | None:  # noqa: ANN401
    if symbols is None or mart != DAILY:
        return list(symbols) if symbols is not None else None
    return [company for (company,) in connection.execute(_COMPANIES, [list(symbols)]).fetchall()]


def _as_tried(row: tuple[Any, ...], names: Sequence[str]) -> Tried:
    now, before = (dict(zip(names, found or [None] * len(names), strict=True)) for found in row[6:8])
    symbol, interval, bar_at, close, is_final, is_closed = row[:6]
    return Tried(symbol, interval, bar_at, close, is_final, is_closed, now, before, fires=row[8])
