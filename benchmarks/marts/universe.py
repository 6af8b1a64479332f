"""Marts of 500 made-up symbols, written by PostgreSQL itself: random walks on the true calendar, the same each time.

Eighteen months of 5-minute bars with the 15-minute and 1-hour bars that the mart makes of them, ten years of days, and the last
two sessions in minutes. Real tickers stand among the symbols, so that the business questions can be asked as they are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import structlog

Connection: TypeAlias = Any
"""A connection of :mod:`warehouse`, which alone knows the driver."""

SYMBOLS: Final = ("AAPL", "FB", "GOOG", "IBM", "MSFT", "SPY", *(f"S{number:03}" for number in range(494)))
WALKS: Final = 20
"""So many symbols walk by themselves; each of the others goes with one of them: that halves the time."""
LAST: Final = "2013-10-08"
FIRST_INTRADAY: Final = "2012-04-09"
FIRST_DAILY: Final = "2003-10-09"
FIRST_MINUTE: Final = "2013-10-07"

_SQL: Final = Path(__file__).parent / "sql"
_BARS: Final = ("intraday_ohlcv", "historical_ohlcv")
_FILLED: Final = (
    *("marts.intraday_ohlcv", "marts.historical_ohlcv", "marts.bar_reconciliation", "staging.int_session_gaps"),
    *("lake.bars_1m", "lake.latest_quotes", "lake.corporate_actions", "lake.bar_sessions"),
)
_COLUMNS: Final = """
select array_agg(attname::text order by attnum) from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped and attname not in ('symbol', 'current_symbol')
"""

_log = structlog.get_logger(__name__)


def fill(connection: Connection, symbols: Sequence[str] = SYMBOLS) -> int:
    """Fill the marts, which are empty, and return how many 5-minute bars there are; the connection commits each statement."""
    for statement in ("tapehouse.is_building = 'on'", "synchronous_commit = off", "work_mem = '64MB'"):
        connection.execute(f"set {statement}".encode())
    connection.execute("select setseed(0.5)")
    intraday, daily = ((_SQL / f"{name}.sql").read_bytes() for name in ("intraday", "daily"))
    for symbol in symbols[:WALKS]:
        values = {"symbol": symbol, "last": LAST}
        fives = {"first": FIRST_INTRADAY, "step": "5 minutes", "lengths": ["5m", "15m", "1h"]}
        ones = {"first": FIRST_MINUTE, "step": "1 minute", "lengths": ["1m"]}
        connection.execute(intraday, values | fives)
        connection.execute(intraday, values | ones)
        connection.execute(daily, values | {"first": FIRST_DAILY})
    for number, symbol in enumerate(symbols[WALKS:]):
        if number % 100 == 0:
            _log.info("marts_filled", symbols=WALKS + number)
        for mart in _BARS:
            _follow(connection, mart, symbols[number % WALKS], symbol)
    connection.execute((_SQL / "beside.sql").read_bytes())
    for relation in _FILLED:
        connection.execute(f"vacuum (analyze) {relation}".encode())
    ((bars,),) = connection.execute("select count(*) from marts.intraday_ohlcv where interval = '5m'").fetchall()
    return int(bars)


def _follow(connection: Connection, mart: str, leader: str, symbol: str) -> None:
    """Give a symbol the bars of another."""
    ((names,),) = connection.execute(_COLUMNS, [f"marts.{mart}"]).fetchall()
    columns = ", ".join(f'"{name}"' for name in names)
    others, value = (", current_symbol", ", %(symbol)s") if mart == "historical_ohlcv" else ("", "")
    query = (
        f"insert into marts.{mart} (symbol{others}, {columns}) select %(symbol)s{value}, {columns} "  # noqa: S608 - own names
        f"from marts.{mart} where symbol = %(leader)s order by interval, bar_at"
    )
    connection.execute(query.encode(), {"symbol": symbol, "leader": leader})
