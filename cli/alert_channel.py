"""``./run alert channel``: where alerts go."""

import math
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final
from uuid import uuid4

import typer

from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from alerts.delivery.channels.channel import ChannelSettings
    from market.settings import Settings

ASK: Final = "-"
"""In place of a URL or secret: it is asked for, and neither shown nor kept by the shell."""


class Action(StrEnum):
    """What to do."""

    LIST = "list"
    ADD = "add"
    TEST = "test"
    REMOVE = "remove"


_WANTS: Final = {
    Action.LIST: (0, "list"),
    Action.ADD: (2, "add NAME URL"),
    Action.TEST: (1, "test NAME"),
    Action.REMOVE: (1, "remove NAME"),
}


def alert_channel(
    action: Annotated[Action, typer.Argument(help="list, add, test or remove.")] = Action.LIST,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME] [URL]", help="Its name; where it goes; - for the URL to be asked for it."),
    ] = None,
    *,
    secret: Annotated[
        str | None, typer.Option(help="For webhooks: what messages are signed with; - to be asked for it.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="It may lead to addresses that are not public, such as 192.168.1.5.")
    ] = False,
    rule_limit: Annotated[
        int, typer.Option(help="Alerts of one rule an hour before they are held back; 0: no limit.")
    ] = 30,
    channel_limit: Annotated[int, typer.Option(help="Alerts an hour before they are held back; 0: no limit.")] = 120,
    digest_minutes: Annotated[
        float, typer.Option(help="How long after the first that was held a digest says so.")
    ] = 15,
    timeout_seconds: Annotated[int, typer.Option(help="How long one attempt may take.")] = 10,
    operators: Annotated[
        bool,
        typer.Option("--operators", help="It is told what is wrong with the platform itself, and when it is well."),
    ] = False,
    reports: Annotated[bool, typer.Option("--reports", help="Reports are sent to it.")] = False,
) -> None:
    """Show, add, try or remove the channels that alerts go to.

    A channel is a mail server (smtp://…), a webhook (https://…), or a service that Apprise knows (slack://…, discord://…,
    tgram://…, ntfy://…). log and kafka are there without being added. Passwords and tokens are never shown.
    """
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.settings import load_settings

    given = arguments or []
    number, example = _WANTS[action]
    if len(given) != number:
        msg = f"Write ./run alert channel {example}."
        raise UsageError(msg)
    if action is not Action.ADD and (secret is not None or allow_private or operators or reports):
        msg = f"{action.value} takes no --secret, --allow-private, --operators or --reports; they go with add."
        raise UsageError(msg)
    settings = connected_settings(load_settings())
    settings.require_database()
    match action:
        case Action.ADD:
            from pydantic import SecretStr

            from alerts.delivery.channels.channel import ChannelSettings

            url, signing = _asked(given[1], "URL"), _asked(secret, "Secret")
            channel = ChannelSettings(
                name=given[0],
                url=SecretStr(url or ""),
                signing_secret=SecretStr(signing) if signing is not None else None,
                is_private_allowed=allow_private,
                rule_limit=rule_limit,
                channel_limit=channel_limit,
                digest_seconds=_seconds(digest_minutes),
                timeout_seconds=timeout_seconds,
                is_for_operators=operators,
                is_for_reports=reports,
            )
            _add(settings, channel)
        case Action.TEST:
            _test(settings, given[0])
        case Action.REMOVE:
            _remove(settings, given[0])
        case _:
            _list(settings)


def _seconds(minutes: float) -> int:
    """Return the seconds of what ``--digest-minutes`` says; how many there may be the channel says."""
    from market.errors import UsageError

    if not math.isfinite(minutes * 60):
        msg = f"--digest-minutes {minutes:g} cannot be. Give the minutes as a number up to 1440, a day."
        raise UsageError(msg)
    return round(minutes * 60)


def _asked(value: str | None, what: str) -> str | None:
    return str(typer.prompt(what, hide_input=True)) if value == ASK else value


def _add(settings: "Settings", channel: "ChannelSettings") -> None:
    from alerts.delivery.channel_store import add_channel

    add_channel(settings, channel, datetime.now(UTC))
    typer.echo(f"Added {channel.name}. Try it: ./run alert channel test {channel.name}")


def _remove(settings: "Settings", name: str) -> None:
    from alerts.delivery.channel_store import remove_channel
    from market.errors import UsageError

    if not remove_channel(settings, name, datetime.now(UTC)):
        msg = f"There is no channel {name} that was added. ./run alert channel list shows them."
        raise UsageError(msg)
    typer.echo(f"Removed {name}. What waits for it is given up, and kept: ./run alert deliveries --dead")


def _test(settings: "Settings", name: str) -> None:
    """Send a message at once, past the outbox, and say what the receiver answered."""
    from alerts.delivery.channel_store import channels
    from alerts.delivery.channels.channel import RefusedError, scrubbed
    from alerts.delivery.channels.opening import open_channel
    from alerts.delivery.message import trial_message
    from market.errors import DeliveryError, UsageError
    from orchestration.alert_relay import alert_publisher

    channel = next((one for one in channels(settings) if one.name == name), None)
    if channel is None:
        msg = f"There is no channel {name}. ./run alert channel list shows them."
        raise UsageError(msg)
    try:
        open_channel(channel, alert_publisher(settings)).send(trial_message(uuid4(), name), channel.timeout_seconds)
    except RefusedError as error:
        raise DeliveryError(scrubbed(str(error), channel)) from None
    except ValueError:  # as of an address that an earlier version did not look at
        msg = f"The address of {name} cannot be read. Remove the channel, and add it again."
        raise UsageError(msg) from None
    typer.echo(f"{name} took the message.")


def _list(settings: "Settings") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alerts.delivery.channel_store import channels
    from alerts.delivery.channels.channel import masked_url

    table = Table(
        "channel", "where", "signed", "private", "an hour, of a rule", "an hour", "digest after", "timeout", "told of"
    )
    for one in channels(settings):
        table.add_row(
            one.name,
            escape(masked_url(one)),
            "yes" if one.signing_secret else "no",
            "allowed" if one.is_private_allowed else "no",
            str(one.rule_limit or "any"),
            str(one.channel_limit or "any"),
            f"{one.digest_seconds / 60:g} min",
            f"{one.timeout_seconds} s",
            ", ".join(name for name, is_told in _audiences(one) if is_told),
        )
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)


def _audiences(channel: "ChannelSettings") -> tuple[tuple[str, bool], ...]:
    return (("rules", True), ("operators", channel.is_for_operators), ("reports", channel.is_for_reports))
