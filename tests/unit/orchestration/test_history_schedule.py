"""What the schedule of history asks for, and of which sessions it is the schedule's turn."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from market.settings import Settings
from orchestration.assets.keys import DAILY_BARS, INTRADAY_BARS
from orchestration.history import History
from orchestration.history_requests import daily_history, history_gaps
from orchestration.session_ticks import AFTER_SESSION_CRON
from tests.unit.orchestration.played_history import PlayedHistory

NEW_YORK = ZoneInfo("America/New_York")
GROUPS = "symbol_groups"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def scheduled(instance: dg.DagsterInstance, moment: str, history: PlayedHistory) -> list[dg.RunRequest]:
    at = datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
    answer = daily_history(context, history=history)
    return answer if isinstance(answer, list) else []


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        ("2026-11-25", [20]),  # an ordinary Wednesday: the post segment ends at 20:00
        ("2026-11-27", [17]),  # the day after Thanksgiving: it ends at 17:00
        ("2026-11-26", []),  # Thanksgiving
        ("2026-11-21", []),  # a Saturday
    ],
)
def test_a_session_is_asked_for_once_three_quarters_of_an_hour_after_its_end(
    instance: dg.DagsterInstance, day: str, hours: list[int]
) -> None:
    assert AFTER_SESSION_CRON == "45 17-20 * * 1-5"
    instance.add_dynamic_partitions(GROUPS, ["default", "tech"])
    history = PlayedHistory({"IBM": "tech", "SPY": "default"})
    found = {hour: scheduled(instance, f"{day}T{hour}:45", history) for hour in (17, 18, 19, 20)}
    assert [hour for hour, requests in found.items() if requests] == hours
    for hour in hours:
        assert [request.run_key for request in found[hour]] == [
            f"{day} daily_bars default",
            f"{day} daily_bars tech",
            f"{day} intraday_bars default",
            f"{day} intraday_bars tech",
        ]
        assert {request.tags["dagster/asset_partition_range_end"] for request in found[hour]} == {
            f"{day}|default",
            f"{day}|tech",
        }


def test_the_schedule_leaves_out_what_cannot_be_asked_and_groups_that_are_no_partitions_yet(
    instance: dg.DagsterInstance,
) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech", "SPY": "default"})
    history.refused = {INTRADAY_BARS}
    found = scheduled(instance, "2026-11-25T20:45", history)
    assert [request.run_key for request in found] == ["2026-11-25 daily_bars tech"]
    history.refused = {INTRADAY_BARS, DAILY_BARS}
    assert scheduled(instance, "2026-11-25T20:45", history) == []
    assert scheduled(instance, "2026-11-25T20:45", PlayedHistory({})) == []


def test_what_is_too_old_since_midnight_is_not_wanted_though_the_newest_session_waits_for_the_schedule() -> None:
    history = History(Settings.model_validate({}))
    _, intraday = history.series
    midnight = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)  # half past midnight in New York
    found = history.wanted_sessions(intraday, midnight, midnight - timedelta(hours=8))
    days_back = history.source(intraday).offers["5m"].days_back
    assert days_back is not None
    assert found[0].session_date >= date(2026, 11, 20) - timedelta(days=days_back)
    assert found[-1].session_date == date(2026, 11, 18)
    earlier = midnight - timedelta(hours=1)
    assert history.wanted_sessions(intraday, earlier, earlier)[0] not in found[:1]


def test_both_run_unless_they_are_turned_off() -> None:
    assert daily_history.default_status is dg.DefaultScheduleStatus.RUNNING
    assert history_gaps.default_status is dg.DefaultSensorStatus.RUNNING
