"""The relay's process killed at the worst moment, and at random ones, with receivers that note what they were sent."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from infra.local.postgres import postgres_service
from market.settings import CHECKOUT, Settings, load_settings
from tests.integration.conftest import running_engine
from tests.integration.outbox_rows import Outbox
from tests.integration.relays import wait_until
from tests.receivers import answers, receiving
from warehouse.schema import migrate

pytestmark = pytest.mark.faults

KILLS = 12
ALERTS_A_KILL = 40
APPLICATION = "tapehouse relay"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A PostgreSQL of this module's own, with its tables."""
    home = tmp_path_factory.mktemp("relay_home")
    with running_engine(postgres_service, home) as address:
        made = load_settings().model_copy(
            update={"home": home, "database_url": SecretStr(address), "kafka_bootstrap_servers": None}
        )
        migrate(made)
        yield made


@contextmanager
def relay_process(settings: Settings, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.alert_relay"],
            env=settings.child_environment(),
            cwd=CHECKOUT,
            stdout=file,
            stderr=file,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_kill_between_the_receivers_answer_and_the_mark_sends_that_one_again_with_its_id(
    settings: Settings, tmp_path: Path
) -> None:
    outbox = Outbox(settings)
    with receiving() as receiver, psycopg.connect(settings.require_database()) as blocker:

        def answer_but_hold_the_row(request: object) -> None:
            blocker.execute("select from app.alert_outbox for update")
            answers(200)(request)  # type: ignore[arg-type]

        outbox.channel("hook", receiver.url)
        for _ in range(3):
            outbox.alert("hook")
        receiver.behavior = answer_but_hold_the_row
        with relay_process(settings, tmp_path / "log") as process:
            wait_until(lambda: marks_waiting(outbox) == 1)
            process.kill()
            process.wait()
        outbox.connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", [APPLICATION]
        )
        blocker.rollback()
        receiver.behavior = answers(200)
        assert outbox.rows("status, attempts")[0] == ("pending", 1)
        with relay_process(settings, tmp_path / "log"):
            wait_until(lambda: outbox.statuses() == ["delivered"] * 3)
        first, second, third = outbox.ids("hook")
        assert receiver.ids == [first, first, second, third]


def marks_waiting(outbox: Outbox) -> int:
    query = "select count(*) from pg_stat_activity where application_name = %s and wait_event_type = 'Lock'"
    return int(outbox.connection.execute(query, [APPLICATION]).fetchone()[0])  # type: ignore[index]


def test_random_kills_of_two_relays_under_load_lose_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(2**32)
    with capsys.disabled():
        sys.stdout.write(f" seed {seed} ")
    chance = random.Random(seed)
    outbox = Outbox(settings)
    with receiving() as receiver, receiving() as other, ExitStack() as stack:
        outbox.channel("hook", receiver.url)
        outbox.channel("other", other.url)
        processes = [stack.enter_context(relay_process(settings, tmp_path / "log")) for _ in range(2)]
        for kill in range(KILLS):
            for _ in range(ALERTS_A_KILL):
                outbox.alert("hook", "other")
            done = len(receiver.requests)
            wanted = min(done + chance.randrange(1, ALERTS_A_KILL), (kill + 1) * ALERTS_A_KILL)
            wait_until(lambda wanted=wanted: len(set(receiver.ids)) >= wanted)  # type: ignore[misc]
            victim = processes[kill % 2]
            victim.kill()
            victim.wait()
            processes[kill % 2] = stack.enter_context(relay_process(settings, tmp_path / "log"))
        total = KILLS * ALERTS_A_KILL
        wait_until(lambda: outbox.statuses() == ["delivered"] * 2 * total)
        for name, one in (("hook", receiver), ("other", other)):
            counts = Counter(one.ids)
            assert set(counts) == set(outbox.ids(name))
            assert sum(counts.values()) - total <= KILLS
            assert list(counts) == outbox.ids(name), "in order of creation"


def test_sigterm_lets_the_attempt_that_is_under_way_end(settings: Settings, tmp_path: Path) -> None:
    outbox = Outbox(settings)
    log = tmp_path / "log"
    with receiving() as receiver:

        def answer_late(request: object) -> None:
            wait_until(lambda: terminated)
            time.sleep(0.3)
            answers(200)(request)  # type: ignore[arg-type]

        terminated = False
        receiver.behavior = answer_late
        outbox.channel("hook", receiver.url)
        outbox.alert("hook")
        with relay_process(settings, log) as process:
            wait_until(lambda: len(receiver.requests) == 1)
            process.terminate()
            terminated = True
            assert process.wait(15) == 0
        assert outbox.statuses() == ["delivered"]
    assert "relay_stopped" in log.read_text()


def test_no_log_of_the_relay_has_a_secret(settings: Settings, tmp_path: Path) -> None:
    outbox = Outbox(settings)
    log = tmp_path / "log"
    with receiving(answers(500)) as receiver:
        url = receiver.url.replace("127.0.0.1", "user:pa55word@127.0.0.1")
        outbox.channel("hook", f"{url}/t0ken-in-path?key=s3cret")
        outbox.channel("service", f"json://user:pa55word@127.0.0.1:{receiver.port}/t0ken-in-path")
        outbox.channel("mail", "smtp://user:pa55word@127.0.0.1:1/?from=a@b.c&to=d@e.f")
        outbox.alert("hook", "service", "mail", "log")
        with relay_process(settings, log) as process:
            wait_until(lambda: len(outbox.rows(where="last_error is not null")) == 3)
            wait_until(lambda: outbox.statuses("log") == ["delivered"])
            process.terminate()
            process.wait(15)
    text = log.read_text()
    assert text.count("delivery_failed") >= 3
    assert "alert_alert" in text
    errors = " ".join(str(row) for row in outbox.rows("last_error"))
    assert [word for word in ("pa55word", "t0ken", "s3cret") if word in text + errors] == []
