"""``./run alert incidents``: what is wrong with the platform, as operators were told."""

import json
import sys
from typing import Annotated

import typer

from cli.sql import FILE_WIDTH


def alert_incidents(
    *,
    with_resolved: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many rows.")] = 50,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show what is wrong with the platform: feeds, the stream, marts, runs and checks. Channels with --operators were told.

    Exits 1 if anything is.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alerts.notices import incidents
    from infra.local.home import connected_settings
    from market.settings import load_settings

    settings = connected_settings(load_settings())
    settings.require_database()
    found = incidents(settings, with_resolved=with_resolved, limit=limit)
    if json_output:
        for incident in found:
            typer.echo(json.dumps(incident, default=str))
    elif found:
        console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else FILE_WIDTH)
        table = Table("since", "what", "in full", "well again")
        for incident in found:
            ended = incident["resolved_at"]
            table.add_row(
                f"{incident['happened_at']:%Y-%m-%d %H:%M} UTC",
                escape(incident["title"]),
                escape(incident["text"]),
                f"{ended:%Y-%m-%d %H:%M} UTC" if ended else "",
            )
        console.print(table)
    else:
        typer.echo("Nothing is wrong that operators were told of.")
    if any(incident["resolved_at"] is None for incident in found):
        raise typer.Exit(1)
