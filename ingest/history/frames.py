"""Bars that come as columns, such as those of files: to records, symbol by symbol.

What belongs here: frames of bars and what every source of files does alike. What does not: how a file is read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from ingest.history.source import Answer, Ask, Problem
from market.records import PRICE_DECIMALS, Bar
from market.sessions import EXCHANGE_ZONE, all_sessions

PRICES: Final = ("open", "high", "low", "close")
BAR_SCHEMA: Final = {
    "symbol": pl.String(),
    "ts": pl.Int64(),
    **dict.fromkeys(PRICES, pl.Decimal(38, PRICE_DECIMALS)),
    "volume": pl.Int64(),
    "fault": pl.String(),
    "code": pl.String(),
}
"""Bars as columns: ``ts`` in UTC epoch microseconds, prices as decimals; ``fault`` says what of a row cannot be read,
and ``code`` is what that is called among the problems.

A row whose symbol or ``ts`` cannot be read has null there, and a fault."""

_MICROS: Final = 1_000_000
_USUAL_OPEN: Final = pl.duration(hours=9, minutes=30)


@dataclass(frozen=True)
class BarFrames:
    """Bars of a source by symbol.

    Attributes
    ----------
    source
        The name of the feed.
    by_symbol
        Frames with :data:`BAR_SCHEMA`, by symbol, sorted by ``ts``, which is never null.
    unplaced
        The codes and faults of rows whose time cannot be read, by symbol: such a row may be of any session.
    nameless
        The faults of rows whose symbol cannot be read: such a row may be of any symbol that is not here.
    known
        Symbols that the source has, even if none of their rows is here.
    problems
        What else is wrong, such as a file that cannot be read.
    """

    source: str
    by_symbol: Mapping[str, pl.DataFrame]
    unplaced: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    nameless: Sequence[str] = ()
    known: Collection[str] = ()
    problems: Sequence[Problem] = ()

    @classmethod
    def of(
        cls, source: str, bars: pl.DataFrame, *, known: Collection[str] = (), problems: Sequence[Problem] = ()
    ) -> "BarFrames":
        """Return the bars of a frame with :data:`BAR_SCHEMA`."""
        has_symbol, has_ts = pl.col("symbol").is_not_null(), pl.col("ts").is_not_null()
        parts = bars.filter(has_symbol, has_ts).sort("symbol", "ts").partition_by("symbol", as_dict=True)
        unplaced: dict[str, list[tuple[str, str]]] = {}
        for symbol, code, fault in bars.filter(has_symbol, ~has_ts).select("symbol", "code", "fault").iter_rows():
            unplaced.setdefault(symbol, []).append((code, fault))
        nameless = bars.filter(~has_symbol)["fault"].to_list()
        return cls(
            source, {str(symbol): part for (symbol,), part in parts.items()}, unplaced, nameless, known, problems
        )

    def answer(self, ask: Ask, *, with_bars: bool = True) -> Answer:
        """Return what was asked for, or only what is wrong with it; a symbol of which there is no row at all is not known.

        What cannot be placed is a problem of every ask that it may belong to: nothing of it counts as answered.
        """
        bars: list[Bar] = []
        problems = [problem for problem in self.problems if problem.symbol in ask.symbols]
        unknown: set[str] = set()
        for symbol in ask.symbols:
            problems += [Problem(symbol, code, fault) for code, fault in self.unplaced.get(symbol, ())]
            found = self.by_symbol.get(symbol)
            if found is not None:
                rows = (
                    _of_sessions(found, ask) if with_bars or found["fault"].null_count() < found.height else found[:0]
                )
                is_faulty = pl.col("fault").is_not_null()
                problems += [
                    Problem(symbol, code, fault)
                    for code, fault in rows.filter(is_faulty).select("code", "fault").iter_rows()
                ]
                bars += records(self.source, ask.interval, rows.filter(~is_faulty)) if with_bars else ()
            elif symbol not in self.unplaced and symbol not in self.known:
                problems += [Problem(symbol, "no_symbol", fault) for fault in self.nameless]
                unknown |= set() if self.nameless else {symbol}
        return Answer(bars, problems, frozenset(unknown))


def opens_of(day: pl.Expr) -> pl.Expr:
    """Return the opens of days in epoch microseconds; of a day without a session the usual time of it."""
    opens = {session.session_date: _micros(session.open_at) for session in all_sessions()}
    usual = (
        (day.cast(pl.Datetime("us")) + _USUAL_OPEN)
        .dt.replace_time_zone(str(EXCHANGE_ZONE))
        .dt.convert_time_zone("UTC")
        .to_physical()
    )
    return day.replace_strict(opens, default=None, return_dtype=pl.Int64).fill_null(usual)


def _of_sessions(bars: pl.DataFrame, ask: Ask) -> pl.DataFrame:
    first, last = ask.sessions[0], ask.sessions[-1]
    start, end = _micros(first.pre_open_at), _micros(last.post_close_at)
    position, stop = bars["ts"].search_sorted(start), bars["ts"].search_sorted(end)
    return bars[position:stop]


def _micros(moment: datetime) -> int:
    return round(moment.timestamp()) * _MICROS


def records(source: str, interval: str, rows: pl.DataFrame) -> Iterable[Bar]:
    """Return the rows of a frame with :data:`BAR_SCHEMA` as bars; none of them has a fault."""
    columns = (rows[name].to_list() for name in ("symbol", "ts", *PRICES, "volume"))
    return (Bar(source, symbol, interval, *values) for symbol, *values in zip(*columns, strict=True))
