"""The schedules' decisions at fixed moments. Expected closes come from the exchange's published calendar, not from the code."""

import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import psutil
import pytest

from orchestration.jobs import ARRIVALS
from orchestration.orphans import PROCESS_TAG
from orchestration.schedules import (
    BATCHES_TAG,
    MAX_ATTEMPTS,
    RETRY_AFTER,
    decide,
    hourly_arrivals,
    session_close,
)
from orchestration.session_ticks import AFTER_CLOSE_CRON, newest_end, session_closed_before

NEW_YORK = ZoneInfo("America/New_York")
BATCHES = "aaaaaaaa/7 bbbbbbbb/3"


def ticks_of(day: str) -> list[datetime]:
    """Return the moments at which the schedule's cron fires on a weekday; asked for a weekend, as if it fired then too."""
    assert AFTER_CLOSE_CRON == "15 13-16 * * 1-5"
    return [datetime.fromisoformat(f"{day}T{hour}:15").replace(tzinfo=NEW_YORK) for hour in (13, 14, 15, 16)]


def requested_at(day: str) -> list[str]:
    """Return the UTC times of that day at which the schedule asks for a run."""
    found = []
    for tick in ticks_of(day):
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick)
            answer = session_close(context)
        if isinstance(answer, dg.RunRequest):
            assert answer.run_key == day
            assert answer.tags["tapehouse/session_date"] == day
            found.append(tick.astimezone(UTC).strftime("%H:%M"))
        else:
            assert isinstance(answer, dg.SkipReason)
    return found


@pytest.mark.parametrize(
    ("day", "expected_utc"),
    [
        ("2026-11-25", ["21:15"]),  # an ordinary Wednesday in winter: close at 16:00 EST
        ("2026-07-01", ["20:15"]),  # an ordinary Wednesday in summer: close at 16:00 EDT
        ("2026-11-27", ["18:15"]),  # the day after Thanksgiving: close at 13:00 EST, once and not again at 16:15
        ("2026-12-24", ["18:15"]),  # Christmas Eve: close at 13:00 EST
        ("2026-11-26", []),  # Thanksgiving
        ("2026-07-03", []),  # Independence Day, observed
        ("2026-11-21", []),  # a Saturday
        ("2026-11-22", []),  # a Sunday
        ("2026-03-06", ["21:15"]),  # the last session before summer time
        ("2026-03-09", ["20:15"]),  # the first session of summer time
        ("2026-10-30", ["20:15"]),  # the last session of summer time
        ("2026-11-02", ["21:15"]),  # the first session of winter time
    ],
)
def test_one_run_is_requested_a_quarter_hour_after_the_close_of_each_session(day: str, expected_utc: list[str]) -> None:
    assert requested_at(day) == expected_utc


@pytest.mark.parametrize(
    ("tick", "is_after_close"),
    [
        ("2026-11-25T20:59:59+00:00", False),
        ("2026-11-25T21:00:00+00:00", True),
        ("2026-11-25T21:59:59+00:00", True),
        ("2026-11-25T22:00:00+00:00", False),
    ],
)
def test_a_close_counts_for_the_hour_after_it(tick: str, is_after_close: bool) -> None:
    assert (session_closed_before(datetime.fromisoformat(tick)) is not None) is is_after_close


def test_a_change_of_the_lake_asks_for_a_run_tagged_with_its_batches() -> None:
    request = decide(BATCHES, [])
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == f"{BATCHES} #1"
    assert request.tags == {BATCHES_TAG: BATCHES}


def test_no_run_is_requested_when_the_marts_have_the_newest_batch() -> None:
    assert isinstance(decide(BATCHES, [dg.DagsterRunStatus.SUCCESS]), dg.SkipReason)


def test_a_failed_run_is_repeated_a_few_times_and_no_more() -> None:
    failed = [dg.DagsterRunStatus.FAILURE]
    again = decide(BATCHES, failed)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == f"{BATCHES} #2"
    assert isinstance(decide(BATCHES, failed * MAX_ATTEMPTS), dg.SkipReason)
    assert isinstance(decide(BATCHES, failed * MAX_ATTEMPTS, RETRY_AFTER - timedelta(seconds=1)), dg.SkipReason)


def test_what_failed_for_something_that_is_mended_by_now_is_tried_again_after_a_while() -> None:
    failed = [dg.DagsterRunStatus.FAILURE] * (MAX_ATTEMPTS + 2)
    again = decide(BATCHES, failed, RETRY_AFTER)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == f"{BATCHES} #{MAX_ATTEMPTS + 3}"


class LakeAt:
    """A lake whose newest arrivals are given."""

    def __init__(self, batches: str | None) -> None:
        self.batches = batches

    def newest_arrivals(self) -> str | None:
        return self.batches


def evaluate(instance: dg.DagsterInstance, batches: str | None) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 11, 20, tzinfo=UTC))
    answer = hourly_arrivals(context, lake=LakeAt(batches))
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def test_an_empty_lake_asks_for_nothing(instance: dg.DagsterInstance) -> None:
    assert isinstance(evaluate(instance, None), dg.SkipReason)


def test_a_batch_that_a_run_has_seen_asks_for_nothing_and_the_next_one_does(instance: dg.DagsterInstance) -> None:
    @dg.job(name=ARRIVALS)
    def seen() -> None:
        pass

    later = "aaaaaaaa/7 bbbbbbbb/4"
    first = evaluate(instance, BATCHES)
    assert isinstance(first, dg.RunRequest)
    seen.execute_in_process(instance=instance, tags=first.tags)
    assert isinstance(evaluate(instance, BATCHES), dg.SkipReason)
    assert isinstance(evaluate(instance, later), dg.RunRequest)


def test_nothing_is_requested_while_a_run_is_under_way(instance: dg.DagsterInstance) -> None:
    instance.add_run(dg.DagsterRun(job_name=ARRIVALS, status=dg.DagsterRunStatus.STARTED))
    assert isinstance(evaluate(instance, BATCHES), dg.SkipReason)


def test_a_run_whose_process_was_killed_holds_up_nothing(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        tags = {PROCESS_TAG: f"{platform.node()} {process.pid} {psutil.Process(process.pid).create_time()}"}
        run = dg.DagsterRun(job_name=ARRIVALS, status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.add_run(run)
        assert isinstance(evaluate(instance, BATCHES), dg.SkipReason)
        process.kill()
    assert isinstance(evaluate(instance, BATCHES), dg.RunRequest)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.CANCELED


def test_these_schedules_run_unless_they_are_turned_off() -> None:
    assert {schedule.default_status for schedule in (session_close, hourly_arrivals)} == {
        dg.DefaultScheduleStatus.RUNNING
    }


@pytest.mark.parametrize(
    ("moment", "ended"),
    [
        ("2026-11-25T19:59", "2026-11-24T20:00"),
        ("2026-11-25T20:00", "2026-11-25T20:00"),
        ("2026-11-27T16:59", "2026-11-25T20:00"),  # over Thanksgiving
        ("2026-11-27T17:00", "2026-11-27T17:00"),  # a half-day
        ("2026-11-29T12:00", "2026-11-27T17:00"),  # the Sunday after
    ],
)
def test_the_newest_end_is_that_of_the_last_session_that_is_over(moment: str, ended: str) -> None:
    expected = datetime.fromisoformat(ended).replace(tzinfo=NEW_YORK)
    assert newest_end(datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK)) == expected
