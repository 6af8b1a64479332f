"""The commands that run the platform, as a user calls them, on a small market."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from infra.local.home import Home
from infra.local.ports import free_port
from infra.local.supervisor import recorded_processes
from ingest.feeds import FeedRequest, get_feed
from market.records import Trade
from market.sessions import find_session
from market.settings import CHECKOUT, Settings, inherited_environment

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.timeout(1200)]

SETTINGS = {"TAPEHOUSE_TRADES_PER_DAY": "2000", "TAPEHOUSE_SYMBOLS": "IBM,SPY", "TAPEHOUSE_SPARK_MEMORY": "1000m"}
SESSION = ["--start", "2024-02-05"]
START_SECONDS = 480


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("platform") / "a home")


@pytest.fixture(scope="module")
def environment(home: Home) -> dict[str, str]:
    paths = {"PYTHONPATH": str(CHECKOUT), "PYTHONSAFEPATH": "1", "TAPEHOUSE_HOME": str(home.path)}
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert set(SETTINGS) <= known
    return inherited_environment() | paths | SETTINGS


@pytest.fixture(scope="module")
def call(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*arguments: str, seconds: float = START_SECONDS) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)

    return run


@pytest.fixture(scope="module")
def after_once(call: Callable[..., "subprocess.CompletedProcess[str]"]) -> "subprocess.CompletedProcess[str]":
    """The home after a bounded input went the whole way."""
    return call("up", "--once", *SESSION)


@pytest.fixture(scope="module")
def running(
    environment: dict[str, str],
    home: Home,
    tmp_path_factory: pytest.TempPathFactory,
    after_once: "subprocess.CompletedProcess[str]",
) -> Iterator["subprocess.Popen[bytes]"]:
    """The platform, running on that home."""
    assert after_once.returncode == 0, after_once.stdout + after_once.stderr
    output = tmp_path_factory.mktemp("output") / "up.txt"
    command = [sys.executable, "-m", "cli", "up", "--dagster-port", str(free_port()), "--speed", "60"]
    busy = environment | {"TAPEHOUSE_TRADES_PER_DAY": "40000"}  # before and after hours, too, one a minute and more
    with output.open("wb") as file:
        process = subprocess.Popen(command, env=busy, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "DAGSTER_URL" in home.addresses() or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, output.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(180)


def minutes_with_trades() -> set[tuple[str, int]]:
    """Return symbol and minute of every regular trade of the session, from the feed itself."""
    session = find_session(date(2024, 2, 5))
    assert session is not None
    request = FeedRequest(("IBM", "SPY"), session.session_date, session.session_date, seed=1, trades_per_day=2000)
    opens, closes = (int(moment.timestamp()) * 1_000_000 for moment in (session.open_at, session.close_at))
    records = get_feed("simulated").read(request)
    return {(r.symbol, r.ts // 60_000_000) for r in records if isinstance(r, Trade) and opens <= r.ts < closes}


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.2)


def living(home: Home) -> set[str]:
    entries = recorded_processes(home).items()
    return {name for name, entry in entries if psutil.pid_exists(int(entry["pid"]))}


def test_once_takes_a_session_to_the_end_of_every_stage_and_stops_everything(
    after_once: "subprocess.CompletedProcess[str]", home: Home
) -> None:
    assert after_once.returncode == 0, after_once.stdout + after_once.stderr
    assert "Every law holds." in after_once.stdout
    assert home.owner() is None
    assert not home.pids_file.exists()
    assert not home.addresses_file.exists()


def test_what_once_brought_is_there_when_the_platform_runs(
    running: "subprocess.Popen[bytes]", call: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    assert running.poll() is None
    bars = "marts.intraday_ohlcv where session_date = '2024-02-05' and interval = '1m' and segment = 'regular'"
    answer = call("sql", f"select count(*) from {bars}", "--csv")
    assert answer.stdout.splitlines()[-1] == str(len(minutes_with_trades())), answer.stderr


def test_every_process_is_well_and_dagster_answers(
    running: "subprocess.Popen[bytes]", call: Callable[..., "subprocess.CompletedProcess[str]"], home: Home
) -> None:
    shown: dict[str, Any] = json.loads(call("status", "--json").stdout)
    states = {process["name"]: process["state"] for process in shown["processes"]}
    names = {"supervisor", "kafka", "postgres", "stream", "feed", "alerts", "price-alerts"}
    names |= {"dagster-code", "dagster-webserver", "dagster-daemon"}
    assert names <= set(states)
    assert set(states.values()) == {"running"}
    assert shown["command"] == "./run up"
    with urlopen(f"{home.addresses()['DAGSTER_URL']}/server_info", timeout=10) as answer:
        assert answer.status == 200
    assert sum(process["memory_mib"] for process in shown["processes"]) < 6 * 1024
    assert running.poll() is None


def test_nothing_listens_beyond_this_machine(running: "subprocess.Popen[bytes]") -> None:
    hosts = set()
    for process in [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # Dagster starts short-lived ones
            listening = [place for place in process.net_connections() if place.status == psutil.CONN_LISTEN]
            hosts |= {place.laddr.ip.removeprefix("::ffff:") for place in listening}
    assert hosts == {"127.0.0.1"}


def test_a_second_platform_on_the_same_home_is_refused_with_the_pid_of_the_first(
    running: "subprocess.Popen[bytes]", call: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    for command in (["up"], ["up", "--once", *SESSION]):
        second = call(*command)
        assert second.returncode == 1
        assert f"in use by `./run up` (pid {running.pid})" in second.stderr
        assert "Traceback" not in second.stderr


HISTORY = ("backfill", "--feed", "csv", "--interval", "1d", "--start", "2013-10-07", "--end", "2013-10-11")
DAYS_OF_A_WEEK = (
    "select symbol, count(*), sum(volume) from lake.vendor_bars where source = 'csv' group by symbol order by symbol"
)


def test_what_is_missing_of_history_is_fetched_once_and_the_good_comes_beside_the_bad(
    running: "subprocess.Popen[bytes]", call: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    assert running.poll() is None
    days = [f"2013-10-{day:02}" for day in range(7, 12)]
    good = [f"GOOD,{day},10,12,9,11,{100 + number}" for number, day in enumerate(days)]
    bad = [f"BAD,{day},10,12,{13 if day.endswith('09') else 9},11,1" for day in days]
    path = tmp_path / "days.csv"
    path.write_text("\n".join(["symbol,timestamp,open,high,low,close,volume", *good, *bad]) + "\n")
    planned = call(*HISTORY, "--path", str(path), "--dry-run")
    assert planned.returncode == 1, planned.stderr  # it says what will be wrong
    assert "10 bars read, 0 of them in the lake already with the same values; 9 would be published" in planned.stdout
    first = call(*HISTORY, "--path", str(path), "--json")
    assert first.returncode == 1, first.stderr  # of BAD one bar cannot be
    results = {line["symbol"]: line for line in map(json.loads, first.stdout.splitlines())}
    assert (results["GOOD"]["read"], results["GOOD"]["bars"], results["GOOD"]["problems"]) == (5, 5, {})
    assert (results["BAD"]["bars"], results["BAD"]["problems"]) == (4, {"prices_out_of_order": 1})
    stored = call("sql", DAYS_OF_A_WEEK, "--csv").stdout.splitlines()
    assert stored[1:] == ["BAD,4,4", "GOOD,5,510"]
    again = call(*HISTORY, "--path", str(path), "--symbols", "good")
    assert again.returncode == 0, again.stderr
    assert "5 bars read, 5 of them in the lake already with the same values; 0 published" in again.stdout


def test_actions_are_published_once_and_adjust_the_days_before_them(
    running: "subprocess.Popen[bytes]", call: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    assert running.poll() is None
    days, actions = tmp_path / "days.csv", tmp_path / "actions.csv"
    rows = [f"SPLT,2013-10-{day:02},{close},{close},{close},{close},70" for day, close in ((7, 70), (8, 70), (9, 10))]
    days.write_text(
        "\n".join(["symbol,timestamp,open,high,low,close,volume", *rows, "ODD,2013-10-07,5,5,5,5,1"]) + "\n"
    )
    listed = ["SPLT,split,2013-10-09,7,1", "ODD,split,2013-10-12,2,1", "ODD,split,2013-10-09,0,1"]
    actions.write_text("\n".join(["symbol,kind,effective_date,new_shares,old_shares", *listed]) + "\n")
    assert call(*HISTORY, "--path", str(days), "--symbols", "splt").returncode == 0
    fetch = ("actions", "fetch", "--feed", "csv", "--path", str(actions))
    first = call(*fetch)
    assert first.returncode == 1, first.stderr  # ODD has a split on a Saturday, and one that is none
    assert "1 actions published, all of them in the lake; 0 were known already." in first.stdout
    assert "no_session" in first.stderr
    assert "new_shares is 0" in first.stderr
    again = call(*fetch, "--symbols", "splt")
    assert again.returncode == 0, again.stderr
    assert "0 actions published, all of them in the lake; 1 were known already." in again.stdout
    assert call("marts").returncode == 0
    columns = "split_adjusted_close, split_adjusted_volume"
    question = f"select {columns} from marts.historical_ohlcv where symbol = 'SPLT' order by 1, 2"
    assert call("sql", question, "--csv").stdout.splitlines()[1:] == ["10.000000,70", "10.000000,490", "10.000000,490"]
    shown = call("actions", "list", "splt", "--json")
    assert [json.loads(line)["status"] for line in shown.stdout.splitlines()] == ["applied"]
    confirmed = call("actions", "confirm", "splt", "split", "2013-10-09")
    assert confirmed.returncode == 0, confirmed.stderr
    assert "Confirmed: split 7 for 1" in confirmed.stdout


def test_the_live_market_reaches_postgres_even_though_the_stream_was_killed(
    running: "subprocess.Popen[bytes]", call: Callable[..., "subprocess.CompletedProcess[str]"], home: Home
) -> None:
    before = int(recorded_processes(home)["stream"]["pid"])
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: recorded_processes(home)["stream"]["pid"] != before, 30)

    def newest_bar() -> str:
        return str(json.loads(call("status", "--json").stdout)["newest_bar_at"])

    seen = newest_bar()
    wait_until(lambda: newest_bar() > max(seen, "2024-02-06"), 180)
    assert running.poll() is None


def test_down_stops_everything_and_says_so(
    running: "subprocess.Popen[bytes]", call: Callable[..., "subprocess.CompletedProcess[str]"], home: Home
) -> None:
    pids = [int(entry["pid"]) for entry in recorded_processes(home).values()]
    stopped = call("down")
    assert stopped.returncode == 0
    assert f"Stopped `./run up` (pid {running.pid})" in stopped.stdout
    assert running.wait(10) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert living(home) == set()
    status = json.loads(call("status", "--json").stdout)
    assert (status["running"], status["processes"]) == (False, [])
