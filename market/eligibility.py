"""Which trades count for prices and for volume, by their sale conditions: one rule per feed, versioned.

A feed without a rule of its own counts every trade for everything. A change of a rule is a new version: trades say
which version judged them.

The rule of the feed ``lean`` is the one under which the vendor's own minute bars come out: fitted on SPY and IBM of
2013-10-07, checked on 2013-10-08 (``docs/decisions/0001-lean-eligibility.md`` has the figures and what each bit is worth).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class BitRule:
    """A rule over sale conditions that are a bit set written in hexadecimal.

    ``regular`` and ``extended`` are the segments: pre and post are extended. A trade with any of the bits of a mask
    does not count.

    Attributes
    ----------
    version
        Raised with every change of the rule.
    no_price_regular, no_price_extended
        Bits of trades that set neither open, high, low nor close.
    no_volume_regular, no_volume_extended
        Bits of trades that count neither for volume, notional nor vwap.
    """

    version: int
    no_price_regular: int = 0
    no_price_extended: int = 0
    no_volume_regular: int = 0
    no_volume_extended: int = 0


COUNT_ALL: Final = BitRule(version=1)

_SWEEP: Final = 1 << 5
_CLOSING_PRINT: Final = 1 << 7
_DERIVATIVELY_PRICED: Final = 1 << 9
_EXTENDED_HOURS: Final = 1 << 13
_CONTINGENT: Final = 1 << 18
_AVERAGE_PRICE: Final = 1 << 20
_OFFICIAL_CLOSE: Final = 1 << 24
_OFFICIAL_OPEN: Final = 1 << 26

RULES: Final[Mapping[str, BitRule]] = {
    "lean": BitRule(
        version=1,
        no_price_regular=(
            _SWEEP
            | _DERIVATIVELY_PRICED
            | _EXTENDED_HOURS
            | _CONTINGENT
            | _AVERAGE_PRICE
            | _OFFICIAL_CLOSE
            | _OFFICIAL_OPEN
        ),
        no_price_extended=_CLOSING_PRINT | _OFFICIAL_CLOSE,
        # The official open and close repeat a print that was already reported.
        no_volume_regular=_OFFICIAL_CLOSE | _OFFICIAL_OPEN,
        no_volume_extended=_CLOSING_PRINT | _OFFICIAL_CLOSE,
    ),
}
"""The feeds whose trades carry hexadecimal condition bits that matter, by source."""


def rule_for(source: str) -> BitRule:
    """Return the rule of a source; :data:`COUNT_ALL` for a source without one."""
    return RULES.get(source, COUNT_ALL)
