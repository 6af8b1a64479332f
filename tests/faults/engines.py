"""The real Kafka and PostgreSQL of the fault suite, and platforms on them: a lake, a database and a home of their own."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from infra.local.home import Home
from infra.local.kafka import kafka_service
from infra.local.postgres import postgres_service
from infra.local.supervisor import Supervisor
from ingest.topics import end_offsets, ensure_topics
from market.settings import Settings, load_settings
from market.topics import TOPICS
from tests.faults.journal import Journal
from tests.faults.oracle import Verdict, judge
from verify.laws import verify_all
from warehouse.progress import next_offsets
from warehouse.schema import migrate

_TEMPLATE: Final = "faults_template"
_DEADLINE_SECONDS: Final = 120.0


@dataclass
class Engines:
    """A broker and a database server that can be killed, paused and come back at the same addresses."""

    servers: str
    postgres_url: str
    supervisor: Supervisor

    def pid(self, name: str) -> int:
        return self.supervisor.processes()[name]

    def kill(self, name: str) -> None:
        """Kill an engine by SIGKILL; it is started again by :meth:`recover`."""
        os.kill(self.pid(name), signal.SIGKILL)

    def pause(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGCONT)

    def recover(self, name: str) -> None:
        """Start an engine again that was killed, and wait until it serves."""
        killed = self.supervisor.processes().get(name)
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while self.supervisor.processes().get(name) in {killed, None} or not self._serves(name):
            assert time.monotonic() < deadline, f"{name} did not come back"
            self.supervisor.step()
            time.sleep(0.05)

    def _serves(self, name: str) -> bool:
        try:
            if name == "kafka":
                AdminClient({"bootstrap.servers": self.servers, "log_level": 0}).list_topics(timeout=2)
            else:
                psycopg.connect(self.postgres_url, connect_timeout=2).close()
        except Exception:  # noqa: BLE001 - not yet, whatever it is
            return False
        return True

    def renew_topics(self) -> None:
        """Delete the topics and create them anew: empty, their offsets from 0 on."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        names = {topic.name for topic in TOPICS}
        if there := names & set(admin.list_topics(timeout=30).topics):
            for deletion in admin.delete_topics(sorted(there)).values():
                deletion.result(30)
        wait_for(lambda: not names & set(admin.list_topics(timeout=30).topics), "the topics are still there")
        ensure_topics(self.servers)

    def platform(self, home: Path) -> "Platform":
        """Return a platform with an empty lake and an empty database."""
        name = f"faults_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            connection.execute(f"create database {name} template {_TEMPLATE}")
        settings = stream_settings(home, self.servers, _with_database(self.postgres_url, name))
        return Platform(settings, Journal())


@dataclass
class Platform:
    """What one scenario works on: settings of a lake and a database of its own, and the journal of what was sent."""

    settings: Settings
    journal: Journal

    @property
    def servers(self) -> str:
        return self.settings.require_kafka()

    def judge(self) -> Verdict:
        """Ask the oracle."""
        return judge(self.journal, self.servers, self.settings.lake, self.settings.require_database())

    def assert_every_law_holds(self) -> None:
        """Ask the oracle, then the second witness: the project's own proof, which shares no code with it."""
        verdict = self.judge()
        assert not verdict.broken, str(verdict)
        results = verify_all(self.settings, end_offsets(self.servers), complete=True)
        assert [(result.title, result.offending) for result in results if not result.holds] == []

    def published(self, *topics: str) -> int:
        """Return how many messages PostgreSQL says are done, of some topics or of all."""
        return sum(end for (topic, _), end in next_offsets(self.settings).items() if not topics or topic in topics)

    def has_more_than(self, messages: int, *topics: str) -> Callable[[], bool]:
        """Return the question whether more messages than so many are in PostgreSQL."""
        return lambda: self.published(*topics) > messages

    def is_caught_up(self) -> bool:
        return self.published() == sum(end_offsets(self.servers).values())

    def changed(self, **settings: object) -> "Platform":
        """Return the same platform with other settings."""
        return Platform(self.settings.model_copy(update=settings), self.journal)


def stream_settings(home: Path, servers: str, database_url: str) -> Settings:
    return load_settings().model_copy(
        update={
            "home": home,
            "kafka_bootstrap_servers": servers,
            "database_url": SecretStr(database_url),
            "lake_uri": None,
            "spark_master": None,
            "max_messages_per_batch": 2_000,
            "batch_interval_seconds": 0.1,
            "spark_memory": "512m",
        }
    )


def wait_for(condition: Callable[[], bool], otherwise: str, seconds: float = _DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


@contextmanager
def running_engines(folder: Path) -> Iterator[Engines]:
    """Start both engines, with a database to copy, and stop them at the end."""
    home = Home(folder)
    embedded = load_settings().model_copy(update={"kafka_bootstrap_servers": None, "database_url": None})
    with home.lock("pytest"):
        supervisor = Supervisor(home, lambda _line: None)
        try:
            kafka, servers = kafka_service(home, embedded)
            postgres, url = postgres_service(home, embedded)
            supervisor.start([kafka, postgres])
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"create database {_TEMPLATE}")
            migrate(embedded.model_copy(update={"database_url": SecretStr(_with_database(url, _TEMPLATE))}))
            yield Engines(servers, url, supervisor)
        finally:
            supervisor.stop()


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
