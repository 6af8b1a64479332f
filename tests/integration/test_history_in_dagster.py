"""History by itself on a real platform: a symbol is added, its bars and its actions come, each asked for once; a range is filled
by hand; a corrected split and one that is taken back reach the mart."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from urllib.request import Request, urlopen

import pytest

from infra.local.home import Home
from infra.local.ports import free_port
from market.sessions import EXCHANGE_ZONE, sessions_between
from market.settings import CHECKOUT, inherited_environment
from tests.unit.ingest.history.yahoo_server import Row, Share, YahooServer, running_yahoo

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.timeout(1200)]

DEADLINE_SECONDS = 420
FIRST_DAY = date(2014, 1, 2)
SPLIT_DAY = date(2020, 8, 31)
Found = TypeVar("Found")
Call = Callable[..., str]


def eventually(look: Callable[[], Found | None], seconds: float = DEADLINE_SECONDS) -> Found:
    """Return what ``look`` finds, within the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(1)
    msg = "Nothing was found in time."
    raise AssertionError(msg)


@pytest.fixture(scope="module")
def yahoo() -> Iterator[YahooServer]:
    """A vendor that has daily bars of IBM since 2014, none within the day, and a split too small for prices to contradict it."""
    today = datetime.now(UTC).astimezone(EXCHANGE_ZONE).date()
    days = [session.session_date for session in sessions_between(FIRST_DAY, today)]
    with running_yahoo() as server:
        rows: list[Row] = [(f"{day} 09:30", 100.0, 101.0, 99.0, 100.5, 1000.0) for day in days]
        server.shares["IBM"] = Share({"1d": rows}, splits=[(f"{SPLIT_DAY} 09:30", 21, 20)])
        yield server


@pytest.fixture(scope="module")
def platform(yahoo: YahooServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """``./run up`` with that vendor, and what calls the other commands."""
    home = Home(tmp_path_factory.mktemp("platform"))
    environment = inherited_environment() | {
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONSAFEPATH": "1",
        "NO_PROXY": "127.0.0.1",
        "TAPEHOUSE_HOME": str(home.path),
        "TAPEHOUSE_YAHOO_URL": yahoo.url,
        "TAPEHOUSE_TRADES_PER_DAY": "2000",
        "TAPEHOUSE_SYMBOLS": "SPY",
    }

    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", "cli", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    output = tmp_path_factory.mktemp("output") / "up.txt"
    with output.open("wb") as file:
        command = [sys.executable, "-m", "cli", "up", "--dagster-port", str(free_port())]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: True if "DAGSTER_URL" in home.addresses() or process.poll() is not None else None)
        assert process.poll() is None, output.read_text()
        yield call
    finally:
        if process.poll() is None:
            call("down")
        process.wait(60)


@pytest.fixture(scope="module")
def ask(platform: Call) -> Callable[..., dict[str, Any]]:
    """Asks the webserver what a page would ask."""
    url = json.loads(platform("status", "--json"))["addresses"]["Dagster"]

    def ask_webserver(query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urlopen(Request(f"{url}/graphql", body, {"content-type": "application/json"}), timeout=60) as answer:
            content = json.load(answer)
        assert "errors" not in content, content
        data: dict[str, Any] = content["data"]
        return data

    return ask_webserver


def days_of_ten_years() -> int:
    """Return how many sessions have a daily bar at this moment, of those since the same day ten years ago."""
    now = datetime.now(UTC)
    today = now.astimezone(EXCHANGE_ZONE).date()
    ended = now - timedelta(minutes=90)
    return sum(one.post_close_at <= ended for one in sessions_between(today - timedelta(days=3_653), today))


def newest_tick(ask: Callable[..., dict[str, Any]]) -> tuple[str, str]:
    """Return the status and the reason of the newest tick that ended."""
    sensor = ask(
        '{ sensorOrError(sensorSelector: {repositoryLocationName: "tapehouse", repositoryName: "__repository__", '
        'sensorName: "history_gaps"}) { ... on Sensor { sensorState { ticks(limit: 2) { status skipReason } } } } }'
    )["sensorOrError"]
    ended = [tick for tick in sensor["sensorState"]["ticks"] if tick["status"] != "STARTED"]
    return (ended[0]["status"], ended[0]["skipReason"] or "") if ended else ("", "")


def is_for_history(selected: list[dict[str, Any]]) -> bool:
    """Return whether a run's assets are series of bars that are asked for."""
    return any(key["path"][0] == "history" for key in selected)


def runs_of(ask: Callable[..., dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return status, first and last partition of the runs for history, the newest first; the night's have ranges of their own."""
    query = "{ runsOrError { ... on Runs { results { status assetSelection { path } tags { key value } } } } }"
    runs = [run for run in ask(query)["runsOrError"]["results"] if is_for_history(run["assetSelection"] or [])]
    tagged = [(run["status"], {tag["key"]: tag["value"] for tag in run["tags"]}) for run in runs]
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return [(status, tags[names[0]], tags[names[1]]) for status, tags in tagged if names[0] in tags]


def test_a_symbol_that_is_added_gets_its_bars_and_a_range_by_hand_is_one_run(
    platform: Call, ask: Callable[..., dict[str, Any]], yahoo: YahooServer
) -> None:
    empty = "The watchlist is empty. Add symbols: ./run watchlist add spy ibm"
    eventually(lambda: True if newest_tick(ask) == ("SKIPPED", empty) else None)
    assert yahoo.requests == []

    assert platform("watchlist", "add", "--group", "tech", "ibm") == "Added: IBM\n"
    query = "select count(*) from marts.historical_ohlcv where symbol = 'IBM' and origin = 'yahoo'"

    def number(question: str) -> int:
        return int(platform("sql", question, "--csv").splitlines()[-1])

    def bars() -> int:
        return number(query)

    is_built = "select count(*) from pg_tables where schemaname = 'marts' and tablename = 'historical_ohlcv'"
    eventually(lambda: number(is_built) or None)
    eventually(lambda: True if bars() >= days_of_ten_years() else None)
    of_ten_years = bars()
    nothing = (
        "daily_bars: nothing is missing. intraday_bars: nothing is missing. corporate_actions: nothing is missing."
    )
    eventually(lambda: True if newest_tick(ask) == ("SKIPPED", nothing) else None)
    asked = sorted(request.parameters["interval"] for request in yahoo.requests)
    assert asked == ["1d", "1d", "5m"], "days, the actions and five minutes, each once"
    assert sorted(status for status, _, _ in runs_of(ask)) == ["SUCCESS", "SUCCESS"]

    launched = ask(
        "mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename "
        "... on PythonError { message } } }",
        p={
            "partitionsByAssets": [
                {
                    "assetKey": {"path": ["history", "daily_bars"]},
                    "partitions": {"ranges": [{"start": "2014-01-02|tech", "end": "2014-06-30|tech"}]},
                }
            ]
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    by_hand = len(list(sessions_between(FIRST_DAY, date(2014, 6, 30))))
    eventually(lambda: True if bars() >= of_ten_years + by_hand else None)
    eventually(lambda: True if all(status == "SUCCESS" for status, _, _ in runs_of(ask)) else None)
    assert [run[1:] for run in runs_of(ask)].count(("2014-01-02|tech", "2014-06-30|tech")) == 1
    assert len(runs_of(ask)) == 3
    assert len(yahoo.requests) == 4
    eventually(lambda: True if factors(platform) == ["0.952381", "1.000000"] else None)


def factors(platform: Call) -> list[str]:
    """Return the smallest and the largest split factor of the mart: before the split, and after it."""
    query = (
        "select round(min(split_factor), 6)::text || ' ' || round(max(split_factor), 6)::text from marts.historical_ohlcv "
        "where symbol = 'IBM' and origin = 'yahoo'"
    )
    return platform("sql", query, "--csv").splitlines()[-1].split()


def test_a_correction_and_a_withdrawal_reach_the_mart_by_themselves(
    platform: Call, ask: Callable[..., dict[str, Any]], yahoo: YahooServer
) -> None:
    """The first test has brought the split; nobody builds a mart by hand."""
    eventually(lambda: True if factors(platform) == ["0.952381", "1.000000"] else None)
    share = yahoo.shares["IBM"]
    share.splits = [(f"{SPLIT_DAY} 09:30", 11, 10)]
    selector = {
        "repositoryLocationName": "tapehouse",
        "repositoryName": "__repository__",
        "jobName": "collect_actions",
    }
    launched = ask(
        "mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
        "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        p={
            "selector": selector,
            "mode": "default",
            "runConfigData": {"ops": {"history__corporate_actions": {"config": {"again": True}}}},
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    eventually(lambda: True if factors(platform) == ["0.909091", "1.000000"] else None)
    share.splits = []
    platform("actions", "fetch", "--feed", "yahoo", "--withdraw")
    eventually(lambda: True if factors(platform) == ["1.000000", "1.000000"] else None)
