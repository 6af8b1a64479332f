"""Changed bars to PostgreSQL: Tapehouse's transaction of a batch against Spark's JDBC writer, the same bars, the same server.

Spark's writer can only append: what its users do is to append to a table beside, and to change the bars from there by one
statement. Both are timed until the bars are changed. Its table has the columns, key and storage of ours, but no triggers.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from statistics import median
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from benchmarks.engines import scratch_engines
from benchmarks.figures import Figure, spread
from benchmarks.lake.running import stream
from benchmarks.lake.tape import publish_backlog
from benchmarks.peers.environment import peer_jar
from market.errors import ServiceError
from market.settings import CHECKOUT, Settings
from market.tables import BAR_REVISIONS, PG_BARS
from warehouse.batch import BatchOutput, publish_batch
from warehouse.connection import connect
from warehouse.staging import conform

DAY: Final = date(2024, 2, 7)
TRADES_PER_SYMBOL: Final = 1_500
BARS: Final = 60_000
TURNS: Final = 7
WARM_TURNS: Final = 2
GOAL: Final = 5
FIRST_REVISION: Final = 1_000
PEER_TABLE: Final = "peer.bars_1m"
PEER_STAGING: Final = "peer.staged_bars"
_PEERS: Final = {
    "fastest": "Spark's JDBC writer at its fastest to a staging table and an upsert from it",
    "default": "Spark's JDBC writer with its default batches to a staging table and an upsert from it",
}

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> Iterator[Figure]:
    """Yield how many changed bars are published a second."""
    with scratch_engines(settings) as engines:
        _log.info("publishing", step="making the bars")
        publish_backlog(engines, settings, DAY, TRADES_PER_SYMBOL)
        with stream(engines, to_the_end=True):
            pass
        rows = _newest_bars(engines)
        with connect(engines) as connection:
            connection.execute("create schema peer")
            connection.execute("create table peer.bars_before as select * from lake.bars_1m")
        mine = _mine(engines, rows)
        for way, peer in _PEERS.items():
            try:
                theirs = _theirs(engines, rows, way)
                _require_same(engines)
            except ServiceError as error:
                yield _figure(rows.num_rows, mine, f"Spark's JDBC writer, n/a: {error}", None)
            else:
                yield _figure(rows.num_rows, mine, peer, theirs)


def _figure(bars: int, mine: list[float], peer: str, theirs: list[float] | None) -> Figure:
    value, peer_value = bars / median(mine), bars / median(theirs) if theirs else None
    ratio = value / peer_value if peer_value else None
    return Figure(
        figure=f"{bars} changed bars to PostgreSQL",
        value=value,
        unit="bars/s",
        peer=peer,
        peer_value=peer_value,
        ratio=ratio,
        goal=f"ratio >= {GOAL}",
        holds=ratio is not None and ratio >= GOAL,
        spread=spread(mine),
    )


def _newest_bars(engines: Settings) -> pa.Table:
    revisions = pl.scan_delta(f"{engines.lake}/{BAR_REVISIONS.path}").sort("revision")
    newest = revisions.unique(("source", "symbol", "bar_at"), keep="last").sort("bar_at", "symbol").head(BARS)
    return conform(newest.collect().to_arrow(), PG_BARS.columns)


def _make_peer_tables(engines: Settings) -> None:
    with connect(engines) as connection:
        connection.execute("drop table if exists peer.bars_1m, peer.staged_bars")
        connection.execute("create table peer.bars_1m (like lake.bars_1m including all) with (fillfactor = 60)")
        connection.execute("insert into peer.bars_1m select * from peer.bars_before")
        connection.execute("create unlogged table peer.staged_bars (like lake.bars_1m)")


def _with_revision(rows: pa.Table, revision: int) -> pa.Table:
    place = rows.schema.get_field_index("revision")
    field = rows.schema.field(place)
    return rows.set_column(place, field, pa.repeat(pa.scalar(revision, field.type), rows.num_rows))


def _mine(engines: Settings, rows: pa.Table) -> list[float]:
    _log.info("publishing", step="Tapehouse")
    seconds = []
    for turn in range(TURNS + WARM_TURNS):
        now = datetime.now(UTC)
        changed = _with_revision(rows, FIRST_REVISION + turn)
        batch = BatchOutput("bench", turn, now, time.monotonic(), bars=rows.num_rows, bar_rows=changed)
        started = time.perf_counter()
        with connect(engines) as connection:
            publish_batch(connection, batch)
        seconds.append(time.perf_counter() - started)
    return seconds[WARM_TURNS:]


def _theirs(engines: Settings, rows: pa.Table, way: str) -> list[float]:
    _log.info("publishing", step=f"Spark's JDBC writer, {way}")
    jar, file = peer_jar(engines, "postgresql"), engines.home / "bars.parquet"
    pq.write_table(rows, file)
    command = [sys.executable, "-m", "benchmarks.peers.spark_jdbc", "--jar", str(jar), "--rows", str(file)]
    turns = ["--first-revision", str(FIRST_REVISION), "--turns", str(TURNS + WARM_TURNS)]
    turns += ["--fastest"] if way == "fastest" else []
    _make_peer_tables(engines)
    tables = ["--table", PEER_TABLE, "--staging", PEER_STAGING]
    done = subprocess.run(
        [*command, *turns, *tables],
        env=engines.child_environment(),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceError(f"Spark's JDBC writer ended with {done.returncode}: {done.stderr[-2000:]}")  # noqa: EM102
    timed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    warm = timed[WARM_TURNS:]
    medians = {name: round(median(turn[name] for turn in warm), 3) for name in ("append_seconds", "upsert_seconds")}
    _log.info("peer", name="Spark's JDBC writer", **medians)
    return [turn["append_seconds"] + turn["upsert_seconds"] for turn in warm]


def _require_same(engines: Settings) -> None:
    """Raise if the two tables do not hold the same bars."""
    names = ", ".join(PG_BARS.column_names)
    question = (
        f"select count(*) from (select {names} from lake.bars_1m except select {names} from peer.bars_1m) as differing"  # noqa: S608 - declared names
    )
    with connect(engines, read_only=True) as connection:
        row = connection.execute(question).fetchone()
    if row is None or row[0]:
        msg = f"{row and row[0]} bars that Spark's JDBC writer should have changed differ: it is no peer."
        raise ServiceError(msg)
