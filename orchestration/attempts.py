"""The runs that there were for the partitions of history, read from Dagster's own record of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import RunRecord

from orchestration.gaps import Attempt
from orchestration.jobs import COLLECT_HISTORY
from orchestration.partitions import range_of

HAS_MORE_TAG: Final = "tapehouse/has_more"
"""The tag that a run gives itself when its time was up before it was done, although it got on."""
UNANSWERED_TAG: Final = "tapehouse/unanswered"
"""The tag that a run gives itself when the source did not answer all of it: it is worth trying again soon."""
REFUSED_TAG: Final = "tapehouse/refused"
"""The tag that a run gives itself when the source refused to be asked, as with a wrong key."""
ASKED_AT_TAG: Final = "tapehouse/asked_at"
"""The tag of a run that the sensor repeats for a person: when that person asked. It is for the symbols of that moment."""

_ASSET_JOB: Final = "__ASSET_JOB"
"""The job of the runs that are started from the page of an asset, backfills included."""
_SEPARATOR: Final = "|"
_BY_ITSELF: Final = ("dagster/sensor_name", "dagster/schedule_name")
"""Dagster's own tags of runs that nobody started by hand."""


def attempts_at(instance: dg.DagsterInstance, key: dg.AssetKey, since: datetime) -> list[Attempt]:
    """Return the runs for partitions of an asset that were asked for after a moment, whoever asked."""
    groups = instance.get_dynamic_partitions("symbol_groups")
    places = [
        (record, partitions_of(record.dagster_run.tags, groups))
        for record in _records_of(instance, key, COLLECT_HISTORY, since)
    ]
    return [_attempt(record, place) for record, place in places if place is not None]


def whole_attempts_at(instance: dg.DagsterInstance, key: dg.AssetKey, job: str, since: datetime) -> list[Attempt]:
    """Return the runs of an asset without partitions, of a job or from its page, that were asked for after a moment."""
    every = (frozenset[str](), date.min, date.max)
    return [_attempt(record, every) for record in _records_of(instance, key, job, since)]


def _records_of(instance: dg.DagsterInstance, key: dg.AssetKey, job: str, since: datetime) -> list[RunRecord]:
    return [
        record
        for name in (job, _ASSET_JOB)
        for record in instance.get_run_records(dg.RunsFilter(job_name=name, created_after=since))
        if record.dagster_run.asset_selection is None or key in record.dagster_run.asset_selection
    ]


def _attempt(record: RunRecord, place: tuple[frozenset[str], date, date]) -> Attempt:
    run, started_at = record.dagster_run, _aware(record.create_timestamp)
    ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time is not None else record.update_timestamp
    return Attempt(
        run.run_id,
        *place,
        started_at=started_at,
        ended_at=_aware(ended) if run.is_finished else None,
        has_more=HAS_MORE_TAG in run.tags,
        unanswered=UNANSWERED_TAG in run.tags,
        refused=REFUSED_TAG in run.tags,
        failed=run.status is dg.DagsterRunStatus.FAILURE,
        asked_at=asked_at(run.tags) or (None if any(tag in run.tags for tag in _BY_ITSELF) else started_at),
    )


def asked_at(tags: Mapping[str, str]) -> datetime | None:
    """Return when a person asked for what a run with such tags repeats; ``None`` if it repeats nothing."""
    moment = tags.get(ASKED_AT_TAG)
    return datetime.fromisoformat(moment) if moment else None


def partitions_of(tags: Mapping[str, str], groups: Sequence[str]) -> tuple[frozenset[str], date, date] | None:
    """Return the groups and the first and last session of a run with such tags; ``None`` if it has no partitions.

    Parameters
    ----------
    tags
        The run's tags.
    groups
        All groups, in Dagster's order: a range of partitions means all groups between its ends.
    """
    start, end = range_of(tags) or ("", "")
    first, is_start, first_group = start.partition(_SEPARATOR)
    last, is_end, last_group = end.partition(_SEPARATOR)
    if not is_start or not is_end:
        return None
    if first_group in groups and last_group in groups:
        between = groups[groups.index(first_group) : groups.index(last_group) + 1]
        return frozenset(between), date.fromisoformat(first), date.fromisoformat(last)
    return frozenset({first_group, last_group}), date.fromisoformat(first), date.fromisoformat(last)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
