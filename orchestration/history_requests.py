"""What asks for history by itself: a schedule after each session, and a sensor for whatever is missing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from ingest.history.source import SourceError
from market.sessions import EXCHANGE_ZONE, Session, find_session
from orchestration.attempts import attempts_at
from orchestration.gaps import LOOK_BACK, Gap, changed_groups, gaps_to_fill, symbols_by_group
from orchestration.history import History, Series
from orchestration.jobs import COLLECT_HISTORY
from orchestration.partitions import SYMBOL_GROUPS, history_range_tags

AFTER_SESSION_CRON: Final = "45 17-20 * * 1-5"
"""A quarter to each hour, exchange time, in which a session can have ended: its post segment ends at 17:00 on half-days, at
20:00 else. Three quarters of an hour let vendors finish their bars."""
SENSOR_DELAY: Final = timedelta(minutes=90)
"""How long after its end the sensor leaves a session to the schedule."""
INTERVAL_SECONDS: Final = 60
MOST_RUNS: Final = 5
"""Runs for one series that are asked for or under way at once: the rest is asked for when they are done."""

_PARTITIONS: Final = str(SYMBOL_GROUPS.name)


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
        return dg.SkipReason("No session ended in the hour before.")
    known = set(context.instance.get_dynamic_partitions(_PARTITIONS))
    groups = [group for group in symbols_by_group(history.watchlist()) if group in known]
    if not groups:
        return dg.SkipReason("The watchlist is empty. Add symbols: ./run watchlist add spy ibm")
    day = session.session_date
    able = [series for series in history.series if _refusal(history, series) is None]
    if not able:
        return dg.SkipReason(" ".join(filter(None, (_refusal(history, series) for series in history.series))))
    return [
        dg.RunRequest(
            run_key=f"{day} {series.key.path[-1]} {group}",
            asset_selection=[series.key],
            tags=history_range_tags(day, day, group),
        )
        for series in able
        for group in groups
    ]


@dg.sensor(
    name="history_gaps",
    job_name=COLLECT_HISTORY,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for the sessions that are missing of the watchlist, and keeps the groups' partitions in step with it.",
)
def history_gaps(
    context: dg.SensorEvaluationContext, history: dg.ResourceParam[History]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run for each row of missing sessions of a group. A tick only reads: Dagster carries its result out."""
    return evaluate(context.instance, history, datetime.now(UTC))


def evaluate(instance: dg.DagsterInstance, history: History, now: datetime) -> dg.SensorResult | dg.SkipReason:
    """Return what a tick at a moment asks for."""
    watched = history.watchlist()
    new, gone = changed_groups(watched, instance.get_dynamic_partitions(_PARTITIONS))
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    for series in history.series if watched else ():
        if (refusal := _refusal(history, series)) is not None:
            said.append(refusal)
            continue
        sessions = history.wanted_sessions(series, history.source(series), now, now - SENSOR_DELAY)
        missing = history.missing(series, [one.symbol for one in watched], sessions)
        attempts = attempts_at(instance, series.key, now - LOOK_BACK)
        gaps = gaps_to_fill(watched, missing, sessions, attempts, now)
        room = MOST_RUNS - sum(run.ended_at is None for run in attempts)
        requests += [_request(series, gap) for gap in gaps[: max(0, room)]]
        said.append(f"{series.key.path[-1]}: {_state(len(missing), gaps)}")
    partitions: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if new:
        partitions.append(SYMBOL_GROUPS.build_add_request(new))
    if gone:
        partitions.append(SYMBOL_GROUPS.build_delete_request(gone))
    reason = " ".join(said) or "The watchlist is empty. Add symbols: ./run watchlist add spy ibm"
    if not requests and not partitions:
        return dg.SkipReason(reason)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else reason,
        dynamic_partitions_requests=partitions,
    )


def session_ended_before(tick: datetime) -> Session | None:
    """Return the session whose post segment ended less than an hour before ``tick``, or at it; ``None`` if there is none.

    Ticks are an hour apart, so each session is found by exactly one tick of its day.
    """
    session = find_session(tick.astimezone(EXCHANGE_ZONE).date())
    if session is not None and timedelta(0) <= tick - session.post_close_at < timedelta(hours=1):
        return session
    return None


def _request(series: Series, gap: Gap) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=gap.run_key(series.key.path[-1]),
        asset_selection=[series.key],
        tags=history_range_tags(gap.first, gap.last, gap.group),
    )


def _refusal(history: History, series: Series) -> str | None:
    """Return why a series cannot be asked for, if so: a run would only fail."""
    try:
        history.source(series)
    except SourceError as error:
        return str(error)
    return None


def _state(symbols: int, gaps: Sequence[Gap]) -> str:
    if not symbols:
        return "nothing is missing."
    if not gaps:
        return f"what is missing of {symbols:,} symbols is being asked for, or was asked for a short while ago."
    return f"{len(gaps):,} gaps."
