"""The package ``bokeh-sampledata``: which files it has, and their content."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Final

from ingest.feeds.base import Feed, FeedRequest
from ingest.feeds.sample.parse import parse_bars
from market.errors import FeedError
from market.records import Bar, Record
from market.sessions import open_micros

SYMBOLS: Final = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
_PACKAGE: Final = "bokeh_sampledata"


class SampleFeed(Feed):
    """Daily bars of five well-known shares from 2000 (or their first session) to 2013-03-01, as traded, unadjusted.

    Without symbols or days the request means all of them. The bars are published as they are in the package: of its
    12,154 rows none lies on a day without a session and none has its prices out of order.
    """

    name = "sample"

    def check(self, request: FeedRequest) -> int:
        """Parse the bars of the request, and return their number."""
        return len(_bars(request))

    def read(self, request: FeedRequest) -> Iterator[Record]:
        """Return the bars by day, then by symbol."""
        return iter(_bars(request))


def _bars(request: FeedRequest) -> list[Bar]:
    symbols = request.symbols or SYMBOLS
    for symbol in symbols:
        if symbol not in SYMBOLS:
            msg = f"The sample has no {symbol}. It has: {', '.join(SYMBOLS)}."
            raise FeedError(msg)
    first = open_micros(request.start) if request.start is not None else None
    last = open_micros(request.end) if request.end is not None else None
    bars = [
        bar
        for symbol in symbols
        for bar in parse_bars(_content(symbol), symbol, SampleFeed.name, f"{symbol}.csv of {_PACKAGE}")
        if (first is None or bar.ts >= first) and (last is None or bar.ts <= last)
    ]
    if not bars:
        msg = f"The sample has no bar of {', '.join(symbols)} in that range; it ends on 2013-03-01."
        raise FeedError(msg)
    return sorted(bars, key=lambda bar: (bar.ts, bar.symbol))


def _content(symbol: str) -> str:
    try:
        return (files(_PACKAGE) / "_data" / f"{symbol}.csv").read_text(encoding="utf-8")
    except (ModuleNotFoundError, OSError) as error:
        msg = f"The sample data cannot be read: {error}. Install the package bokeh-sampledata again: ./run does it."
        raise FeedError(msg) from error
