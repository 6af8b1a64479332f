"""Relays, evaluations, the watch over prices, daemons and their sensor killed: no alert missed, no id doubled, none false."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from pydantic import SecretStr

from infra.local.kafka import kafka_service
from infra.local.postgres import postgres_service
from ingest.topics import ensure_topics
from market.settings import Settings, load_settings
from tests.faults.alert_bugs import BUGS
from tests.faults.alert_campaign import DAGSTER_KILLS, RELAY_KILLS, RUN_KILLS, STALLED, WATCH_KILLS, Campaign, campaign
from tests.faults.alert_dagster import Dagster
from tests.faults.alert_processes import prepare_marts, warm_up
from tests.faults.conftest import Extent
from tests.integration.conftest import running_engine
from warehouse.schema import migrate

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SHORT_KILLS = 14
KILLS_A_REST_OF_A_BUG = 2
MOST_RESTS_OF_A_BUG = 20
KILLS_A_REST = 50
"""So many kills, then everything is let come to rest, and the oracle is asked."""
DAGSTER_EVERY = 10
"""Before one rest of so many, the second first, Dagster's daemons and its sensor start the runs."""

DATABASE = "tapehouse"
TEMPLATE = "prepared"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A PostgreSQL of this module's own, with a database that has its tables and its marts, empty, and a copy of it."""
    home = tmp_path_factory.mktemp("alerts_home")
    with running_engine(postgres_service, home) as url:
        update = {"home": home, "kafka_bootstrap_servers": None, "lake_uri": None, "spark_master": None}
        made = load_settings().model_copy(update=update | {"database_url": SecretStr(url)})
        warm_up(made)
        migrate(made)
        is_long = request.config.getoption("fault_rounds", None) is not None
        chosen = [] if is_long else ["--select", "+intraday_analytics"]
        prepare_marts(made, home / "marts.log", *chosen)
        copy_database(made, DATABASE, TEMPLATE)
        yield made


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of this module's own, with the topics."""
    with running_engine(kafka_service, tmp_path_factory.mktemp("kafka_home")) as address:
        ensure_topics(address)
        yield address


@pytest.fixture
def settings(prepared: Settings) -> Settings:
    """The database as it was prepared. It has one name for all tests: dbt parses the project for a database."""
    copy_database(prepared, TEMPLATE, DATABASE)
    return prepared


def copy_database(settings: Settings, source: str, target: str) -> None:
    url = urlsplit(settings.require_database())
    with psycopg.connect(urlunsplit(url._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(f"drop database if exists {target} with (force)".encode())
        connection.execute(f"create database {target} template {source}".encode())


def assert_none_missed_doubled_or_false(fought: Campaign, extent: Extent, dagster: Dagster | None) -> None:
    verdict = fought.rest(dagster)
    extent.say(f"{sum(fought.kills.values())} kills: {verdict}")
    assert not verdict.missed, f"seed {extent.seed}: {verdict}"
    assert not verdict.doubled, f"seed {extent.seed}: {verdict}"
    assert not verdict.false, f"seed {extent.seed}: {verdict}"
    assert verdict.alerts, "there was something to be missed"


def test_killed_at_random_moments_while_bars_and_trades_come_and_change(
    settings: Settings, servers: str, extent: Extent, tmp_path: Path
) -> None:
    numbers = list(extent.numbers(short=SHORT_KILLS))
    with campaign(settings, servers, tmp_path, extent.seed) as fought:
        for part, first in enumerate(range(0, len(numbers), KILLS_A_REST), start=1):
            with ExitStack() as stack:
                dagster = stack.enter_context(fought.dagster()) if part % DAGSTER_EVERY == 2 else None
                kinds = RELAY_KILLS | WATCH_KILLS | (RUN_KILLS | STALLED if dagster is None else DAGSTER_KILLS)
                for number in numbers[first : first + KILLS_A_REST]:
                    with extent.round(number):
                        fought.kill(kinds, dagster)
                assert_none_missed_doubled_or_false(fought, extent, dagster)
        extent.say(", ".join(f"{number} {kind}" for kind, number in sorted(fought.kills.items())))
        done, failed = fought.processes.done, fought.processes.failed
        extent.say(f"{done} runs came to their end, {failed} failed; of the sensor {fought.sensors_runs} succeeded")
        assert len(numbers) <= KILLS_A_REST or fought.sensors_runs


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(settings: Settings, servers: str, extent: Extent, tmp_path: Path, name: str) -> None:
    """Whether a kill meets it is chance: so the oracle is asked every two kills, until it says so."""
    bug = BUGS[name]
    kinds = dict.fromkeys(bug.needs, 1.0) or RELAY_KILLS | RUN_KILLS
    with campaign(settings, servers, tmp_path, extent.seed, name) as fought:
        fought.tilt = bug.tilt
        for _ in range(MOST_RESTS_OF_A_BUG):
            for _ in range(KILLS_A_REST_OF_A_BUG):
                fought.kill(kinds)
                if fought.late and bug.caught_as == "missed":
                    extent.say(f"caught after {sum(fought.kills.values())} kills: {fought.late}")
                    return
            verdict = fought.rest()
            if getattr(verdict, bug.caught_as):
                extent.say(f"caught after {sum(fought.kills.values())} kills: {verdict}")
                return
    pytest.fail(f"not caught: {verdict}")
