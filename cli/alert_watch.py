"""``./run alert watch``: alerts in the terminal, as they come."""

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from alerts.delivery.ledger import News

_MOST_MINUTES: Final = 100 * 366 * 24 * 60


def alert_watch(
    *,
    historical: Annotated[bool, typer.Option("--historical", help="Those about the past too.")] = False,
    minutes: Annotated[float, typer.Option(help="Begin with those of the last minutes.")] = 0,
) -> None:
    """Print every alert and retraction as it comes, whatever channels it goes to, until Ctrl-C."""
    from alerts.delivery.ledger import news
    from cli.signals import setting
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.settings import load_settings

    if not 0 <= minutes <= _MOST_MINUTES:  # nan is neither more nor less
        msg = (
            f"--minutes {minutes:g} cannot be. Give the minutes as a number from 0 to {_MOST_MINUTES}, a hundred years."
        )
        raise UsageError(msg)
    settings = connected_settings(load_settings())
    settings.require_database()
    stop = Event()
    with setting(stop, second_ends=True):
        for found in news(settings, datetime.now(UTC) - timedelta(minutes=minutes), stop):
            if historical or not found.is_historical:
                typer.echo(as_line(found))


def as_line(found: "News") -> str:
    """Return an alert as one line: a message cannot move the cursor or hide anything."""
    from alerts.delivery.message import one_line

    past = " (past)" if found.is_historical else ""
    what = f"{found.recorded_at:%H:%M:%S}  {found.kind}{past}  {found.symbol} {found.interval}"
    return one_line(f"{what}  {found.rule_name}: {found.message}")
