"""What indicators cost: a full refresh of intraday_analytics by bar and column, and five classic ones against TA-Lib.

The bars are those of some symbols of :mod:`benchmarks.marts.universe`: eighteen months of 5, 15 and 60 minutes.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

import numpy as np
import structlog
import talib

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, spread
from benchmarks.marts.universe import SYMBOLS, Connection, fill
from market.indicators import indicators
from market.settings import Settings
from orchestration.dbt import Dbt
from warehouse.connection import connect
from warehouse.dbt import dbt_variables
from warehouse.dbt_indicators import copy_project
from warehouse.schema import migrate

Closes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

USED: Final = SYMBOLS[:40]
REPEATS: Final = 3
MICROSECONDS_A_VALUE: Final = 1.5
TIMES_TALIB: Final = 150.0

_CLASSIC: Final = {
    "sma": [20],
    "ema": [12],
    "rsi": [14],
    "macd": [[12, 26, 9]],
    "bollinger": [[20, 2]],
    **{name: [] for name in ("atr", "stochastic", "adx", "roc", "realised_volatility", "relative_volume")},
}
_BUILD: Final = ("--select", "intraday_analytics", "--exclude-resource-type", "test")
_CLASSIC_QUERY: Final = """
select max(close_sum_20::double precision / 20), max(ema_12), max(ema_12 - ema_26 - macd_signal),
    max(100 * avg_gain_14 / nullif(avg_gain_14 + avg_loss_14, 0)),
    max(sqrt(greatest(20 * square_sum_20 - close_sum_20 * close_sum_20, 0)::double precision) / 20)
from unnest(%(symbols)s::text[]) as symbol
cross join lateral staging.intraday_indicators(symbol, '5m', '-infinity')
"""

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures."""
    with scratch_engines(settings, broker=False) as engines:
        migrate(engines)
        Dbt(engines).build(["--exclude-resource-type", "test"], lambda _event: None)
        with connect(engines, application_name="tapehouse bench") as owner:
            owner.autocommit = True
            bars = fill(owner, USED)
            ((rows,),) = owner.execute("select count(*) from marts.intraday_ohlcv").fetchall()
            series = [_closes(owner, symbol) for symbol in USED]
            _log.info("marts_full", bars=rows, bars_5m=bars)
            refreshes = [
                _seconds(lambda: Dbt(engines).build(["--full-refresh", *_BUILD], _ignore)) for _ in range(REPEATS)
            ]
            with tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder:
                Dbt(engines, copy_project(_CLASSIC, Path(folder))).build(["--full-refresh", *_BUILD], _ignore)
            passes, peers = [], []
            for _ in range(REPEATS):
                passes.append(_seconds(lambda: owner.execute(_CLASSIC_QUERY, {"symbols": list(USED)}).fetchall()))
                peers.append(_seconds(lambda: _talib(series)))
    columns = len(indicators(dbt_variables()["indicators"]))
    yield _refresh_figure([1e6 * seconds / rows / columns for seconds in refreshes], rows, columns)
    yield _classic_figure([1e9 * each / bars for each in passes], [1e9 * each / bars for each in peers], bars)


def _refresh_figure(values: list[float], rows: int, columns: int) -> Figure:
    value = median(values)
    return Figure(
        figure=f"a full refresh of intraday_analytics: {rows / 1e6:.1f} million bars; {columns} columns of indicators",
        value=value,
        unit="us a bar and column",
        peer=None,
        peer_value=None,
        ratio=None,
        goal=f"value <= {MICROSECONDS_A_VALUE:g}",
        holds=value <= MICROSECONDS_A_VALUE,
        spread=spread(values),
    )


def _classic_figure(values: list[float], peers: list[float], bars: int) -> Figure:
    value, peer = median(values), median(peers)
    return Figure(
        figure=f"SMA; EMA; RSI; MACD and Bollinger bands in one pass over {bars / 1e6:.1f} million bars",
        value=value,
        unit="ns a bar",
        peer="TA-Lib",
        peer_value=peer,
        ratio=value / peer,
        goal=f"ratio <= {TIMES_TALIB:g}",
        holds=value / peer <= TIMES_TALIB,
        spread=spread(values),
    )


def _closes(connection: Connection, symbol: str) -> Closes:
    query = (
        "select close::double precision from marts.intraday_ohlcv where symbol = %s and interval = '5m' order by bar_at"
    )
    return np.array([close for (close,) in connection.execute(query, [symbol])])


def _talib(series: Sequence[Closes]) -> None:
    for closes in series:
        talib.SMA(closes, 20)
        talib.EMA(closes, 12)
        talib.RSI(closes, 14)
        talib.MACD(closes, 12, 26, 9)
        talib.BBANDS(closes, 20, 2, 2)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _ignore(_event: object) -> None:
    """Nothing is told of what dbt does."""
