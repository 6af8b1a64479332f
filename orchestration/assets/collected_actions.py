"""The splits and dividends of the watchlist, fetched from a vendor after each session."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from pydantic import Field

from ingest.actions.collect import NO_ANSWER, WHOLE
from ingest.history.source import Limit, SourceError
from market.settings import Settings
from orchestration.actions import Actions, Outcome
from orchestration.assets.collected import RUN_SECONDS
from orchestration.assets.keys import COLLECTED_ACTIONS, OWNER, Group
from orchestration.attempts import HAS_MORE_TAG, REFUSED_TAG, UNANSWERED_TAG
from orchestration.history_report import allowance
from orchestration.session_ticks import newest_end
from orchestration.stoppable import Watch, carry_out, stopped

COMPLETE: Final = "actions_complete"
"""The check that says whether everything that was asked for came and was believed, and nothing is listed no more."""

_SHOWN: Final = 100
_DESCRIPTION: Final = (
    "Splits and dividends of the watchlist as a vendor tells them, all of a symbol's past.\n\nA run asks for the symbols that "
    "were not asked for since a session ended, publishes to Kafka what the lake lacks, and waits for the lake. The marts that "
    "it concerns are built by themselves within minutes."
)


class ActionsConfig(dg.Config):
    """Whom to ask for."""

    again: bool = Field(
        default=False,
        description="Ask for every symbol of the watchlist. Without it those are asked for that were not since a session ended.",
    )


def collected_actions(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset of the corporate actions that are collected of the watchlist."""

    @dg.asset(
        key=COLLECTED_ACTIONS,
        check_specs=[
            dg.AssetCheckSpec(
                COMPLETE,
                asset=COLLECTED_ACTIONS,
                description="Every symbol is known and was believed, and the vendor lists all that it listed before.",
            )
        ],
        group_name=Group.HISTORY.value,
        kinds={"python", "kafka"},
        owners=[OWNER],
        description=_DESCRIPTION,
        metadata={"source": settings.actions_feed or "none"},
        # No retries: between them a run would keep its place in the pool. The sensor asks again.
        pool=settings.actions_feed or None,
    )
    def corporate_actions(
        context: dg.AssetExecutionContext, config: ActionsConfig, actions: dg.ResourceParam[Actions]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        now = datetime.now(UTC)
        try:
            source = actions.source()
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        symbols = _symbols(actions, now, again=config.again)
        if not symbols:
            said = "Every symbol of the watchlist was asked for since the last session ended. Nobody was asked."
            yield _result(said, {"run": said}, [])
            return
        outcome = _fetch(context, actions, symbols, now)
        yield _report(context, source.name, source.limit, symbols, outcome)

    return corporate_actions


def _symbols(actions: Actions, now: datetime, *, again: bool) -> list[str]:
    watched = actions.watchlist()
    if not watched:
        msg = "The watchlist is empty. Add symbols: ./run watchlist add spy ibm"
        raise dg.Failure(msg, allow_retries=False)
    return sorted(one.symbol for one in (watched if again else actions.due(watched, newest_end(now))))


def _fetch(context: dg.AssetExecutionContext, actions: Actions, symbols: Sequence[str], now: datetime) -> Outcome:
    def collect(watch: Watch[int]) -> Outcome:
        return actions.collect(symbols, now=now, stop=watch.stop, on_answer=watch.note)

    def describe(done: int) -> str:
        return f"{done:,} of {len(symbols):,} symbols asked for."

    outcome, watch = carry_out(context, collect, describe, seconds=RUN_SECONDS)
    if watch.is_interrupted:
        raise stopped()
    if watch.time_is_up and outcome.found.answered:
        context.instance.add_run_tags(context.run_id, {HAS_MORE_TAG: "true"})
    return outcome


def _report(
    context: dg.AssetExecutionContext, name: str, limit: Limit | None, symbols: Sequence[str], outcome: Outcome
) -> dg.MaterializeResult[Any]:
    """Say what became of each symbol, and of the run.

    Raises
    ------
    Failure
        If the source did not answer for all of them; what it answered is in the lake.
    """
    found = outcome.found
    said = (
        f"{len(found.answered):,} of {len(symbols):,} symbols: {len(found.missing.actions):,} actions are new or other than "
        f"before, {found.missing.known:,} were known, by {outcome.requests:,} requests to {name} in {outcome.seconds:.1f} s."
    )
    context.log.info(said)
    run = run_metadata(limit, symbols, outcome) | {"run": said}
    kept = "What it answered is in the lake; the next run asks for the rest."
    if found.refusal is not None:
        context.instance.add_run_tags(context.run.run_id, {REFUSED_TAG: "true"})
        msg = f"{found.refusal} {kept}"
        raise dg.Failure(msg, metadata=run, allow_retries=False)
    if found.is_stopped:
        msg = f"The time was up ({RUN_SECONDS:g} s). {kept}"
        raise dg.Failure(msg, metadata=run, allow_retries=False)
    if unanswered := {problem.symbol: problem.detail for problem in found.problems if problem.code == NO_ANSWER}:
        context.instance.add_run_tags(context.run.run_id, {UNANSWERED_TAG: "true"})
        reasons = "; ".join(list(dict.fromkeys(unanswered.values()))[:3])
        msg = f"{name} did not answer for {', '.join([*unanswered][:10])}: {reasons} {kept}"
        raise dg.Failure(msg, metadata=run, allow_retries=False)
    wrong = {problem.symbol for problem in found.problems} | found.unknown
    wrong |= {action.symbol for action in found.missing.not_listed}
    return _result(said, run, sorted(wrong))


def _result(said: str, run: dict[str, Any], wrong: Sequence[str]) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        metadata=run,
        check_results=[
            dg.AssetCheckResult(
                passed=not wrong,
                check_name=COMPLETE,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"Something is wrong with {', '.join(wrong[:10])}." if wrong else said,
                metadata=run,
            )
        ],
    )


def run_metadata(limit: Limit | None, symbols: Sequence[str], outcome: Outcome) -> dict[str, Any]:
    """Return what a run did and what it cost, with a table of the symbols of which something is new or wrong."""
    found = outcome.found
    new = Counter(action.symbol for action in found.missing.actions)
    wrong: dict[str, list[str]] = {}
    for problem in found.problems:
        wrong.setdefault(problem.symbol, []).append(f"{problem.code}: {problem.detail}")
    for symbol in found.unknown:
        wrong.setdefault(symbol, []).append("the source does not know it")
    for action in found.missing.not_listed:
        text = f"lists no more what it said of {action.effective_date}: ./run actions fetch --withdraw takes it back"
        wrong.setdefault(action.symbol, []).append(text)
    concerned = [*sorted(wrong), *(symbol for symbol in sorted(new) if symbol not in wrong)]
    records = [
        dg.TableRecord({"symbol": symbol, "actions": new[symbol], "wrong": "; ".join(wrong.get(symbol, ())[:5])})
        for symbol in concerned[:_SHOWN]
    ]
    return {
        "symbols": len(symbols),
        "answered_symbols": len(found.answered),
        "range": f"{WHOLE.first} to {WHOLE.last}",
        "actions": len(found.missing.actions),
        "known_actions": found.missing.known,
        "not_listed_actions": len(found.missing.not_listed),
        "refused_rows": sum(problem.code != NO_ANSWER for problem in found.problems),
        "requests": outcome.requests,
        "source_allows": allowance(limit, outcome.requests),
        "seconds": round(outcome.seconds, 1),
        **({"symbol_results": dg.MetadataValue.table(records)} if records else {}),
    }
