"""What a stored clause says of the bars of a series, worked out from its definition in ``docs/alerts.md``.

What belongs here: values of fields, and three-valued truth. What does not: which bars a rule looks at (:mod:`verify.alert_walk`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from verify.alert_snapshot import Clause, Side

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

WINDOW: Final = re.compile(r"(average|highest|lowest|change|difference)\((\w+), (\d+)\)")
UNSTABLE: Final = "!"
AT_ONCE: Final = frozenset(
    {"passes_above", "passes_below", "passes", "breaks_out", "reaches_above", "reaches_below", "reaches_outside"}
)
"""What a rule with the trigger ``at_once`` asks; its left side is the close, at a factor of 1."""
_LARGEST: Final = 1e100
"""No factor counts for more, and no hysteresis."""
_NEXT_TO_NOTHING: Final = 1e-100


@dataclass(frozen=True, slots=True)
class Truth:
    """Of each bar whether something is true, and whether it is false; where a value is missing it may be neither."""

    yes: Flags
    no: Flags

    def __and__(self, other: "Truth") -> "Truth":
        return Truth(self.yes & other.yes, self.no | other.no)

    def __or__(self, other: "Truth") -> "Truth":
        return Truth(self.yes | other.yes, self.no & other.no)

    def __invert__(self) -> "Truth":
        return Truth(self.no, self.yes)


class Values:
    """The values of the bars of a series, in order; a value that is not there is NaN.

    Parameters
    ----------
    columns
        The columns of the mart that are named, as doubles.
    bar_numbers
        The number of each bar in its series.
    stable_from
        By column from which number on it is past its warm-up; ``None`` if it never is.
    """

    def __init__(
        self, columns: Mapping[str, Doubles], bar_numbers: Doubles, stable_from: Mapping[str, int | None]
    ) -> None:
        self._columns = columns
        self._numbers = bar_numbers
        self._stable_from = stable_from
        self._known: dict[str, Doubles] = {}

    def field(self, name: str) -> Doubles:
        """Return the values of a field, as ``app.alert_fields`` calls it."""
        if name not in self._known:
            plain = name.removesuffix(UNSTABLE)
            found = WINDOW.fullmatch(plain)
            if found is None:
                self._known[name] = self._plain(plain, is_raw=name != plain)
            else:
                ending = UNSTABLE if name != plain else ""
                self._known[name] = _window(found.group(1), self.field(found.group(2) + ending), int(found.group(3)))
        return self._known[name]

    def is_past_start(self, name: str, place: int) -> bool:
        """Return whether a field of a bar, and of the one before, owes nothing to where the series begins."""
        plain = name.removesuffix(UNSTABLE)
        found = WINDOW.fullmatch(plain)
        stable_from = self._stable_from.get(found.group(2) if found else plain, 2 if plain == "gap" else 1)
        return bool(self._numbers[place] > (stable_from or 1) + (int(found.group(3)) if found else 0))

    def _plain(self, name: str, *, is_raw: bool) -> Doubles:
        if name == "gap":
            return _change(self._columns["open"], earlier(self._columns["close"], 1))
        if name not in self._columns:
            return np.full(len(self._numbers), np.nan)
        stable_from = self._stable_from.get(name, 1)
        if is_raw or stable_from == 1:
            return self._columns[name]
        if stable_from is None:
            return np.full(len(self._numbers), np.nan)
        return np.where(self._numbers >= stable_from, self._columns[name], np.nan)


def earlier(values: Doubles, bars: int) -> Doubles:
    """Return for each bar the value so many bars before."""
    shifted = np.full(len(values), np.nan)
    shifted[bars:] = values[:-bars] if bars < len(values) else []
    return shifted


def _change(now: Doubles, before: Doubles) -> Doubles:
    """Return the percent of the size of what was before; beside next to nothing there is none."""
    with np.errstate(all="ignore"):
        return np.where(np.abs(before) > _NEXT_TO_NOTHING, 100 * (now / before - 1) * np.sign(before), np.nan)


def _window(function: str, values: Doubles, bars: int) -> Doubles:
    if function == "change":
        return _change(values, earlier(values, bars))
    if function == "difference":
        return values - earlier(values, bars)
    found = earlier(values, bars)
    for back in range(bars - 1, 0, -1):  # oldest first: doubles are added one by one
        one = earlier(values, back)
        if function == "average":
            found = found + one
        else:
            found = np.maximum(found, one) if function == "highest" else np.minimum(found, one)
    return found / bars if function == "average" else found


def _sides(clause: Clause, values: Values, back: int) -> tuple[Doubles, Doubles, Doubles]:
    def side(one: Side) -> Doubles:
        factor = np.nan if one.factor is None else min(max(one.factor, -_LARGEST), _LARGEST)
        if one.field is None:
            return np.full(1, factor)
        found = values.field(one.field)
        return factor * (earlier(found, back) if back else found)

    return side(clause.left), side(clause.right), side(clause.upper)


def _over(x: Doubles, y: Doubles) -> Truth:
    return Truth(x > y, x <= y)


def _at_least(x: Doubles, y: Doubles) -> Truth:
    return Truth(x >= y, x < y)


def state(clause: Clause, values: Values, back: int = 0) -> Truth:
    """Return whether a clause that is a state holds on each bar, or on the one ``back`` bars before."""
    x, y, z = _sides(clause, values, back)
    nothing = np.zeros(np.broadcast(x, y).shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        inside = _at_least(x, y) & _at_least(z, x)
        states = {
            "above": _over(x, y),
            "below": _over(y, x),
            "at_least": _at_least(x, y),
            "at_most": _at_least(y, x),
            "inside": inside,
            "outside": ~inside,
            "beyond": _at_least(y, x) | _at_least(x, z),
        }
    return states.get(clause.operator, Truth(nothing, nothing))


def holds(clause: Clause, values: Values) -> Truth:
    """Return whether a clause holds on each bar."""
    x, y, z = _sides(clause, values, 0)
    was_x, was_y, was_z = _sides(clause, values, 1)
    with np.errstate(invalid="ignore"):
        up = _over(x, y) & _at_least(was_y, was_x)
        down = _over(y, x) & _at_least(was_x, was_y)
        inside = _at_least(x, y) & _at_least(z, x)
        was_inside = _at_least(was_x, was_y) & _at_least(was_z, was_x)
    events = {
        "crosses_above": up,
        "crosses_below": down,
        "crosses": up | down,
        "enters": inside & ~was_inside,
        "leaves": ~inside & was_inside,
        **_at_once(clause, values),
    }
    return events[clause.operator] if clause.operator in events else state(clause, values)


def _at_once(clause: Clause, values: Values) -> dict[str, Truth]:
    """Return what is asked of how far the price of a bar went, and of the close before it."""
    if clause.operator not in AT_ONCE:
        return {}
    _, first, last = _sides(clause, values, 0)
    high, low, before = values.field("high"), values.field("low"), earlier(values.field("close"), 1)
    with np.errstate(invalid="ignore"):
        rose, fell = _over(high, first), _over(first, low)
        went_out = _over(high, last) | _over(first, low)
        up, down = rose & _at_least(first, before), fell & _at_least(before, first)
        was_in = _at_least(before, first) & _at_least(last, before)
    return {
        "passes_above": up,
        "passes_below": down,
        "passes": up | down,
        "breaks_out": went_out & was_in,
        "reaches_above": rose,
        "reaches_below": fell,
        "reaches_outside": went_out,
    }


def gone_back(clause: Clause, values: Values, hysteresis: float, *, is_percent: bool) -> Flags:
    """Return on which bars the value is as far on the other side as the hysteresis asks."""
    x, y, z = _sides(clause, values, 0)
    hysteresis = min(hysteresis, _LARGEST)
    low, high = (hysteresis / 100 * np.abs(end) if is_percent else np.full(1, hysteresis) for end in (y, z))
    with np.errstate(invalid="ignore"):
        under, over = x <= y - low, x >= y + low
        match clause.operator:
            case "above" | "at_least" | "crosses_above":
                return under
            case "below" | "at_most" | "crosses_below":
                return over
            case "crosses":
                return under | over
            case "inside" | "enters":
                return under | (x >= z + high)
            case _:
                return over & (x <= z - high)
