"""The deep path in Dagster: its partitions, its runs over a range, and what a night asks for."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from market.errors import ServiceError
from orchestration.assets.keys import RECOMPUTED_SESSIONS
from orchestration.assets.recomputed import recomputed_sessions
from orchestration.partitions import adjoining, session_partitions
from orchestration.progress import LONGEST_TRANSACTION
from orchestration.schedules import TOUCHED_SINCE_TAG, TOUCHED_UNTIL_TAG, nightly_recompute, touched_since
from spark_jobs.report import Differences, RecomputeRequest, SessionReport

NEW_YORK = ZoneInfo("America/New_York")
MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)


def report(day: date | None, *, missing: int = 0, is_repaired: bool = False) -> SessionReport:
    found = {"silver/trades": Differences(missing=missing)} if missing else {}
    return SessionReport(day, 5, 1, 3, 2, found, is_repaired, 0.5)


class PlayedDeepPath:
    """Reports what it was given, and notes what it was asked for."""

    def __init__(self, *reports: SessionReport, fails: bool = False) -> None:
        self.reports = reports
        self.fails = fails
        self.asked: list[RecomputeRequest] = []

    def recompute(self, request: RecomputeRequest, on_log: Callable[[str], None]) -> Iterator[SessionReport]:
        self.asked.append(request)
        on_log("reading")
        yield from self.reports
        if self.fails:
            msg = "The deep path ended with code -9 before it was done."
            raise ServiceError(msg)


def materialize(
    deep_path: PlayedDeepPath, config: dict[str, Any] | None = None, **how: Any
) -> dg.ExecuteInProcessResult:
    run_config = {"ops": {"lake__recomputed_sessions": {"config": config or {}}}}
    return dg.materialize(
        [recomputed_sessions], resources={"deep_path": deep_path}, run_config=run_config, raise_on_error=False, **how
    )


def test_a_partition_is_a_session_of_the_exchange() -> None:
    keys = session_partitions().get_partition_keys(current_time=datetime(2026, 11, 25, 9, 0, tzinfo=NEW_YORK))
    # Thanksgiving and its half-day, Christmas, the days of mourning and of the hurricane: the exchange's own notices.
    assert keys[0] == "1990-01-02"
    assert keys[-1] == "2026-11-25"
    closed = {"2025-11-27", "2025-12-25", "2001-09-11", "2001-09-14", "2012-10-29", "2012-10-30", "2025-01-09"}
    assert closed.isdisjoint(keys)
    assert {"2025-11-28", "2001-09-17", "2012-10-31", "2013-10-07"} <= set(keys)


def test_one_session_is_asked_for_by_its_partition() -> None:
    deep_path = PlayedDeepPath(report(None), report(MONDAY))
    assert materialize(deep_path, partition_key="2013-10-07").success
    assert deep_path.asked == [RecomputeRequest(MONDAY, MONDAY)]


def test_a_range_is_one_run_with_what_was_found_of_each_session() -> None:
    deep_path = PlayedDeepPath(report(None), report(MONDAY), report(TUESDAY, missing=3, is_repaired=True))
    tags = {"dagster/asset_partition_range_start": "2013-10-04", "dagster/asset_partition_range_end": "2013-10-08"}
    result = materialize(deep_path, {"symbols": ["SPY", "ibm"], "dry_run": True}, tags=tags)
    assert result.success
    assert deep_path.asked == [RecomputeRequest(date(2013, 10, 4), TUESDAY, ("SPY", "IBM"), dry_run=True)]
    events = {
        event.partition: event.metadata for event in result.asset_materializations_for_node("lake__recomputed_sessions")
    }
    assert set(events) == {"2013-10-04", "2013-10-07", "2013-10-08"}
    found = {name: value.value for name, value in events["2013-10-08"].items()}
    assert (found["trades"], found["bars"], found["differing"], found["repaired"]) == (5, 2, 3, 3)
    assert found["dry_run"] is True
    assert found["run"] == "2013-10-04 to 2013-10-08: 3 rows differed."
    table = events["2013-10-08"]["differences"]
    assert isinstance(table, dg.TableMetadataValue)
    expected = {"table": "silver/trades", "missing": 3, "unexpected": 0, "different": 0}
    assert [record.data for record in table.records] == [expected]
    assert events["2013-10-07"]["differing"].value == 0
    assert "differences" not in events["2013-10-07"]


def test_a_deep_path_that_dies_fails_its_run() -> None:
    result = materialize(PlayedDeepPath(report(None), fails=True), partition_key="2013-10-07")
    assert not result.success
    assert not result.asset_materializations_for_node("lake__recomputed_sessions")


def test_the_run_reports_on_the_asset_of_its_name() -> None:
    assert recomputed_sessions.key == RECOMPUTED_SESSIONS
    assert recomputed_sessions.backfill_policy == dg.BackfillPolicy.single_run()


def test_sessions_that_adjoin_are_one_range() -> None:
    days = [date(2013, 10, 4), MONDAY, TUESDAY, date(2013, 10, 10), date(2026, 11, 20)]
    assert adjoining(days) == [
        (date(2013, 10, 4), TUESDAY),
        (date(2013, 10, 10), date(2013, 10, 10)),
        (date(2026, 11, 20), date(2026, 11, 20)),
    ]
    assert adjoining([]) == []


NIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=NEW_YORK)


class LakeOf:
    """A lake in which given sessions were touched; notes since when it was asked."""

    def __init__(self, *sessions: date) -> None:
        self.sessions = list(sessions)
        self.asked: list[tuple[datetime, datetime]] = []

    def touched_sessions(self, since: datetime, until: datetime) -> list[date]:
        self.asked.append((since, until))
        return self.sessions


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def requested(instance: dg.DagsterInstance, lake: LakeOf) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NIGHT)
    answer = nightly_recompute(context, lake=lake)
    assert isinstance(answer, list | dg.SkipReason)
    return [] if isinstance(answer, dg.SkipReason) else answer


def test_a_night_asks_for_each_row_of_touched_sessions(instance: dg.DagsterInstance) -> None:
    lake = LakeOf(MONDAY, TUESDAY, date(2026, 11, 20))
    first, second = requested(instance, lake)
    assert (first.run_key, second.run_key) == (
        "2026-11-21T01:30:00+00:00 2013-10-07",
        "2026-11-21T01:30:00+00:00 2026-11-20",
    )
    assert first.tags["dagster/asset_partition_range_start"] == "2013-10-07"
    assert first.tags["dagster/asset_partition_range_end"] == "2013-10-08"
    ((since, until),) = lake.asked
    assert (since, until) == (datetime(2026, 11, 20, 1, 30, tzinfo=UTC) - LONGEST_TRANSACTION, NIGHT)


def test_a_night_in_which_nothing_changed_asks_for_nothing(instance: dg.DagsterInstance) -> None:
    assert requested(instance, LakeOf()) == []


def night(since: str, until: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return dg.DagsterRun(job_name="recompute", status=status, tags={TOUCHED_SINCE_TAG: since, TOUCHED_UNTIL_TAG: until})


def test_a_night_begins_where_the_last_one_that_did_everything_ended() -> None:
    done, failed = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
    first, second, third = (f"2026-11-1{number}T01:30:00+00:00" for number in (7, 8, 9))
    assert touched_since(NIGHT, []) == datetime(2026, 11, 19, 20, 30, tzinfo=NEW_YORK)
    assert touched_since(NIGHT, [night(second, third, done)]) == datetime.fromisoformat(third)
    half = [night(second, third, failed), night(second, third, done), night(first, second, done)]
    assert touched_since(NIGHT, half) == datetime.fromisoformat(second)


def test_a_night_sees_the_runs_of_the_one_before(instance: dg.DagsterInstance) -> None:
    (request,) = requested(instance, LakeOf(MONDAY))
    instance.add_run(dg.DagsterRun(job_name="recompute", status=dg.DagsterRunStatus.SUCCESS, tags=dict(request.tags)))
    lake = LakeOf()
    requested(instance, lake)
    assert lake.asked[0][0] == NIGHT - LONGEST_TRANSACTION
