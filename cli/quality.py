"""``./run quality``: hold values against what is possible, and show the pages of the outcomes."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from quality.outcomes import Outcome

_BROKEN = 1


def quality(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Look at every row, not at what changed only.")] = False,
) -> None:
    """Hold the values of the lake, of PostgreSQL and of the marts against what their columns may have.

    What changed since the last look is looked at, as Dagster does before and after it builds the marts; what was found broken is
    looked at again until it is mended. Exits 1 if a value is not possible, and shows rows that have one.
    """
    from infra.local.home import connected_settings
    from market.settings import load_settings
    from quality.checks import Quality

    checks = Quality(connected_settings(load_settings()))
    parts = (checks.check_lake, checks.check_postgres, checks.check_marts)
    outcomes = [outcome for part in parts for outcome in part(everything=everything)]
    _print_outcomes(outcomes)
    typer.echo(f"Page: {checks.page}")
    if not all(outcome.holds for outcome in outcomes):
        raise typer.Exit(_BROKEN)


def _print_outcomes(outcomes: "list[Outcome]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    table = Table(title="Values that changed")
    table.add_column("table")
    table.add_column("rows looked at", justify="right")
    table.add_column("expectations", justify="right")
    table.add_column("holds")
    for outcome in outcomes:
        verdict = "[green]yes[/]" if outcome.holds else f"[red]no: {len(outcome.broken)} expectations[/]"
        table.add_row(outcome.table, f"{outcome.rows:,}", str(outcome.expectations), verdict if outcome.rows else "-")
    console.print(table)
    broken = [(outcome, one) for outcome in outcomes for one in outcome.broken]
    if not broken:
        return
    rows = Table(title="Values that are not possible; the first rows of each kind")
    for name in ("table", "expected", "rows", "where"):
        rows.add_column(name, justify="right" if name == "rows" else "left")
    for outcome, one in broken:
        places = [", ".join(f"{name} {value}" for name, value in row.items()) for row in one.examples]
        rows.add_row(outcome.table, escape(one.says), f"{one.rows:,}", escape("\n".join(places)), end_section=True)
    console.print(rows)
