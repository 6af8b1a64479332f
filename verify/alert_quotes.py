"""The quotes of bars, as law 4 reads them: the last bid and ask that a bar's own feed named within it.

What belongs here: bid, ask and spread of each bar, and how far the quotes of each feed are. What does not: whether the minutes
are right, which is law 2 (:mod:`verify.minute_quotes`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

QUOTES: Final = frozenset({"bid", "ask", "spread"})
"""The fields of a bar that are of quotes."""


class Minute(NamedTuple):
    """A row of ``lake.quotes_1m`` of a symbol."""

    source: str
    bar_at: datetime
    bid: Decimal | None
    ask: Decimal | None


class Span(NamedTuple):
    """A bar: the feed whose it is, ``None`` for a vendor's, and when it begins and ends."""

    source: str | None
    start: datetime
    end: datetime


def quotes_of(bars: Sequence[Span], minutes: Iterable[Minute]) -> Mapping[str, NDArray[np.float64]]:
    """Return the bid, the ask and the spread of each bar; what is not there is NaN."""
    sides: dict[tuple[str, str], tuple[list[datetime], list[Decimal]]] = {}
    for minute in sorted(minutes, key=lambda one: one.bar_at):
        for side, price in (("bid", minute.bid), ("ask", minute.ask)):
            if price is not None:
                moments, prices = sides.setdefault((minute.source, side), ([], []))
                moments.append(minute.bar_at)
                prices.append(price)

    def last(bar: Span, side: str) -> Decimal | None:
        if bar.source is None:
            return None
        moments, prices = sides.get((bar.source, side), ([], []))
        place = bisect_left(moments, bar.end) - 1
        return prices[place] if place >= 0 and moments[place] >= bar.start else None

    bids, asks = ([last(bar, side) for bar in bars] for side in ("bid", "ask"))
    # The difference of decimals, before they become doubles: 100.05 - 100 is 0.05.
    spreads = [None if None in (bid, ask) else ask - bid for bid, ask in zip(bids, asks, strict=True)]  # type: ignore[operator]
    return {
        name: np.array([np.nan if value is None else float(value) for value in values], dtype=float)
        for name, values in (("bid", bids), ("ask", asks), ("spread", spreads))
    }
