"""What a report reads: every figure in one transaction that sees one state of the database, so that the figures fit each other.

What belongs here: asking, and choosing of which symbols charts are shown. What does not: what the chapters say of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeAlias

from alerts.reports import queries
from alerts.reports.choice import charted_symbols
from alerts.reports.document import Source
from alerts.reports.period import SESSION, Period
from market.errors import NoDataError
from market.sessions import sessions_between
from market.settings import Settings
from warehouse.connection import connect, lost_connections
from warehouse.dbt import dbt_variables

Row: TypeAlias = Mapping[str, Any]
Connection: TypeAlias = Any
"""A connection of :mod:`warehouse`, which alone knows the driver."""

INTRADAY_INTERVAL: Final = "5m"
DAILY_SESSIONS: Final = 90
"""How many sessions a chart of days shows."""
INDICATORS: Final = ("sma_20", "sma_50", "bb_upper", "bb_lower")
RELATIONS: Final = (
    "marts.market_breadth",
    "marts.daily_analytics",
    "marts.intraday_analytics",
    "marts.anomalies",
    "marts.data_quality",
    "marts.bar_gaps",
)
_EVALUATION: Final = ("alerts", "evaluation")
_NOT_BUILT: Final = (
    "select bool_or(to_regclass(relation) is null) from unnest(%(relations)s::text[]) as marts (relation)"
)


@dataclass(frozen=True, slots=True)
class Series:
    """The bars of one symbol that a chart shows, oldest first, and the spans in which bars are missing for a reason."""

    symbol: str
    interval: str
    bars: Sequence[Row]
    shades: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a report says, as it was read.

    Attributes
    ----------
    scored
        Of how many of the sessions there are scores, from which anomalies follow.
    sources
        The state of each relation, by its name.
    batches
        How far each query of the stream was.
    """

    period: Period
    asked_at: datetime
    snapshot: str
    breadth: Sequence[Row]
    sessions: Sequence[Row]
    moves: Sequence[Row]
    alerts: Sequence[Row]
    rules: Sequence[Row]
    anomalies: Sequence[Row]
    scored: int
    quality: Sequence[Row]
    gaps: Sequence[Row]
    series: Sequence[Series]
    uncharted: int
    sources: Mapping[str, Source]
    batches: Sequence[Row]


def newest_session(settings: Settings, today: date) -> date:
    """Return the newest session of which the marts have anything.

    Raises
    ------
    NoDataError
        If they have nothing.
    """
    with _reading(settings) as connection:
        ((found,),) = connection.execute(queries.NEWEST_SESSION, {"today": today}).fetchall()
    if found is None:
        msg = "The marts are empty: there is nothing to report. Bring data in first, with ./run up, replay or backfill."
        raise NoDataError(msg)
    day: date = found
    return day


def nearest_session(settings: Settings, day: date) -> date | None:
    """Return the session next to a day of which the marts have anything, the later of two; none if they have nothing.

    Raises
    ------
    NoDataError
        If the marts are not built.
    ServiceError
        If PostgreSQL cannot be reached.
    """
    with _reading(settings) as connection:
        found = connection.execute(queries.NEAREST_SESSION, {"day": day}).fetchone()
    return found[0] if found is not None else None


def read_facts(settings: Settings, period: Period) -> Facts:
    """Read what a report of a period says.

    Raises
    ------
    NoDataError
        If the marts are not built, or have nothing of the period.
    ServiceError
        If PostgreSQL cannot be reached.
    """
    values = {
        "days": period.days,
        "before": period.before,
        "known": [period.before, *period.days],
        "priority": list(dbt_variables()["source_priority"]),
    }
    with _reading(settings) as connection:
        ((has_data,),) = connection.execute(queries.HAS_DATA, values).fetchall()
        if not has_data:
            raise NoDataError(_no_data(connection, period, settings.daily_history_feed))
        (moment,) = _rows(connection, queries.SNAPSHOT, values)
        moves = _rows(connection, queries.MOVES, values)
        alerts = _rows(connection, queries.ALERTS, values)
        symbols, left_out = charted_symbols(moves, alerts)
        return Facts(
            period=period,
            asked_at=moment["asked_at"],
            snapshot=moment["snapshot"],
            breadth=_rows(connection, queries.BREADTH, values),
            sessions=_rows(connection, queries.SESSIONS, values),
            moves=moves,
            alerts=alerts,
            rules=_rows(connection, queries.RULES, values),
            anomalies=_rows(connection, queries.ANOMALIES, values),
            scored=connection.execute(queries.SCORED, values).fetchone()[0],
            quality=_rows(connection, queries.QUALITY, values),
            gaps=_rows(connection, queries.GAPS, values),
            series=list(_series(connection, period, symbols)),
            uncharted=left_out,
            sources=_sources(connection, values),
            batches=_rows(connection, queries.BATCHES, values),
        )


@contextmanager
def _reading(settings: Settings) -> Iterator[Connection]:
    """Yield a connection whose statements all see the state of its first one."""
    with lost_connections(), connect(settings, read_only=True, application_name="tapehouse report") as connection:
        connection.execute("set transaction isolation level repeatable read")
        # What an evaluation has just filled has no statistics yet: a nested loop over it takes minutes, a hash a moment.
        connection.execute("set local enable_nestloop = off")
        ((not_built,),) = connection.execute(_NOT_BUILT, {"relations": list(RELATIONS)}).fetchall()
        if not_built:
            msg = "The marts that a report reads are not built yet. Build them: ./run marts"
            raise NoDataError(msg)
        yield connection


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[Row]:
    cursor = connection.execute(query, values)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _no_data(connection: Connection, period: Period, feed: str) -> str:
    ((newest,),) = connection.execute(queries.NEWEST_SESSION, {"today": date.max}).fetchall()
    first, last = period.days[0], period.days[-1]
    fetch = f"Fetch it: ./run backfill --feed {feed or 'yahoo'} --start {first} --end {last}"
    if newest is None:
        return f"There is no data of {period.name}, nor of any session. {fetch}"
    return f"There is no data of {period.name}; the newest session with data is {newest}. {fetch}"


def _series(connection: Connection, period: Period, symbols: Sequence[str]) -> Iterator[Series]:
    """Yield the bars of each symbol: of one session in minutes, where there are any, else days."""
    values: dict[str, Any] = {"days": period.days, "symbols": list(symbols), "interval": INTRADAY_INTERVAL}
    intraday: dict[str, list[Row]] = {}
    if period.kind == SESSION:
        query = queries.INTRADAY_BARS.format(indicators=_indicators(connection, "marts.intraday_analytics"))
        intraday = _by_symbol(_rows(connection, query, values))
    sessions = [session.session_date for session in sessions_between(date(1990, 1, 2), period.days[-1])]
    values |= {"symbols": [symbol for symbol in symbols if symbol not in intraday], "shown": sessions[-DAILY_SESSIONS:]}
    query = queries.DAILY_BARS.format(indicators=_indicators(connection, "marts.daily_analytics"))
    daily = _by_symbol(_rows(connection, query, values))
    shades = _by_symbol(_rows(connection, queries.SHADES, values | {"symbols": list(intraday)}))
    for symbol in symbols:
        if symbol in intraday:
            yield Series(symbol, INTRADAY_INTERVAL, intraday[symbol], shades.get(symbol, []))
        elif symbol in daily:
            yield Series(symbol, "1d", daily[symbol], [])


def _indicators(connection: Connection, relation: str) -> str:
    found = {name for (name,) in connection.execute(queries.COLUMNS, {"relation": relation})}
    return queries.indicators_of([name for name in INDICATORS if name in found], is_daily="daily" in relation)


def _by_symbol(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["symbol"], []).append(row)
    return found


def _sources(connection: Connection, values: Mapping[str, Any]) -> dict[str, Source]:
    """Return the state of each relation, and which run of Dagster built it last."""
    runs: dict[str, Row] = {}
    if connection.execute(queries.HAS_DAGSTER).fetchone()[0]:
        assets = [_asset_key("marts", relation.partition(".")[2]) for relation in RELATIONS] + [
            _asset_key(*_EVALUATION)
        ]
        runs = {row["asset_key"]: row for row in _rows(connection, queries.RUNS, {"assets": assets})}
    found = {}
    for row in _rows(connection, queries.STATES, values):
        schema, _, name = row["relation"].partition(".")
        run = runs.get(_asset_key(schema, name) if schema == "marts" else _asset_key(*_EVALUATION), {})
        is_built = row["relation"] != "app.alert_rules"
        found[row["relation"]] = Source(
            relation=row["relation"],
            version=row["version"] or "",
            changed_at=_moment(row["changed_at"]),
            run_id=run.get("run_id", "") if is_built else "",
            built_at=_moment(run.get("made_at")) if is_built else "",
        )
    return found


def _asset_key(group: str, name: str) -> str:
    """Return an asset's key as Dagster stores it."""
    return f'["{group}", "{name}"]'


def _moment(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else ""
