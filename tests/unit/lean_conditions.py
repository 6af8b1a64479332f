"""What trades of ``lean`` count for in the regular segment, by hand: the oracle of the rule in ``market.eligibility``."""

import json
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]

_NEITHER_PRICE_NOR_VOLUME = {24: "official_close", 26: "official_open"}
_NO_PRICE = {20: "average_price", 9: "derivatively_priced", 18: "contingent", 13: "extended_hours", 5: "sweep"}


def judgement(conditions: str) -> Row:
    """Return what a trade with these conditions counts for, and why not for everything."""
    number = int(conditions or "0", 16)
    found = [reason for bit, reason in (_NEITHER_PRICE_NOR_VOLUME | _NO_PRICE).items() if number >> bit & 1]
    for_price = not found
    return {
        "counts_for_open_close": for_price,
        "counts_for_high_low": for_price,
        "counts_for_volume": not set(found) & set(_NEITHER_PRICE_NOR_VOLUME.values()),
        "left_out_for": found[0] if found else None,
    }


def left_out(reasons: Iterable[str | None]) -> str | None:
    """Return how a bar shows the reasons of its trades."""
    given = sorted(reason for reason in reasons if reason is not None)
    return json.dumps({reason: given.count(reason) for reason in given}) if given else None
