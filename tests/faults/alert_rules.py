"""The rules whose alerts are counted, each also in plain Python: on which bars of a symbol it ought to fire.

The oracle over bars: it shares no code with the evaluation, and goes through them one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from alerts.rules.rule import Rule, Trigger

HOOK: Final = "hook"
OTHER: Final = "other"

_HIGHEST: Final = 4


class Bar(NamedTuple):
    """The prices of a minute that somebody traded in."""

    open: int
    high: int
    low: int
    close: int


Holds = Callable[[Sequence[Bar], int], bool | None]
Passes = Callable[[int, int, int | None], bool]
"""Whether a minute has come true, by its high, its low, and the close of the bar before, if that is known."""


@dataclass(frozen=True)
class Watched:
    """A rule, and the same in plain Python.

    Attributes
    ----------
    rule
        What is evaluated.
    holds
        Whether the condition holds on a bar, from the bars and its number; ``None`` where that is not known.
    is_event
        Whether the condition is a moment by itself, and so needs no edge.
    passes
        Of a rule that fires at once, what it looks at.
    """

    rule: Rule
    holds: Holds
    is_event: bool = False
    passes: Passes | None = None


def _crosses(limit: int) -> Holds:
    return lambda bars, n: bars[n].close > limit >= bars[n - 1].close if n else None


def _above(limit: int) -> Holds:
    return lambda bars, n: bars[n].close > limit


def _new_high(bars: Sequence[Bar], n: int) -> bool | None:
    return bars[n].close > max(bar.close for bar in bars[n - _HIGHEST : n]) if n >= _HIGHEST else None


def _above_average(bars: Sequence[Bar], n: int) -> bool | None:
    return bars[n].close > 1.015 * (sum(bar.close for bar in bars[n - 4 : n]) / 4) if n >= 4 else None


def _at_once(rule: Rule, passes: Passes) -> Watched:
    def holds(bars: Sequence[Bar], n: int) -> bool:
        return passes(bars[n].high, bars[n].low, bars[n - 1].close if n else None)

    return Watched(rule, holds, is_event=True, passes=passes)


_BOTH: Final = (HOOK, OTHER)
CALM_SECONDS: Final = 240
SURE: Final = "reaching"
"""Fires at once with the first trade of a minute at :data:`SURE_PRICE`, whatever was before."""
SURE_PRICE: Final = 106

WATCHED: Final = (
    Watched(Rule("edge", "close above 101", channels=_BOTH), _above(101)),
    Watched(Rule("crossing", "close crosses above 100", channels=(HOOK,)), _crosses(100), is_event=True),
    Watched(Rule("level", "close above 103", is_edge=False, channels=(OTHER,)), _above(103)),
    Watched(Rule("high", f"close new high of {_HIGHEST}", channels=(HOOK,)), _new_high),
    Watched(Rule("average", "close above 1.015 * average(close, 4)", is_edge=False, channels=(HOOK,)), _above_average),
    Watched(Rule("once", "close above 104", trigger=Trigger.ONCE, channels=_BOTH), _above(104)),
    Watched(Rule("quiet", "close above 102", is_edge=False, cooldown_seconds=600, channels=(OTHER,)), _above(102)),
    Watched(Rule("five", "close crosses above 100", interval="5m", channels=(OTHER,)), _crosses(100), is_event=True),
    Watched(
        Rule("forming", "close above 102", interval="5m", trigger=Trigger.ONCE_PER_BAR, channels=(HOOK,)), _above(102)
    ),
    _at_once(
        Rule("passing", "price crosses above 101", trigger=Trigger.AT_ONCE, channels=_BOTH),
        lambda high, _, before: before is not None and high > 101 >= before,
    ),
    _at_once(
        Rule(SURE, "price above 104", trigger=Trigger.AT_ONCE, is_edge=False, channels=(OTHER,)),
        lambda high, _low, _before: high > 104,
    ),
    _at_once(
        Rule("leaving", "price outside 97 .. 103", trigger=Trigger.AT_ONCE, channels=(HOOK,)),
        lambda high, low, before: before is not None and 97 <= before <= 103 and (high > 103 or low < 97),
    ),
    _at_once(
        Rule("calm", "price crosses 100", trigger=Trigger.AT_ONCE, cooldown_seconds=CALM_SECONDS, channels=(HOOK,)),
        lambda high, low, before: before is not None and (high > 100 >= before or low < 100 <= before),
    ),
)
AT_ONCE: Final = {watched.rule.name: watched for watched in WATCHED if watched.passes is not None}


def may_be_told(watched: Watched, bars: Mapping[int, Bar], tape: int) -> set[int]:
    """Return the bars that have not ended of a rule that does not wait for it: it may have held there, and stands until then."""
    if watched.rule.trigger is not Trigger.ONCE_PER_BAR:
        return set()
    length = _length(watched.rule)
    return {start for minute in bars if (start := minute // length * length) + length > tape}


def _length(rule: Rule) -> int:
    return int(rule.interval.removesuffix("m"))


def fires(watched: Watched, bars: Mapping[int, Bar], tape: int) -> list[int]:
    """Return in which bars a rule ought to fire, as the minutes at which they begin.

    Parameters
    ----------
    watched
        The rule.
    bars
        The minutes of a symbol, by their number in the session.
    tape
        What ends by this minute has ended.
    """
    rule = watched.rule
    length = _length(rule)
    longer: dict[int, Bar] = {}
    for minute in sorted(bars):
        start, bar = minute // length * length, bars[minute]
        begun = longer.get(start, bar)
        longer[start] = Bar(begun.open, max(begun.high, bar.high), min(begun.low, bar.low), bar.close)
    starts, found = list(longer), list[int]()
    in_order = list(longer.values())
    for number, start in enumerate(starts):
        has_ended = start + length <= tape
        holds = watched.holds(in_order, number) is True
        if rule.is_edge and not watched.is_event:
            holds = holds and number > 0 and watched.holds(in_order, number - 1) is False
        is_silent = bool(found) and (rule.trigger is Trigger.ONCE or 60 * (start - found[-1]) < rule.cooldown_seconds)
        if holds and not is_silent and (has_ended or rule.trigger in {Trigger.ONCE_PER_BAR, Trigger.AT_ONCE}):
            found.append(start)
    return found
