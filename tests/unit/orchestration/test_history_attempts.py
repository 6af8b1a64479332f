"""What Dagster's own record says of the runs for partitions of history: which, of whom, and how they ended."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from orchestration.assets.keys import DAILY_BARS
from orchestration.attempts import ASKED_AT_TAG, attempts_at, partitions_of
from orchestration.partitions import SYMBOL_GROUPS, history_range_tags

FIRST, LAST = date(2026, 11, 16), date(2026, 11, 20)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        local.add_dynamic_partitions(str(SYMBOL_GROUPS.name), ["default", "energy", "tech"])
        yield local


@pytest.mark.parametrize(
    ("tags", "groups"),
    [
        ({"dagster/partition": "2026-11-16|tech"}, {"tech"}),
        (history_range_tags(FIRST, FIRST, "default"), {"default"}),
        (
            {
                "dagster/asset_partition_range_start": "2026-11-16|default",
                "dagster/asset_partition_range_end": "2026-11-16|tech",
            },
            {"default", "energy", "tech"},
        ),
        (history_range_tags(FIRST, FIRST, "gone"), {"gone"}),
    ],
)
def test_the_partitions_of_a_run_are_read_from_its_tags(tags: dict[str, str], groups: set[str]) -> None:
    assert partitions_of(tags, ["default", "energy", "tech"]) == (frozenset(groups), FIRST, FIRST)


def test_a_run_without_partitions_is_none_of_history() -> None:
    assert partitions_of({"dagster/run_key": "x"}, []) is None
    assert partitions_of({"dagster/partition": "2026-11-16"}, []) is None


def test_runs_are_found_by_asset_with_their_partitions_and_their_end(instance: dg.DagsterInstance) -> None:
    for status, selection in (
        (dg.DagsterRunStatus.NOT_STARTED, frozenset({DAILY_BARS})),
        (dg.DagsterRunStatus.STARTED, frozenset({dg.AssetKey("other")})),
    ):
        tags = history_range_tags(FIRST, LAST, "tech")
        instance.add_run(dg.DagsterRun(job_name="collect_history", status=status, tags=tags, asset_selection=selection))
    (waiting,) = attempts_at(instance, DAILY_BARS, LONG_AGO)
    assert (waiting.groups, waiting.first, waiting.last, waiting.ended_at) == (frozenset({"tech"}), FIRST, LAST, None)


def test_who_asked_for_a_run_by_hand_and_when_is_known_of_its_repetitions_too(instance: dg.DagsterInstance) -> None:
    by_itself = {"dagster/sensor_name": "history_gaps"}
    for day, tags in zip(
        (16, 17, 18, 19),
        ({}, by_itself, {"dagster/schedule_name": "daily_history"}, {**by_itself, ASKED_AT_TAG: LONG_AGO.isoformat()}),
        strict=True,
    ):
        place = history_range_tags(date(2026, 11, day), date(2026, 11, day), "tech")
        selection = frozenset({DAILY_BARS})
        instance.add_run(dg.DagsterRun(job_name="collect_history", tags={**place, **tags}, asset_selection=selection))
    by_hand, *others = sorted(attempts_at(instance, DAILY_BARS, LONG_AGO), key=lambda one: one.first)
    assert by_hand.asked_at == by_hand.started_at
    assert [one.asked_at for one in others] == [None, None, LONG_AGO]
