"""The model's arrays as tick frames: pure."""

from itertools import compress
from typing import Final

import numpy as np
import polars as pl

from ingest.feeds.simulated.model import VENUES, SessionEvents
from ingest.feeds.ticks import PRICE_SCALE, TICK_SCHEMA

CONDITION_LETTERS: Final = ("F", "I", "T", "O", "6")
"""Letters of the consolidated tape, in the order of the model's bits: sweep, odd lot, extended, opening, closing."""

_VENUES: Final = pl.Series(VENUES, dtype=pl.String)
_CONDITIONS: Final = pl.Series(
    [
        ",".join(compress(CONDITION_LETTERS, (bits >> i & 1 for i in range(len(CONDITION_LETTERS)))))
        for bits in range(2 ** len(CONDITION_LETTERS))
    ],
    dtype=pl.String,
)
_PER_CENT: Final = PRICE_SCALE // 100


def tick_frame(symbol: str, events: SessionEvents) -> pl.DataFrame:
    """Return the tick frame of one symbol's session; trades and quotes are each numbered from 1."""
    sequence = np.where(events.is_quote, np.cumsum(events.is_quote), np.cumsum(~events.is_quote))
    frame = pl.DataFrame(
        {
            "ts": events.ts,
            "symbol": pl.repeat(symbol, len(events.ts), dtype=pl.String, eager=True),
            "is_quote": events.is_quote,
            "sequence": sequence,
            "bid": events.bid * _PER_CENT,
            "bid_size": events.bid_size,
            "ask": events.ask * _PER_CENT,
            "ask_size": events.ask_size,
            "exchange": _VENUES.gather(events.venue),
            "conditions": _CONDITIONS.gather(events.conditions),
        }
    )
    return frame.cast(pl.Schema(TICK_SCHEMA))
