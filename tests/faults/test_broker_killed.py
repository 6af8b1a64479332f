"""The live market while its broker is killed and comes back: nothing is lost, and the position stays behind the broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.local.home import Home
from infra.local.kafka import kafka_service
from infra.local.supervisor import Supervisor
from ingest.feeds.simulated.client import session_tape
from ingest.live.market import HEARTBEAT_EVERY
from ingest.live.position import load_position, position_file
from ingest.topics import end_offsets
from market.records import Record, decode
from market.sessions import find_session
from market.settings import CHECKOUT, load_settings
from tests.unit.ingest.feed_contract import identity_of, moment_of

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SYMBOLS = ("IBM", "SPY")
TRADES_PER_DAY = 5_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Supervisor, str]]:
    home = Home(tmp_path / "broker")
    with home.lock("pytest"):
        supervisor = Supervisor(home, lambda _line: None)
        try:
            service, servers = kafka_service(home, load_settings().model_copy(update={"kafka_bootstrap_servers": None}))
            supervisor.start([service])
            yield supervisor, servers
        finally:
            supervisor.stop()


def wait_until(condition: Callable[[], bool], step: Callable[[], None], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        step()
        time.sleep(0.1)


def shown_through(path: Path) -> str:
    return str(json.loads(path.read_text())["shown_through"]) if path.exists() else ""


def everything_on(servers: str) -> list[Record]:
    ends = end_offsets(servers)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "witness", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, part, 0) for topic, part in ends])
        messages = [consumer.poll(20) for _ in range(sum(ends.values()))]
    finally:
        consumer.close()
    return [decode(message.value()) for message in messages]


@pytest.mark.timeout(240)
def test_a_killed_broker_costs_the_live_market_no_record(broker: tuple[Supervisor, str], tmp_path: Path) -> None:
    supervisor, servers = broker
    settings = load_settings().model_copy(
        update={
            "home": tmp_path / "home",
            "kafka_bootstrap_servers": servers,
            "symbols": ",".join(SYMBOLS),
            "trades_per_day": TRADES_PER_DAY,
        }
    )
    path = position_file(settings.home)
    live = subprocess.Popen(
        [sys.executable, "-m", "ingest.live", "--speed", "120"],
        env={**os.environ, **settings.environment()},
        cwd=CHECKOUT,
    )
    try:
        wait_until(lambda: bool(shown_through(path)), supervisor.step, 60)
        os.kill(supervisor.processes()["kafka"], signal.SIGKILL)
        before = shown_through(path)
        wait_until(lambda: shown_through(path) > before, supervisor.step, 120)
    finally:
        live.send_signal(signal.SIGTERM)
        code = live.wait(timeout=30)
    assert code == 0

    position = load_position(path)
    assert position is not None
    session = find_session(position.session_date)
    assert session is not None
    tape = session_tape(
        SYMBOLS, session, seed=settings.seed, trades_per_day=TRADES_PER_DAY, heartbeat_every=HEARTBEAT_EVERY
    )
    expected = {identity_of(record) for record in tape.records() if moment_of(record) <= position.shown_through}
    arrived = [identity_of(record) for record in everything_on(servers)]
    assert expected <= set(arrived)
    assert len(arrived) == len(set(arrived)), "an idempotent producer sends nothing twice"
