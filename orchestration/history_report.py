"""What a collection of history says of itself: which sessions are complete, what it cost, and what is wrong with which symbol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import dagster as dg

from ingest.history.source import Ask, Limit
from ingest.history.summary import Summary, SymbolResult, no_bar_text
from market.sessions import Session
from orchestration.history import Outcome

_SHOWN_SYMBOLS: Final = 100
_SHOWN_PROBLEMS: Final = 2
_NAMED: Final = 10
_REASONS: Final = 3


@dataclass(frozen=True, slots=True)
class Task:
    """What a run is for: sessions that are over, those that are not, and the symbols of each group."""

    sessions: Sequence[Session]
    not_over: Sequence[Session]
    groups: Mapping[str, Sequence[str]]

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, in order."""
        return tuple(sorted(symbol for of in self.groups.values() for symbol in of))


def complete_sessions(task: Task, outcome: Outcome) -> dict[str, list[date]]:
    """Return by group the sessions of which every symbol was answered, and none is missing after it.

    A symbol of which something was not believed lacks the sessions that the lake has not whole, and that alone.
    """
    found = {}
    for group, symbols in task.groups.items():
        numbers: set[int] = set()
        for symbol in symbols:
            for start, end in outcome.missing.get(symbol, ()):
                numbers.update(range(start, end))
        found[group] = [session.session_date for number, session in enumerate(task.sessions) if number not in numbers]
    return found


def summary_text(name: str, task: Task, outcome: Outcome) -> str:
    """Return in a sentence what a run did."""
    place = f"{range_text(task.sessions)}, {len(task.symbols):,} symbols of {', '.join(task.groups)}"
    if not outcome.plan.asks:
        plan = outcome.plan
        lacking = ((plan.too_old, "too old for it"), (plan.withheld, "for other plans of it only"))
        said = ", ".join(f"{sum(of.values()):,} sessions are {what}" for of, what in lacking if of)
        beyond = f" that {name} may have; {said}" if said else ""
        return f"{place}: nothing was missing{beyond}. Nobody was asked."
    done = outcome.summary
    return f"{place}: {done.bars:,} bars by {done.requests:,} requests to {name} in {done.seconds:.1f} s."


def run_metadata(limit: Limit | None, task: Task, outcome: Outcome) -> dict[str, Any]:
    """Return what a run did and what it cost, with a table of the symbols that were asked for or are wrong."""
    summary, plan = outcome.summary, outcome.plan
    concerned = [
        item for item in summary.symbols.items() if not item[1].is_done or item[1].reason or item[1].without_bars
    ]
    concerned += [item for item in summary.symbols.items() if item not in concerned and item[1].asked]
    records = [_record(symbol, result, plan.asks) for symbol, result in concerned[:_SHOWN_SYMBOLS]]
    return {
        "sessions": range_text(task.sessions),
        "asked_sessions": sum(plan.missing.values()),
        "bars": summary.bars,
        "requests": summary.requests,
        "source_allows": allowance(limit, summary.requests),
        "seconds": round(summary.seconds, 1),
        "too_old_sessions": sum(plan.too_old.values()),
        "withheld_sessions": sum(result.withheld for result in summary.symbols.values()),
        "sessions_without_bars": sum(len(result.without_bars) for result in summary.symbols.values()),
        **({"symbol_results": dg.MetadataValue.table(records)} if records else {}),
    }


def unanswered(summary: Summary) -> str:
    """Return which symbols a source did not answer, and why; empty if it answered all."""
    symbols: dict[str, list[str]] = {}
    for symbol, result in summary.symbols.items():
        if result.reason:
            symbols.setdefault(result.reason, []).append(symbol)
    return " ".join(f"{_names(of)}: {reason}" for reason, of in [*symbols.items()][:_REASONS])


def wrong_symbols(summary: Summary) -> list[str]:
    """Return by symbol what is wrong, a line each, the first hundred: what came is no less worth saying if a run fails."""
    return [
        f"{symbol}: {'; '.join(result.remarks(_SHOWN_PROBLEMS))}"
        for symbol, result in summary.symbols.items()
        if not result.is_done or result.without_bars
    ][:_SHOWN_SYMBOLS]


def _names(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - _NAMED:,} more" if len(symbols) > _NAMED else ""
    return f"{', '.join(symbols[:_NAMED])}{more}"


def shortcomings(summary: Summary) -> str:
    """Return with which symbols something is wrong, and of which a source had no bar; empty if all is well."""
    results = summary.symbols.items()
    wrong = [symbol for symbol, result in results if result.problem_counts or result.is_unknown or result.was_unknown]
    lacking = {symbol: result.without_bars for symbol, result in results if result.without_bars}
    silent = unanswered(summary)
    said = [f"There is no answer for {silent}"] if silent else []
    said += [f"Something is wrong with {_names(wrong)}."] if wrong else []
    said += [f"{symbol}: {no_bar_text(len(days), days[0], days[-1])}." for symbol, days in [*lacking.items()][:_NAMED]]
    if (more := len(lacking) - _NAMED) > 0:
        said.append(f"So it is with {more:,} more symbols.")
    if too_old := max((result.too_old for _, result in results), default=0):
        said.append(f"{too_old:,} sessions are too old for the source, and are not materialized.")
    if withheld := max((result.withheld for _, result in results), default=0):
        said.append(f"{withheld:,} sessions are for other plans of the source only, and are not materialized.")
    return " ".join(said)


def allowance(limit: Limit | None, requests: int) -> str:
    """Return what a source allows, and which share of it some requests are."""
    if limit is None:
        return "no limit"
    return f"{limit.requests:,} requests in {limit.seconds:g} s ({requests / limit.requests:.1%} of them)"


def _record(symbol: str, result: SymbolResult, asks: Sequence[Ask]) -> dg.TableRecord:
    spans = [(ask.first, ask.last) for ask in asks if symbol in ask.symbols]
    return dg.TableRecord(
        {
            "symbol": symbol,
            "collected": f"{result.collected:,} of {result.asked:,}",
            "bars": result.bars,
            "sessions": f"{min(spans)[0]} to {max(last for _, last in spans)}" if spans else "",
            "wrong": "; ".join(result.remarks(_SHOWN_PROBLEMS)),
        }
    )


def range_text(sessions: Sequence[Session]) -> str:
    """Return sessions as text: the first, the last and how many."""
    if not sessions:
        return "no session"
    first, last = sessions[0].session_date, sessions[-1].session_date
    return f"{first}" if first == last else f"{first} to {last} ({len(sessions):,} sessions)"
