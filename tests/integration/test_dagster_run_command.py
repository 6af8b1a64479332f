"""``python -m orchestration.run`` on a real broker and a real PostgreSQL. The stream is played: its offsets are far ahead."""

import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psycopg
import pytest

from ingest.feeds import FeedRequest, get_feed
from ingest.topics import end_offsets, ensure_topics
from market.records import Bar
from market.settings import CHECKOUT, Settings
from market.topics import BARS, TOPICS
from orchestration.resources import Lake
from orchestration.run import FAILS_AGAIN
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
    assert done.returncode == FAILS_AGAIN
    assert "Error: The model stg_latest_quotes failed: Database Error" in done.stderr
    assert "bid_at" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failing_test_fails_the_command_with_its_name_and_where_its_rows_are(settings: Settings) -> None:
    on_a_sunday = (
        "insert into lake.bars_1m values "
        "('v', 'IBM', '2013-12-01 14:30:00+00', '2013-12-01', 'regular', 1, 1, 1, 1, 7, 7, 1, 1, 0, null, 0, 0, 1, now())"
    )
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        connection.execute(on_a_sunday)
        done = run(settings, "marts")
        connection.execute("delete from lake.bars_1m where source = 'v'")
        assert done.returncode == FAILS_AGAIN
        assert "Traceback" not in done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: The test ")]
        assert line.startswith(
            "Error: The test relationships_stg_bars_1m_session_date__session_date__ref_stg_sessions_ of stg_bars_1m failed: "
            "1 row. ./run sql - < "
        )
        connection.execute(on_a_sunday)
        query = Path(line.split("'")[1]).read_text()
        (row,) = connection.execute(query.encode()).fetchall()
        connection.execute("delete from lake.bars_1m where source = 'v'")
        assert date(2013, 12, 1) in row


def test_a_value_that_is_not_possible_fails_the_command_before_a_model_is_built(settings: Settings) -> None:
    low_above_open = (
        "insert into lake.vendor_bars values ('v', 'IBM', '1d', '2013-11-29 14:30:00+00', '2013-11-29', "
        "1, 3, 2, 3, 7, 'market.bars.v1', 0, 1, now(), 1)"
    )
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        connection.execute(low_above_open)
        done = run(settings, "marts")
        connection.execute("delete from lake.vendor_bars where source = 'v'")
    assert done.returncode == FAILS_AGAIN
    assert "Traceback" not in done.stderr
    assert (
        "Error: The marts are not built from values that are not possible: ./run quality --all shows the rows."
        in done.stderr
    )
    assert "lake.vendor_bars: low is not above open; not so in 1 row" in done.stderr


def test_vendor_bars_are_told_as_they_were_published(settings: Settings) -> None:
    published = list(get_feed("sample").read(FeedRequest(symbols=("FB",))))
    with psycopg.connect(settings.require_database(), autocommit=True) as connection:
        for record in published:
            assert isinstance(record, Bar)
            values = [*(getattr(record, name) for name in ("open", "high", "low", "close", "volume"))]
            connection.execute(
                "insert into lake.vendor_bars values "
                "('sample', 'FB', '1d', to_timestamp(%s), '2012-05-18', %s, %s, %s, %s, %s, 't', 0, 1, now(), 1)",
                [record.ts // 1_000_000, *values],
            )
        found = Lake(settings).vendor_bars("sample")
        connection.execute("delete from lake.vendor_bars")
    assert found == set(published)
    assert Lake(settings).vendor_bars("sample") == set()


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
        for place, end in end_offsets(settings.require_kafka(), topics=(BARS,)).items():
            put = "update lake.stream_offsets set next_offset = %s where topic = %s and partition = %s"
            connection.execute(put, [end, *place])
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
