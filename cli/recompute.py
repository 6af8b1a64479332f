"""``./run recompute``: work sessions out again from bronze, compare, and put right what differs."""

import json
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.replay import parse_day
from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from market.settings import Settings
    from spark_jobs.report import RecomputeRequest, SessionReport

_DIFFERS = 1
_COUNTED = ("session", "trades", "amendments", "revisions", "bars", "quotes", "vendor bars")


def recompute(
    *,
    start: Annotated[str, typer.Option(help="First session, as 2013-10-07.")],
    end: Annotated[str | None, typer.Option(help="Last session; the first if not given.")] = None,
    symbols: Annotated[str, typer.Option(help="Comma-separated tickers; all if not given.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare only; exits 1 if something differs.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a session, a line each.")] = False,
) -> None:
    """Work everything that follows from some sessions' messages out again from bronze, and repair what differs.

    The platform may go on meanwhile: only what has reached PostgreSQL is compared, and the stream waits while a part of a session
    is repaired. After a repair the marts are built from what changed. Started again after it was stopped, it completes what is
    left. Exits 2 if there is nothing to work out.
    """
    from infra.local.home import connected_settings
    from infra.local.processes import dies_with_parent
    from market.errors import TapehouseError
    from market.instruments import parse_symbols
    from market.settings import load_settings
    from spark_jobs.report import RecomputeRequest
    from spark_jobs.report import recompute as run_recompute

    first = parse_day(start, "--start")
    last = parse_day(end, "--end") or first
    if first is None or last is None:
        raise AssertionError  # --start is required
    request = RecomputeRequest(first, last, parse_symbols(symbols) if symbols else (), dry_run)
    settings = connected_settings(load_settings())
    reports: list[SessionReport] = []
    prefix = dies_with_parent(signal.SIGTERM)
    try:
        for report in run_recompute(settings, request, prefix=prefix):
            reports.append(report)
            if json_output:
                typer.echo(json.dumps(report.to_json()))
    except TapehouseError:
        _build_marts(settings, reports)  # what was repaired before is repaired
        raise
    _build_marts(settings, reports)
    _refuse_nothing(request, reports)
    if not json_output:
        _print_summary(reports)
    if dry_run and any(report.differing for report in reports):
        raise typer.Exit(_DIFFERS)


def _build_marts(settings: "Settings", reports: "Sequence[SessionReport]") -> None:
    """Build the marts, if anything was repaired."""
    if not any(report.is_repaired for report in reports):
        return
    from orchestration.run import run_jobs

    typer.echo("Building the marts from what was repaired …", err=True)
    run_jobs(settings, ["marts"])


def _refuse_nothing(request: "RecomputeRequest", reports: "Sequence[SessionReport]") -> None:
    from market.errors import UsageError

    # Messages that break a rule are there for any range: they are of the batches since its first session.
    if any(
        report.differing or report.trades or report.quotes or report.vendor_bars or report.corporate_actions
        for report in reports
    ):
        return
    of_symbols = f" of {', '.join(request.symbols)}" if request.symbols else ""
    days = f"from {request.start} to {request.end}" if request.end != request.start else f"on {request.start}"
    question = "select symbol, session_date, count(*) from trades group by symbol, session_date"
    msg = (
        f"There are no trades, quotes or vendor bars{of_symbols} {days}, in bronze or beyond: nothing was worked out. "
        f'./run sql --lake "{question}" shows which there are.'
    )
    raise UsageError(msg)


def _print_summary(reports: "Sequence[SessionReport]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Worked out again from bronze")
    for name in (*_COUNTED, "differs", "repaired", "seconds"):
        table.add_column(name, justify="left" if name in {"session", "differs", "repaired"} else "right")
    for report in reports:
        counts = (getattr(report, name.replace(" ", "_")) for name in _COUNTED[1:])
        table.add_row(
            _named(report),
            *(f"{count:,}" if count else "" for count in counts),
            _differences(report),
            "yes" if report.is_repaired else "",
            f"{report.seconds:.1f}",
        )
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)


def _named(report: "SessionReport") -> str:
    return "beside the sessions" if report.session_date is None else report.session_date.isoformat()


def _differences(report: "SessionReport") -> str:
    """Return a line a table: how many of its rows were missing, should not be there, or had other values."""
    return "\n".join(
        f"{table}: {found.missing:,} missing, {found.unexpected:,} unexpected, {found.different:,} different"
        for table, found in sorted(report.differences.items())
    )
