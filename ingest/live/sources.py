"""The live sources by name."""

from collections.abc import Callable
from typing import Final

from ingest.live.source import LiveSource
from market.errors import FeedError
from market.settings import Settings


def _alpaca(settings: Settings) -> LiveSource:
    from ingest.feeds.alpaca.live import AlpacaLive

    return AlpacaLive(settings)


def _yahoo(settings: Settings) -> LiveSource:
    from ingest.feeds.yahoo.live import YahooLive

    return YahooLive(settings)


_SOURCES: Final[dict[str, Callable[[Settings], LiveSource]]] = {"alpaca": _alpaca, "yahoo": _yahoo}
LIVE_SOURCE_NAMES: Final = tuple(_SOURCES)
"""Best first: the first that can be asked is what ``auto`` takes."""


def get_live_source(name: str, settings: Settings) -> LiveSource:
    """Return the live source of that name.

    Raises
    ------
    FeedError
        If there is none; the message lists those that exist.
    """
    if name not in _SOURCES:
        msg = f"There is no live source {name!r}. The live sources are: {', '.join(LIVE_SOURCE_NAMES)}."
        raise FeedError(msg)
    return _SOURCES[name](settings)
