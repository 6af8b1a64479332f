"""Replay and the live market's process against a real broker."""

import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from threading import Event

import pytest

from ingest.feeds import FeedRequest, get_feed
from ingest.live.position import load_position, position_file
from ingest.replay import ReplayProgress, replay
from ingest.topics import end_offsets, ensure_topics
from market.settings import CHECKOUT, load_settings

pytestmark = pytest.mark.integration

DAY = date(2025, 11, 26)


def total(servers: str) -> int:
    return sum(end_offsets(servers).values())


@pytest.fixture
def topics(kafka: str) -> str:
    ensure_topics(kafka)
    return kafka


def test_a_replay_publishes_everything_and_reports_its_progress(topics: str) -> None:
    before = total(topics)
    request = FeedRequest(("IBM", "SPY"), DAY, DAY, trades_per_day=2_000)
    seen: list[ReplayProgress] = []
    summary = replay(topics, get_feed("simulated"), request, on_progress=seen.append)
    assert summary.is_complete
    assert summary.sent == get_feed("simulated").check(request) == total(topics) - before
    assert seen[-1].published == seen[-1].total == summary.sent


def test_a_paced_replay_stops_when_told_and_accounts_for_what_it_published(topics: str) -> None:
    before, stop_event = total(topics), Event()
    request = FeedRequest(("SPY",), DAY, DAY, trades_per_day=2_000)

    def stop_soon(progress: ReplayProgress) -> None:
        if progress.published >= 5:
            stop_event.set()

    summary = replay(topics, get_feed("simulated"), request, speed=2_000, on_progress=stop_soon, stop_event=stop_event)
    assert summary.is_complete
    assert 5 <= summary.sent < get_feed("simulated").check(request)
    assert total(topics) - before == summary.sent


def test_the_live_market_publishes_at_once_stops_on_sigterm_and_goes_on(topics: str, tmp_path: Path) -> None:
    settings = load_settings().model_copy(
        update={"home": tmp_path, "kafka_bootstrap_servers": topics, "symbols": "IBM,SPY", "trades_per_day": 20_000}
    )
    environment = {**os.environ, **settings.environment()}
    counts: list[int] = []
    path = position_file(tmp_path)
    for _ in range(2):
        before, saved_at = total(topics), path.stat().st_mtime_ns if path.exists() else None
        process = subprocess.Popen([sys.executable, "-m", "ingest.live"], env=environment, cwd=CHECKOUT)
        try:
            _wait_for_change(path, saved_at, process)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        counts.append(total(topics) - before)
    position = load_position(path)
    assert position is not None
    assert position.symbols == ("IBM", "SPY")
    assert counts[0] > 50
    assert counts[1] < counts[0] / 2


def _wait_for_change(path: Path, saved_at: int | None, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        if path.exists() and path.stat().st_mtime_ns != saved_at:
            return
        time.sleep(0.05)
    pytest.fail(f"{path} was not written within a minute")


def test_the_replay_command_stops_on_sigterm_with_an_account_that_adds_up(topics: str, tmp_path: Path) -> None:
    before = total(topics)
    settings = load_settings().model_copy(update={"home": tmp_path, "kafka_bootstrap_servers": topics})
    options = ["--symbols", "SPY", "--start", DAY.isoformat(), "--speed", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "replay", "simulated", *options],
        env={**os.environ, **settings.environment()},
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while total(topics) == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=40)
    assert process.returncode == 128 + signal.SIGTERM
    row = next(line for line in output.splitlines() if line.startswith("│"))
    sent, acknowledged, failed, unknown = (int(cell.replace(",", "")) for cell in row.split("│")[1:5])
    assert sent == acknowledged == total(topics) - before
    assert failed == unknown == 0
