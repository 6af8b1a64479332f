"""``./run alert resend``: send again what was given up or held back."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer


def alert_resend(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Ids of deliveries.")] = None,
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Everything that was given up.")] = False,
    held: Annotated[bool, typer.Option("--held", help="Everything that storm protection held back.")] = False,
    channel: Annotated[str | None, typer.Option(help="With --dead and --held: only of this channel.")] = None,
) -> None:
    """Send deliveries again that were given up, held back or void; each retraction goes with its alert.

    Limits do not hold back what was resent. What was for a channel that has been removed waits until it is added again.
    """
    from alerts.delivery.ledger import RESENT, resend
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.settings import load_settings

    if bool(ids) == (dead or held) or (ids and channel):
        msg = "Give the ids of deliveries, or --dead, or --held. ./run alert deliveries shows them."
        raise UsageError(msg)
    chosen = [_uuid(text) for text in ids] if ids else None
    statuses = [name for name, is_wanted in (("dead", dead), ("held", held)) if is_wanted] or list(RESENT)
    settings = connected_settings(load_settings())
    settings.require_database()
    number = resend(settings, datetime.now(UTC), ids=chosen, statuses=statuses, channel=channel)
    typer.echo(f"{number:,} deliveries are sent again. ./run alert deliveries shows what becomes of them.")


def _uuid(text: str) -> UUID:
    from market.errors import UsageError

    try:
        return UUID(text)
    except ValueError:
        msg = f"{text!r} is not the id of a delivery. ./run alert deliveries shows them."
        raise UsageError(msg) from None
