"""How fast a new minute of 500 symbols reaches the marts, and how that grows with the history.

The same twice: with some sessions of minutes in the lake, and with ten times as many. The last session is under way; each repeat
brings one more minute of every symbol, and builds what the schedule of Dagster builds, tests included.
"""

import time
from collections.abc import Iterator
from statistics import median
from typing import Final

import structlog

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, spread
from benchmarks.marts.universe import Connection
from market.settings import Settings
from orchestration.dbt import Dbt
from warehouse.connection import connect
from warehouse.schema import migrate

SYMBOLS: Final = 500
SESSIONS: Final = 2
TIMES: Final = 10
REPEATS: Final = 5
SECONDS: Final = 2.0
GROWTH: Final = 1.2
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


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures."""
    few, many = (_refreshes(settings, sessions) for sessions in (SESSIONS, SESSIONS * TIMES))
    for times, sessions in ((few, SESSIONS), (many, SESSIONS * TIMES)):
        yield Figure(
            figure=f"one new minute of {SYMBOLS} symbols in all marts; {sessions} sessions of minutes there",
            value=median(times),
            unit="s",
            peer=None,
            peer_value=None,
            ratio=None,
            goal=f"value <= {SECONDS:g}",
            holds=median(times) <= SECONDS,
            spread=spread(times),
        )
    ratio = median(many) / median(few)
    yield Figure(
        figure=f"the same with {TIMES} times the history",
        value=median(many),
        unit="s",
        peer=f"{SESSIONS} sessions",
        peer_value=median(few),
        ratio=ratio,
        goal=f"ratio <= {GROWTH:g}",
        holds=ratio <= GROWTH,
        spread=spread(many),
    )


def _refreshes(settings: Settings, sessions: int) -> list[float]:
    """Return how many seconds each new minute took."""
    with scratch_engines(settings, broker=False) as engines:
        migrate(engines)
        dbt = Dbt(engines)
        with connect(engines, application_name="tapehouse bench") as owner:
            owner.autocommit = True
            _put(owner, sessions, 0, UNDER_WAY)
            begun = time.monotonic()
            dbt.build([], _ignore)
            _log.info("marts_full", sessions=sessions, seconds=round(time.monotonic() - begun, 1))
            times = []
            for minute in range(UNDER_WAY, UNDER_WAY + REPEATS):
                _put(owner, 1, minute, minute + 1)
                begun = time.monotonic()
                dbt.build([], _ignore)
                times.append(time.monotonic() - begun)
            return times


def _put(connection: Connection, sessions: int, since: int, until: int) -> None:
    values = {"sessions": sessions, "since": since, "until": until, "symbols": SYMBOLS}
    connection.execute(_MINUTES.encode(), values)


def _ignore(_event: object) -> None:
    """Nothing is told of what dbt does."""
