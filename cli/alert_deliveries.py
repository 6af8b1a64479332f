"""``./run alert deliveries``: what became of what was to be sent."""

import json
import sys
from typing import Annotated, Final

import typer

from cli.sql import FILE_WIDTH

SHOWN: Final = (
    "delivery_id", "status", "channel", "kind", "rule_name", "symbol", "bar_at", "attempts", "last_error",
)  # fmt: skip
"""The columns of the table; ``--json`` has all."""


def alert_deliveries(
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Only what was given up.")] = False,
    held: Annotated[bool, typer.Option("--held", help="Only what storm protection held back.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Only what is on its way.")] = False,
    channel: Annotated[str | None, typer.Option(help="Only of this channel.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows.")] = 50,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show what was sent, what waits, what was held back, and what was given up with the last error."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from alerts.delivery.ledger import deliveries, delivery_counts
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.settings import load_settings

    wanted = [name for name, is_wanted in (("dead", dead), ("held", held), ("pending", pending)) if is_wanted]
    if len(wanted) > 1:
        msg = f"Choose one of --{', --'.join(wanted)}."
        raise UsageError(msg)
    settings = connected_settings(load_settings())
    settings.require_database()
    found = deliveries(settings, status=wanted[0] if wanted else None, channel=channel, limit=limit)
    if json_output:
        for row in found.rows:
            typer.echo(json.dumps(dict(zip(found.columns, row, strict=True)), default=str))
        return
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else FILE_WIDTH)
    counts = Table("channel", "status", "number", title="All deliveries")
    for row in delivery_counts(settings).rows:
        counts.add_row(*map(str, row))
    console.print(counts)
    table = Table(*(Column(name, no_wrap=name == "delivery_id") for name in SHOWN))
    places = [found.columns.index(name) for name in SHOWN]
    for row in found.rows:
        table.add_row(*("" if row[place] is None else escape(str(row[place])) for place in places))
    console.print(table)
    if any(row[found.columns.index("status")] in {"dead", "held"} for row in found.rows):
        console.print("Send again: ./run alert resend ID…, or --dead or --held with --channel NAME.", highlight=False)
