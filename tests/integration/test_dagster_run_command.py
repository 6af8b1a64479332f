"""``python -m orchestration.run`` on a real broker and a real PostgreSQL. The stream is played: its offsets are far ahead."""

import subprocess
import sys
import time

import psycopg
import pytest

from ingest.feeds import FeedRequest, get_feed
from ingest.topics import end_offsets, ensure_topics
from market.settings import CHECKOUT, Settings
from market.topics import BARS, TOPICS
from warehouse.schema import migrate

pytestmark = pytest.mark.integration

FAR_AHEAD = 10**9
DEADLINE_SECONDS = 120
GRACE_SECONDS = 15
SAMPLE_BARS = get_feed("sample").check(FeedRequest())


@pytest.fixture(scope="module")
def settings(settings_with_database: Settings, kafka: str) -> Settings:
    """A migrated database whose stream has passed everything, and a broker with the topics."""
    migrate(settings_with_database)
    ensure_topics(kafka)
    with psycopg.connect(settings_with_database.require_database()) as connection:
        for topic in TOPICS:
            for partition in range(topic.partitions):
                connection.execute(
                    "insert into lake.stream_offsets values (%s, %s, %s)", [topic.name, partition, FAR_AHEAD]
                )
    return settings_with_database.model_copy(update={"kafka_bootstrap_servers": kafka})


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestration.run", *arguments],
        env=settings.child_environment(),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def bars_on_the_broker(settings: Settings) -> int:
    return sum(end_offsets(settings.require_kafka(), topics=(BARS,)).values())


def test_history_and_marts_run_here_and_are_recorded_for_the_ui(settings: Settings) -> None:
    before = bars_on_the_broker(settings)
    done = run(settings, "history", "marts", "--wait-for-lake", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    assert "job_finished" in done.stderr
    assert bars_on_the_broker(settings) - before > 1_000
    with psycopg.connect(settings.require_database()) as connection:
        runs = connection.execute("select pipeline_name, status from dagster.runs order by id").fetchall()
        locations = connection.execute("select distinct value from dagster.run_tags where key = '.dagster/repository'")
        assert locations.fetchall() == [("__repository__@tapehouse",)]
        connection.execute("select * from marts.historical_ohlcv limit 1")
    assert runs == [("history", "SUCCESS"), ("marts", "SUCCESS")]


def test_a_failing_model_fails_the_command_with_its_name_and_without_a_stack_trace(settings: Settings) -> None:
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        connection.execute("alter table lake.latest_quotes rename column bid_at to bid_since")
    try:
        done = run(settings, "marts")
    finally:
        with psycopg.connect(settings.require_database(), autocommit=True) as connection:
            connection.execute("alter table lake.latest_quotes rename column bid_since to bid_at")
    assert done.returncode == 1
    assert "bid_at" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lake_that_lacks_messages_ends_the_wait_with_how_many(settings: Settings) -> None:
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        connection.execute("update lake.stream_offsets set next_offset = 0 where topic = %s", [BARS.name])
    missing = bars_on_the_broker(settings)
    done = run(settings, "marts", "--wait-for-lake", "--timeout", "0.5")
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        connection.execute("update lake.stream_offsets set next_offset = %s", [FAR_AHEAD])
    assert done.returncode == 1
    assert f"{missing:,} messages" in done.stderr


def test_an_unknown_job_is_wrong_usage(settings: Settings) -> None:
    done = run(settings, "everything")
    assert done.returncode == 2
    assert "history" in done.stderr


def test_a_job_that_is_asked_to_stop_ends_and_does_not_publish_again(settings: Settings) -> None:
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        connection.execute("update lake.stream_offsets set next_offset = 0 where topic = %s", [BARS.name])
    before = bars_on_the_broker(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.run", "history"],
        env=settings.child_environment(),
        cwd=CHECKOUT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (published := bars_on_the_broker(settings) - before) < SAMPLE_BARS and time.monotonic() < deadline:
            time.sleep(0.2)
        assert published == SAMPLE_BARS
        process.terminate()
        assert process.wait(GRACE_SECONDS) != 0
    finally:
        process.kill()
    assert bars_on_the_broker(settings) - before == SAMPLE_BARS
