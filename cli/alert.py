"""``./run alert``: rules, when they would have fired, and the alerts that they gave."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.sql import FILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.evaluation.backtest import Tried
    from alerts.rules.rule import Rule
    from alerts.store import Rows
    from market.settings import Settings

_EPOCH: Final = datetime(1900, 1, 1, tzinfo=UTC)
_SHOWN: Final = 20
_TRIED_NAME: Final = "tried"


class Action(StrEnum):
    """What to do."""

    ADD = "add"
    LIST = "list"
    SHOW = "show"
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"
    TEST = "test"
    BACKTEST = "backtest"
    HISTORY = "history"
    PRESETS = "presets"
    EVALUATE = "evaluate"


_WANTS: Final = {
    Action.ADD: (1, 2, 'add NAME "close crosses above sma_50", or add NAME --preset golden-cross'),
    Action.LIST: (0, 0, "list"),
    Action.SHOW: (1, 1, "show NAME"),
    Action.PAUSE: (1, 1, "pause NAME"),
    Action.RESUME: (1, 1, "resume NAME"),
    Action.DELETE: (1, 1, "delete NAME"),
    Action.TEST: (0, 1, 'test "rsi_14 below 30", or test NAME'),
    Action.BACKTEST: (0, 1, 'backtest "rsi_14 below 30", or backtest NAME'),
    Action.HISTORY: (0, 1, "history, or history NAME"),
    Action.PRESETS: (0, 0, "presets"),
    Action.EVALUATE: (0, 0, "evaluate"),
}


def alert(
    action: Annotated[
        Action,
        typer.Argument(help="add, list, show, pause, resume, delete, test, backtest, history, presets or evaluate."),
    ] = Action.LIST,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME] [CONDITION]", help="The rule's name; its condition in quotes.")
    ] = None,
    *,
    symbols: Annotated[
        str | None, typer.Option(help="Tickers with commas, watchlist, watchlist:GROUP, or all; all without it.")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="1m, 5m, 15m, 1h or 1d; 1m without it.")] = None,
    trigger: Annotated[
        str | None,
        typer.Option(help="once, once_per_bar, once_per_bar_close or at_once; once_per_bar_close without it."),
    ] = None,
    level: Annotated[bool, typer.Option("--level", help="Fire on every bar that it is true on.")] = False,
    unstable: Annotated[bool, typer.Option("--unstable", help="Do not wait for the end of warm-up.")] = False,
    cooldown: Annotated[str | None, typer.Option(help="Silent so long after it fired: 90s, 15m, 2h, 1d.")] = None,
    hysteresis: Annotated[
        str | None, typer.Option(help="How far a value goes back before it fires again: 0.5, or 1 %.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="A day, a moment in UTC, or a time from now on: 30d.")] = None,
    segments: Annotated[str | None, typer.Option(help="Parts of the session with commas; regular without it.")] = None,
    message: Annotated[str | None, typer.Option(help="Template of the message; docs/alerts.md.")] = None,
    channels: Annotated[str | None, typer.Option(help="Where alerts go, with commas; log without it.")] = None,
    preset: Annotated[str | None, typer.Option(help="Take the condition and settings of a preset.")] = None,
    level_at: Annotated[str | None, typer.Option("--level-at", help="For a preset that wants one: the level.")] = None,
    start: Annotated[
        str | None, typer.Option(help="For backtest: the first day or moment, or 30d: 30 days ago.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="For backtest: bars that end until then; as --start.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="For history: how many rows.")] = 50,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """State rules, try them on the past, and read the alerts that they gave.

    A condition is about bars and their indicators: ./run alert add dip "rsi_14 below 30" --symbols ibm --interval 5m.
    """
    from market.errors import UsageError

    given = arguments or []
    least, most, example = _WANTS[action]
    if not least <= len(given) <= most:
        msg = f"Write ./run alert {example}."
        raise UsageError(msg)
    if action is Action.PRESETS:
        _print_presets()
        return
    texts = {
        "symbols": symbols,
        "interval": interval,
        "trigger": trigger,
        "cooldown": cooldown,
        "hysteresis": hysteresis,
        "expires": expires,
        "segments": segments,
        "message": message,
        "channels": channels,
        "level": level,
        "unstable": unstable,
        "preset": preset,
        "level_at": level_at,
    }
    settings, now = _settings(), datetime.now(UTC)
    match action:
        case Action.ADD:
            _add(settings, _rule(given[0], given[1:], texts, now), now)
        case Action.LIST | Action.SHOW:
            _show_rules(settings, given, json_output=json_output)
        case Action.PAUSE | Action.RESUME | Action.DELETE:
            _change(settings, action, given[0], now)
        case Action.TEST:
            _test(settings, _known_or_new(settings, given, texts, now), json_output=json_output)
        case Action.BACKTEST:
            rule = _known_or_new(settings, given, texts, now)
            _backtest(settings, rule, start, end, json_output=json_output)
        case Action.HISTORY:
            from alerts.store import read_history

            symbol = symbols.upper() if symbols else None
            _print(read_history(settings, given[0] if given else None, symbol, limit), json_output=json_output)
        case _:
            _evaluate(settings, now)


def _settings() -> "Settings":
    from infra.local.home import connected_settings
    from market.settings import load_settings

    settings = connected_settings(load_settings())
    settings.require_database()
    return settings


def _rule(name: str, texts_given: "Sequence[str]", texts: dict[str, Any], now: datetime) -> "Rule":
    """Return the rule that the command line states, on top of the preset's settings if it names one."""
    from alerts.rules.presets import preset, text_of
    from alerts.rules.rule import Rule
    from market.errors import UsageError

    chosen: dict[str, Any] = {}
    preset_name, level_at = texts["preset"], texts["level_at"]
    if preset_name is not None:
        one = preset(preset_name)
        chosen, text = dict(one.settings), text_of(one, level_at)
    elif texts_given:
        text = texts_given[0]
    else:
        msg = 'Give a condition in quotes, or --preset. For example: ./run alert test "rsi_14 below 30"'
        raise UsageError(msg)
    if preset_name is not None and texts_given:
        msg = f"A preset has its condition: leave out {texts_given[0]!r}, or --preset."
        raise UsageError(msg)
    return Rule(name, text, **{**chosen, **_chosen(texts, now)})


def _chosen(texts: dict[str, Any], now: datetime) -> dict[str, Any]:
    from alerts.rules.rule import Trigger, parse_duration, parse_expiry, parse_hysteresis
    from market.errors import UsageError

    chosen: dict[str, Any] = {name: texts[name] for name in ("interval", "message") if texts[name] is not None}
    if texts["symbols"] is not None:
        text = texts["symbols"].strip()
        chosen["symbols"] = text.lower() if text.lower().partition(":")[0] in {"all", "watchlist"} else text.upper()
    if texts["trigger"] is not None:
        if texts["trigger"] not in list(Trigger):
            msg = f"{texts['trigger']!r} is no trigger. The triggers are: {', '.join(Trigger)}."
            raise UsageError(msg)
        chosen["trigger"] = Trigger(texts["trigger"])
    if texts["cooldown"] is not None:
        chosen["cooldown_seconds"] = parse_duration(texts["cooldown"])
    if texts["hysteresis"] is not None:
        chosen["hysteresis"], chosen["is_hysteresis_percent"] = parse_hysteresis(texts["hysteresis"])
    if texts["expires"] is not None:
        chosen["expires_at"] = parse_expiry(texts["expires"], now)
    for name in ("segments", "channels"):
        if texts[name] is not None:
            chosen[name] = tuple(part.strip().lower() for part in texts[name].split(",") if part.strip())
    return chosen | ({"is_edge": False} if texts["level"] else {}) | ({"warm_up": False} if texts["unstable"] else {})


def _known_or_new(settings: "Settings", given: "Sequence[str]", texts: dict[str, Any], now: datetime) -> "Rule":
    """Return the rule of a name, if there is one, else the one that the text states."""
    from alerts.store import stored_rule
    from market.errors import UsageError

    if not given or texts["preset"] is not None:
        return _rule(_TRIED_NAME, given, texts, now)
    known = stored_rule(settings, given[0])
    if known is not None:
        return replace(known, **_chosen(texts, now))
    if " " not in given[0].strip():  # as in no condition
        msg = f"There is no rule {given[0]!r}. ./run alert list shows all; or give a condition in quotes."
        raise UsageError(msg)
    return _rule(_TRIED_NAME, given, texts, now)


def _add(settings: "Settings", rule: "Rule", now: datetime) -> None:
    from alerts.store import add_rules

    _check_channels(settings, rule)
    (number,) = add_rules(settings, [rule], now)
    typer.echo(f"Rule {number}, {rule.name}: {rule.condition} on bars of {rule.interval} of {rule.symbols}.")


def _check_channels(settings: "Settings", rule: "Rule") -> None:
    """Refuse a channel that there is not: nothing would ever reach it."""
    from alerts.delivery.channel_store import channels
    from market.errors import RuleError

    known = [channel.name for channel in channels(settings)]
    missing = [name for name in rule.channels if name not in known]
    if missing:
        msg = (
            f"There is no channel {missing[0]!r}. The channels are: {', '.join(known)}. "
            f"Add it first: ./run alert channel add {missing[0]} URL"
        )
        raise RuleError(msg)


def _change(settings: "Settings", action: Action, name: str, now: datetime) -> None:
    from alerts.store import ACTIVE, ENDED, PAUSED, change_status

    statuses = {Action.PAUSE: PAUSED, Action.RESUME: ACTIVE, Action.DELETE: ENDED}
    change_status(settings, name, statuses[action], now)
    typer.echo(f"{name} is {statuses[action]}.")


def _show_rules(settings: "Settings", given: "Sequence[str]", *, json_output: bool) -> None:
    from alerts.evaluation.uncomputed import uncomputed
    from alerts.store import ACTIVE, Rows, read_rules
    from market.errors import UsageError

    found = read_rules(settings, given[0] if given else None, ended=bool(given))
    problems = uncomputed(settings)
    number, status = found.columns.index("rule_id"), found.columns.index("status")
    rows = [(*row, problems.get(row[number]) if row[status] == ACTIVE else None) for row in found.rows]
    found = Rows((*found.columns, "cannot_fire"), rows)
    if given and not found.rows:
        msg = f"There is no rule {given[0]!r}. ./run alert list shows all."
        raise UsageError(msg)
    if not given and not found.rows and not json_output:
        typer.echo('There is no rule. Add one: ./run alert add dip "rsi_14 below 30" --interval 5m')
        return
    if given and not json_output:
        for row in found.rows:
            for name, value in zip(found.columns, row, strict=True):
                typer.echo(f"{name:<22} {_plain(value)}")
        return
    settings_shown = ("name", "condition", "symbols", "interval", "trigger", "status", "expires_at")
    brief = (*settings_shown, "alerts", "retractions", "newest_at")
    _print(found, json_output=json_output, shown=None if json_output else brief)
    if not json_output:
        place = found.columns.index("name")
        for row in found.rows:
            if row[-1] is not None:
                typer.echo(f"The rule {row[place]} cannot fire. {row[-1]}", err=True)


def _test(settings: "Settings", rule: "Rule", *, json_output: bool) -> None:
    from alerts.evaluation.backtest import try_newest

    found = try_newest(settings, rule)
    if json_output:
        _print_tried(found, json_output=True)
        return
    typer.echo(f"Read as: {rule.condition}")
    _print_tried(found[-_SHOWN:], json_output=False)
    fires = [one.symbol for one in found if one.fires]
    would = f"It would fire for {', '.join(fires)}." if fires else "It would not fire."
    typer.echo(f"{would} Looked at the newest bar of {len(found)} symbols.")


def _backtest(settings: "Settings", rule: "Rule", start: str | None, end: str | None, *, json_output: bool) -> None:
    from alerts.evaluation.backtest import backtest_counted
    from alerts.rules.rule import parse_past
    from market.errors import UsageError

    now = datetime.now(UTC)
    first, last = (parse_past(text, now) if text else None for text in (start, end))
    if first is not None and last is not None and last <= first:
        msg = (
            f"The period is empty: --end {end} ({_plain(last)} UTC) is not after --start {start} ({_plain(first)} UTC)."
        )
        raise UsageError(msg)
    found, number = backtest_counted(settings, rule, start=first or _EPOCH, end=last)
    if not number:
        typer.echo(f"No bar of {rule.interval} of {rule.symbols} is within this period.", err=True)
    _print_tried(found, json_output=json_output)
    if not json_output:
        typer.echo(f"{rule.condition} would have fired {len(found):,} times.")


def _evaluate(settings: "Settings", now: datetime) -> None:
    from alerts.evaluation.evaluate import evaluate

    done = evaluate(settings, now)
    typer.echo(
        f"{done.series:,} series of bars, {done.rules:,} rules: {done.fired:,} alerts ({done.historical:,} of the past), "
        f"{done.retracted:,} retracted, {done.queued:,} to be sent."
    )


def _print_presets() -> None:
    from alerts.rules.presets import OF_OPERATORS, PRESETS

    for one in PRESETS:
        sets = ", ".join(f"{name} {value}" for name, value in one.settings)
        typer.echo(f"{one.name:<20} {one.says}\n{'':<20} {one.text}{f' ({sets})' if sets else ''}")
    typer.echo(
        f"{', '.join(OF_OPERATORS):<20} {'and more of the platform itself are told without a rule: ./run alert incidents'}"
    )


def _print_tried(found: "Sequence[Tried]", *, json_output: bool) -> None:
    from alerts.store import Rows

    if json_output:
        for one in found:
            values = {"symbol": one.symbol, "interval": one.interval, "bar_at": one.bar_at, "close": one.close}
            evidence = {"values": one.now, "values_before": one.before, "is_closed": one.is_closed, "fires": one.fires}
            typer.echo(json.dumps({**values, **evidence}, default=_plain))
        return
    columns = ("bar_at", "symbol", "interval", "close", "values", "before", "fires")
    rows: list[tuple[Any, ...]] = [
        (one.bar_at, one.symbol, one.interval, one.close, _values(one.now), _values(one.before), one.fires)
        for one in found
    ]
    _print(Rows(columns, rows), json_output=False)


def _values(values: "Any") -> str:  # noqa: ANN401 - a mapping of floats
    return ", ".join(f"{name} {'-' if value is None else f'{value:.6g}'}" for name, value in values.items())


def _print(found: "Rows", *, json_output: bool, shown: "Sequence[str] | None" = None) -> None:
    if json_output:
        for row in found.rows:
            typer.echo(json.dumps(dict(zip(found.columns, row, strict=True)), default=_plain))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    places = [place for place, name in enumerate(found.columns) if shown is None or name in shown]
    for place in places:
        table.add_column(found.columns[place], overflow="fold")
    for row in found.rows:
        table.add_row(*(escape(_plain(row[place])) for place in places))
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
