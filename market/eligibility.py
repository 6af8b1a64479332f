"""Which sale conditions count for prices and for volume, per feed, versioned.

A feed without a rule of its own counts every trade for everything. A change of a rule is a new version: trades say
which version judged them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class BitRule:
    """A rule over sale conditions that are a bit set written in hexadecimal.

    Attributes
    ----------
    version
        Raised with every change of the rule.
    no_price_regular, no_price_extended
        A trade with any of these bits sets no price in the regular segment, or in the pre and post segments.
    no_volume
        A trade with any of these bits does not count for volume.
    """

    version: int
    no_price_regular: int
    no_price_extended: int
    no_volume: int


COUNT_ALL: Final = BitRule(version=1, no_price_regular=0, no_price_extended=0, no_volume=0)

RULES: Final[Mapping[str, BitRule]] = {
    "lean": BitRule(version=1, no_price_regular=1 << 29, no_price_extended=0, no_volume=0),
}
"""The feeds whose trades carry hexadecimal condition bits that matter, by source."""


def rule_for(source: str) -> BitRule:
    """Return the rule of a source; :data:`COUNT_ALL` for a source without one."""
    return RULES.get(source, COUNT_ALL)
