"""The twenty business questions, asked as an analyst asks them: each within 100 ms, against DuckDB over the same rows."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit

import duckdb
import structlog
from pydantic import SecretStr

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, spread
from benchmarks.marts.parquet import NAME, parquet_of
from benchmarks.marts.universe import SYMBOLS, Connection, fill
from market.settings import Settings
from orchestration.dbt import Dbt
from warehouse.analyst import ROLE, admit_analyst
from warehouse.connection import connect
from warehouse.questions import read_questions
from warehouse.schema import migrate

MOST_MS: Final = 100.0
REPEATS: Final = 7
REPEATED_UP_TO_MS: Final = 5000.0

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield a figure a question."""
    with (
        scratch_engines(settings, broker=False) as engines,
        tempfile.TemporaryDirectory(prefix="tapehouse-bench-") as folder,
    ):
        migrate(engines)
        Dbt(engines).build(["--exclude-resource-type", "test"], lambda _event: None)
        analyst = _as_analyst(engines)
        questions = read_questions()
        relations = sorted(frozenset().union(*(question.marts for question in questions)))
        with connect(engines, application_name="tapehouse bench") as owner:
            owner.autocommit = True
            begun = time.monotonic()
            bars = fill(owner)
            _log.info("marts_full", bars_5m=bars, seconds=round(time.monotonic() - begun))
            peer = parquet_of(owner, relations, Path(folder))
        size = f"{len(SYMBOLS)} symbols; {bars / 1e6:.1f} million 5-minute bars"
        with connect(analyst, application_name="tapehouse bench") as session, closing(peer):
            session.autocommit = True
            session.execute("set statement_timeout = 0")  # a question that takes too long is a figure like the others
            for question in questions:
                times = _times(partial(_ask, session, question.sql))
                peer_times = _times(partial(_ask, peer, question.sql))
                yield _figure(f"{question.name} ({size})", times, peer_times)


def _as_analyst(engines: Settings) -> Settings:
    """Return settings that lead to the same database in the role of the analyst."""
    password = secrets.token_urlsafe(16)
    admit_analyst(engines, lambda: password, owns_server=True)
    url = urlsplit(engines.require_database())
    theirs = url._replace(netloc=f"{ROLE}:{password}@{url.hostname}:{url.port}").geturl()
    return engines.model_copy(update={"database_url": SecretStr(theirs)})


def _times(ask: Callable[[], object]) -> list[float]:
    """Return how many milliseconds each repeat took, from the question to its last row; the first asking only warms up."""
    first = _milliseconds(ask)
    return [first] if first > REPEATED_UP_TO_MS else [_milliseconds(ask) for _ in range(REPEATS)]


def _ask(session: Connection | duckdb.DuckDBPyConnection, sql: str) -> None:
    session.execute(sql).fetchall()


def _milliseconds(ask: Callable[[], object]) -> float:
    begun = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - begun)


def _figure(name: str, times: list[float], peer_times: list[float]) -> Figure:
    value, peer_value = median(times), median(peer_times)
    return Figure(
        figure=name,
        value=value,
        unit="ms",
        peer=NAME,
        peer_value=peer_value,
        ratio=value / peer_value,
        goal=f"value <= {MOST_MS:g}",
        holds=value <= MOST_MS,
        spread=spread(times),
    )
