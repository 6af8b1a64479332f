"""The sample's daily bars as a source of history."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

from ingest.feeds.base import FeedRequest
from ingest.feeds.sample.client import SYMBOLS, SampleFeed
from ingest.history.source import Answer, Ask, Limit, Offer
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

    def fetch(self, ask: Ask, pace: Callable[[], None]) -> Answer:
        """Return the bars of the package."""
        del pace  # nobody is asked
        wanted = frozenset(ask.symbols)
        start, end = (
            round(moment.timestamp()) * 1_000_000 for moment in (ask.sessions[0].open_at, ask.sessions[-1].close_at)
        )
        found = [bar for bar in self._bars if bar.symbol in wanted and start <= bar.ts < end]
        return Answer(found, unknown=wanted - set(SYMBOLS))

    @cached_property
    def _bars(self) -> list[Bar]:
        return [record for record in SampleFeed().read(FeedRequest()) if isinstance(record, Bar)]
