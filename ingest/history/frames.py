"""Bars that come as columns, such as those of files: to records, symbol by symbol.

What belongs here: frames of bars and what every source of files does alike. What does not: how a file is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from ingest.history.source import Answer, Ask, Problem
from market.records import PRICE_DECIMALS, Bar

PRICES: Final = ("open", "high", "low", "close")
BAR_SCHEMA: Final = {
    "symbol": pl.String(),
    "ts": pl.Int64(),
    **dict.fromkeys(PRICES, pl.Decimal(38, PRICE_DECIMALS)),
    "volume": pl.Int64(),
    "fault": pl.String(),
}
"""Bars as columns: ``ts`` in UTC epoch microseconds, prices as decimals; ``fault`` says what of a row cannot be read."""

_MICROS: Final = 1_000_000


@dataclass(frozen=True)
class BarFrames:
    """Bars of a source by symbol.

    Attributes
    ----------
    source
        The name of the feed.
    by_symbol
        Frames with :data:`BAR_SCHEMA`, by symbol, sorted by ``ts``.
    """

    source: str
    by_symbol: Mapping[str, pl.DataFrame]

    @classmethod
    def of(cls, source: str, bars: pl.DataFrame) -> "BarFrames":
        """Return the bars of a frame with :data:`BAR_SCHEMA`."""
        parts = bars.sort("symbol", "ts").partition_by("symbol", as_dict=True)
        return cls(source, {str(symbol): part for (symbol,), part in parts.items()})

    def answer(self, ask: Ask) -> Answer:
        """Return what was asked for; a symbol of which there is no bar at all is not known."""
        bars: list[Bar] = []
        problems: list[Problem] = []
        for symbol in ask.symbols:
            found = self.by_symbol.get(symbol)
            if found is None:
                continue
            rows = _of_sessions(found, ask)
            is_faulty = pl.col("fault").is_not_null()
            problems += [Problem(symbol, "not_a_number", fault) for fault in rows.filter(is_faulty)["fault"]]
            bars += _records(self.source, ask.interval, rows.filter(~is_faulty))
        return Answer(bars, problems, frozenset(ask.symbols) - set(self.by_symbol))


def _of_sessions(bars: pl.DataFrame, ask: Ask) -> pl.DataFrame:
    first, last = ask.sessions[0], ask.sessions[-1]
    start, end = _micros(first.pre_open_at), _micros(last.post_close_at)
    position, stop = bars["ts"].search_sorted(start), bars["ts"].search_sorted(end)
    return bars[position:stop]


def _micros(moment: datetime) -> int:
    return round(moment.timestamp()) * _MICROS


def _records(source: str, interval: str, rows: pl.DataFrame) -> Iterable[Bar]:
    columns = (rows[name].to_list() for name in ("symbol", "ts", *PRICES, "volume"))
    return (Bar(source, symbol, interval, *values) for symbol, *values in zip(*columns, strict=True))
