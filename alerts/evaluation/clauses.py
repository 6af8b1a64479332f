"""What a clause says of a bar, as SQL: whether it holds, whether it held on the bar before, and whether its value has gone back.

A bar has its values in an array ``now``, those of the bar before it in ``before``, both by the numbers of ``app.alert_fields``. A
value that is not there is null, and so is whatever is asked of it.
"""

from typing import Final

_LARGEST: Final = "1e100"
"""Factors and hystereses that are beyond it are taken as this: one that no number can hold would stop all rules."""


def holds(clause: str, bar: str) -> str:
    """Return the expression that says whether a clause holds on a bar; both are named by their aliases."""
    x, y, z = _sides(clause, bar, "now")
    xb, yb, zb = _sides(clause, bar, "before")
    inside, was_inside = f"{x} between {y} and {z}", f"{xb} between {yb} and {zb}"
    up, down = f"({x} > {y} and {xb} <= {yb})", f"({x} < {y} and {xb} >= {yb})"
    return _case(
        clause,
        {
            **_states(x, y, z),
            "crosses_above": up,
            "crosses_below": down,
            "crosses": f"({up} or {down})",
            "enters": f"({inside}) and not ({was_inside})",
            "leaves": f"not ({inside}) and {was_inside}",
            **_at_once(clause, bar),
        },
    )


def held_before(clause: str, bar: str) -> str:
    """Return the expression that says whether a clause that is a state held on the bar before."""
    return _case(clause, _states(*_sides(clause, bar, "before")))


def has_gone_back(clause: str, bar: str, hysteresis: str, is_percent: str) -> str:
    """Return the expression that says whether the value is as far on the other side as a rule's hysteresis asks."""
    x, y, z = _sides(clause, bar, "now")
    size = f"least({hysteresis}, {_LARGEST})"
    far = f"(case when {is_percent} then {size} / 100 * abs({{}}) else {size} end)".format
    under, over = f"{x} <= {y} - {far(y)}", f"{x} >= {y} + {far(y)}"
    out = f"({under} or {x} >= {z} + {far(z)})"
    within = f"({over} and {x} <= {z} - {far(z)})"
    return _case(
        clause,
        {
            **dict.fromkeys(("above", "at_least", "crosses_above"), under),
            **dict.fromkeys(("below", "at_most", "crosses_below"), over),
            "crosses": f"({under} or {over})",
            **dict.fromkeys(("inside", "enters"), out),
            **dict.fromkeys(("outside", "leaves", "beyond"), within),
        },
    )


_INDENT: Final = "\n            "


def _states(x: str, y: str, z: str) -> dict[str, str]:
    return {
        "above": f"{x} > {y}",
        "below": f"{x} < {y}",
        "at_least": f"{x} >= {y}",
        "at_most": f"{x} <= {y}",
        "inside": f"{x} between {y} and {z}",
        "outside": f"{x} not between {y} and {z}",
        "beyond": f"({x} <= {y} or {x} >= {z})",
    }


def _at_once(clause: str, bar: str) -> dict[str, str]:
    """Return what the operators of :mod:`alerts.rules.at_once` say: of the extremes of a bar, and of the close before it."""
    _, y, z = _sides(clause, bar, "now")
    before, _, _ = _sides(clause, bar, "before")
    factor = _bounded(f"{clause}.left_factor")
    high, low = (f"({factor} * {bar}.{name}::double precision)" for name in ("high", "low"))
    up, down = f"({high} > {y} and {before} <= {y})", f"({low} < {y} and {before} >= {y})"
    out = f"({high} > {z} or {low} < {y})"
    return {
        "passes_above": up,
        "passes_below": down,
        "passes": f"({up} or {down})",
        "breaks_out": f"({out} and {before} between {y} and {z})",
        "reaches_above": f"{high} > {y}",
        "reaches_below": f"{low} < {y}",
        "reaches_outside": out,
    }


def _case(clause: str, kinds: dict[str, str]) -> str:
    branches = "".join(f"{_INDENT}when '{kind}' then {says}" for kind, says in kinds.items())
    return f"case {clause}.operator{branches} end"


def _sides(clause: str, bar: str, values: str) -> tuple[str, str, str]:
    def side(name: str) -> str:
        factor, field = _bounded(f"{clause}.{name}_factor"), f"{clause}.{name}_field"
        return f"(case when {field} is null then {factor} else {factor} * {bar}.{values}[{field}] end)"

    left = f"({_bounded(f'{clause}.left_factor')} * {bar}.{values}[{clause}.left_field])"
    return left, side("right"), side("upper")


def _bounded(factor: str) -> str:
    return f"(case when {factor} between -{_LARGEST} and {_LARGEST} then {factor} else sign({factor}) * {_LARGEST} end)"
