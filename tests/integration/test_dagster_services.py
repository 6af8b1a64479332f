"""Dagster's real processes on a real PostgreSQL: what a user does and sees in the UI, through the UI's own interface."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar
from urllib.request import Request, urlopen

import psycopg
import pytest

from cli.services import dagster_services
from infra.local.home import Home
from infra.local.ports import free_port
from infra.local.supervisor import Supervisor
from market.settings import Settings
from warehouse.schema import migrate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

DEADLINE_SECONDS = 240
SELECTOR = {"repositoryLocationName": "tapehouse", "repositoryName": "__repository__"}
BATCH = """
insert into lake.stream_batches
(query_id, batch_id, ingested_at, published_at, duration_ms,
 messages, trades, amendments, quotes, vendor_bars, quarantined, duplicates, bars)
values ('query', 1, now(), now(), 800, 5, 0, 0, 0, 0, 5, 0, 0)
"""

Ask = Callable[..., dict[str, Any]]
Found = TypeVar("Found")


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings) -> Settings:
    """A migrated database in which the stream has written one batch of rejected messages."""
    migrate(settings_with_database)
    with psycopg.connect(settings_with_database.require_database()) as connection:
        connection.execute(BATCH)
    return settings_with_database


@pytest.fixture(scope="module")
def platform(settings: Settings) -> Iterator[tuple[Supervisor, str]]:
    """The supervisor of code server, webserver and daemon, and the address of the pages."""
    home = Home(settings.home)
    with ExitStack() as stack:
        stack.enter_context(home.lock("pytest"))
        supervisor = Supervisor(home, lambda _line: None)
        stack.callback(supervisor.stop)
        code_server, others, url = dagster_services(home, settings, free_port())
        supervisor.start(code_server)
        supervisor.start(others)
        yield supervisor, url


@pytest.fixture(scope="module")
def ask(platform: tuple[Supervisor, str]) -> Ask:
    """Asks the webserver what a page would ask."""
    _, url = platform

    def ask_webserver(query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{url}/graphql", body, {"content-type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            content = json.load(answer)
        assert "errors" not in content, content
        data: dict[str, Any] = content["data"]
        return data

    return ask_webserver


def eventually(look: Callable[[], Found | None]) -> Found:
    """Return what ``look`` finds, within the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.5)
    msg = "Nothing was found in time."
    raise AssertionError(msg)


def test_the_code_location_loads_and_its_schedules_and_sensor_run(ask: Ask) -> None:
    answer = ask(
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } jobs { name } "
        "schedules { name scheduleState { status } } sensors { name sensorState { status } } } } } }"
    )
    (repository,) = answer["repositoriesOrError"]["nodes"]
    assert repository["location"]["name"] == "tapehouse"
    assert {"history", "marts"} <= {job["name"] for job in repository["jobs"]}
    assert {one["name"]: one["scheduleState"]["status"] for one in repository["schedules"]} == {
        "intraday_marts": "RUNNING",
        "nightly_retention": "RUNNING",
        "session_close": "RUNNING",
    }
    assert [(one["name"], one["sensorState"]["status"]) for one in repository["sensors"]] == [
        ("lake_progress", "RUNNING")
    ]


def launch_marts(ask: Ask) -> str:
    launched = ask(
        "mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
        "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        p={"selector": {**SELECTOR, "jobName": "marts"}, "mode": "default", "runConfigData": {}},
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def wait_for_status(ask: Ask, run_id: str, *wanted: str) -> str:
    def look() -> str | None:
        run = ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)["runOrError"]
        return run["status"] if run["status"] in wanted else None

    return eventually(look)


def test_a_run_that_is_launched_in_the_ui_builds_the_marts(ask: Ask, settings: Settings) -> None:
    assert wait_for_status(ask, launch_marts(ask), "SUCCESS", "FAILURE", "CANCELED") == "SUCCESS"
    with psycopg.connect(settings.require_database()) as connection:
        relations = connection.execute("select table_name from information_schema.tables where table_schema = 'marts'")
        assert {"realtime_prices", "intraday_ohlcv", "historical_ohlcv"} <= {name for (name,) in relations}


def test_a_batch_of_the_stream_shows_on_its_tables(ask: Ask) -> None:
    def materialized() -> dict[str, Any] | None:
        asset = ask(
            "query ($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(limit: 5) "
            "{ metadataEntries { label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } } } } }",
            key={"path": ["lake", "quarantine"]},
        )["assetOrError"]
        events = asset.get("assetMaterializations") or [None]
        assert len(events) == 1, "a batch was reported twice"
        event: dict[str, Any] | None = events[0]
        return event

    entries = {entry["label"]: entry for entry in eventually(materialized)["metadataEntries"]}
    assert entries["rows"]["intValue"] == 5
    assert entries["newest_batches"]["text"] == "query/1"


def test_runs_and_events_are_in_postgresql_in_a_schema_of_their_own(ask: Ask, settings: Settings) -> None:
    assert ask("{ version }")["version"]
    with psycopg.connect(settings.require_database()) as connection:
        schemas = connection.execute(
            "select table_schema from information_schema.tables where table_name in ('runs', 'event_logs', 'alembic_version')"
        ).fetchall()
        (runs,) = connection.execute("select count(*) from dagster.runs").fetchone() or (0,)
    assert {schema for (schema,) in schemas} == {"dagster"}
    assert runs >= 1
    assert not list((settings.home / "dagster").rglob("*.db"))


def test_a_run_whose_code_server_is_killed_fails_and_is_run_again(ask: Ask, platform: tuple[Supervisor, str]) -> None:
    supervisor, _ = platform
    run_id = launch_marts(ask)
    wait_for_status(ask, run_id, "STARTED")
    os.killpg(supervisor.processes()["dagster-code"], signal.SIGKILL)

    def failed() -> bool | None:
        supervisor.step()
        run = ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)["runOrError"]
        return run["status"] == "FAILURE" or None

    assert eventually(failed)

    def run_again() -> str | None:
        supervisor.step()
        runs = ask("{ runsOrError { ... on Runs { results { status parentRunId } } } }")["runsOrError"]["results"]
        again = [run["status"] for run in runs if run["parentRunId"] == run_id]
        return again[0] if again and again[0] in {"SUCCESS", "FAILURE"} else None

    assert eventually(run_again) == "SUCCESS"
