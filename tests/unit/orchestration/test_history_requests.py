"""What the sensor of history asks for, on Dagster's own record of runs, with a played watchlist and lake."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast

import dagster as dg
import pytest

from orchestration.assets.keys import DAILY_BARS, INTRADAY_BARS
from orchestration.attempts import ASKED_AT_TAG, HAS_MORE_TAG, REFUSED_TAG, UNANSWERED_TAG
from orchestration.gaps import LOOK_BACK
from orchestration.history_requests import MOST_RUNS, evaluate, history_gaps
from orchestration.partitions import history_range_tags
from tests.unit.orchestration.played_history import EARLIER, SESSIONS, NothingDue, PlayedHistory
from warehouse.watchlist import Watched

GROUPS = "symbol_groups"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def tick(
    instance: dg.DagsterInstance, history: PlayedHistory, now: datetime | None = None, begun_at: datetime = EARLIER
) -> dg.SensorResult | dg.SkipReason:
    moment = now or datetime.now(UTC)
    return evaluate(instance, history, NothingDue(), moment, begun_at=begun_at)  # type: ignore[arg-type]


def ranges(result: dg.SensorResult | dg.SkipReason) -> list[tuple[str, str]]:
    assert isinstance(result, dg.SensorResult)
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return [(request.tags[names[0]], request.tags[names[1]]) for request in result.run_requests or []]


def begin(instance: dg.DagsterInstance, request: dg.RunRequest, *, by_itself: bool = True) -> dg.DagsterRun:
    """Let a run begin as the daemon would, or as somebody by hand."""
    return instance.add_run(
        dg.DagsterRun(
            job_name="collect_history",
            status=dg.DagsterRunStatus.STARTED,
            tags={**request.tags, **({"dagster/sensor_name": history_gaps.name} if by_itself else {})},
            asset_selection=frozenset(request.asset_selection or ()),
        )
    )


def test_an_empty_watchlist_asks_for_nothing_and_says_so(instance: dg.DagsterInstance) -> None:
    answer = tick(instance, PlayedHistory({}))
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message == "The watchlist is empty. Add symbols: ./run watchlist add spy ibm"


def test_a_symbol_that_is_added_is_a_group_and_a_gap_at_the_next_tick(instance: dg.DagsterInstance) -> None:
    answer = tick(instance, PlayedHistory({"IBM": "tech"}, {"IBM": [(0, 10)]}))
    assert ranges(answer) == [("2026-11-09|tech", "2026-11-20|tech")]
    assert isinstance(answer, dg.SensorResult)
    (added,) = answer.dynamic_partitions_requests or []
    assert isinstance(added, dg.AddDynamicPartitionsRequest)
    assert list(added.partition_keys) == ["tech"]
    (request,) = answer.run_requests or []
    assert request.asset_selection == [DAILY_BARS]
    since = (datetime.now(UTC) - LOOK_BACK).date()
    assert request.run_key == f"daily_bars tech 2026-11-09 2026-11-20 after none since {since}"


def test_a_group_that_is_gone_is_no_partition_any_more(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(GROUPS, ["energy", "tech"])
    answer = tick(instance, PlayedHistory({"IBM": "tech"}))
    assert isinstance(answer, dg.SensorResult)
    (deleted,) = answer.dynamic_partitions_requests or []
    assert isinstance(deleted, dg.DeleteDynamicPartitionsRequest)
    assert list(deleted.partition_keys) == ["energy"]
    assert instance.get_dynamic_partitions(GROUPS) == ["energy", "tech"], "a tick has no side effects"


def test_what_is_under_way_or_failed_a_moment_ago_is_not_asked_for_and_an_hour_later_it_is(
    instance: dg.DagsterInstance,
) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"}, {"IBM": [(0, 10)]})
    first = tick(instance, history)
    assert isinstance(first, dg.SensorResult)
    (request,) = first.run_requests or []
    run = begin(instance, request)
    assert isinstance(tick(instance, history), dg.SkipReason)
    instance.report_run_failed(run)
    assert isinstance(tick(instance, history), dg.SkipReason)
    later = tick(instance, history, datetime.now(UTC) + timedelta(hours=1, minutes=1))
    assert ranges(later) == [("2026-11-09|tech", "2026-11-20|tech")]
    assert isinstance(later, dg.SensorResult)
    assert [again.run_key for again in later.run_requests or []] == [
        f"daily_bars tech 2026-11-09 2026-11-20 after {run.run_id}"
    ]


@pytest.mark.parametrize("tag", [REFUSED_TAG, "other"])
def test_what_was_refused_is_asked_for_again_at_once_after_a_start_and_until_then_it_is_said_when(
    instance: dg.DagsterInstance, tag: str
) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"}, {"IBM": [(0, 10)]})
    for hours in (1, 4):
        (request,) = cast("dg.SensorResult", tick(instance, history, in_minutes(600))).run_requests or []
        run = begin(instance, request)
        instance.add_run_tags(run.run_id, {tag: "true"})
        instance.report_run_failed(run)
        said = cast("dg.SkipReason", tick(instance, history)).skip_message or ""
        assert ("refused" in said) is (tag == REFUSED_TAG)
        until = {
            f"after {datetime.now(UTC) + timedelta(hours=hours, minutes=late):%Y-%m-%d %H:}" for late in (-1, 0, 1)
        }
        assert any(moment in said for moment in until) is (tag == REFUSED_TAG)
        assert ("or now by Materialize or ./run backfill" in said) is (tag == REFUSED_TAG)
    restarted = tick(instance, history, begun_at=datetime.now(UTC) + timedelta(seconds=1))
    if tag != REFUSED_TAG:
        assert isinstance(restarted, dg.SkipReason), "of what failed for another reason nothing is known to be mended"
        return
    (again,) = cast("dg.SensorResult", restarted).run_requests or []
    assert again.run_key != request.run_key, "Dagster starts nothing twice for one key"
    refused_again = begin(instance, again)
    instance.add_run_tags(refused_again.run_id, {tag: "true"})
    instance.report_run_failed(refused_again)
    assert isinstance(tick(instance, history, begun_at=run_began(instance, refused_again)), dg.SkipReason)


def run_began(instance: dg.DagsterInstance, run: dg.DagsterRun) -> datetime:
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    return record.create_timestamp.replace(tzinfo=UTC)


def by_hand(
    instance: dg.DagsterInstance, first: str, last: str, group: str = "tech", tag: str | None = UNANSWERED_TAG
) -> dg.DagsterRun:
    """Let a run for days that nobody else wants fail without an answer, with another tag, or with none."""
    days = (date.fromisoformat(first), date.fromisoformat(last))
    request = dg.RunRequest(asset_selection=[DAILY_BARS], tags=history_range_tags(*days, group))
    run = begin(instance, request, by_itself=False)
    if tag is not None:
        instance.add_run_tags(run.run_id, {tag: "true"})
    instance.report_run_failed(run)
    return run


def in_minutes(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def test_what_a_run_by_hand_asked_for_and_the_source_did_not_answer_is_asked_for_again_with_the_same_patience(
    instance: dg.DagsterInstance,
) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"})
    history.lacking_before = {"IBM"}
    assert isinstance(tick(instance, history, in_minutes(3)), dg.SkipReason)
    for minutes in (2, 5, 15, 60):
        by_hand(instance, "2003-11-10", "2003-11-14")
        assert isinstance(tick(instance, history, in_minutes(minutes - 0.5)), dg.SkipReason)
        assert ranges(tick(instance, history, in_minutes(minutes + 0.5))) == [("2003-11-10|tech", "2003-11-14|tech")]
    history.lacking_before = set()
    assert isinstance(tick(instance, history, in_minutes(300)), dg.SkipReason)


def test_nothing_else_of_old_days_is_asked_for(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(GROUPS, ["energy", "tech"])
    history = PlayedHistory({"IBM": "tech", "XOM": "energy"})
    history.lacking_before = {"IBM", "XOM"}
    request = dg.RunRequest(
        asset_selection=[DAILY_BARS], tags=history_range_tags(date(2003, 11, 3), date(2003, 11, 7), "tech")
    )
    instance.report_run_failed(begin(instance, request))
    later = in_minutes(300)
    assert isinstance(tick(instance, history, later), dg.SkipReason), "nobody wants what was wanted by itself once"
    by_hand(instance, "2003-11-10", "2003-11-14", tag=HAS_MORE_TAG)
    assert ranges(tick(instance, history, in_minutes(1))) == [("2003-11-10|tech", "2003-11-14|tech")]
    history.reaches_back_to = date(2003, 11, 12)
    assert ranges(tick(instance, history, later)) == [("2003-11-12|tech", "2003-11-14|tech")]
    history.reaches_back_to = SESSIONS[0].session_date
    assert isinstance(tick(instance, history, later), dg.SkipReason)


@pytest.mark.parametrize("tag", [None, UNANSWERED_TAG, HAS_MORE_TAG])
def test_what_a_run_by_hand_left_is_asked_for_until_a_later_run_has_covered_it_whatever_ended_that_run(
    instance: dg.DagsterInstance, tag: str | None
) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"})
    history.lacking_before = {"IBM"}
    by_hand(instance, "2003-11-10", "2003-11-14", tag=tag)
    later = in_minutes(61)
    answer = tick(instance, history, later)
    assert ranges(answer) == [("2003-11-10|tech", "2003-11-14|tech")]
    assert isinstance(answer, dg.SensorResult)
    (request,) = answer.run_requests or []
    again = begin(instance, request)
    assert isinstance(tick(instance, history, later), dg.SkipReason), "it is under way"
    instance.report_run_failed(again)
    assert ranges(tick(instance, history, in_minutes(300))) == [("2003-11-10|tech", "2003-11-14|tech")]
    covered = dg.RunRequest(
        asset_selection=[DAILY_BARS], tags=history_range_tags(date(2003, 11, 11), date(2003, 11, 12), "tech")
    )
    succeed(instance, begin(instance, covered))
    assert ranges(tick(instance, history, in_minutes(2000))) == [
        ("2003-11-13|tech", "2003-11-14|tech"),
        ("2003-11-10|tech", "2003-11-10|tech"),
    ]


def test_a_run_by_hand_that_somebody_ended_is_called_off(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"})
    history.lacking_before = {"IBM"}
    by_hand(instance, "2003-11-10", "2003-11-14")
    request = dg.RunRequest(
        asset_selection=[DAILY_BARS], tags=history_range_tags(date(2003, 11, 10), date(2003, 11, 14), "tech")
    )
    instance.report_run_canceled(begin(instance, request, by_itself=False))
    assert isinstance(tick(instance, history, in_minutes(3000)), dg.SkipReason)


def succeed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    event = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name)
    instance.report_dagster_event(event, run.run_id)


def test_a_symbol_that_was_added_between_a_run_by_hand_and_its_repetitions_is_not_asked_for(
    instance: dg.DagsterInstance,
) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech", "NVDA": "tech"})
    history.lacking_before = {"IBM", "NVDA"}
    by_hand(instance, "2003-11-10", "2003-11-14")
    added = datetime.now(UTC)
    symbols = [Watched("IBM", "tech", EARLIER), Watched("NVDA", "tech", added)]
    history.watchlist = lambda: symbols  # type: ignore[method-assign]
    for minutes in (3, 6):
        answer = tick(instance, history, in_minutes(minutes))
        assert isinstance(answer, dg.SensorResult)
        (request,) = answer.run_requests or []
        moment = datetime.fromisoformat(request.tags[ASKED_AT_TAG])
        assert moment < added, "a run of the request leaves out who was added since"
        again = begin(instance, request)
        instance.add_run_tags(again.run_id, {UNANSWERED_TAG: "true"})
        instance.report_run_failed(again)
    history.lacking_before = {"NVDA"}
    assert isinstance(tick(instance, history, in_minutes(300)), dg.SkipReason)
    by_hand(instance, "2003-11-10", "2003-11-14")  # now somebody means both
    answer = tick(instance, history, in_minutes(300))
    assert isinstance(answer, dg.SensorResult)
    (request,) = answer.run_requests or []
    assert datetime.fromisoformat(request.tags[ASKED_AT_TAG]) > added


def test_a_run_by_hand_that_reaches_into_wanted_sessions_is_asked_for_again_as_far_as_these_do_not(
    instance: dg.DagsterInstance,
) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"}, {"IBM": [(0, 2)]})
    history.lacking_before = {"IBM"}
    by_hand(instance, "2026-11-05", "2026-11-10")
    assert ranges(tick(instance, history, in_minutes(2.5))) == [
        ("2026-11-09|tech", "2026-11-10|tech"),
        ("2026-11-05|tech", "2026-11-06|tech"),
    ]


def test_a_symbol_that_was_added_after_a_run_by_hand_does_not_want_its_days(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"})
    history.lacking_before = {"IBM"}
    by_hand(instance, "2003-11-10", "2003-11-14")
    history.watchlist = lambda: [Watched("IBM", "tech", datetime.now(UTC))]  # type: ignore[method-assign]
    assert isinstance(tick(instance, history, in_minutes(3)), dg.SkipReason)


def test_a_tick_asks_for_a_few_runs_only(instance: dg.DagsterInstance) -> None:
    groups = {f"S{number}": f"g{number}" for number in range(MOST_RUNS + 3)}
    history = PlayedHistory(groups, {symbol: [(0, 1)] for symbol in groups})
    answer = tick(instance, history)
    assert len(ranges(answer)) == MOST_RUNS
    assert isinstance(answer, dg.SensorResult)
    for request in (answer.run_requests or [])[:2]:
        begin(instance, request)
    assert len(ranges(tick(instance, history))) == MOST_RUNS - 2


def test_a_source_that_cannot_be_asked_is_said_and_the_other_goes_on(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(GROUPS, ["tech"])
    history = PlayedHistory({"IBM": "tech"}, {"IBM": [(3, 4)]})
    history.refused = {INTRADAY_BARS}
    assert ranges(tick(instance, history)) == [("2026-11-12|tech", "2026-11-12|tech")]
    history.refused = {INTRADAY_BARS, DAILY_BARS}
    answer = tick(instance, history)
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message == "No key for 1d. No key for 5m. corporate_actions: nothing is missing."
