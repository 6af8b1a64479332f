import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from pydantic import SecretStr

from cli.addresses import shown_addresses, without_password
from cli.checkup import Verdict, examine
from cli.figures import Figures, gather
from cli.main import main
from infra.local.home import Home, Phase, write_json
from ingest.live.notice import FeedState, NoticeBoard
from market.errors import ServiceError
from market.settings import Settings, load_settings
from tests.unit.cli.conftest import CallCommand
from warehouse.progress import RowCount

URL = "postgresql://tapehouse:very-secret@127.0.0.1:5432/tapehouse?sslmode=disable"
ENDS = {("market.trades.v1", 0): 70, ("market.trades.v1", 1): 30, ("market.quotes.v1", 0): 5}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def settings(home: Home) -> Settings:
    values = {"home": home.path, "kafka_bootstrap_servers": "127.0.0.1:9", "database_url": SecretStr(URL)}
    return load_settings().model_copy(update=values)


def stream_status(next_offsets: dict[tuple[str, int], int]) -> SimpleNamespace:
    began = datetime.now(UTC) - timedelta(seconds=30)
    batch = SimpleNamespace(ingested_at=began, published_at=began, duration_ms=1500, newest_event_at=None)
    return SimpleNamespace(
        next_offsets=next_offsets,
        last_batch=batch,
        newest_bar_at=datetime(2013, 10, 7, 19, 59, tzinfo=UTC),
        bars=780,
        vendor_bars=2,
        quoted_symbols=1,
        marts={"historical_ohlcv": RowCount(1_234_567, is_exact=False), "intraday_ohlcv": RowCount(9)},
        missing_bars={"feed_down": 30, "no_trade": 1200},
    )


def figures_of(
    monkeypatch: pytest.MonkeyPatch, home: Home, settings: Settings, next_offsets: dict[tuple[str, int], int]
) -> Figures:
    monkeypatch.setattr("warehouse.progress.stream_status", lambda _: stream_status(next_offsets))
    monkeypatch.setattr("ingest.topics.end_offsets", lambda _: ENDS)
    return gather(home, settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "postgresql://tapehouse:********@127.0.0.1:5432/tapehouse"),
        ("postgresql://someone@host/db", "postgresql://someone@host/db"),
        ("host=db password=very-secret", "********"),
        ("postgresql://u:very-secret@host:port/db", "********"),
    ],
)
def test_a_shown_url_never_holds_the_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_addresses_tell_what_is_not_running(settings: Settings) -> None:
    bare = settings.model_copy(update={"kafka_bootstrap_servers": None, "database_url": None})
    shown = shown_addresses(bare, {})
    assert {shown[name] for name in ("Kafka", "PostgreSQL", "Dagster")} == {"not running"}


def test_lag_is_counted_per_topic_and_aged_by_the_last_batch(
    monkeypatch: pytest.MonkeyPatch, home: Home, settings: Settings
) -> None:
    figures = figures_of(monkeypatch, home, settings, {("market.trades.v1", 0): 70, ("market.trades.v1", 1): 10})
    assert {topic.topic: topic.lag for topic in figures.topics} == {"market.trades.v1": 20, "market.quotes.v1": 5}
    assert figures.lag_messages == 25
    assert figures.lag_seconds == pytest.approx(30, abs=5)


def test_nothing_missing_is_no_lag_however_old_the_last_batch_is(
    monkeypatch: pytest.MonkeyPatch, home: Home, settings: Settings
) -> None:
    figures = figures_of(monkeypatch, home, settings, dict(ENDS))
    assert (figures.lag_messages, figures.lag_seconds) == (0, 0.0)


def test_an_engine_that_cannot_be_asked_is_a_problem_and_the_rest_is_shown(
    monkeypatch: pytest.MonkeyPatch, home: Home, settings: Settings
) -> None:
    def refuse(_: object) -> None:
        msg = "Kafka at 127.0.0.1:9 did not say how far its topics reach."
        raise ServiceError(msg)

    monkeypatch.setattr("warehouse.progress.stream_status", lambda _: stream_status({}))
    monkeypatch.setattr("ingest.topics.end_offsets", refuse)
    figures = gather(home, settings)
    assert figures.problems == ["Kafka at 127.0.0.1:9 did not say how far its topics reach."]
    assert figures.rows["lake.bars_1m"].rows == 780
    assert not figures.is_well
    assert figures.lag_messages is None


def test_processes_are_told_apart_from_those_that_ended(
    monkeypatch: pytest.MonkeyPatch, home: Home, settings: Settings
) -> None:
    home.create()
    me = {"pid": os.getpid(), "started_at": psutil.Process().create_time(), "stop_signal": 15}
    write_json(home.pids_file, {"kafka": me, "stream": {**me, "started_at": 1000.0}})
    figures = figures_of(monkeypatch, home, settings, dict(ENDS))
    assert {process.name: process.state for process in figures.processes} == {"kafka": "running", "stream": "stopped"}
    assert figures.processes[0].memory_mib > 10


def test_status_as_json_is_one_object_without_secrets(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("market.settings.load_settings", lambda: settings)
    monkeypatch.setattr("cli.logs.load_settings", lambda: settings)
    monkeypatch.setattr("warehouse.progress.stream_status", lambda _: stream_status(dict(ENDS)))
    monkeypatch.setattr("ingest.topics.end_offsets", lambda _: ENDS)
    monkeypatch.setattr(sys, "argv", ["./run", "status", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    text = capsys.readouterr().out
    shown = json.loads(text)
    assert "very-secret" not in text
    assert shown["running"] is False
    assert shown["newest_bar_at"] == "2013-10-07T19:59:00+00:00"
    assert (shown["rows"]["lake.bars_1m"], shown["rows"]["marts.historical_ohlcv"]) == (780, 1_234_567)
    assert shown["estimated_rows"] == ["marts.historical_ohlcv"]
    assert shown["topics"][0] == {"topic": "market.quotes.v1", "end": 5, "taken_in": 5, "lag": 0}


@pytest.fixture
def owned(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The home, held by a platform whose PostgreSQL was not set up yet."""

    def refuse(_: object) -> None:
        msg = "The database was not set up yet. Start the platform with ./run up."
        raise ServiceError(msg)

    monkeypatch.setattr("warehouse.progress.stream_status", refuse)
    monkeypatch.setattr("ingest.topics.end_offsets", lambda _: ENDS)
    with home.lock("./run up"):
        yield home


def test_a_platform_that_starts_or_stops_is_said_to_and_is_well(owned: Home, settings: Settings) -> None:
    assert gather(owned, settings).phase is Phase.RUNNING
    assert not gather(owned, settings).is_well
    for phase in (Phase.STARTING, Phase.STOPPING):
        owned.write_phase(phase)
        figures = gather(owned, settings)
        assert (figures.phase, figures.is_well) == (phase, True)
    me = {"pid": os.getpid(), "started_at": 1000.0, "stop_signal": 15}
    write_json(owned.pids_file, {"kafka": me})
    owned.write_phase(Phase.STARTING)
    assert not gather(owned, settings).is_well, "an engine that ended is no way of starting"


def test_nothing_starts_on_a_home_that_nobody_holds(home: Home, owned: Home) -> None:
    owned.write_phase(Phase.STARTING)
    owned.lock_file.write_text("")
    assert home.phase() is None


def test_status_says_that_the_platform_is_starting(
    owned: Home, call_command: CallCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned.write_phase(Phase.STARTING)
    monkeypatch.setattr("market.settings.load_settings", lambda: Settings().model_copy(update={"home": owned.path}))
    code, out, _ = call_command("status")
    assert code == 0
    assert "Tapehouse is starting (`./run up`): not everything answers yet" in out
    assert "not running" not in out


def test_the_doctor_finds_secrets_that_others_can_read(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    monkeypatch.setenv("TAPEHOUSE_HOME", str(home.path))
    home.create()
    home.postgres.mkdir()
    password = home.postgres / "password"
    password.write_text("very-secret")
    password.chmod(0o644)
    (finding,) = [finding for finding in examine() if finding.subject == "permissions"]
    assert finding.verdict is Verdict.FAIL
    assert finding.remedy == f"chmod 600 {password}"


@pytest.mark.parametrize("state", [FeedState.LIVE, FeedState.REFUSED])
def test_the_doctor_says_that_the_feed_of_a_running_platform_is_refused(
    monkeypatch: pytest.MonkeyPatch, home: Home, state: FeedState
) -> None:
    monkeypatch.setenv("TAPEHOUSE_HOME", str(home.path))
    home.create()
    NoticeBoard(home.path).tell("alpaca", state, "The keys are refused." if state is FeedState.REFUSED else "")
    assert not [finding for finding in examine() if finding.subject == "live feed"], "of one that has ended nothing"
    with home.lock("./run up"):
        (finding,) = [finding for finding in examine() if finding.subject == "live feed"]
    if state is FeedState.LIVE:
        assert (finding.verdict, finding.found) == (Verdict.OK, "alpaca is live")
    else:
        assert finding.verdict is Verdict.WARN
        assert "The keys are refused. Once this is mended" in finding.found


def test_the_doctor_reports_a_bad_setting_instead_of_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEHOUSE_SEED", "seven")
    finding = examine()[-1]
    assert (finding.subject, finding.verdict) == ("settings", Verdict.FAIL)
    assert "TAPEHOUSE_SEED" in finding.found
