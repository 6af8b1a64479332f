"""The bars of the watchlist, by session and group of symbols, fetched from a vendor as far as they are missing."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata, generate_event_batch_id
from pydantic import Field

from ingest.history.backfill import Progress
from ingest.history.source import HistorySource, SourceError
from market.sessions import sessions_between
from market.settings import Settings
from orchestration.assets.keys import OWNER, Group
from orchestration.attempts import HAS_MORE_TAG, UNANSWERED_TAG, asked_at, partitions_of
from orchestration.gaps import symbols_by_group
from orchestration.history import History, Outcome, Series, series_of
from orchestration.history_report import (
    Task,
    complete_sessions,
    range_text,
    run_metadata,
    shortcomings,
    summary_text,
    unanswered,
    wrong_symbols,
)
from orchestration.partitions import RANGE_TAGS, SYMBOL_GROUPS, history_key, history_partitions
from orchestration.stoppable import Watch, carry_out, stopped

RUN_SECONDS = 2400.0
"""After so long a run asks for nothing more: a run may last an hour, and the lake needs some of it."""
COMPLETE: Final = "history_complete"
"""The check that says whether everything that was asked for came and was believed, and each session had a bar."""

_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "1d": "Daily bars of the watchlist as a vendor tells them, ten years back.",
    "5m": "Bars of five minutes of the watchlist as a vendor tells them, eighteen months back.",
}
_HOW: Final = (
    "One partition per trading session and group of symbols (`./run watchlist add --group NAME SYMBOL…`). A run asks for what "
    "is missing of its partitions and for nothing else, publishes it to Kafka and waits for the lake; a range is one run."
)


class HistoryConfig(dg.Config):
    """What of a run differs from those that start by themselves."""

    again: bool = Field(
        default=False,
        description="Ask once more for what the source was asked for before, as far as the lake lacks it.",
    )
    accept_jumps: bool = Field(
        default=False,
        description="Believe prices 50 times what they should be near, or a fiftieth, unless they jump back.",
    )


def collected_bars(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of history that are collected of the watchlist."""
    return [_collected(series) for series in series_of(settings)]


def _collected(series: Series) -> dg.AssetsDefinition:
    @dg.asset(
        key=series.key,
        partitions_def=history_partitions(),
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,  # what could not be had of a range is not materialized
        check_specs=[
            dg.AssetCheckSpec(
                COMPLETE,
                asset=series.key,
                description="Everything that was asked for came and was believed, and each session had a bar. The rest is "
                "asked for again, later each time; a session without any bar once.",
            )
        ],
        group_name=Group.HISTORY.value,
        kinds={"python", "kafka"},
        owners=[OWNER],
        description=f"{_DESCRIPTIONS[series.interval]}\n\n{_HOW}",
        metadata={"source": series.feed or "none", "interval": series.interval},
        # No retries: between them a run would keep its place in the pool. The sensor asks again.
        pool=series.feed or None,
    )
    def bars(
        context: dg.AssetExecutionContext, config: HistoryConfig, history: dg.ResourceParam[History]
    ) -> Iterator[Any]:
        now = datetime.now(UTC)
        try:
            source = history.source(series)
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        task = _task(context, history, now)
        if not task.sessions:
            msg = f"No session of {range_text(task.not_over)} is over yet: bars are asked for after the close."
            raise dg.Failure(msg, allow_retries=False)
        outcome, watch = _fetch(context, history, series, task, now, config=config)
        yield from _report(
            context, history, series, source, task=task, outcome=outcome, is_interrupted=watch.is_interrupted
        )

    return bars


def _task(context: dg.AssetExecutionContext, history: History, now: datetime) -> Task:
    tags = dict(zip(RANGE_TAGS, _ends(context), strict=True))
    place = partitions_of(tags, context.instance.get_dynamic_partitions(str(SYMBOL_GROUPS.name)))
    if place is None:
        msg = f"The partitions {tags} are none of history."
        raise dg.Failure(msg, allow_retries=False)
    wanted, first, last = place
    moment = asked_at(context.run.tags)
    meant = [one for one in history.watchlist() if moment is None or one.since <= moment]
    groups = {group: of for group, of in symbols_by_group(meant).items() if group in wanted}
    if not groups:
        names = ", ".join(sorted(wanted))
        msg = f"The watchlist has no symbol of the group {names}. Add some: ./run watchlist add --group {names} SYMBOL"
        raise dg.Failure(msg, allow_retries=False)
    sessions = list(sessions_between(first, last))
    return Task(
        [session for session in sessions if session.post_close_at <= now],
        [session for session in sessions if session.post_close_at > now],
        groups,
    )


def _ends(context: dg.AssetExecutionContext) -> tuple[str, str]:
    keys = context.partition_key_range
    return str(keys.start), str(keys.end)


def _fetch(
    context: dg.AssetExecutionContext,
    history: History,
    series: Series,
    task: Task,
    now: datetime,
    *,
    config: HistoryConfig,
) -> tuple[Outcome, Watch[Progress]]:
    """Collect; a run whose time was up, although it got on, says that there is more.

    Raises
    ------
    Failure
        If the source refuses every request.
    """

    def collect(watch: Watch[Progress]) -> Outcome:
        return history.collect(
            series,
            task.symbols,
            task.sessions,
            now=now,
            stop=watch.stop,
            on_progress=watch.note,
            again=config.again,
            accepts_jumps=config.accept_jumps,
        )

    outcome, watch = carry_out(context, collect, _describe, seconds=RUN_SECONDS)
    if watch.time_is_up and outcome.summary.bars:
        context.instance.add_run_tags(context.run_id, {HAS_MORE_TAG: "true"})
    return outcome, watch


def _describe(done: Progress) -> str:
    waiting = f"{done.waiting:,} on their way to the lake"
    return f"{done.answered:,} of {done.asks:,} asks answered, {done.bars:,} bars, {waiting}."


def _report(
    context: dg.AssetExecutionContext,
    history: History,
    series: Series,
    source: HistorySource,
    *,
    task: Task,
    outcome: Outcome,
    is_interrupted: bool,
) -> Iterator[Any]:
    """Say what became of each partition, and of the run.

    Raises
    ------
    Failure
        If the source did not answer, the time was up, or somebody ended the run; what is complete is materialized.
    """
    said = summary_text(source.name, task, outcome)
    context.log.info(said)
    for line in wrong_symbols(outcome.summary):
        context.log.warning(line)
    run = run_metadata(source.limit, task, outcome)
    complete = complete_sessions(task, outcome)
    partitions = _partitions(history, series, task, complete=complete, said=said, run=run)
    _materialize(context, series, partitions)
    wrong = shortcomings(outcome.summary)
    yield dg.AssetCheckResult(
        passed=not (wrong or outcome.summary.stopped),
        check_name=COMPLETE,
        asset_key=series.key,
        severity=dg.AssetCheckSeverity.WARN,
        description=wrong or said,
        metadata=run,
    )
    if is_interrupted:
        raise stopped()
    quota = outcome.summary.quota
    if silent := unanswered(outcome.summary):
        if quota is None:
            context.instance.add_run_tags(context.run.run_id, {UNANSWERED_TAG: "true"})
        when = f" Come again after {quota.again_at:%Y-%m-%d %H:%M} UTC." if quota is not None and quota.again_at else ""
        msg = f"{source.name} did not answer everything. {silent} What it answered is in the lake.{when}"
        raise dg.Failure(msg, metadata=run, allow_retries=False)
    if outcome.summary.stopped:
        msg = f"The time was up ({RUN_SECONDS:g} s). What was answered is in the lake; the next run asks for the rest."
        raise dg.Failure(msg, metadata=run, allow_retries=False)


def _materialize(
    context: dg.AssetExecutionContext, series: Series, partitions: Mapping[dg.MultiPartitionKey, Mapping[str, Any]]
) -> None:
    """Log partitions as materialized, many by one statement: one by one, ten years take a minute."""
    step = context.get_step_execution_context()
    batch = generate_event_batch_id()  # type: ignore[no-untyped-call]  # Dagster leaves it untyped
    for number, (key, metadata) in enumerate(partitions.items(), start=1):
        event = dg.AssetMaterialization(series.key, partition=key, metadata=metadata)
        DagsterEvent.asset_materialization(step, event, DagsterEventBatchMetadata(batch, number == len(partitions)))


def _partitions(
    history: History,
    series: Series,
    task: Task,
    *,
    complete: Mapping[str, Sequence[date]],
    said: str,
    run: Mapping[str, Any],
) -> dict[dg.MultiPartitionKey, dict[str, Any]]:
    """Return the metadata of each complete partition: its bars in the lake; the newest of a group has those of the run too."""
    if not any(complete.values()):
        return {}
    stored = history.stored(series, task.symbols, task.sessions)
    return {
        history_key(day, group): {
            "dagster/row_count": sum(stored.get((symbol, day), 0) for symbol in task.groups[group]),
            "symbols": len(task.groups[group]),
            "run": said,
            **(run if day == days[-1] else {}),
        }
        for group, days in complete.items()
        for day in days
    }
