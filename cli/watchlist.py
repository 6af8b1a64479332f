"""``./run watchlist``: the symbols that history is collected of."""

from enum import StrEnum
from typing import Annotated

import typer


class Action(StrEnum):
    """What to do."""

    LIST = "list"
    ADD = "add"
    REMOVE = "remove"


def watchlist(
    action: Annotated[Action, typer.Argument(help="list, add or remove.")] = Action.LIST,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="[SYMBOL]…", help="Tickers, for add and remove.")
    ] = None,
) -> None:
    """Show or change the symbols that history is collected of.

    Schedules and sensors, and ./run backfill without --symbols, collect what is on the list. What was collected of a symbol
    stays when it is removed.
    """
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.instruments import parse_symbols
    from market.settings import load_settings
    from warehouse.watchlist import unwatch, watch, watched

    settings = connected_settings(load_settings())
    settings.require_database()
    if action is Action.LIST:
        if symbols:
            msg = f"list takes no symbols, but got {' '.join(symbols)}. Did you mean ./run watchlist add {' '.join(symbols)}?"
            raise UsageError(msg)
        found = watched(settings)
        typer.echo("\n".join(found) if found else "The watchlist is empty. Add symbols: ./run watchlist add spy ibm")
        return
    tickers = parse_symbols(",".join(symbols or ()))
    changed = watch(settings, tickers) if action is Action.ADD else unwatch(settings, tickers)
    same = [symbol for symbol in tickers if symbol not in changed]
    done, before = ("Added", "Already there") if action is Action.ADD else ("Removed", "Not there")
    for text, names in ((done, changed), (before, same)):
        if names:
            typer.echo(f"{text}: {', '.join(names)}")
