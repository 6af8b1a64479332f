"""Which trades count for what, by their sale conditions: one rule per feed, versioned.

A feed without a rule of its own counts every trade for everything. A change of a rule is a new version: trades say
which version judged them.

The rule of the feed ``lean`` is the one under which the vendor's own minute bars come out: fitted on SPY and IBM of
2013-10-07, checked on 2013-10-08 (``docs/decisions/0001-lean-eligibility.md`` has the figures and what each bit is worth).

The rule of ``alpaca`` is that of the consolidated tapes: the tables of sale conditions in the CTS Output Specification (tapes A
and B) and in the UTP specification (tape C), which say for each code whether it updates last, high and low, and volume. That of
``yahoo`` says that its messages are samples of the market (``docs/decisions/0008-live.md``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Flag, auto
from typing import Final

from market.sessions import Segment


class Use(Flag):
    """What a trade may count for in its bar."""

    OPEN_CLOSE = auto()
    HIGH_LOW = auto()
    VOLUME = auto()


NOTHING: Final = Use(0)
PRICES: Final = Use.OPEN_CLOSE | Use.HIGH_LOW
EVERYTHING: Final = PRICES | Use.VOLUME

CLOSING_AUCTION_LASTS: Final = timedelta(minutes=15)
"""How long after the close the print of the closing auction may come and still be the end of the regular segment."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Trades with any of some condition bits do not count for something.

    Attributes
    ----------
    reason
        What bars show of it.
    bits
        The conditions, as a bit set.
    regular, extended
        What the trades do not count for in the regular segment, and in pre and post.
    """

    reason: str
    bits: int
    regular: Use = NOTHING
    extended: Use = NOTHING


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over sale conditions that are a bit set written in hexadecimal.

    Attributes
    ----------
    version
        Raised with every change of the rule.
    exclusions
        A trade counts for what none of them takes away; the first that takes something is its reason.
    closing_auction_bits
        Trades with any of these bits that are reported within :data:`CLOSING_AUCTION_LASTS` after the close are the closing
        auction: they belong to the last minute of the regular segment.
    """

    version: int
    exclusions: tuple[Exclusion, ...] = ()
    closing_auction_bits: int = 0


COUNT_ALL: Final = Rule(version=1)

_CLOSING_PRINT: Final = 1 << 7
_SALE_CODES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def sale_condition_bit(code: str) -> int:
    """Return the bit of a sale condition of the consolidated tapes: A to Z are bits 0 to 25, 0 to 9 bits 26 to 35.

    Any other code is bit 36, so that it is not lost.
    """
    return 1 << (_SALE_CODES.index(code) if len(code) == 1 and code in _SALE_CODES else len(_SALE_CODES))


SAMPLED: Final = 1
"""The bit of a trade of ``yahoo``: a message says what traded last, not all that was traded since the one before."""

RULES: Final[Mapping[str, Rule]] = {
    "lean": Rule(
        version=2,
        exclusions=(
            # The official open and close repeat a print that was already reported.
            Exclusion("official_close", 1 << 24, regular=EVERYTHING, extended=EVERYTHING),
            Exclusion("official_open", 1 << 26, regular=EVERYTHING),
            Exclusion("closing_print", _CLOSING_PRINT, extended=EVERYTHING),
            Exclusion("average_price", 1 << 20, regular=PRICES),
            Exclusion("derivatively_priced", 1 << 9, regular=PRICES),
            Exclusion("contingent", 1 << 18, regular=PRICES),
            Exclusion("extended_hours", 1 << 13, regular=PRICES),
            Exclusion("sweep", 1 << 5, regular=PRICES),
        ),
        closing_auction_bits=_CLOSING_PRINT,
    ),
    "alpaca": Rule(
        version=1,
        exclusions=(
            # The official open and close repeat a print that was already reported; a corrected close comes hours after it.
            Exclusion("official_close", sale_condition_bit("M"), regular=EVERYTHING, extended=EVERYTHING),
            Exclusion("official_open", sale_condition_bit("Q"), regular=EVERYTHING, extended=EVERYTHING),
            Exclusion("corrected_close", sale_condition_bit("9"), regular=EVERYTHING, extended=EVERYTHING),
            Exclusion("average_price", sale_condition_bit("W"), regular=PRICES, extended=PRICES),
            Exclusion("cash_sale", sale_condition_bit("C"), regular=PRICES, extended=PRICES),
            Exclusion("next_day", sale_condition_bit("N"), regular=PRICES, extended=PRICES),
            Exclusion("seller", sale_condition_bit("R"), regular=PRICES, extended=PRICES),
            Exclusion("price_variation", sale_condition_bit("H"), regular=PRICES, extended=PRICES),
            Exclusion("contingent", sale_condition_bit("V"), regular=PRICES, extended=PRICES),
            Exclusion("qualified_contingent", sale_condition_bit("7"), regular=PRICES, extended=PRICES),
            Exclusion("odd_lot", sale_condition_bit("I"), regular=PRICES, extended=PRICES),
            Exclusion("extended_hours_sold", sale_condition_bit("U"), regular=PRICES, extended=PRICES),
            # Every trade before the open and after the close has it: only there it may make a price.
            Exclusion("extended_hours", sale_condition_bit("T"), regular=PRICES),
            # The tapes let these set the last price only if it is the first trade of the day.
            Exclusion("derivatively_priced", sale_condition_bit("4"), regular=Use.OPEN_CLOSE, extended=Use.OPEN_CLOSE),
            Exclusion("prior_reference", sale_condition_bit("P"), regular=Use.OPEN_CLOSE, extended=Use.OPEN_CLOSE),
            Exclusion("sold", sale_condition_bit("Z"), regular=Use.OPEN_CLOSE, extended=Use.OPEN_CLOSE),
            Exclusion("bunched_sold", sale_condition_bit("G"), regular=Use.OPEN_CLOSE, extended=Use.OPEN_CLOSE),
        ),
        closing_auction_bits=sale_condition_bit("6"),
    ),
    "yahoo": Rule(version=1, exclusions=(Exclusion("sampled", SAMPLED, regular=Use.VOLUME, extended=Use.VOLUME),)),
}
"""The feeds whose trades carry hexadecimal condition bits that matter, by source."""

REASONS: Final = tuple(sorted({exclusion.reason for rule in RULES.values() for exclusion in rule.exclusions}))
"""Every reason for which a trade is left out of something, of all feeds."""


def rule_for(source: str) -> Rule:
    """Return the rule of a source; :data:`COUNT_ALL` for a source without one."""
    return RULES.get(source, COUNT_ALL)


def counted(source: str, segment: str, conditions: str) -> tuple[Use, str | None]:
    """Return what a trade counts for by its sale conditions, and the reason if that is not everything.

    Raises
    ------
    ValueError
        If the source has a rule, and the conditions are no hexadecimal number.
    """
    exclusions = rule_for(source).exclusions
    bits = int(conditions or "0", 16) if exclusions else 0
    counts, reason = EVERYTHING, None
    for exclusion in exclusions:
        taken = exclusion.regular if segment == Segment.REGULAR else exclusion.extended
        if bits & exclusion.bits and taken is not NOTHING:
            counts, reason = counts & ~taken, reason or exclusion.reason
    return counts, reason


def is_closing_auction(source: str, conditions: str, after_close: timedelta) -> bool:
    """Return whether a trade of the segment after the close is the print of the closing auction.

    Raises
    ------
    ValueError
        As :func:`counted`.
    """
    bits = rule_for(source).closing_auction_bits
    return bool(bits and after_close < CLOSING_AUCTION_LASTS and int(conditions or "0", 16) & bits)
