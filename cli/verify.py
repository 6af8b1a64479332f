"""``./run verify``: prove the laws over the data at hand."""

import json
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from market.settings import Settings
    from verify.results import LawResult

_BROKEN: Final = 1
Offsets = Mapping[tuple[str, int], int]


def verify(
    *, json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a law, a line each.")] = False
) -> None:
    """Prove the laws over the data at hand; exits 1 if one is broken."""
    from infra.local.home import connected_settings
    from market.settings import load_settings

    if not run_verify(connected_settings(load_settings()), json_output=json_output):
        raise typer.Exit(_BROKEN)


def run_verify(settings: "Settings", *, json_output: bool = False, complete: bool = False) -> bool:
    """Prove the laws, print what was found, and return whether all of them hold.

    Parameters
    ----------
    settings
        With the addresses of the engines.
    json_output
        Print one JSON object a law instead of tables.
    complete
        Whether everything that the broker acknowledged must be in by now.

    Raises
    ------
    ServiceError
        If the lake or PostgreSQL cannot be read, or ``complete`` is asked for and the broker cannot.
    """
    from verify.laws import verify_all

    starts, ends = _broker_range(settings, required=complete)
    results = verify_all(settings, ends, broker_starts=starts, complete=complete)
    if json_output:
        for result in results:
            typer.echo(json.dumps(_as_json(result), default=_plain))
    else:
        _print_tables(results)
    return all(result.holds for result in results)


def _broker_range(settings: "Settings", *, required: bool) -> "tuple[Offsets | None, Offsets | None]":
    """Return the broker's first and next offsets; without a broker nothing, unless it is required."""
    from ingest.topics import beginning_offsets, end_offsets
    from market.errors import TapehouseError

    if settings.kafka_bootstrap_servers is None and not required:
        return None, None
    try:
        servers = settings.require_kafka()
        return beginning_offsets(servers), end_offsets(servers)
    except TapehouseError as error:
        if required:
            raise
        typer.echo(f"The broker was not asked for its offsets: {error}", err=True)
        return None, None


def _as_json(result: "LawResult") -> dict[str, Any]:
    return {
        "law": result.law,
        "title": result.title,
        "holds": result.holds,
        "counts": result.counts,
        "offending": result.offending,
        "problems": result.problems,
        "total_offending": result.total_offending,
        "note": result.note,
    }


def _plain(value: object) -> object:
    return str(value)


def _print_tables(results: "list[LawResult]") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    table = Table(title="The laws over the data at hand")
    table.add_column("law", justify="right")
    table.add_column("says")
    table.add_column("looked at")
    table.add_column("holds")
    for result in results:
        verdict = "[green]yes[/]" if result.holds else f"[red]no: {result.total_offending:,} rows break it[/]"
        looked_at = "\n".join(f"{number:,} {name.replace('_', ' ')}" for name, number in result.counts.items())
        table.add_row(str(result.law), result.title, looked_at, verdict)
    console.print(table)
    for result in results:
        if result.note:
            console.print(f"Law {result.law}: {result.note}", highlight=False, markup=False)
        if not result.holds:
            console.print(_offence_table(result))


def _offence_table(result: "LawResult") -> Any:  # noqa: ANN401 - rich is imported late
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Law {result.law} is broken by {result.total_offending:,} rows; the first of each problem")
    table.add_column("problem")
    table.add_column("rows", justify="right")
    table.add_column("where")
    for problem, number in result.problems.items():
        shown = [offence for offence in result.offending if offence["problem"] == problem]
        for row, offence in enumerate(shown, start=1):
            details = ", ".join(f"{name} {_readable(value)}" for name, value in offence.items() if name != "problem")
            is_first, is_last = row == 1, row == len(shown)
            names = (problem, f"{number:,}") if is_first else ("", "")
            table.add_row(*names, escape(details), end_section=is_last)
    return table


def _readable(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {pair['found']} instead of {pair['expected']}" for name, pair in value.items())
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)
