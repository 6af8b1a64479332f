"""``./run quarantine``: what was rejected, why, and whether it is accepted now."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from cli.sql import FILE_WIDTH
from market.errors import UsageError

if TYPE_CHECKING:
    from market.settings import Settings
    from verify.lake import Lake
    from verify.retry import Message

_NOT_FOUND: Final = 1
_SHOWN: Final = 20


class Action(StrEnum):
    """What to do."""

    LIST = "list"
    SHOW = "show"
    RETRY = "retry"


def quarantine(
    action: Annotated[
        Action, typer.Argument(help="list: what was rejected; show: one message, whole; retry: judge it again.")
    ] = Action.LIST,
    place: Annotated[
        str | None, typer.Argument(help="For show and retry: topic/partition/offset, as list prints it.")
    ] = None,
    *,
    reason: Annotated[str | None, typer.Option(help="For list and retry: the messages of this reason.")] = None,
    topic: Annotated[str | None, typer.Option(help="For list and retry: the messages of this topic.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="For list: messages to show, the newest first; 20 of a reason or topic without it.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="For retry: publish nothing.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show what was rejected: counted by reason, message by message, or one as it came; and retry what is accepted now.

    list counts by reason; with a reason, a topic or a limit it lists messages. Nothing that was rejected is lost: the message
    stays in bronze, byte for byte. The reasons and their remedies are in docs/wire-format.md. list and show read the lake alone;
    the platform need not run.

    retry judges the messages by the rules and the clock of today and publishes those that are accepted now again, byte for byte,
    to their topic: they go the way of all messages. What a retry before brought in is not published again. A conflict is never
    retried: the first message of an identity is the record; to change it, publish a correction.
    """
    from infra.local.home import connected_settings
    from market.settings import load_settings
    from verify.lake import Lake

    if (place is None) if action is Action.SHOW else (place is not None and action is Action.LIST):
        msg = "show needs the place of a message, as ./run quarantine list --reason … prints it; list needs none."
        raise UsageError(msg)
    if limit is not None and action is not Action.LIST:
        msg = f"--limit goes with list, not with {action}."
        raise UsageError(msg)
    settings = connected_settings(load_settings())
    lake = Lake(settings.lake)
    if action is Action.RETRY:
        _retry(settings, lake, Chosen(reason, topic, place), dry_run=dry_run, json_output=json_output)
    elif place is not None:
        _show_message(lake, place, json_output=json_output)
    elif reason is None and topic is None and limit is None:
        _list_reasons(lake, json_output=json_output)
    else:
        _list_messages(lake, reason, topic, limit or _SHOWN, json_output=json_output)


class Chosen(NamedTuple):
    """Which messages to retry; all if none is named."""

    reason: str | None
    topic: str | None
    place: str | None


def _retry(settings: "Settings", lake: "Lake", chosen: Chosen, *, dry_run: bool, json_output: bool) -> None:
    from verify.quarantine import parse_place
    from verify.retry import plan_retry

    place = parse_place(chosen.place) if chosen.place else None
    plan = plan_retry(lake, datetime.now(UTC), reason=chosen.reason, topic=chosen.topic, place=place)
    if not dry_run:
        _publish(settings, plan.accepted)
    if json_output:
        counts = {"accepted": len(plan.accepted), "published": 0 if dry_run else len(plan.accepted)}
        others = {"already_in": plan.already_in, "conflicts": plan.conflicts, "still_rejected": plan.still_rejected}
        _print_json([{**counts, **others}])
        return
    typer.echo(f"{len(plan.accepted):,} {'would be accepted now' if dry_run else 'published again: accepted now'}")
    typer.echo(f"{plan.already_in:,} taken in already, after a retry before")
    for reason, number in plan.still_rejected.items():
        typer.echo(f"{number:,} still rejected: {reason}")
    if plan.conflicts:
        typer.echo(f"{plan.conflicts:,} conflicts, never retried: the first message of an identity is the record")


def _publish(settings: "Settings", messages: "Sequence[Message]") -> None:
    from ingest.publisher import Publisher

    if not messages:
        return
    with Publisher(settings.require_kafka()) as publisher:
        for message in messages:
            publisher.publish_bytes(message.topic, message.key, message.value)


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
        chosen = reason is not None or topic is not None
        hint = " for that reason. ./run quarantine list shows the reasons." if chosen else "."
        typer.echo(f"Nothing was rejected{hint}")
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
