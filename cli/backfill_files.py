"""The part of ``./run backfill`` that reads files: what they have that the lake lacks, and what is said of it."""

import json
import sys
import threading
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Final

import typer

from cli.signals import setting
from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from ingest.history.files import Bounds, FileSource
    from ingest.history.order import Order
    from ingest.history.summary import Summary, SymbolResult
    from market.settings import Settings

_INCOMPLETE: Final = 1
_SHOWN_SYMBOLS: Final = 50
_SHOWN_PROBLEMS: Final = 5


def backfill_files(
    settings: "Settings",
    source: "FileSource",
    order: "Order",
    bounds: "Bounds",
    *,
    dry_run: bool,
    accept_jumps: bool,
    json_output: bool,
) -> None:
    """Publish the bars of files that the lake lacks or has with other values, and say what was read.

    Raises
    ------
    typer.Exit
        If something of a symbol could not be had, or somebody asked to stop.
    """
    from cli.backfill import say_that_it_waits
    from ingest.history.source import StoppedError
    from ingest.history.turn import turn

    stop = threading.Event()
    name = source.name
    with setting(stop, second_ends=True) as stopped_by:
        # Who looks only reads, and waits for nobody.
        own_turn = turn(settings.home, name, order.interval, stop, lambda: say_that_it_waits(name))
        try:
            with nullcontext() if dry_run else own_turn:
                summary = _read(settings, source, order, bounds, stop, dry_run=dry_run, accept_jumps=accept_jumps)
        except StoppedError:
            typer.echo("Stopped; nothing was read.", err=True)
            raise typer.Exit(128 + stopped_by[0]) from None
    summary = summary.with_refused(order.refused)
    if json_output:
        for symbol, result in summary.symbols.items():
            typer.echo(json.dumps({"symbol": symbol, **_as_json(result)}))
    else:
        _show(summary, dry_run=dry_run)
    if stopped_by:
        typer.echo("Stopped; what was published is in the lake. The same command goes on with the rest.", err=True)
        raise typer.Exit(128 + stopped_by[0])
    if not summary.is_done:
        raise typer.Exit(_INCOMPLETE)


def _read(
    settings: "Settings",
    source: "FileSource",
    order: "Order",
    bounds: "Bounds",
    stop: threading.Event,
    *,
    dry_run: bool,
    accept_jumps: bool,
) -> "Summary":
    """Read the files, and publish what the lake lacks unless it is a dry run."""
    from cli.backfill import progress_of
    from ingest.history.backfill import run_backfill
    from ingest.history.door import BarsDoor, Glance
    from ingest.history.fetch import Pace
    from ingest.history.files import UnstoredRows, stored_of
    from ingest.history.order import plan_of
    from warehouse.collected_history import forget

    if not dry_run:  # what an earlier version remembered of files
        forget(settings, source.name, order.interval, order.symbols, order.sessions)
    plan = plan_of(settings, source, order)
    unstored = UnstoredRows(source, stored_of(settings, source.name), bounds)
    glance = nullcontext(Glance(settings, order.interval))
    with (
        glance if dry_run else BarsDoor(settings, source.name, order.interval, remembers=False) as door,
        progress_of(plan) as on_progress,
        closing(Pace(None, settings.home / "run" / "limits" / f"{source.name}.sqlite", stop)) as pace,
    ):
        return run_backfill(unstored, plan, door, pace, stop=stop, accepts_jumps=accept_jumps, on_progress=on_progress)


def _show(summary: "Summary", *, dry_run: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    new = "to publish" if dry_run else "published"
    table = Table(title="What was read")
    for name in ("symbol", "bars read", "there already", new, "what is wrong"):
        table.add_column(name, justify="left" if name in {"symbol", "what is wrong"} else "right")
    said = [item for item in summary.symbols.items() if not item[1].is_done or item[1].remarks(1)]
    good = [item for item in summary.symbols.items() if item not in said]
    for symbol, result in [*said, *good][:_SHOWN_SYMBOLS]:
        counts = (f"{number:,}" for number in (result.read, result.there, result.bars))
        table.add_row(symbol, *counts, "\n".join(result.remarks(_SHOWN_PROBLEMS)))
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    console.print(table)
    if (more := len(summary.symbols) - _SHOWN_SYMBOLS) > 0:
        console.print(f"… and {more:,} more symbols; --json shows all")
    read, there = (sum(getattr(of, name) for of in summary.symbols.values()) for name in ("read", "there"))
    if dry_run:
        done = f"{summary.bars:,} would be published. Nothing was."
    else:
        done = f"{summary.bars:,} published in {summary.seconds:.1f} s, all of them in the lake."
    console.print(f"{read:,} bars read, {there:,} of them in the lake already with the same values; {done}")


def _as_json(result: "SymbolResult") -> dict[str, object]:
    return {
        "read": result.read,
        "there": result.there,
        "bars": result.bars,
        "passed_over": dict(result.passed_over),
        "is_unknown": result.is_unknown,
        "sessions_without_bars": [str(day) for day in result.without_bars],
        "reason": result.reason,
        "problems": dict(result.problem_counts),
        "first_problems": [{"code": problem.code, "detail": problem.detail} for problem in result.problems],
    }
