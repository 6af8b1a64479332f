"""When the sensor asks for a run that builds all marts: each quarter of an hour, between the bars of one minute and the next."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.sensor import MIN_INTERVAL_LOOP_TIME

from orchestration import intraday
from orchestration.intraday import EVERY, INTERVAL_SECONDS, intraday_marts, is_asked_at, quarter_of
from orchestration.jobs import HISTORY, MARTS
from orchestration.schedules import BATCHES_TAG

BATCHES = "aaaaaaaa/7"
OF_SENSOR = {"dagster/sensor_name": "intraday_marts"}


class PlayedLake:
    """A lake whose newest changes are given, and what is queued."""

    def __init__(self, batches: str | None = BATCHES, queue: str | None = None) -> None:
        self.batches = batches
        self.queue = queue

    def newest_changes(self) -> str | None:
        return self.batches

    def queued(self) -> str | None:
        return self.queue


@pytest.fixture(autouse=True)
def _in_the_middle_of_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intraday, "is_asked_at", lambda _now: True)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def tick(instance: dg.DagsterInstance, lake: PlayedLake | None = None) -> dg.RunRequest | dg.SkipReason:
    answer = intraday_marts(dg.build_sensor_context(instance=instance), lake=lake or PlayedLake())
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_an_empty_lake_asks_for_nothing(instance: dg.DagsterInstance) -> None:
    assert isinstance(tick(instance, PlayedLake(batches=None)), dg.SkipReason)


def test_changes_that_a_run_has_seen_ask_for_nothing_and_the_next_do(instance: dg.DagsterInstance) -> None:
    first = tick(instance)
    assert isinstance(first, dg.RunRequest)
    assert first.tags == {BATCHES_TAG: BATCHES}
    instance.add_run(dg.DagsterRun(job_name=MARTS, status=dg.DagsterRunStatus.SUCCESS, tags=first.tags))
    assert isinstance(tick(instance), dg.SkipReason)
    assert isinstance(tick(instance, PlayedLake("aaaaaaaa/8")), dg.RunRequest)
    assert isinstance(tick(instance, PlayedLake(queue="q1")), dg.RunRequest), "what a person changed"


@pytest.mark.parametrize("job", [MARTS, HISTORY])
def test_nothing_is_asked_for_while_a_run_of_all_marts_is_under_way_or_about_to_be(
    instance: dg.DagsterInstance, job: str
) -> None:
    instance.add_run(dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus.STARTED))
    assert isinstance(tick(instance), dg.SkipReason)


def test_a_quarter_of_an_hour_has_one_run(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    instance.add_run(dg.DagsterRun(job_name=MARTS, status=dg.DagsterRunStatus.SUCCESS))
    assert isinstance(tick(instance), dg.RunRequest), "somebody else's run"
    instance.add_run(dg.DagsterRun(job_name=MARTS, status=dg.DagsterRunStatus.SUCCESS, tags=OF_SENSOR))
    monkeypatch.setattr(intraday, "quarter_of", lambda now: now - EVERY)
    assert isinstance(tick(instance), dg.SkipReason), "the sensor's own"
    monkeypatch.setattr(intraday, "quarter_of", lambda now: now + timedelta(seconds=1))
    assert isinstance(tick(instance), dg.RunRequest), "its own of the quarter before"


def test_nothing_is_asked_for_as_bars_end(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intraday, "is_asked_at", lambda _now: False)
    assert isinstance(tick(instance), dg.SkipReason)
    at = datetime(2024, 5, 1, 14, 30, tzinfo=UTC)
    asked = [second for second in range(60) if is_asked_at(at + timedelta(seconds=second))]
    assert asked == list(range(15, 35))


@pytest.mark.parametrize(("moment", "begun"), [("14:30:00", "14:30"), ("14:44:59", "14:30"), ("00:00:15", "00:00")])
def test_quarters_begin_with_the_hour(moment: str, begun: str) -> None:
    assert quarter_of(datetime.fromisoformat(f"2024-05-01T{moment}+00:00")) == datetime.fromisoformat(
        f"2024-05-01T{begun}+00:00"
    )


def test_each_minute_has_a_tick_that_may_ask() -> None:
    assert intraday_marts.minimum_interval_seconds == INTERVAL_SECONDS < 2 * MIN_INTERVAL_LOOP_TIME
    assert intraday_marts.default_status is dg.DefaultSensorStatus.RUNNING
