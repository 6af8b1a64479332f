"""History from files to the marts, and read again: 500 symbols, ten years of days; and how much of a limit is used.

The bars are a random walk of made-up symbols, in one Parquet file.
"""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import structlog

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, alone
from benchmarks.lake.running import stream
from ingest.feeds.csv.history import CsvHistory
from ingest.history.backfill import run_backfill
from ingest.history.door import BarsDoor
from ingest.history.fetch import Pace
from ingest.history.files import Bounds, UnstoredRows, stored_of
from ingest.history.order import Order, plan_of
from ingest.history.plan import Plan, make_plan
from ingest.history.source import Limit, Offer
from ingest.history.summary import Summary
from market.errors import ServiceError
from market.records import DAILY
from market.sessions import sessions_between
from market.settings import Settings
from orchestration.run import run_jobs
from warehouse.history import missing_sessions
from warehouse.schema import migrate

SYMBOLS: Final = 500
START: Final = date(2014, 1, 2)
END: Final = date(2023, 12, 29)
MARTS_SECONDS: Final = 180.0
PLAN_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 5.0
LIMIT: Final = Limit(50, 1.0)
LIMIT_SECONDS: Final = 10
USED: Final = 0.9

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield the figures."""
    with scratch_engines(settings) as engines, tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder:
        migrate(engines)
        source = CsvHistory(_write_bars(Path(folder)))
        with stream(engines):
            begun = time.monotonic()
            planned = _planned(engines, source.symbols())
            plan = _plan(engines, source)
            _log.info("history", step="fetching", asks=len(plan.asks))
            summary = _backfill(engines, source, plan)
            fetched = time.monotonic() - begun
            _log.info("history", step="marts", seconds_so_far=round(fetched, 1), bars=summary.bars)
            run_jobs(engines, ["marts"])
            taken = time.monotonic() - begun
            begun = time.monotonic()
            source = CsvHistory(Path(folder) / "bars.parquet")
            again = _backfill(engines, source, _plan(engines, source))
            again_seconds = time.monotonic() - begun
    read = sum(result.there for result in again.symbols.values())
    _require(complete=summary.is_done and again.is_done and read == summary.bars and not again.bars)
    bars = f"{SYMBOLS} symbols; ten years of days"
    yield alone(f"{bars} from a file to the marts", taken, "s", MARTS_SECONDS)
    yield alone(f"{bars}: the plan with everything missing", planned, "s", PLAN_SECONDS)
    yield alone(f"{bars}: read again; bars published {again.bars}", again_seconds, "s", AGAIN_SECONDS)
    yield _use_of_the_limit()


def _write_bars(folder: Path) -> Path:
    """Write a random walk for each symbol, and return the file."""
    chance = np.random.default_rng(1)
    days = [session.session_date for session in sessions_between(START, END)]
    closes = np.exp(np.cumsum(chance.normal(0, 0.01, (SYMBOLS, len(days))), axis=1)) * 100
    opens = closes * np.exp(chance.normal(0, 0.005, closes.shape))
    columns = {
        "symbol": np.repeat([f"S{number:03}" for number in range(SYMBOLS)], len(days)),
        "timestamp": pl.Series(days * SYMBOLS),
        "open": opens.ravel(),
        "high": (np.maximum(opens, closes) * 1.01).ravel(),
        "low": (np.minimum(opens, closes) * 0.99).ravel(),
        "close": closes.ravel(),
        "volume": chance.integers(10_000, 10_000_000, closes.size),
    }
    prices = ("open", "high", "low", "close")
    path = folder / "bars.parquet"
    pl.DataFrame(columns).with_columns(pl.col(*prices).round(2).cast(pl.Decimal(18, 6))).write_parquet(path)
    return path


def _plan(engines: Settings, source: CsvHistory) -> Plan:
    order = Order.of(engines, source, DAILY, symbols="", start=START, end=END, now=datetime.now(UTC))
    return plan_of(engines, source, order)


def _backfill(engines: Settings, source: CsvHistory, plan: Plan) -> Summary:
    stop = threading.Event()
    with (
        _pace(engines.home / "limits.sqlite", source.limit, stop) as pace,
        BarsDoor(engines, source.name, DAILY, remembers=False) as door,
    ):
        unstored = UnstoredRows(source, stored_of(engines, source.name), Bounds(START, END))
        return run_backfill(unstored, plan, door, pace, stop=stop)


def _use_of_the_limit() -> Figure:
    """Return which part of the requests that a limit allows were made, by a source that answers at once."""
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder,
        _pace(Path(folder) / "limits.sqlite", LIMIT, stop) as pace,
    ):
        begun = time.monotonic()
        while time.monotonic() - begun < LIMIT_SECONDS:
            pace()
        used = pace.requests / (LIMIT.requests * (1 + LIMIT_SECONDS / LIMIT.seconds))
    return Figure(
        figure=f"requests made of those that {LIMIT.requests} in {LIMIT.seconds:g} s allow",
        value=used,
        unit="parts",
        peer=None,
        peer_value=None,
        ratio=None,
        goal=f"value >= {USED:g}",
        holds=used >= USED,
        spread=0.0,
    )


@contextmanager
def _pace(path: Path, limit: Limit | None, stop: threading.Event) -> Iterator[Pace]:
    pace = Pace(limit, path, stop)
    try:
        yield pace
    finally:
        pace.close()


def _planned(engines: Settings, symbols: Sequence[str]) -> float:
    """Return how long the plan takes for a vendor of whose bars the lake has none."""
    begun = time.monotonic()
    now = datetime.now(UTC)
    missing = missing_sessions(engines, "vendor", DAILY, symbols, start=START, end=END, until=now)
    sessions = tuple(sessions_between(START, END))
    plan = make_plan(symbols, sessions, missing, Offer(DAILY), today=now.date(), limit=None)
    taken = time.monotonic() - begun
    _require(complete=sum(plan.missing.values()) == len(symbols) * len(sessions))
    return taken


def _require(*, complete: bool) -> None:
    if not complete:
        msg = "The backfill did not bring every bar, or the second one publishes some again."
        raise ServiceError(msg)
