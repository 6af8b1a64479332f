"""``./run backfill``: fetch what is missing of the past, and nothing else."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.backfill_files import backfill_files
from cli.progress import lines
from cli.replay import parse_day
from cli.signals import setting
from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from ingest.history.backfill import Progress
    from ingest.history.order import Order
    from ingest.history.plan import Plan
    from ingest.history.source import HistorySource, Problem
    from ingest.history.summary import Summary, SymbolResult
    from market.settings import Settings

_INCOMPLETE: Final = 1
_SHOWN_SYMBOLS: Final = 50
_SHOWN_PROBLEMS: Final = 5


def backfill(
    *,
    feed: Annotated[str, typer.Option(help="The source: alpaca, alphavantage, csv, lean, sample or yahoo.")],
    symbols: Annotated[
        str, typer.Option(help="Comma-separated tickers; the watchlist, or all of a file, if not given.")
    ] = "",
    start: Annotated[
        str | None,
        typer.Option(
            help="First session, as 2013-10-07; what is kept of the interval, or all of a file, if not given."
        ),
    ] = None,
    end: Annotated[str | None, typer.Option(help="Last session; the newest that is over, if not given.")] = None,
    interval: Annotated[str, typer.Option(help="Length of the bars: 1d, 1h, 15m, 5m or 1m.")] = "1d",
    path: Annotated[Path | None, typer.Option(help="File or folder, for csv and lean.")] = None,
    columns: Annotated[
        str, typer.Option(help="What the columns of files are called, as timestamp=Date,close=Last.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Ask a vendor once more for what the lake lacks; files are read each time."),
    ] = False,
    accept_jumps: Annotated[
        bool,
        typer.Option(
            "--accept-jumps",
            help="Believe prices 50 times what they should be near, or a fiftieth, unless they jump back.",
        ),
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a symbol, a line each.")] = False,
) -> None:
    """Fetch the bars that the lake lacks, by symbol and session, from a source, and publish them like everything else.

    What is there is never fetched again; files are read each time, and what is there with the same values is not published again.
    Stopped in the middle and started again, it goes on where it was. The platform has to run. Exits 1 if something of a symbol
    could not be had; the others are done. Sessions of which the source has no bar are said.
    """
    from infra.local.home import connected_settings
    from ingest.history.files import Bounds, FileSource
    from ingest.history.order import Order, plan_of
    from ingest.history.source import StoppedError
    from ingest.history.sources import SourceOptions, get_source
    from ingest.history.turn import turn
    from market.settings import load_settings
    from warehouse.collected_history import forget

    settings = connected_settings(load_settings())
    settings.require_database()
    source = get_source(feed, settings, SourceOptions(path, parse_columns(columns)))
    first, last = parse_day(start, "--start"), parse_day(end, "--end")
    order = Order.of(settings, source, interval, symbols=symbols, start=first, end=last, now=datetime.now(UTC))
    if isinstance(source, FileSource):
        options = {"dry_run": dry_run, "accept_jumps": accept_jumps, "json_output": json_output}
        backfill_files(settings, source, order, Bounds(first, last), **options)
        return
    if dry_run:
        _show_plan(source, plan_of(settings, source, order, again=again))
        _say_what_is_refused(order.refused)
        return
    stop = threading.Event()
    with setting(stop, second_ends=True) as stopped_by:
        try:
            with turn(settings.home, source.name, interval, stop, lambda: say_that_it_waits(source.name)):
                if again:
                    forget(settings, source.name, interval, order.symbols, order.sessions)
                plan = plan_of(settings, source, order)
                summary = _fetch(settings, source, plan, stop, accept_jumps=accept_jumps) if plan.asks else None
        except StoppedError:
            typer.echo("Stopped; nobody was asked.", err=True)
            raise typer.Exit(128 + stopped_by[0]) from None
    if summary is None:
        _say_what_there_is(settings, source.name, order, plan)
        return
    summary = summary.with_refused(order.refused)
    _show_summary(summary, json_output=json_output)
    _say_when_to_come_again(summary)
    if stopped_by:
        typer.echo("Stopped; what was answered is in the lake. The same command goes on with the rest.", err=True)
        raise typer.Exit(128 + stopped_by[0])
    if not summary.is_done:
        raise typer.Exit(_INCOMPLETE)


def _fetch(
    settings: "Settings", source: "HistorySource", plan: "Plan", stop: threading.Event, *, accept_jumps: bool
) -> "Summary":
    """Ask for what is missing, and wait until the lake has it."""
    from ingest.history.backfill import run_backfill
    from ingest.history.door import BarsDoor
    from ingest.history.fetch import Pace

    interval = plan.asks[0].interval
    with BarsDoor(settings, source.name, interval) as door, progress_of(plan) as on_progress:
        pace = Pace(source.limit, settings.home / "run" / "limits" / f"{source.name}.sqlite", stop)
        try:
            return run_backfill(
                source, plan, door, pace, stop=stop, accepts_jumps=accept_jumps, on_progress=on_progress
            )
        finally:
            pace.close()


def _say_what_there_is(settings: "Settings", source: str, order: "Order", plan: "Plan") -> None:
    """Say that nobody has to be asked, and what earlier answers lacked.

    Raises
    ------
    Exit
        If something that was named cannot be asked for, or is unknown.
    """
    from warehouse.history import without_bars

    _say_nothing_is_missing(plan)
    days = (order.sessions[0].session_date, order.sessions[-1].session_date)
    lacking = without_bars(settings, source, order.interval, order.symbols, start=days[0], end=days[1])
    _say_what_had_no_bar(lacking, source)
    _say_who_is_unknown(plan)
    _say_what_is_refused(order.refused)
    if order.refused or plan.unknown:
        raise typer.Exit(_INCOMPLETE)


def parse_columns(text: str) -> dict[str, str]:
    """Return what columns are called, by our names.

    Raises
    ------
    UsageError
        If a part is not written ``ours=theirs``.
    """
    from market.errors import UsageError

    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ours, is_pair, theirs = part.partition("=")
        if not is_pair or not ours.strip() or not theirs.strip():
            msg = f"--columns has {part!r}. Write our name, = and theirs, for example: --columns timestamp=Date,close=Last"
            raise UsageError(msg)
        found[ours.strip()] = theirs.strip()
    return found


def _show_plan(source: "HistorySource", plan: "Plan") -> None:
    from rich.console import Console
    from rich.table import Table

    from ingest.history.summary import withheld_text

    table = Table(title=f"Missing of {plan.sessions:,} sessions")
    for name in ("symbol", "missing", "first", "last", "too old"):
        table.add_column(name, justify="left" if name in {"symbol", "first", "last"} else "right")
    spans = _spans(plan)
    concerned = [symbol for symbol in plan.symbols if symbol in plan.missing or symbol in plan.too_old]
    for symbol in concerned[:_SHOWN_SYMBOLS]:
        first, last = spans.get(symbol, (None, None))
        too_old = f"{plan.too_old[symbol]:,}" if symbol in plan.too_old else ""
        table.add_row(symbol, f"{plan.missing.get(symbol, 0):,}", str(first or ""), str(last or ""), too_old)
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    if concerned:
        console.print(table)
    if len(concerned) > _SHOWN_SYMBOLS:
        console.print(f"… and {len(concerned) - _SHOWN_SYMBOLS:,} more symbols")
    if plan.too_old:
        console.print(
            f"Sessions that are too old: {source.name} does not go back so far. Another source may have them."
        )
    if not plan.asks:
        _say_nothing_is_missing(plan)
        return
    if plan.withheld:
        console.print(f"Not asked for: {withheld_text(sum(plan.withheld.values()))}.")
    pace = "no limit" if source.limit is None else f"{source.limit.requests} requests in {source.limit.seconds:g} s"
    sessions = sum(plan.missing.values())
    console.print(
        f"{plan.requests:,} requests for {sessions:,} sessions of {len(plan.missing):,} symbols; {source.name} allows {pace}: "
        f"{_duration(plan.seconds)} at the least. Nothing was asked for."
    )


def say_that_it_waits(source: str) -> None:
    """Say that another backfill of the source is under way."""
    typer.echo(f"Another backfill of {source} is under way; this one goes on when that has ended.", err=True)


def _say_nothing_is_missing(plan: "Plan") -> None:
    lacking = [(plan.too_old, "are too old"), (plan.withheld, "are for other plans only; --again asks once more")]
    said = ", ".join(f"{sum(of.values()):,} {what}" for of, what in lacking if of)
    if sum(sum(of.values()) for of, _ in lacking) == plan.sessions * len(plan.symbols):
        typer.echo(
            f"The source has none of {plan.sessions:,} sessions of {len(plan.symbols):,} symbols: {said}. Nobody was asked."
        )
        return
    beyond = f" that the source may have ({said})" if said else ""
    typer.echo(
        f"Nothing is missing of {plan.sessions:,} sessions of {len(plan.symbols):,} symbols{beyond}. Nobody was asked."
    )


def _say_what_had_no_bar(found: "Mapping[str, tuple[int, date, date]]", source: str) -> None:
    from ingest.history.summary import no_bar_text

    for symbol, (sessions, first, last) in list(found.items())[:_SHOWN_PROBLEMS]:
        typer.echo(f"{symbol}: {source} had {no_bar_text(sessions, first, last)}.")
    if (more := len(found) - _SHOWN_PROBLEMS) > 0:
        typer.echo(f"So it was with {more:,} more symbols.")


def _say_who_is_unknown(plan: "Plan") -> None:
    from ingest.history.summary import NOT_KNOWN_TEXT

    for symbol in sorted(plan.unknown)[:_SHOWN_PROBLEMS]:
        typer.echo(f"{symbol}: {NOT_KNOWN_TEXT}.", err=True)
    if (more := len(plan.unknown) - _SHOWN_PROBLEMS) > 0:
        typer.echo(f"So it is with {more:,} more symbols.", err=True)


def _say_what_is_refused(problems: "Sequence[Problem]") -> None:
    for problem in problems[:_SHOWN_PROBLEMS]:
        typer.echo(problem.detail, err=True)
    if (more := len(problems) - _SHOWN_PROBLEMS) > 0:
        typer.echo(f"… and {more:,} more that are no symbols", err=True)


def _spans(plan: "Plan") -> dict[str, tuple[date, date]]:
    spans: dict[str, tuple[date, date]] = {}
    for ask in plan.asks:
        for symbol in ask.symbols:
            first, last = spans.get(symbol, (ask.first, ask.last))
            spans[symbol] = (min(first, ask.first), max(last, ask.last))
    return spans


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def progress_of(plan: "Plan") -> "Iterator[Callable[[Progress], None]]":
    """Yield what shows the progress: a bar on a terminal, else a line every few seconds."""
    if not sys.stderr.isatty():
        yield lines(_describe)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn("Asking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[bars]} bars, {task.fields[waiting]} on their way to the lake"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("ask", total=len(plan.asks), bars="0", waiting="0")
        yield lambda done: bar.update(task, completed=done.answered, bars=f"{done.bars:,}", waiting=f"{done.waiting:,}")


def _describe(done: "Progress") -> str:
    waiting = f"{done.waiting:,} on their way to the lake"
    return f"{done.answered:,} of {done.asks:,} asks answered, {done.bars:,} bars, {waiting}"


def _show_summary(summary: "Summary", *, json_output: bool) -> None:
    import json

    if json_output:
        for symbol, result in summary.symbols.items():
            typer.echo(json.dumps({"symbol": symbol, **_as_json(result)}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("symbol", "sessions", "bars", "what is wrong", title="What was fetched")
    shown = [item for item in summary.symbols.items() if not item[1].is_done or item[1].without_bars]
    good = [item for item in summary.symbols.items() if item[1].asked and item not in shown]
    for symbol, result in [*shown, *good][:_SHOWN_SYMBOLS]:
        table.add_row(
            symbol,
            f"{result.collected:,} of {result.asked:,}",
            f"{result.bars:,}",
            "\n".join(result.remarks(_SHOWN_PROBLEMS)),
        )
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    console.print(table)
    if (more := len(shown) + len(good) - _SHOWN_SYMBOLS) > 0:
        console.print(f"… and {more:,} more symbols; --json shows all")
    console.print(
        f"{summary.bars:,} bars by {summary.requests:,} requests in {summary.seconds:.1f} s, all of them in the lake."
    )


def _say_when_to_come_again(summary: "Summary") -> None:
    if summary.quota is None:
        return
    left = {symbol: result.asked - result.collected for symbol, result in summary.symbols.items() if not result.is_done}
    again_at = summary.quota.again_at
    when = f"after {again_at:%Y-%m-%d %H:%M} UTC" if again_at is not None else "tomorrow"
    typer.echo(
        f"{summary.quota} {sum(left.values()):,} sessions of {len(left):,} symbols are missing still: run the same command again "
        f"{when}. It asks for nothing else.",
        err=True,
    )


def _as_json(result: "SymbolResult") -> dict[str, object]:
    return {
        "asked": result.asked,
        "collected": result.collected,
        "bars": result.bars,
        "too_old": result.too_old,
        "withheld": result.withheld,
        "is_unknown": result.is_unknown,
        "was_unknown": result.was_unknown,
        "sessions_without_bars": [str(day) for day in result.without_bars],
        "reason": result.reason,
        "problems": dict(result.problem_counts),
        "first_problems": [{"code": problem.code, "detail": problem.detail} for problem in result.problems],
    }
