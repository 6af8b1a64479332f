"""Dagster's real processes on a real PostgreSQL: what a user does and sees in the UI, through the UI's own interface."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

import psycopg
import pytest

from cli.services import dagster_services
from infra.local.home import Home
from infra.local.ports import free_port
from infra.local.supervisor import Supervisor
from market.settings import Settings
from tests.unit.verify.tiny_lake import TinyLake, fill_bars, fill_others, fill_trades
from warehouse.schema import migrate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

DEADLINE_SECONDS = 240
SELECTOR = {"repositoryLocationName": "tapehouse", "repositoryName": "__repository__"}
BATCH = """
insert into lake.stream_batches
(query_id, batch_id, ingested_at, published_at, duration_ms,
 messages, trades, amendments, statuses, quotes, vendor_bars, corporate_actions, quarantined, duplicates, bars)
values ('query', 1, now(), now(), 800, 5, 0, 0, 0, 0, 0, 0, 5, 0, 0)
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


def eventually(look: Callable[[], Found | None], explain: Callable[[], object] = lambda: None) -> Found:
    """Return what ``look`` finds, within the deadline; if that is nothing, say what ``explain`` sees."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.5)
    msg = f"Nothing was found in time: {explain()}"
    raise AssertionError(msg)


def all_runs(ask: Ask) -> list[dict[str, Any]]:
    runs = "{ runsOrError { ... on Runs { results { runId jobName status parentRunId tags { key value } } } } }"
    found: list[dict[str, Any]] = ask(runs)["runsOrError"]["results"]
    return found


def test_the_code_location_loads_and_its_schedules_and_sensor_run(ask: Ask) -> None:
    answer = ask(
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } jobs { name } "
        "schedules { name scheduleState { status } } sensors { name sensorState { status } } } } } }"
    )
    (repository,) = answer["repositoriesOrError"]["nodes"]
    assert repository["location"]["name"] == "tapehouse"
    assert {"history", "marts"} <= {job["name"] for job in repository["jobs"]}
    assert {one["name"]: one["scheduleState"]["status"] for one in repository["schedules"]} == {
        "daily_actions": "RUNNING",
        "daily_history": "RUNNING",
        "hourly_arrivals": "RUNNING",
        "nightly_recompute": "RUNNING",
        "nightly_retention": "RUNNING",
        "nightly_tiers": "RUNNING",
        "nightly_verify": "RUNNING",
        "session_close": "RUNNING",
        "session_reports": "RUNNING",
        "weekly_full_refresh": "RUNNING",
    }
    assert sorted((one["name"], one["sensorState"]["status"]) for one in repository["sensors"]) == [
        ("history_gaps", "RUNNING"),
        ("intraday_marts", "RUNNING"),
        ("lake_progress", "RUNNING"),
        ("operators", "RUNNING"),
        ("touched_sessions", "RUNNING"),
    ]


def launch(ask: Ask, job: str) -> str:
    launched = ask(
        "mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
        "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        p={"selector": {**SELECTOR, "jobName": job}, "mode": "default", "runConfigData": {}},
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def wait_for_status(ask: Ask, run_id: str, *wanted: str) -> str:
    def look() -> str | None:
        run = ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)["runOrError"]
        return run["status"] if run["status"] in wanted else None

    return eventually(look)


def test_a_run_that_is_launched_in_the_ui_builds_the_marts(ask: Ask, settings: Settings) -> None:
    assert wait_for_status(ask, launch(ask, "marts"), "SUCCESS", "FAILURE", "CANCELED") == "SUCCESS"
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


@pytest.fixture(scope="module")
def lake(settings: Settings) -> TinyLake:
    """A lake that is written out by hand, of which PostgreSQL has the offsets and no bar."""
    lake = TinyLake(Path(settings.lake))
    fill_trades(lake)
    fill_bars(lake)
    fill_others(lake)
    lake.write()
    with psycopg.connect(settings.require_database()) as connection:
        for topic, end in (("market.trades.v1", 11), ("market.quotes.v1", 1), ("market.bars.v1", 2)):
            connection.execute("insert into lake.stream_offsets values (%s, 0, %s)", [topic, end])
    return lake


def test_a_range_of_sessions_is_worked_out_again_from_the_page_of_its_asset(
    ask: Ask, settings: Settings, lake: TinyLake
) -> None:
    launched = ask(
        "mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename "
        "... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
        p={
            "assetSelection": [{"path": ["lake", "recomputed_sessions"]}],
            "partitionNames": ["2013-10-04", "2013-10-07", "2013-10-08"],
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def ended() -> str | None:
        backfill = ask(
            "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }",
            id=launched["backfillId"],
        )["partitionBackfillOrError"]
        return backfill["status"] if backfill["status"] not in {"REQUESTED", "CANCELING"} else None

    assert eventually(ended) == "COMPLETED_SUCCESS"
    names = ("bar_at", "open", "high", "low", "close", "volume", "vwap", "trade_count", "revision", "revised_at")
    with psycopg.connect(settings.require_database()) as connection:
        connection.execute("set time zone 'UTC'")
        bars = connection.execute(f"select {', '.join(names)} from lake.bars_1m order by bar_at").fetchall()
    assert bars == [tuple(row[name] for name in names) for row in lake.published.bar_rows]
    ranges = [
        (tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"])
        for tags in ({tag["key"]: tag["value"] for tag in run["tags"]} for run in all_runs(ask))
        if "dagster/asset_partition_range_start" in tags and "tapehouse/nightly" not in tags
    ]
    assert ranges == [("2013-10-04", "2013-10-08")]


@pytest.mark.usefixtures("lake")
def test_the_laws_are_proved_when_they_are_asked_for(ask: Ask, settings: Settings) -> None:
    with psycopg.connect(settings.require_database()) as connection:
        connection.execute("delete from lake.vendor_bars")
    assert wait_for_status(ask, launch(ask, "verify"), "SUCCESS", "FAILURE", "CANCELED") == "SUCCESS"

    def outcome(asset: str) -> dict[str, str]:
        found = ask(
            "query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError "
            "{ ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } } }",
            key={"path": asset.split("/")},
        )["assetNodeOrError"]["assetChecksOrError"]["checks"]
        laws = [check for check in found if check["name"].startswith("law_")]
        return {check["name"]: check["executionForLatestMaterialization"]["status"] for check in laws}

    assert outcome("lake/bronze_messages") == {"law_1_every_message_once": "SUCCEEDED"}
    assert outcome("postgres/bars_1m") == {
        "law_2_same_bars": "FAILED",  # the vendor's bars are not in PostgreSQL
        "law_3_same_indicators": "SUCCEEDED",
    }


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
    run_id = launch(ask, "marts")
    wait_for_status(ask, run_id, "STARTED")
    os.killpg(supervisor.processes()["dagster-code"], signal.SIGKILL)

    def failed() -> bool | None:
        supervisor.step()
        run = ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)["runOrError"]
        return run["status"] == "FAILURE" or None

    assert eventually(failed)

    def run_again() -> str | None:
        supervisor.step()
        again = [run["status"] for run in all_runs(ask) if run["parentRunId"] == run_id]
        return again[0] if again and again[0] in {"SUCCESS", "FAILURE"} else None

    assert eventually(run_again, lambda: all_runs(ask)) == "SUCCESS"
