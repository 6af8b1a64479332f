"""The sensor that asks for a run where sessions are queued, over a lake that is played by the test."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.sensor import MIN_INTERVAL_LOOP_TIME

from orchestration import touched
from orchestration.jobs import MARTS, TOUCHED_MARTS
from orchestration.schedules import BATCHES_TAG
from orchestration.touched import (
    INTERVAL_SECONDS,
    LONGEST_TICK_SECONDS,
    RUN_EVERY,
    is_bar_expected,
    touched_sessions,
)

BATCHES = "aaaaaaaa/7"
SEEN = f"{BATCHES} queue/q1"


class PlayedLake:
    """A lake whose newest changes are given, whether any of them is queued still, and whether rules wait for a bar."""

    def __init__(
        self,
        *,
        is_pending: bool,
        batches: str | None = BATCHES,
        queue: str = "q1",
        for_rules: bool = False,
        rules: str | None = None,
        is_built: bool = True,
    ) -> None:
        self.is_pending = is_pending
        self.batches = batches
        self.queue = queue
        self.for_rules = for_rules
        self.rules = rules
        self.is_built = is_built

    def are_built(self, models: Sequence[str]) -> bool:
        assert "intraday_ohlcv" in models
        return self.is_built

    def queued(self, marts: Sequence[str]) -> str | None:
        assert "intraday_ohlcv" in marts
        return self.queue if self.is_pending else None

    def queued_for_rules(self) -> str | None:
        return self.rules

    def newest_changes(self) -> str | None:
        return self.batches

    def has_intraday_rules(self) -> bool:
        return self.for_rules

    def has_bars_for_rules(self) -> bool:
        return self.for_rules


class ComingLake(PlayedLake):
    """A lake in which a bar ends that rules wait for, after so many looks."""

    def __init__(self, *, looks: int, has_rules: bool = True) -> None:
        super().__init__(is_pending=True)
        self.looks = looks
        self.has_rules = has_rules

    def has_intraday_rules(self) -> bool:
        return self.has_rules

    def has_bars_for_rules(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.fixture(autouse=True)
def _no_bar_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "is_bar_expected", lambda _now: False)


@pytest.fixture
def _a_bar_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "is_bar_expected", lambda _now: True)
    monkeypatch.setattr(touched, "LOOK_EVERY_SECONDS", 0.001)
    monkeypatch.setattr(touched, "LONGEST_TICK_SECONDS", 0.5)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def tick(instance: dg.DagsterInstance, lake: PlayedLake) -> dg.RunRequest | dg.SkipReason:
    answer = touched_sessions(dg.build_sensor_context(instance=instance), lake=lake)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_nothing_is_asked_for_where_nothing_is_queued(instance: dg.DagsterInstance) -> None:
    assert isinstance(tick(instance, PlayedLake(is_pending=False)), dg.SkipReason)
    assert isinstance(tick(instance, PlayedLake(is_pending=True, batches=None)), dg.SkipReason)


def test_nothing_is_asked_for_before_the_first_build(instance: dg.DagsterInstance) -> None:
    assert isinstance(tick(instance, PlayedLake(is_pending=True, is_built=False)), dg.SkipReason)


def test_what_is_queued_is_asked_for_by_the_same_key_until_the_lake_changes(instance: dg.DagsterInstance) -> None:
    first, again = (tick(instance, PlayedLake(is_pending=True)) for _ in range(2))
    later = tick(instance, PlayedLake(is_pending=True, batches="aaaaaaaa/8"))
    assert isinstance(first, dg.RunRequest)
    assert first.tags == {BATCHES_TAG: SEEN}
    assert first == again
    assert isinstance(later, dg.RunRequest)
    assert later.run_key != first.run_key


@pytest.mark.parametrize("job", [MARTS, TOUCHED_MARTS])
def test_nothing_is_asked_for_while_a_run_is_under_way(instance: dg.DagsterInstance, job: str) -> None:
    instance.add_run(dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus.STARTED))
    assert isinstance(tick(instance, PlayedLake(is_pending=True)), dg.SkipReason)


@pytest.fixture
def _runs_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "RUN_EVERY", timedelta(0))


@pytest.mark.parametrize(
    ("status", "for_rules", "is_asked_for"),
    [
        (dg.DagsterRunStatus.SUCCESS, False, False),
        (dg.DagsterRunStatus.SUCCESS, True, True),
        (dg.DagsterRunStatus.FAILURE, True, False),
    ],
)
def test_soon_after_a_run_the_next_is_for_bars_alone_that_rules_wait_for(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, for_rules: bool, is_asked_for: bool
) -> None:
    instance.add_run(dg.DagsterRun(job_name=TOUCHED_MARTS, status=status, tags={BATCHES_TAG: "aaaaaaaa/6 queue/q0"}))
    asked = tick(instance, PlayedLake(is_pending=True, for_rules=for_rules))
    assert isinstance(asked, dg.RunRequest) == is_asked_for


@pytest.mark.usefixtures("_a_bar_is_expected")
@pytest.mark.parametrize(
    ("status", "is_asked_for"),
    [
        (dg.DagsterRunStatus.SUCCESS, True),
        (dg.DagsterRunStatus.FAILURE, False),
        (dg.DagsterRunStatus.STARTED, False),
    ],
)
def test_a_bar_that_ends_during_a_tick_is_asked_for_by_the_same_one(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, is_asked_for: bool
) -> None:
    instance.add_run(dg.DagsterRun(job_name=TOUCHED_MARTS, status=status, tags={BATCHES_TAG: "aaaaaaaa/6 queue/q0"}))
    assert isinstance(tick(instance, ComingLake(looks=5)), dg.RunRequest) == is_asked_for


@pytest.mark.usefixtures("_a_bar_is_expected")
def test_a_tick_ends_though_no_bar_does(instance: dg.DagsterInstance) -> None:
    lake = ComingLake(looks=10**9)
    instance.add_run(dg.DagsterRun(job_name=TOUCHED_MARTS, status=dg.DagsterRunStatus.SUCCESS))
    assert isinstance(tick(instance, lake), dg.SkipReason)
    assert lake.looks < 10**9 - 2


@pytest.mark.usefixtures("_a_bar_is_expected")
def test_a_tick_ends_at_once_where_no_rule_is_about_bars_within_the_day(instance: dg.DagsterInstance) -> None:
    lake = ComingLake(looks=10**9, has_rules=False)
    instance.add_run(dg.DagsterRun(job_name=TOUCHED_MARTS, status=dg.DagsterRunStatus.SUCCESS))
    assert isinstance(tick(instance, lake), dg.SkipReason)
    assert lake.looks == 10**9 - 1, "the look that there is at the beginning"


def test_a_tick_goes_on_looking_around_the_end_of_a_minute_and_ends_before_the_next() -> None:
    at = datetime(2024, 5, 1, 14, 31, tzinfo=UTC)
    expected = [seconds for seconds in range(60) if is_bar_expected(at + timedelta(seconds=seconds))]
    assert expected == [*range(15), *range(55, 60)]
    assert LONGEST_TICK_SECONDS < MIN_INTERVAL_LOOP_TIME <= 60 - 55, (
        "a tick of before the minute is over when this begins"
    )


@pytest.mark.usefixtures("_runs_long_ago")
def test_a_run_that_fails_for_the_same_changes_is_asked_for_a_few_times_only(instance: dg.DagsterInstance) -> None:
    for failures in range(3):
        assert isinstance(tick(instance, PlayedLake(is_pending=True)), dg.RunRequest), failures
        instance.add_run(
            dg.DagsterRun(job_name=TOUCHED_MARTS, status=dg.DagsterRunStatus.FAILURE, tags={BATCHES_TAG: SEEN})
        )
    assert isinstance(tick(instance, PlayedLake(is_pending=True)), dg.SkipReason)


@pytest.mark.usefixtures("_runs_long_ago")
def test_what_a_person_changed_after_a_run_is_asked_for_though_no_batch_came(instance: dg.DagsterInstance) -> None:
    done = dg.DagsterRun(job_name=TOUCHED_MARTS, status=dg.DagsterRunStatus.SUCCESS, tags={BATCHES_TAG: SEEN})
    instance.add_run(done)
    assert isinstance(tick(instance, PlayedLake(is_pending=True)), dg.SkipReason)
    assert isinstance(tick(instance, PlayedLake(is_pending=True, queue="q2")), dg.RunRequest)


@pytest.mark.usefixtures("_runs_long_ago")
def test_what_is_queued_for_rules_alone_is_asked_for_once(instance: dg.DagsterInstance) -> None:
    first = tick(instance, PlayedLake(is_pending=False, rules="r1"))
    assert isinstance(first, dg.RunRequest)
    instance.add_run(dg.DagsterRun(job_name=TOUCHED_MARTS, status=dg.DagsterRunStatus.SUCCESS, tags=first.tags))
    assert isinstance(tick(instance, PlayedLake(is_pending=False, rules="r1")), dg.SkipReason), "it waits for the lake"
    others = [PlayedLake(is_pending=False, rules="r2"), PlayedLake(is_pending=False, rules="r1", batches="aaaaaaaa/8")]
    both = PlayedLake(is_pending=True, rules="r1")
    assert all(isinstance(tick(instance, lake), dg.RunRequest) for lake in (*others, both))


def test_marts_are_less_than_a_minute_behind() -> None:
    assert touched_sessions.minimum_interval_seconds == INTERVAL_SECONDS < MIN_INTERVAL_LOOP_TIME
    assert timedelta(seconds=MIN_INTERVAL_LOOP_TIME) + RUN_EVERY <= timedelta(seconds=40)
    assert touched_sessions.default_status is dg.DefaultSensorStatus.RUNNING
