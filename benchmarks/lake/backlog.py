"""A backlog of a whole day: the full way of the stream, warm, against peers that make 1-minute bars of the same topic.

Each is timed from the first thing that it committed after its warm-up to the last; Tapehouse counts trades in PostgreSQL, with
repeats left out, and the peers count messages, with repeats: a hundredth in their favour.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from typing import Final
from urllib.parse import urlsplit

import polars as pl
import structlog
from pydantic import SecretStr

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone, spread
from benchmarks.lake.exact import exact_bars, share_equal
from benchmarks.lake.running import MEMORY_GOAL_GIB, stream, trade_progress
from benchmarks.lake.tape import publish_backlog
from benchmarks.peers.bars import GRACE, PeerRun, run_pyflink, run_quixstreams
from benchmarks.progress import Progress
from ingest.topics import end_offsets
from market.errors import ServiceError
from market.settings import CHECKOUT, Settings
from market.topics import TRADES
from warehouse.connection import connect
from warehouse.schema import migrate

TRADES_PER_SYMBOL: Final = 16_000
DAY: Final = date(2024, 2, 5)
WARM_TRADES: Final = 2_000_000
RATE_GOAL: Final = 150_000
QUIXSTREAMS_GOAL: Final = 10
PYFLINK_GOAL: Final = 0.8
QUIXSTREAMS_SECONDS: Final = 45
_PEER: Final = "1-minute OHLCV by"
_TAPE: Final = "500 symbols with 2 % late and 1 % repeated"
_FULL_WAY: Final = f"{_TAPE}: Kafka to bronze, quarantine, trades, bars and PostgreSQL, exactly once, warm"

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the rate against both peers, and the memory."""
    with scratch_engines(settings) as engines:
        _log.info("backlog", step="filling the topic")
        publish_backlog(engines, settings, DAY, TRADES_PER_SYMBOL)
        _log.info("backlog", step="the stream")
        with stream(engines, to_the_end=True) as watch:
            pass
        mine = trade_progress(engines)
        yield _against_quixstreams(engines, mine)
        _log.info("backlog", step="bars alone")
        yield _against_pyflink(engines, _bars_alone(engines))
        yield alone("memory of the stream with a backlog", watch.most_gib, "GiB", MEMORY_GOAL_GIB)


def _against_quixstreams(engines: Settings, mine: Progress) -> Figure:
    value, goal = mine.rate(WARM_TRADES), f"value >= {RATE_GOAL} and ratio >= {QUIXSTREAMS_GOAL}"
    _log.info("backlog", step="quixstreams")
    try:
        run = run_quixstreams(engines, seconds=QUIXSTREAMS_SECONDS)
        _require_right("quixstreams", engines, run, GRACE.total_seconds())
        rate = run.progress.rate()
    except ServiceError as error:
        return _figure(_FULL_WAY, mine, f"{_PEER} quixstreams, n/a: {error}", None, goal, holds=False)
    holds = value >= RATE_GOAL and value >= QUIXSTREAMS_GOAL * rate
    return _figure(_FULL_WAY, mine, f"{_PEER} quixstreams, two processes, exactly once", rate, goal, holds=holds)


def _against_pyflink(engines: Settings, mine: Progress) -> Figure:
    name, goal = f"{_TAPE}: 1-minute bars alone, by Tapehouse's parts, exactly once, warm", f"ratio >= {PYFLINK_GOAL}"
    _log.info("backlog", step="PyFlink")
    try:
        run = run_pyflink(engines)
        _require_right("PyFlink", engines, run, None)
        rate = run.progress.rate(WARM_TRADES)
    except ServiceError as error:
        return _figure(name, mine, f"{_PEER} PyFlink SQL, n/a: {error}", None, goal, holds=False)
    holds = mine.rate(WARM_TRADES) >= PYFLINK_GOAL * rate
    return _figure(name, mine, f"{_PEER} PyFlink SQL, two slots, exactly once", rate, goal, holds=holds)


def _bars_alone(engines: Settings) -> Progress:
    """Make bars and nothing else, into a database of their own; return how many trades were in it when."""
    own = _with_database_of_its_own(engines, "bars_alone")
    migrate(own)
    command = [sys.executable, "-c", "from benchmarks.lake.bars_alone import main; main()"]
    log = own.home / "bars_alone.log"
    with log.open("w") as output:
        done = subprocess.run(
            command, env=own.child_environment(), cwd=CHECKOUT, stdout=output, stderr=output, check=False
        )
    if done.returncode:
        raise ServiceError(f"Bars alone ended with {done.returncode}: {log.read_text()[-2000:]}")  # noqa: EM102
    ends = {place[1]: end for place, end in end_offsets(engines.require_kafka()).items() if place[0] == TRADES.name}
    counted = ("symbol", "minute", "trade_count")
    exact = exact_bars(engines, ends).select(counted)
    with connect(own, read_only=True) as connection:
        question = "select symbol, extract(epoch from bar_at)::bigint / 60, trade_count from lake.bars_1m"
        bars = pl.DataFrame(connection.execute(question).fetchall(), schema=exact.schema, orient="row")
    if bars.height != exact.height or exact.join(bars, on=counted).height != exact.height:
        msg = "The bars of Tapehouse's parts do not count the trades of the topic."
        raise ServiceError(msg)
    return trade_progress(own)


def _with_database_of_its_own(engines: Settings, name: str) -> Settings:
    with connect(engines) as connection:
        connection.autocommit = True
        connection.execute(f"create database {name}")
    url = urlsplit(engines.require_database())._replace(path=f"/{name}").geturl()
    return engines.model_copy(update={"database_url": SecretStr(url)})


def _require_right(name: str, engines: Settings, run: PeerRun, grace_seconds: float | None) -> None:
    """Raise if the peer did not come to the bars of the messages that it committed."""
    exact = exact_bars(engines, run.ends, grace_seconds=grace_seconds)
    share = share_equal(run.bars, exact)
    spreads = [round(rate) for rate in run.progress.rates()]
    _log.info("peer", name=name, messages=run.progress.done, bars=run.bars.height, equal=share, rates=spreads)
    if share < 1:
        msg = f"Of {exact.height} bars that {name} should have written, {share:.1%} are right: it is no peer."
        raise ServiceError(msg)


def _figure(name: str, mine: Progress, peer: str, peer_value: float | None, goal: str, *, holds: bool) -> Figure:
    value = mine.rate(WARM_TRADES)
    return Figure(
        figure=name,
        value=value,
        unit="trades/s",
        peer=peer,
        peer_value=peer_value,
        ratio=value / peer_value if peer_value else None,
        goal=goal,
        holds=holds,
        spread=spread(mine.rates(WARM_TRADES)),
    )
