"""The stream as a process on the real Kafka and PostgreSQL: killed in the middle, stopped, and refused what would lose data.

The tests run in the order of this file on one lake.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable, write_deltalake

from infra.local.home import Home
from infra.local.kafka import kafka_service
from infra.local.supervisor import Supervisor
from ingest.topics import beginning_offsets, end_offsets, ensure_topics
from market import tables, topics
from market.settings import CHECKOUT, Settings, load_settings
from verify.laws import verify_all
from warehouse.connection import connect
from warehouse.progress import next_offsets
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

SEED = 11
OPEN_MICROS = 1_381_152_600_000_000  # 2013-10-07 09:30 in New York
SYMBOLS = ("AAPL", "IBM", "SPY")
TRADES = 4_000
DEADLINE_SECONDS = 150
POISON: list[bytes | None] = [b"{", None, b"\xff", b'{"kind":"trade"}', b'{"kind":"cancel"}']
BAR_COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "trade_count")

Trade = dict[str, Any]


@dataclass(frozen=True)
class Tape:
    """What was published: unique trades, and the number of messages around them that must count for nothing."""

    trades: list[Trade]
    poison: int
    repeats: int


def made_up_trades() -> list[Trade]:
    """Return trades of half an hour, many of them at the same moment, in an order that is not that of time."""
    chance = random.Random(SEED)
    trades: list[Trade] = [
        {
            "kind": "trade",
            "source": "test",
            "symbol": chance.choice(SYMBOLS),
            "ts": OPEN_MICROS + chance.randrange(1_800) * 1_000_000,
            "price": f"{chance.randrange(95_000_000, 105_000_000) / 10**6:.6f}",
            "size": chance.randrange(1, 1_000),
            "trade_id": f"t{number}",
            "sequence": number,
        }
        for number in range(TRADES)
    ]
    trades.sort(key=lambda trade: (trade["ts"] // 300_000_000, chance.random()))
    return trades


def publish(servers: str, messages: list[tuple[str, bytes | None]]) -> None:
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "enable.idempotence": True})
    for key, value in messages:
        producer.produce(topics.TRADES.name, key=key, value=value)
        producer.poll(0)
    assert producer.flush(60) == 0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of this module's own: what other tests published would have to be taken in as well."""
    home = Home(tmp_path_factory.mktemp("broker"))
    with home.lock("pytest"):
        supervisor = Supervisor(home, lambda _line: None)
        try:
            service, servers = kafka_service(home, load_settings().model_copy(update={"kafka_bootstrap_servers": None}))
            supervisor.start([service])
            ensure_topics(servers)
            yield servers
        finally:
            supervisor.stop()


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings, broker: str) -> Settings:
    migrate(settings_with_database)
    return settings_with_database.model_copy(
        update={
            "kafka_bootstrap_servers": broker,
            "max_messages_per_batch": 1_500,
            "batch_interval_seconds": 0.1,
            "spark_memory": "1g",
        }
    )


@pytest.fixture(scope="module")
def tape(settings: Settings) -> Tape:
    """A tape on the broker, with poison and repeats in it."""
    chance = random.Random(SEED)
    trades = made_up_trades()
    messages: list[tuple[str, bytes | None]] = []
    poison = repeats = 0
    for trade in trades:
        messages.append((trade["symbol"], json.dumps(trade).encode()))
        if chance.random() < 0.01:
            messages.append((trade["symbol"], chance.choice(POISON)))
            poison += 1
        if chance.random() < 0.02:
            messages.append((trade["symbol"], json.dumps(trade, indent=1).encode()))
            repeats += 1
    publish(settings.require_kafka(), messages)
    return Tape(trades, poison, repeats)


class Stream:
    """The process, its output in a file."""

    def __init__(self, settings: Settings, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "spark_jobs.jobs.stream", *arguments],
                cwd=CHECKOUT,
                env=settings.child_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Poll until the condition holds; fail if the process ends before, or the deadline passes."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3_000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3_000:]
            time.sleep(0.05)

    def finish(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Stream]]:
    streams: list[Stream] = []

    def start_stream(*arguments: str, settings: Settings = settings) -> Stream:
        streams.append(Stream(settings, tmp_path / f"stream-{len(streams)}.log", *arguments))
        return streams[-1]

    yield start_stream
    for stream in streams:
        stream.kill()


def taken_in(settings: Settings) -> int:
    """Return how many trade messages PostgreSQL says are done."""
    starts = beginning_offsets(settings.require_kafka())
    done = {place: end for place, end in next_offsets(settings).items() if place[0] == topics.TRADES.name}
    return sum(end - starts[place] for place, end in done.items())


def bars_by_hand(trades: list[Trade]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Return the bars by symbol and start in epoch microseconds, one trade at a time."""
    minutes: dict[tuple[str, int], list[tuple[int, int, Decimal, int]]] = {}
    for trade in trades:
        key = (trade["symbol"], trade["ts"] - trade["ts"] % 60_000_000)
        row = (trade["ts"], trade["sequence"], Decimal(trade["price"]), trade["size"])
        minutes.setdefault(key, []).append(row)
    return {key: _bar(sorted(rows)) for key, rows in minutes.items()}


def _bar(rows: list[tuple[int, int, Decimal, int]]) -> tuple[Any, ...]:
    prices, volume = [row[2] for row in rows], sum(row[3] for row in rows)
    with localcontext(prec=60):
        notional = sum((row[2] * row[3] for row in rows), Decimal(0))
        vwap = (notional / volume).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    return prices[0], max(prices), min(prices), prices[-1], volume, vwap, len(rows)


def stored_bars(settings: Settings) -> dict[tuple[str, int], tuple[Any, ...]]:
    with connect(settings) as connection:
        rows = connection.execute(
            f"select symbol, (extract(epoch from bar_at) * 1000000)::bigint, {', '.join(BAR_COLUMNS)} "
            "from lake.bars_1m where source = 'test' and trade_count > 0"
        ).fetchall()
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def lake_rows(settings: Settings, table: tables.Table) -> pl.DataFrame:
    frame = pl.read_delta(f"{settings.lake}/{table.path}")
    return frame.filter(pl.col("topic") == topics.TRADES.name)


@pytest.mark.faults
@pytest.mark.timeout(420)
def test_killed_in_the_middle_and_started_again_nothing_is_lost_or_doubled(
    settings: Settings, tape: Tape, start: Callable[..., Stream]
) -> None:
    everything = sum(
        end for (topic, _), end in end_offsets(settings.require_kafka()).items() if topic == topics.TRADES.name
    )
    killed = start("--to-the-end")
    killed.wait_until(lambda: taken_in(settings) > 0)
    killed.kill()
    assert 0 < taken_in(settings) < everything, "the stream was killed too late to prove anything"

    again = start("--to-the-end")
    assert again.finish() == 0, again.log.read_text()[-3_000:]

    results = verify_all(settings, end_offsets(settings.require_kafka()), complete=True)
    assert [(result.title, result.holds, result.offending) for result in results if not result.holds] == []
    assert stored_bars(settings) == bars_by_hand(tape.trades)
    bronze, trades = lake_rows(settings, tables.MESSAGES), lake_rows(settings, tables.TRADES)
    assert bronze.height == bronze.select("partition", "offset").n_unique() == everything
    assert sorted(trades.filter(pl.col("source") == "test")["trade_id"]) == sorted(
        row["trade_id"] for row in tape.trades
    )


def test_a_late_trade_and_a_cancel_revise_their_bars_and_sigterm_ends_the_stream_cleanly(
    settings: Settings, tape: Tape, start: Callable[..., Stream]
) -> None:
    before, done = stored_bars(settings), taken_in(settings)
    late = {**tape.trades[0], "trade_id": "late", "sequence": TRADES, "price": "999.5"}
    gone = tape.trades[-1]
    cancel = {"kind": "cancel", "source": "test", "symbol": gone["symbol"], "ts": 1, "ref_id": gone["trade_id"]}
    publish(
        settings.require_kafka(),
        [(row["symbol"], json.dumps(row).encode()) for row in (tape.trades[1], late, cancel)],
    )
    stream = start()
    stream.wait_until(lambda: taken_in(settings) == done + 3)
    stream.process.send_signal(signal.SIGTERM)
    assert stream.finish() == 0, stream.log.read_text()[-3_000:]
    assert "Traceback" not in stream.log.read_text()
    after = stored_bars(settings)
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {(row["symbol"], row["ts"] - row["ts"] % 60_000_000) for row in (late, gone)}
    assert after == bars_by_hand([*tape.trades[:-1], late])
    results = verify_all(settings, end_offsets(settings.require_kafka()), complete=True)
    assert [(result.title, result.holds, result.offending) for result in results if not result.holds] == []


def cli(settings: Settings, *arguments: str) -> dict[str, Any]:
    """Run a command with ``--json`` and return the last line that it prints."""
    command = [sys.executable, "-m", "cli", *arguments, "--json"]
    done = subprocess.run(
        command, env=settings.child_environment(), capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def broken_laws(settings: Settings) -> list[Any]:
    results = verify_all(settings, end_offsets(settings.require_kafka()), complete=True)
    return [(result.title, result.offending) for result in results if not result.holds]


def test_what_was_damaged_is_repaired_and_retried_while_the_stream_goes_on(
    settings: Settings, tape: Tape, start: Callable[..., Stream]
) -> None:
    before, done = stored_bars(settings), taken_in(settings)
    waiting, lost, last = tape.trades[7], tape.trades[70], tape.trades[700]
    stream = start()
    again = {**last, "trade_id": "again", "sequence": 2 * TRADES}
    publish(settings.require_kafka(), [(again["symbol"], json.dumps(again).encode())])
    stream.wait_until(lambda: taken_in(settings) == done + 1)  # the stream remembers the session

    trades = DeltaTable(f"{settings.lake}/{tables.TRADES.path}")
    (entry,) = pl.read_delta(trades).filter(pl.col("trade_id") == waiting["trade_id"]).to_dicts()
    rejected = {name: entry[name] for name in ("topic", "partition", "offset", "ingested_at")}
    trades.delete(f"trade_id in ('{waiting['trade_id']}', '{lost['trade_id']}')")
    schema = pl.read_delta(f"{settings.lake}/{tables.QUARANTINE.path}").schema
    older = pl.DataFrame([{**rejected, "reason": "bad_price", "rules_version": 0}], schema=schema)
    write_deltalake(f"{settings.lake}/{tables.QUARANTINE.path}", older.to_arrow(), mode="append")
    with connect(settings) as connection:
        connection.execute("update lake.bars_1m set close = 1, revision = 99 where symbol = 'IBM'")
        connection.execute("delete from lake.bars_1m where symbol = 'AAPL'")

    report = cli(settings, "recompute", "--start", "2013-10-07")
    assert report["is_repaired"]
    assert report["differences"]["silver/trades"] == {"missing": 1, "unexpected": 0, "different": 0}
    assert report["differences"]["lake.bars_1m"]["missing"] > 0
    assert broken_laws(settings) == []
    assert cli(settings, "recompute", "--start", "2013-10-07", "--dry-run")["differing"] == 0

    retried = cli(settings, "quarantine", "retry", "--reason", "bad_price")
    assert (retried["published"], retried["still_rejected"]) == (1, {})
    stream.wait_until(lambda: taken_in(settings) == done + 2)
    late = {**lost, "trade_id": "late-again", "sequence": 2 * TRADES + 1, "size": 7}
    publish(settings.require_kafka(), [(late["symbol"], json.dumps(row).encode()) for row in (late, lost)])
    stream.wait_until(lambda: taken_in(settings) == done + 4)
    stream.process.send_signal(signal.SIGTERM)
    assert stream.finish() == 0, stream.log.read_text()[-3_000:]
    assert broken_laws(settings) == []
    after = stored_bars(settings)
    minutes = {(row["symbol"], row["ts"] - row["ts"] % 60_000_000) for row in (again, late)}
    assert {key for key in after if after[key] != before[key]} == minutes
    assert cli(settings, "quarantine", "retry", "--reason", "bad_price")["already_in"] == 1


@pytest.mark.parametrize(
    ("missing", "says"),
    [("_checkpoints", "holds data but its checkpoints"), ("bronze", "belong to a lake that is missing from")],
)
@pytest.mark.usefixtures("tape")
def test_a_lake_without_its_checkpoints_and_the_reverse_are_refused_by_name(
    settings: Settings, start: Callable[..., Stream], tmp_path: Path, missing: str, says: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(settings.home / "lake", home / "lake")
    shutil.rmtree(home / "lake" / missing)
    stream = start("--to-the-end", settings=settings.model_copy(update={"home": home}))
    assert stream.finish() == 1
    log = stream.log.read_text()
    assert f"{home}/lake" in log
    assert says in log
    assert "Traceback" not in log
