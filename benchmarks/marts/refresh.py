"""How fast a new minute of 500 symbols reaches the marts, and how that grows with the history.

The same twice: with some sessions of minutes in the lake, and with ten times as many. The last session is under way; each repeat
brings one more minute of every symbol, and builds what the sensor of Dagster has built: the models that look at the sessions
alone that are queued. Beside it stands a run of all models with their tests, as the schedule asks for it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import structlog

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone, spread
from benchmarks.marts.universe import Connection
from market.settings import Settings
from orchestration.assets.marts import TOUCHED_MODELS
from orchestration.dbt import Dbt
from orchestration.progress import queued
from warehouse.connection import connect
from warehouse.schema import migrate

SYMBOLS: Final = 500
SESSIONS: Final = 2
TIMES: Final = 10
REPEATS: Final = 5
RUNS_OF_ALL: Final = 2
SECONDS: Final = 2.0
GROWTH: Final = 1.2
NOTHING_MS: Final = 100.0
UNDER_WAY: Final = 180
"""How many minutes of the last session there are at first."""

_MINUTES: Final = """
insert into lake.bars_1m (
    source, symbol, bar_at, session_date, segment, open, high, low, close, volume, notional, vwap, trade_count,
    excluded_trade_count, cancelled_trade_count, corrected_trade_count, revision, revised_at
)
select
    'bench', 'S' || to_char(number, 'FM000'), minute_at, session_date, 'regular', price, price + spread, price - spread,
    price + move, volume, price * volume, price, 10, 0, 0, 0, 1, now()
from (
    select
        session_date,
        open_at,
        case
            when session_date = max(session_date) over () then open_at + %(until)s * interval '1 minute'
            else close_at
        end as ends_at
    from (
        select session_date, open_at, close_at from lake.sessions
        where session_date <= '2024-03-08' order by session_date desc limit %(sessions)s
    ) as chosen
) as sessions
cross join generate_series(
    open_at + %(since)s * interval '1 minute', ends_at - interval '1 minute', interval '1 minute'
) as minute_at
cross join generate_series(1, %(symbols)s) as number
cross join lateral (
    select
        (50 + number + 10 * sin(extract(epoch from minute_at) / 3000 + number))::numeric(18, 6) as price,
        (random() / 5 + 0.1)::numeric(18, 6) as spread,
        (random() / 10)::numeric(18, 6) as move,
        (100 + random() * 10000)::bigint as volume
) as walks
"""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Times:
    """Seconds of each repeat: of builds of what is queued, of runs of all models, and of finding out that nothing is."""

    touched: list[float] = field(default_factory=list)
    everything: list[float] = field(default_factory=list)
    nothing: list[float] = field(default_factory=list)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures."""
    few, many = (_refreshes(settings, sessions) for sessions in (SESSIONS, SESSIONS * TIMES))
    for times, sessions in ((few, SESSIONS), (many, SESSIONS * TIMES)):
        value, peer = median(times.touched), median(times.everything)
        yield Figure(
            figure=f"one new minute of {SYMBOLS} symbols in marts of bars and indicators; {sessions} sessions there",
            value=value,
            unit="s",
            peer="a run of all models with tests",
            peer_value=peer,
            ratio=value / peer,
            goal=f"value <= {SECONDS:g}",
            holds=value <= SECONDS,
            spread=spread(times.touched),
        )
    ratio = median(many.touched) / median(few.touched)
    yield Figure(
        figure=f"the same with {TIMES} times the history",
        value=median(many.touched),
        unit="s",
        peer=f"{SESSIONS} sessions",
        peer_value=median(few.touched),
        ratio=ratio,
        goal=f"ratio <= {GROWTH:g}",
        holds=ratio <= GROWTH,
        spread=spread(many.touched),
    )
    yield alone("a refresh with nothing new", 1000 * median(many.nothing), "ms", NOTHING_MS, many.nothing)


def _refreshes(settings: Settings, sessions: int) -> _Times:
    """Return how long each new minute took."""
    times = _Times()
    with scratch_engines(settings, broker=False) as engines:
        migrate(engines)
        dbt = Dbt(engines)
        with connect(engines, application_name="tapehouse bench") as owner:
            owner.autocommit = True
            put_minutes(owner, sessions, 0, UNDER_WAY)
            begun = time.monotonic()
            dbt.build(["--exclude-resource-type", "test"], _ignore)
            _log.info("marts_full", sessions=sessions, seconds=round(time.monotonic() - begun, 1))
            models = [name for name in TOUCHED_MODELS if _is_there(owner, name)]
            arguments = ["--select", *models, "--exclude-resource-type", "test"]
            for minute in range(UNDER_WAY, UNDER_WAY + REPEATS):
                put_minutes(owner, 1, minute, minute + 1)
                times.touched.append(_seconds(lambda: dbt.build(arguments, _ignore, touched=True)))
                times.nothing.append(_seconds(lambda: queued(engines, TOUCHED_MODELS)))
            for minute in range(UNDER_WAY + REPEATS, UNDER_WAY + REPEATS + RUNS_OF_ALL):
                put_minutes(owner, 1, minute, minute + 1)
                times.everything.append(_seconds(lambda: dbt.build([], _ignore)))
    return times


def _seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _is_there(connection: Connection, model: str) -> bool:
    found = "select coalesce(to_regclass(%(mart)s), to_regclass(%(staged)s)) is not null"
    values = {"mart": f"marts.{model}", "staged": f"staging.{model}"}
    ((is_there,),) = connection.execute(found, values).fetchall()
    return bool(is_there)


def put_minutes(connection: Connection, sessions: int, since: int, until: int) -> None:
    """Put minutes of every symbol: of the newest sessions, of the last one those from ``since`` to ``until``."""
    values = {"sessions": sessions, "since": since, "until": until, "symbols": SYMBOLS}
    connection.execute(_MINUTES.encode(), values)


def _ignore(_event: object) -> None:
    """Nothing is told of what dbt does."""
