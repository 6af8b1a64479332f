"""``./run actions``: fetch corporate actions, look at them, confirm what prices contradict."""

import json
import sys
import threading
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.replay import parse_day
from cli.signals import setting
from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from ingest.actions.collect import Collected
    from ingest.actions.source import ActionSource
    from market.records import CorporateAction
    from market.settings import Settings
    from warehouse.actions import JudgedAction

_INCOMPLETE: Final = 1
_SHOWN: Final = 50
_USER: Final = "user"
"""The source of what a person confirmed: models do not doubt it."""


class What(StrEnum):
    """What to do."""

    FETCH = "fetch"
    LIST = "list"
    SUSPICIOUS = "suspicious"
    CONFIRM = "confirm"
    UNCONFIRM = "unconfirm"


def actions(
    what: Annotated[What, typer.Argument(help="fetch, list, suspicious, confirm or unconfirm.")] = What.LIST,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SYMBOL]…", help="Tickers, for list; SYMBOL KIND DATE, for confirm and unconfirm."),
    ] = None,
    *,
    feed: Annotated[str, typer.Option(help="For fetch: the source, alpaca, csv, lean or yahoo.")] = "",
    symbols: Annotated[
        str, typer.Option(help="For fetch: comma-separated tickers; the watchlist, or all of a file, if not given.")
    ] = "",
    start: Annotated[str | None, typer.Option(help="For fetch: first effective date, as 2013-10-07.")] = None,
    end: Annotated[str | None, typer.Option(help="For fetch: last effective date.")] = None,
    path: Annotated[Path | None, typer.Option(help="For fetch: file or folder, for csv and lean.")] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="For fetch: take back what the source lists no more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="For fetch: show only what would be published.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object an action, a line each.")] = False,
) -> None:
    """Fetch splits, dividends and changes of symbol; list them with what becomes of each; confirm suspicious ones.

    What the lake has already is not published again. Exits 1 if something of a symbol could not be had; the others are done.
    """
    from infra.local.home import connected_settings
    from market.settings import load_settings

    settings = connected_settings(load_settings())
    settings.require_database()
    match what:
        case What.FETCH:
            _refuse_names(arguments or [])
            days = parse_day(start, "--start"), parse_day(end, "--end")
            _fetch(settings, feed, symbols, days, path, withdraw=withdraw, dry_run=dry_run, json_output=json_output)
        case What.LIST | What.SUSPICIOUS:
            status = "suspicious" if what is What.SUSPICIOUS else None
            _list(settings, arguments or [], status, json_output=json_output)
        case What.CONFIRM | What.UNCONFIRM:
            _confirm(settings, arguments or [], is_taken_back=what is What.UNCONFIRM)


def _refuse_names(names: list[str]) -> None:
    from market.errors import UsageError

    if names:
        msg = f"fetch takes its symbols as --symbols {','.join(names)}."
        raise UsageError(msg)


def _fetch(
    settings: "Settings",
    feed: str,
    symbols: str,
    days: tuple[date | None, date | None],
    path: Path | None,
    *,
    withdraw: bool,
    dry_run: bool,
    json_output: bool,
) -> None:
    from ingest.actions.collect import WHOLE, collect
    from ingest.actions.door import stored_of, take_in
    from ingest.actions.missing import withdrawal_of
    from ingest.actions.source import Range
    from ingest.actions.sources import ACTION_SOURCE_NAMES, get_action_source
    from ingest.history.fetch import Pace
    from market.errors import UsageError
    from market.sessions import EXCHANGE_ZONE

    if not feed:
        msg = f"fetch needs a source: --feed {', --feed '.join(ACTION_SOURCE_NAMES)}."
        raise UsageError(msg)
    source = get_action_source(feed, settings, path)
    source.check()
    now = datetime.now(UTC)
    today = now.astimezone(EXCHANGE_ZONE).date()
    within = Range(days[0] or WHOLE.first, days[1] or WHOLE.last)
    if within.last < within.first:
        msg = f"The end {within.last} lies before the start {within.first}. Swap them."
        raise UsageError(msg)
    wanted = _symbols(settings, source, symbols)
    stored = stored_of(settings, source.name)
    stop = threading.Event()
    with setting(stop, second_ends=True) as stopped_by:
        pace = Pace(source.limit, settings.home / "run" / "limits" / f"{source.name}.sqlite", stop)
        try:
            found = collect(source, wanted, within, stored, today=today, pace=pace, stop=stop)
        finally:
            pace.close()
    taken_back = [withdrawal_of(action, today) for action in found.missing.not_listed] if withdraw else []
    if not dry_run:
        found = take_in(settings, source.name, found, taken_back=taken_back, within=within, asked_at=now)
    _show(found, [*found.missing.actions, *taken_back], withdraw=withdraw, dry_run=dry_run, json_output=json_output)
    _say_what_is_contradicted(settings, found)
    if found.refusal is not None:
        raise found.refusal
    if stopped_by:
        typer.echo("Stopped; only what was answered is there.", err=True)
        raise typer.Exit(128 + stopped_by[0])
    if found.problems or found.unknown:
        raise typer.Exit(_INCOMPLETE)


def _say_what_is_contradicted(settings: "Settings", found: "Collected") -> None:
    """Say which changes of symbol will not be applied, since some source has the company's past under the newest symbol."""
    from market.records import SymbolChange
    from warehouse.actions import listed_before

    changes = [action for action in found.missing.actions if isinstance(action, SymbolChange)]
    for change in changes:
        listed = listed_before(settings, change.new_symbol, date.fromisoformat(change.effective_date))
        if listed is not None:
            source, days = listed
            typer.echo(
                f"{change.symbol} becomes {change.new_symbol} on {change.effective_date}, but the lake has {days:,} days of "
                f"{change.new_symbol} before it from {source}, which lists a company's past under its newest symbol. Where the "
                "marts show these, the change is not applied: ./run actions suspicious.",
                err=True,
            )


def _symbols(settings: "Settings", source: "ActionSource", symbols: str) -> tuple[str, ...]:
    from market.errors import UsageError
    from market.instruments import parse_symbols
    from warehouse.watchlist import watched

    if symbols:
        return parse_symbols(symbols)
    found = source.symbols()
    chosen = tuple(watched(settings)) if found is None else found
    if not chosen:
        msg = "There is nothing to ask for: name symbols, for example --symbols spy,ibm, or put some on the watchlist."
        raise UsageError(msg)
    return chosen


def _list(settings: "Settings", names: list[str], status: str | None, *, json_output: bool) -> None:
    from market.instruments import parse_symbols
    from warehouse.actions import judged_actions

    found = judged_actions(settings, parse_symbols(",".join(names)) if names else (), status)
    if json_output:
        for row in found:
            typer.echo(json.dumps({name: _plain(getattr(row, name)) for name in row.__slots__}))
        return
    if not found:
        of_whom = f" of {', '.join(names)}" if names else ""
        typer.echo(f"There are no {f'{status} ' if status else ''}corporate actions{of_whom}.")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("date", "symbol", "what", "status", "source", "known", "why")
    for row in found:
        known = f"{row.known_at:%Y-%m-%d}"
        table.add_row(
            str(row.effective_date), row.symbol, _says(row), row.status, row.source, known, row.evidence or ""
        )
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)


def _confirm(settings: "Settings", names: list[str], *, is_taken_back: bool) -> None:
    """Say as a person what a source says, so that it is applied; or take that back."""
    from ingest.actions.door import publish, record_of, stored_of
    from ingest.actions.missing import withdrawal_of
    from market.errors import ServiceError, UsageError
    from market.instruments import parse_symbols
    from market.records import ACTIONS, Withdrawal
    from market.sessions import EXCHANGE_ZONE
    from warehouse.actions import judged_actions

    if len(names) != 3 or names[1] not in ACTIONS:  # noqa: PLR2004 - symbol, kind, date
        msg = "Name the action: ./run actions confirm AAPL split 2014-06-09"
        raise UsageError(msg)
    (symbol,), kind, day = parse_symbols(names[0]), names[1], parse_day(names[2], "the date")
    named = f"{kind} of {symbol} on {day}"
    if is_taken_back:
        versions = stored_of(settings, _USER).get((symbol, kind, day)) if day is not None else None
        if not versions or isinstance(versions[-1], Withdrawal):
            msg = f"Nobody has confirmed a {named}."
            raise UsageError(msg)
        today = datetime.now(UTC).astimezone(EXCHANGE_ZONE).date()
        publish(settings, [withdrawal_of(versions[-1], today)])
        typer.echo(f"The {named} is doubted again from the next build of the marts on.")
        return
    known = [
        row
        for row in judged_actions(settings, (symbol,))
        if (row.symbol, row.action, row.effective_date) == (symbol, kind, day)
    ]
    if not known:
        msg = f"There is no {named}. ./run actions list {symbol} shows what there is; --feed csv takes actions of your own."
        raise UsageError(msg)
    if publish(settings, [record_of(_USER, known[0])]):
        msg = f"The stream has put the {named} into quarantine: ./run quarantine list shows why."
        raise ServiceError(msg)
    typer.echo(f"Confirmed: {_says(known[0])}, {named}. The marts have it from their next build on.")


def _says(row: "JudgedAction") -> str:
    if row.action == "split":
        return f"split {_plain(row.new_shares)} for {_plain(row.old_shares)}"
    return f"dividend {_plain(row.cash)}" if row.action == "dividend" else f"becomes {row.new_symbol}"


def _plain(value: object) -> str | None:
    from decimal import Decimal

    if value is None:
        return None
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _show(
    found: "Collected",
    published: "list[CorporateAction]",
    *,
    withdraw: bool,
    dry_run: bool,
    json_output: bool,
) -> None:
    from ingest.actions.door import REJECTED
    from market.records import encode

    if json_output:
        for action in published:
            typer.echo(encode(action).decode())
    else:
        for action in published[:_SHOWN]:
            typer.echo(encode(action).decode())
        if len(published) > _SHOWN:
            typer.echo(f"… and {len(published) - _SHOWN:,} more; --json shows all")
    rejected = sum(problem.code == REJECTED for problem in found.problems)
    taken = f"{len(published) - rejected:,}" if rejected else "all"
    done = "would be published" if dry_run else f"published, {taken} of them in the lake"
    typer.echo(f"{len(published):,} actions {done}; {found.missing.known:,} were known already.", err=json_output)
    if found.missing.not_listed and not withdraw:
        names = ", ".join(f"{action.symbol} {action.effective_date}" for action in found.missing.not_listed[:_SHOWN])
        typer.echo(f"The source lists no more: {names}. --withdraw takes them back.", err=True)
    if found.unknown:
        typer.echo(f"The source does not know: {', '.join(sorted(found.unknown))}", err=True)
    for problem in found.problems:
        typer.echo(f"{problem.symbol}: {problem.code}: {problem.detail}", err=True)
