"""Rules that many want, ready to be taken by name."""

from dataclasses import dataclass
from typing import Any, Final

from alerts.rules.rule import Trigger
from market.errors import RuleError
from market.records import DAILY


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset: its name, what it says, its condition, and what it sets; ``{level}`` is to be given."""

    name: str
    says: str
    text: str
    settings: tuple[tuple[str, Any], ...] = ()


PRESETS: Final = (
    Preset(
        "price-level",
        "The price crosses a level, up or down.",
        "price crosses {level}",
        (("trigger", Trigger.AT_ONCE),),
    ),
    Preset(
        "big-move",
        "The close of a minute is more than 3 % off the mean of the five closes of a minute before it.",
        "close outside 0.97 * average(close, 5) .. 1.03 * average(close, 5)",
        (("interval", "1m"), ("cooldown_seconds", 300)),
    ),
    Preset("rsi-high", "RSI goes over 70.", "rsi_14 above 70", (("interval", "5m"), ("hysteresis", 5.0))),
    Preset("rsi-low", "RSI goes under 30.", "rsi_14 below 30", (("interval", "5m"), ("hysteresis", 5.0))),
    Preset("macd-cross", "MACD crosses its signal.", "macd crosses macd_signal", (("interval", "15m"),)),
    Preset(
        "bollinger-breakout",
        "The close leaves the Bollinger bands.",
        "close outside bb_lower .. bb_upper",
        (("interval", "15m"),),
    ),
    Preset(
        "golden-cross",
        "The mean of 50 days crosses above that of 200.",
        "sma_50 crosses above sma_200",
        (("interval", DAILY),),
    ),
    Preset(
        "death-cross",
        "The mean of 50 days crosses below that of 200.",
        "sma_50 crosses below sma_200",
        (("interval", DAILY),),
    ),
    Preset(
        "volume-spike",
        "Three times as many shares as in the mean of the 20 bars before.",
        "volume above 3 * average(volume, 20)",
        (("interval", "5m"), ("cooldown_seconds", 900)),
    ),
)


OF_OPERATORS: Final = ("feed-down", "data-quality")
"""Not rules about bars: operators are told of them without any."""


def preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises
    ------
    RuleError
        If there is none.
    """
    for one in PRESETS:
        if one.name == name:
            return one
    if name in OF_OPERATORS:
        msg = (
            f"{name} is about the platform, not about bars, and needs no rule: every channel that is added with --operators is "
            "told: ./run alert channel add NAME URL --operators"
        )
        raise RuleError(msg)
    msg = f"There is no preset {name!r}. The presets are: {', '.join(one.name for one in PRESETS)}."
    raise RuleError(msg)


def text_of(one: Preset, level: str | None) -> str:
    """Return the condition of a preset.

    Raises
    ------
    RuleError
        If it wants a level and has none, or has one and wants none.
    """
    wants = "{level}" in one.text
    if wants != (level is not None):
        msg = f"The preset {one.name} {'wants a level: --level-at 450' if wants else 'takes no level'}."
        raise RuleError(msg)
    return one.text.replace("{level}", level or "")
