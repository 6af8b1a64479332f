"""The deep path in Dagster: its partitions, its runs over a range, and what a night asks for."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from market.errors import ServiceError
from orchestration.assets.keys import RECOMPUTED_SESSIONS
from orchestration.assets.recomputed import recomputed_sessions
from orchestration.partitions import adjoining, session_partitions
from orchestration.schedules import nightly_recompute
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
TRADES, QUOTES = "market.trades.v1", "market.quotes.v1"
FRIDAY = date(2026, 11, 20)


class LakeOf:
    """A lake in which sessions were touched by batches with given stamps."""

    def __init__(self, trades: dict[date, int], quotes: dict[date, int] | None = None) -> None:
        self.newest = {TRADES: trades, **({QUOTES: quotes} if quotes else {})}

    def touched(self) -> dict[str, dict[date, int]]:
        return self.newest


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def requested(instance: dg.DagsterInstance, lake: LakeOf) -> list[tuple[str, str]]:
    """Return the ranges that a night asks for."""
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NIGHT)
    answer = nightly_recompute(context, lake=lake)
    if isinstance(answer, dg.SkipReason):
        return []
    assert isinstance(answer, list)
    assert [request.run_key for request in answer] == [
        f"2026-11-21T01:30:00+00:00 {request.tags['dagster/asset_partition_range_start']}" for request in answer
    ]
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return [(request.tags[names[0]], request.tags[names[1]]) for request in answer]


def work_out(
    instance: dg.DagsterInstance, first: date, last: date, until: dict[str, int], *, fails: bool = False, **config: Any
) -> None:
    """Let a run of Dagster work a range of sessions out up to given batches."""
    told = dataclasses.replace(report(None), until=until)
    range_tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    done = materialize(PlayedDeepPath(told, fails=fails), config, tags=range_tags, instance=instance)
    assert done.success is not fails


def test_a_night_asks_for_each_row_of_touched_sessions(instance: dg.DagsterInstance) -> None:
    lake = LakeOf({MONDAY: 5, TUESDAY: 6}, {FRIDAY: 7})
    assert requested(instance, lake) == [("2013-10-07", "2013-10-08"), ("2026-11-20", "2026-11-20")]


def test_a_night_in_which_nothing_was_touched_asks_for_nothing(instance: dg.DagsterInstance) -> None:
    assert requested(instance, LakeOf({})) == []


def test_a_row_of_a_day_without_a_session_stops_no_night(instance: dg.DagsterInstance) -> None:
    assert requested(instance, LakeOf({date(2013, 10, 6): 5, MONDAY: 5})) == [("2013-10-07", "2013-10-07")]


def test_what_was_worked_out_is_asked_for_again_when_a_later_batch_touches_it(instance: dg.DagsterInstance) -> None:
    work_out(instance, MONDAY, TUESDAY, {TRADES: 6, QUOTES: 3})
    assert requested(instance, LakeOf({MONDAY: 5, TUESDAY: 6}, {MONDAY: 3})) == []
    assert requested(instance, LakeOf({MONDAY: 5, TUESDAY: 7}, {MONDAY: 3})) == [("2013-10-08", "2013-10-08")]
    assert requested(instance, LakeOf({MONDAY: 5, TUESDAY: 6}, {MONDAY: 4})) == [("2013-10-07", "2013-10-07")]


def test_a_run_that_failed_or_did_less_than_all_does_not_count(instance: dg.DagsterInstance) -> None:
    lake = LakeOf({MONDAY: 5})
    work_out(instance, MONDAY, MONDAY, {TRADES: 5}, fails=True)
    assert requested(instance, lake) == [("2013-10-07", "2013-10-07")]
    work_out(instance, MONDAY, MONDAY, {TRADES: 5})
    assert requested(instance, lake) == []
    work_out(instance, MONDAY, MONDAY, {TRADES: 9}, fails=True)
    assert requested(instance, LakeOf({MONDAY: 6})) == [("2013-10-07", "2013-10-07")]
    for less in ({"dry_run": True}, {"symbols": ["SPY"]}):
        work_out(instance, MONDAY, MONDAY, {TRADES: 9}, **less)
        assert requested(instance, lake) == [("2013-10-07", "2013-10-07")]
    work_out(instance, MONDAY, MONDAY, {TRADES: 9})
    assert requested(instance, lake) == []


def test_a_session_that_waits_for_its_run_is_asked_for_once_and_again_if_the_run_fails(
    instance: dg.DagsterInstance,
) -> None:
    lake = LakeOf({MONDAY: 5, FRIDAY: 5})
    tags = {
        "dagster/asset_partition_range_start": "2013-10-04",
        "dagster/asset_partition_range_end": "2013-10-08",
    }
    run = instance.add_run(dg.DagsterRun(job_name="recompute", status=dg.DagsterRunStatus.STARTING, tags=tags))
    some = {"ops": {"lake__recomputed_sessions": {"config": {"dry_run": True}}}}
    tags = {"dagster/partition": "2026-11-20"}
    instance.add_run(
        dg.DagsterRun(job_name="recompute", status=dg.DagsterRunStatus.STARTED, tags=tags, run_config=some)
    )
    assert requested(instance, lake) == [("2026-11-20", "2026-11-20")]
    instance.report_run_canceled(run)
    assert requested(instance, lake) == [("2013-10-07", "2013-10-07"), ("2026-11-20", "2026-11-20")]
