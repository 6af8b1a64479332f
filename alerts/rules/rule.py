"""A rule: its condition and its settings, read from what a user wrote, and refused where they make no sense.

What belongs here: values and their checks. What does not: where rules are kept (:mod:`alerts.store`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cached_property
from typing import Final

from alerts.rules.at_once import check_at_once, compile_at_once
from alerts.rules.checks import MOST, check_condition, check_hysteresis
from alerts.rules.compiled import CompiledClause, compile_condition
from alerts.rules.condition import EXTREMES, Condition, Value, refusal
from alerts.rules.fields import INTERVALS, QUOTES
from alerts.rules.language import parse_condition
from market.errors import RuleError
from market.instruments import parse_symbols
from market.records import DAILY
from warehouse.dbt import dbt_variables
from warehouse.watchlist import parse_group

DEFAULT_MESSAGE: Final = "{rule}: {symbol} {condition} on the {interval} bar of {bar_at} UTC ({values})"
PLACEHOLDERS: Final = (
    *("rule", "symbol", "interval", "condition", "bar_at", "session_date"),
    *("open", "high", "low", "close", "volume", "values"),
)
"""What a message may have in braces."""
WATCHLIST: Final = "watchlist"
ALL: Final = "all"
EVERY_GROUP: Final = "*"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}")
_CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,59}")
_DURATION: Final = re.compile(r"(\d+)\s*([smhd])", re.ASCII)
_SECONDS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_DAYS: Final = 36_500
_LONGEST_COOLDOWN_DAYS: Final = 366
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_LONGEST_MESSAGE: Final = 1000


class Trigger(StrEnum):
    """How often a rule fires."""

    ONCE = "once"
    ONCE_PER_BAR = "once_per_bar"
    ONCE_PER_BAR_CLOSE = "once_per_bar_close"
    AT_ONCE = "at_once"


@dataclass(frozen=True)
class Rule:
    """A rule as a user states it.

    Attributes
    ----------
    name, text
        What it is called, and its condition.
    symbols
        Tickers with commas, ``watchlist``, ``watchlist:GROUP``, or ``all``.
    interval
        Length of the bars.
    trigger, is_edge
        How often it fires; on what: an edge fires when it becomes true, a level on every bar that it is true on.
    warm_up
        Whether values wait until they no longer depend on where their series begins.
    cooldown_seconds
        For how long it is silent after it fired.
    hysteresis, is_hysteresis_percent
        How far a value has to go back before it may fire again.
    expires_at
        Bars that end later do not fire.
    segments
        Parts of the session in which it may fire; of days it says nothing.
    message
        Template of the message.
    channels
        Where its alerts go.

    Raises
    ------
    RuleError
        If anything of it cannot be, or it can never fire.
    """

    name: str
    text: str
    symbols: str = ALL
    interval: str = "1m"
    trigger: Trigger = Trigger.ONCE_PER_BAR_CLOSE
    is_edge: bool = True
    warm_up: bool = True
    cooldown_seconds: int = 0
    hysteresis: float = 0.0
    is_hysteresis_percent: bool = False
    expires_at: datetime | None = None
    segments: tuple[str, ...] = ("regular",)
    message: str = DEFAULT_MESSAGE
    channels: tuple[str, ...] = ("log",)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            msg = f"A rule cannot be called {self.name!r}. Use up to 60 letters, digits, spaces, points, - and _."
            raise RuleError(msg)
        if self.interval not in INTERVALS:
            msg = f"There are no bars of {self.interval!r}. The intervals are: {', '.join(INTERVALS)}."
            raise RuleError(msg)
        check_condition(self.condition, interval=self.interval, is_edge=self.is_edge, warm_up=self.warm_up)
        if self.trigger is Trigger.AT_ONCE:
            check_at_once(self.condition, self.interval)
        _ = self.tickers, self.watchlist_group
        self._check_segments()
        self._check_repeats()
        check_message(self.message)
        # Its alerts have one row in the outbox for each channel.
        object.__setattr__(self, "channels", tuple(dict.fromkeys(self.channels)))
        if not self.channels:
            msg = "The rule names no channel: nobody would be told. Name one, or leave --channels out for log."
            raise RuleError(msg)
        for channel in self.channels:
            if not _CHANNEL.fullmatch(channel):
                msg = f"{channel!r} is no channel. Use lower-case letters, digits, points, colons, - and _."
                raise RuleError(msg)

    @cached_property
    def condition(self) -> Condition:
        """The condition."""
        return parse_condition(self.text)

    @cached_property
    def clauses(self) -> list[CompiledClause]:
        """What is evaluated of the condition."""
        if self.trigger is Trigger.AT_ONCE:
            return [compile_at_once(self.condition, is_edge=self.is_edge, warm_up=self.warm_up)]
        return compile_condition(self.condition, warm_up=self.warm_up)

    @property
    def has_event(self) -> bool:
        """Whether a clause says by itself what was before, as a crossing does."""
        return self.condition.has_event or self.trigger is Trigger.AT_ONCE

    @property
    def has_quotes(self) -> bool:
        """Whether a clause names quotes."""
        operands = (one for clause in self.condition.clauses for one in (clause.left, *clause.operands))
        return any(isinstance(one, Value) and one.name in QUOTES for one in operands)

    @property
    def tickers(self) -> tuple[str, ...] | None:
        """The symbols by name; ``None`` where the watchlist or all are meant."""
        return None if self._names_many else parse_symbols(self.symbols)

    @property
    def watchlist_group(self) -> str | None:
        """The group of the watchlist that is meant; ``*`` is all of it, ``None`` none."""
        kind, _, group = self.symbols.partition(":")
        if kind != WATCHLIST:
            return None
        return parse_group(group) if group else EVERY_GROUP

    @property
    def _names_many(self) -> bool:
        return self.symbols == ALL or self.symbols.partition(":")[0] == WATCHLIST

    def _check_segments(self) -> None:
        known = dbt_variables()["indicator_segments"]
        if not self.segments:
            msg = f"No segment is left in which the rule could fire. Name one: {', '.join(known)}."
            raise RuleError(msg)
        if self.interval == DAILY and self.segments != ("regular",):
            msg = "A day is one bar of the whole session: a rule on 1d has no segments. Leave them out."
            raise RuleError(msg)
        missing = [segment for segment in self.segments if segment not in known]
        if missing and self.interval != DAILY:
            msg = (
                f"No bar of the segment {missing[0]!r} is looked at: the series of indicators have {', '.join(known)}. "
                "Add it to the variable indicator_segments of dbt_project/dbt_project.yml."
            )
            raise RuleError(msg)

    def _check_repeats(self) -> None:
        if self.cooldown_seconds < 0:
            msg = f"A cooldown of {self.cooldown_seconds} s cannot be. Give 0 or more."
            raise RuleError(msg)
        if self.cooldown_seconds > _LONGEST_COOLDOWN_DAYS * _SECONDS["d"]:
            days = self.cooldown_seconds / _SECONDS["d"]
            msg = (
                f"A cooldown of {days:,.6g} days cannot be: {_LONGEST_COOLDOWN_DAYS}d is the most. Take --trigger once."
            )
            raise RuleError(msg)
        if not 0 <= self.hysteresis <= MOST:
            msg = f"A hysteresis of {self.hysteresis:g} cannot be. Give from 0 to {MOST:.0e}."
            raise RuleError(msg)
        if self.hysteresis and not self.is_edge:
            msg = "A level fires on every bar that it is true on: hysteresis is for edges. Leave one of both out."
            raise RuleError(msg)
        if self.hysteresis and self.trigger is Trigger.AT_ONCE:
            msg = (
                "A rule that fires at once takes no hysteresis: that looks at the closes of bars. "
                "Take a cooldown, or another trigger."
            )
            raise RuleError(msg)
        for clause in self.condition.clauses:
            if self.hysteresis and clause.operator in EXTREMES:
                reason = "Behind a new high or low there is nothing to go back to: it takes no hysteresis."
                raise self.condition.refuse(reason, clause.place)
        if self.hysteresis:
            check_hysteresis(
                self.condition,
                interval=self.interval,
                hysteresis=self.hysteresis,
                is_percent=self.is_hysteresis_percent,
            )


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """Look whether a rule made now could fire before it expires.

    Raises
    ------
    RuleError
        If it could not.
    """
    if expires_at is not None and expires_at <= now:
        msg = f"The rule would never fire: it expires at {expires_at:%Y-%m-%d %H:%M} UTC, which is past. Give a later time."
        raise RuleError(msg)


def check_message(template: str) -> None:
    """Look at a template.

    Raises
    ------
    RuleError
        If it is empty or too long, or has something in braces that is not known.
    """
    if not template.strip() or len(template) > _LONGEST_MESSAGE:
        msg = f"A message has from 1 to {_LONGEST_MESSAGE} characters, this one {len(template)}."
        raise RuleError(msg)
    for found in _BRACES.finditer(template):
        if found.group(1) not in PLACEHOLDERS:
            reason = f"{{{found.group(1)}}} is not known. A message may have: {', '.join(PLACEHOLDERS)}."
            raise refusal(reason, template, found.span())


def parse_duration(text: str) -> int:
    """Return the seconds that a text such as ``90s``, ``15m``, ``2h`` or ``1d`` says.

    Raises
    ------
    RuleError
        If it says none, or one that is too long.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is no time. Write a whole number and its unit: 90s, 15m, 2h or 1d."
        raise RuleError(msg)
    digits, unit = found.groups()
    most = _LONGEST_DAYS * _SECONDS["d"] // _SECONDS[unit]
    if len(digits) > len(str(most)) or int(digits) > most:
        msg = f"{text!r} is too long a time: {most}{unit} is the most."
        raise RuleError(msg)
    return int(digits) * _SECONDS[unit]


def parse_hysteresis(text: str) -> tuple[float, bool]:
    """Return how much a text such as ``0.5`` or ``1 %`` says, and whether that is percent.

    Raises
    ------
    RuleError
        If it says nothing of the kind.
    """
    plain = text.strip()
    is_percent = plain.endswith("%")
    try:
        return float(Decimal(plain.removesuffix("%").strip())), is_percent
    except (InvalidOperation, ValueError):  # the latter of sNaN
        msg = f"{text!r} is no hysteresis. Write a number, or a number and %: 0.5 or 1 %."
        raise RuleError(msg) from None


def parse_expiry(text: str, now: datetime) -> datetime:
    """Return the moment that a text says: a day or a moment in UTC, or a time from now on as ``30d``.

    Raises
    ------
    RuleError
        If it says none.
    """
    if _DURATION.fullmatch(text.strip()):
        return now + timedelta(seconds=parse_duration(text))
    return _moment(text, "a time from now on")


def parse_past(text: str, now: datetime) -> datetime:
    """Return the moment that a text says: a day or a moment in UTC, or a time back from now as ``30d``.

    Raises
    ------
    RuleError
        If it says none.
    """
    if _DURATION.fullmatch(text.strip()):
        return now - timedelta(seconds=parse_duration(text))
    return _moment(text, "a time back from now")


def _moment(text: str, other: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter of the first and the last day that there is, elsewhere
        msg = f"{text!r} is no moment. Write a day, a moment in UTC or {other}: 2026-12-31, 2026-12-31T16:00, 30d."
        raise RuleError(msg) from None
