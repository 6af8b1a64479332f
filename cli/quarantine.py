"""``./run quarantine``: what was rejected, and why."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.sql import FILE_WIDTH
from market.errors import UsageError

if TYPE_CHECKING:
    from verify.lake import Lake

_NOT_FOUND: Final = 1


class Action(StrEnum):
    """What to do."""

    LIST = "list"
    SHOW = "show"


def quarantine(
    action: Annotated[Action, typer.Argument(help="list: what was rejected; show: one message, whole.")] = Action.LIST,
    place: Annotated[str | None, typer.Argument(help="For show: topic/partition/offset, as list prints it.")] = None,
    *,
    reason: Annotated[str | None, typer.Option(help="For list: the messages of this reason, one by one.")] = None,
    topic: Annotated[str | None, typer.Option(help="For list: the messages of this topic, one by one.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="For list: messages to show, the newest first.")] = 20,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show what was rejected: counted by reason, message by message, or one as it came.

    Nothing that was rejected is lost: the message stays in bronze, byte for byte. The reasons and their remedies are in
    docs/wire-format.md. Reads the lake alone; the platform need not run.
    """
    from infra.local.home import connected_settings
    from market.settings import load_settings
    from verify.lake import Lake

    if (place is not None) != (action is Action.SHOW):
        msg = "show needs the place of a message, as ./run quarantine list --reason … prints it; list needs none."
        raise UsageError(msg)
    lake = Lake(connected_settings(load_settings()).lake)
    if place is not None:
        _show_message(lake, place, json_output=json_output)
    elif reason is None and topic is None:
        _list_reasons(lake, json_output=json_output)
    else:
        _list_messages(lake, reason, topic, limit, json_output=json_output)


def _list_reasons(lake: "Lake", *, json_output: bool) -> None:
    from verify.quarantine import count_by_reason

    found = count_by_reason(lake)
    if json_output:
        _print_json([{**asdict(count), "newest": str(count.newest)} for count in found])
        return
    if not found:
        typer.echo("Nothing was rejected.")
        return
    rows = [
        (
            count.reason,
            count.topic,
            f"{count.messages:,}",
            _moment(count.first_at),
            _moment(count.last_at),
            str(count.newest),
        )
        for count in found
    ]
    _print_table(("reason", "topic", "messages", "first", "last", "newest"), rows)


def _list_messages(lake: "Lake", reason: str | None, topic: str | None, limit: int, *, json_output: bool) -> None:
    from verify.quarantine import newest_rejected

    found = newest_rejected(lake, reason=reason, topic=topic, limit=limit)
    if json_output:
        _print_json([{**asdict(message), "place": str(message.place)} for message in found])
    elif not found:
        typer.echo("Nothing was rejected for that reason. ./run quarantine list shows the reasons.")
    else:
        rows = [(str(one.place), one.reason, _moment(one.ingested_at), one.detail or "") for one in found]
        _print_table(("place", "reason", "taken in", "detail"), rows)


def _show_message(lake: "Lake", place: str, *, json_output: bool) -> None:
    from verify.quarantine import find_message, parse_place

    found = find_message(lake, parse_place(place))
    if found is None:
        typer.echo(f"No message was rejected at {place}.", err=True)
        raise typer.Exit(_NOT_FOUND)
    fields = {
        "place": str(found.rejected.place),
        "reason": found.rejected.reason,
        "detail": found.rejected.detail,
        "ingested_at": found.rejected.ingested_at,
        "kafka_at": found.kafka_at,
        "key": _readable(found.key),
        "value": _readable(found.value),
    }
    if json_output:
        _print_json([fields])
        return
    for name, value in fields.items():
        typer.echo(f"{name:12} {_moment(value) if isinstance(value, datetime) else value}")


def _readable(content: bytes | None) -> str | None:
    """Return the content as a text; bytes that are no UTF-8, and control characters, as escapes."""
    if content is None:
        return None
    text = content.decode(errors="backslashreplace")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _print_json(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row, default=lambda value: value.isoformat()))


def _print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)
