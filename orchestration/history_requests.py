"""What asks for history by itself: schedules after each session, and a sensor for whatever is missing."""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from ingest.history.source import SourceError
from market.sessions import EXCHANGE_ZONE, sessions_between
from orchestration.actions import Actions
from orchestration.assets.keys import COLLECTED_ACTIONS
from orchestration.attempts import ASKED_AT_TAG, attempts_at, whole_attempts_at
from orchestration.gaps import (
    LOOK_BACK,
    Attempt,
    Gap,
    changed_groups,
    gaps_to_fill,
    is_due,
    left_before,
    newest_of,
    refused_until,
    symbols_by_group,
    without_refusals,
)
from orchestration.history import History, Series
from orchestration.jobs import COLLECT_ACTIONS, COLLECT_HISTORY, COLLECT_JOBS
from orchestration.partitions import SYMBOL_GROUPS, adjoining, history_range_tags
from orchestration.session_ticks import AFTER_SESSION_CRON, newest_end, session_ended_before
from warehouse.watchlist import Watched

SENSOR_DELAY: Final = timedelta(minutes=90)
"""How long after its end the sensor leaves a session to the schedule."""
INTERVAL_SECONDS: Final = 60
MOST_RUNS: Final = 5
"""Runs for one series that are asked for or under way at once: the rest is asked for when they are done."""

_LOADED_AT: Final = datetime.now(UTC)
"""When Dagster's code server began. It reads keys then: what a source refused before may be answered now."""
_PARTITIONS: Final = str(SYMBOL_GROUPS.name)
_NO_SESSION: Final = "No session ended in the hour before."
_EMPTY: Final = "The watchlist is empty. Add symbols: ./run watchlist add spy ibm"


@dg.schedule(
    name="daily_history",
    cron_schedule=AFTER_SESSION_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    job_name=COLLECT_HISTORY,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks for the bars of the session that has ended, for every group of the watchlist, half-days included.",
)
def daily_history(
    context: dg.ScheduleEvaluationContext, history: dg.ResourceParam[History]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run for each series and group; the sensor asks for what this misses."""
    session = session_ended_before(context.scheduled_execution_time)
    if session is None:
        return dg.SkipReason(_NO_SESSION)
    known = set(context.instance.get_dynamic_partitions(_PARTITIONS))
    groups = [group for group in symbols_by_group(history.watchlist()) if group in known]
    if not groups:
        return dg.SkipReason(_EMPTY)
    day = session.session_date
    able = [series for series in history.series if _refusal(history.source, series) is None]
    if not able:
        return dg.SkipReason(" ".join(filter(None, (_refusal(history.source, series) for series in history.series))))
    return [
        dg.RunRequest(
            run_key=f"{day} {series.key.path[-1]} {group}",
            asset_selection=[series.key],
            tags=history_range_tags(day, day, group),
        )
        for series in able
        for group in groups
    ]


@dg.schedule(
    name="daily_actions",
    cron_schedule=AFTER_SESSION_CRON,
    execution_timezone=str(EXCHANGE_ZONE),
    job_name=COLLECT_ACTIONS,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks for the splits and dividends of the watchlist after every session, half-days included.",
)
def daily_actions(
    context: dg.ScheduleEvaluationContext, actions: dg.ResourceParam[Actions]
) -> dg.RunRequest | dg.SkipReason:
    """Request a run for the session that has ended; the sensor asks for what this misses."""
    session = session_ended_before(context.scheduled_execution_time)
    if session is None:
        return dg.SkipReason(_NO_SESSION)
    if not actions.watchlist():
        return dg.SkipReason(_EMPTY)
    if (refusal := _refusal(actions.source)) is not None:
        return dg.SkipReason(refusal)
    return dg.RunRequest(run_key=f"{session.session_date} {COLLECTED_ACTIONS.path[-1]}")


@dg.sensor(
    name="history_gaps",
    jobs=COLLECT_JOBS,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for the sessions and the corporate actions that are missing of the watchlist, and keeps the groups' "
    "partitions in step with it.",
)
def history_gaps(
    context: dg.SensorEvaluationContext, history: dg.ResourceParam[History], actions: dg.ResourceParam[Actions]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run for each row of missing sessions of a group. A tick only reads: Dagster carries its result out."""
    return evaluate(context.instance, history, actions, datetime.now(UTC), begun_at=_LOADED_AT)


def evaluate(
    instance: dg.DagsterInstance, history: History, actions: Actions, now: datetime, *, begun_at: datetime
) -> dg.SensorResult | dg.SkipReason:
    """Return what a tick at a moment asks for; what was refused before ``begun_at`` is asked for at once."""
    watched = history.watchlist()
    new, gone = changed_groups(watched, instance.get_dynamic_partitions(_PARTITIONS))
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    for series in history.series if watched else ():
        if (refusal := _refusal(history.source, series)) is not None:
            said.append(refusal)
            continue
        sessions = history.wanted_sessions(series, now, now - SENSOR_DELAY)
        missing = history.missing(series, [one.symbol for one in watched], sessions)
        attempts = without_refusals(attempts_at(instance, series.key, now - LOOK_BACK), begun_at)
        gaps = gaps_to_fill(watched, missing, sessions, attempts, now)
        older, lacking = _older_gaps(history, series, watched, attempts, now)
        gaps += older
        room = MOST_RUNS - sum(run.ended_at is None for run in attempts)
        requests += [_request(series, gap) for gap in gaps[: max(0, room)]]
        said.append(f"{series.key.path[-1]}: {_state(len(missing.keys() | lacking), len(gaps), attempts)}")
    if watched:
        found, state = _actions_request(instance, actions, watched, now, begun_at=begun_at)
        requests += found
        said.append(state)
    partitions: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if new:
        partitions.append(SYMBOL_GROUPS.build_add_request(new))
    if gone:
        partitions.append(SYMBOL_GROUPS.build_delete_request(gone))
    reason = " ".join(said) or _EMPTY
    if not requests and not partitions:
        return dg.SkipReason(reason)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else reason,
        dynamic_partitions_requests=partitions,
    )


def _actions_request(
    instance: dg.DagsterInstance, actions: Actions, watched: Sequence[Watched], now: datetime, *, begun_at: datetime
) -> tuple[list[dg.RunRequest], str]:
    """Return a run for the symbols that were not asked for since a session ended, if it is time for one, and the state of things.

    A run from before a symbol was added, or from before the session ended, does not count for it.
    """
    if (refusal := _refusal(actions.source)) is not None:
        return [], refusal
    name = COLLECTED_ACTIONS.path[-1]
    ended_at = newest_end(now - SENSOR_DELAY)
    due = actions.due(watched, ended_at)
    every = whole_attempts_at(instance, COLLECTED_ACTIONS, COLLECT_ACTIONS, now - LOOK_BACK)
    attempts = without_refusals(every, begun_at)
    moments = [max(one.since, ended_at) for one in due]
    ready = [
        moment
        for moment in moments
        if is_due([run for run in attempts if run.ended_at is None or run.started_at >= moment], now)
    ]
    if not ready:
        return [], f"{name}: {_state(len(due), 0, attempts)}"
    request = dg.RunRequest(
        run_key=f"{name} of {max(ready).isoformat()} after {newest_of(attempts, now)}", job_name=COLLECT_ACTIONS
    )
    return [request], f"{name}: {len(due):,} symbols."


def _older_gaps(
    history: History, series: Series, watched: Sequence[Watched], attempts: Sequence[Attempt], now: datetime
) -> tuple[list[Gap], set[str]]:
    """Return the gaps to ask for now among sessions that only runs by hand asked for, and the symbols that lack any of these.

    A symbol that was added since somebody asked for a session was not meant.
    """
    reach = history.reach(series, now)
    gaps: list[Gap] = []
    lacking: set[str] = set()
    for (group, asked_at), days in left_before(attempts, history.first_wanted(series, now)).items():
        own = [one for one in watched if one.group == group and one.since <= asked_at]
        for first, last in reversed(adjoining([day for day in days if reach is None or day >= reach])):
            sessions = list(sessions_between(first, last))
            missing = history.missing(series, [one.symbol for one in own], sessions)
            found = gaps_to_fill(own, missing, sessions, attempts, now)
            gaps += [dataclasses.replace(gap, asked_at=asked_at) for gap in found]
            lacking |= set(missing)
    return gaps, lacking


def _request(series: Series, gap: Gap) -> dg.RunRequest:
    asked = {} if gap.asked_at is None else {ASKED_AT_TAG: gap.asked_at.isoformat()}
    return dg.RunRequest(
        job_name=COLLECT_HISTORY,
        run_key=gap.run_key(series.key.path[-1]),
        asset_selection=[series.key],
        tags={**history_range_tags(gap.first, gap.last, gap.group), **asked},
    )


def _refusal(find_source: Callable[..., object], *series: Series) -> str | None:
    """Return why a source cannot be asked, if so: a run would only fail."""
    try:
        find_source(*series)
    except SourceError as error:
        return str(error)
    return None


def _state(symbols: int, gaps: int, attempts: Sequence[Attempt]) -> str:
    if not symbols:
        return "nothing is missing."
    if gaps:
        return f"{gaps:,} gaps."
    if (until := refused_until(attempts)) is not None:
        return (
            f"the source refused to be asked for what is missing of {symbols:,} symbols. It is asked again after "
            f"{until:%Y-%m-%d %H:%M} UTC, after the next start of ./run up, which reads its key anew, or now by Materialize or "
            "./run backfill."
        )
    return f"what is missing of {symbols:,} symbols is being asked for, or was asked for a short while ago."
