"""The sample's daily bars as a source of history."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

import polars as pl

from ingest.feeds.base import FeedRequest
from ingest.feeds.sample.client import SYMBOLS, SampleFeed
from ingest.history.frames import BAR_SCHEMA, BarFrames
from ingest.history.source import Answer, Ask, Limit, Offer, Problem
from market.records import DAILY, Bar

_OFFERS: Final = {DAILY: Offer(DAILY, symbols_per_ask=len(SYMBOLS))}


class SampleHistory:
    """Daily bars of five shares until 2013-03-01, which come with a Python package."""

    name = "sample"
    limit: Limit | None = None
    at_once = 1

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Daily bars."""
        return _OFFERS

    def check(self) -> None:
        """Read the package's files.

        Raises
        ------
        FeedError
            If they cannot be read.
        """
        _ = self._bars

    def symbols(self) -> None:
        """Return nothing: without symbols the watchlist's are meant."""

    def misnamed(self) -> tuple[Problem, ...]:
        """Return nothing."""
        return ()

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Return the bars of the package."""
        del pace  # nobody is asked
        return self.read(ask).answer(ask)

    def read(self, ask: Ask) -> BarFrames:
        """Return all bars of the package."""
        del ask
        return self._frames

    @cached_property
    def _frames(self) -> BarFrames:
        values = [
            (bar.symbol, bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume, None, None) for bar in self._bars
        ]
        return BarFrames.of(self.name, pl.DataFrame(values, schema=BAR_SCHEMA, orient="row"))

    @cached_property
    def _bars(self) -> list[Bar]:
        return [record for record in SampleFeed().read(FeedRequest()) if isinstance(record, Bar)]
