"""``./run watchlist``: the symbols that history is collected of."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.watchlist import Watched


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
    group: Annotated[
        str | None,
        typer.Option(help="For add: the group of the symbols, a partition in Dagster; default, if never given."),
    ] = None,
) -> None:
    """Show or change the symbols that history is collected of.

    Schedules and sensors, and ./run backfill without --symbols, collect what is on the list. A symbol is in one group; added
    again with another group, it moves. What was collected of a symbol stays when it is removed.
    """
    from infra.local.home import connected_settings
    from market.errors import UsageError
    from market.instruments import parse_symbols
    from market.settings import load_settings
    from warehouse.watchlist import parse_group, unwatch, watch
    from warehouse.watchlist import watchlist as read_watchlist

    if group is not None and action is not Action.ADD:
        msg = f"{action.value} takes no --group. Did you mean ./run watchlist add --group {group}?"
        raise UsageError(msg)
    name = parse_group(group) if group is not None else None
    settings = connected_settings(load_settings())
    settings.require_database()
    if action is Action.LIST:
        if symbols:
            msg = f"list takes no symbols, but got {' '.join(symbols)}. Did you mean ./run watchlist add {' '.join(symbols)}?"
            raise UsageError(msg)
        _show(read_watchlist(settings))
        return
    tickers = parse_symbols(",".join(symbols or ()))
    if action is Action.ADD:
        changes = watch(settings, tickers, name)
        said = {"Added": changes.added, f"Moved to {name}": changes.moved}
        untouched = "Already there"
    else:
        said, untouched = {"Removed": tuple(unwatch(settings, tickers))}, "Not there"
    changed = {symbol for names in said.values() for symbol in names}
    for text, names in {**said, untouched: tuple(symbol for symbol in tickers if symbol not in changed)}.items():
        if names:
            typer.echo(f"{text}: {', '.join(names)}")


def _show(found: "Sequence[Watched]") -> None:
    """Print a line a symbol, with its group."""
    if not found:
        typer.echo("The watchlist is empty. Add symbols: ./run watchlist add spy ibm")
    width = max((len(one.symbol) for one in found), default=0)
    for one in found:
        typer.echo(f"{one.symbol:<{width}}  {one.group}")
