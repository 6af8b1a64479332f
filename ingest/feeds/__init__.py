"""The feeds by name. Each is a folder with the same files: ``client`` gets the raw data, ``parse`` makes records of it."""

from collections.abc import Callable
from typing import Final

from ingest.feeds.base import BOTH_KINDS, Feed, FeedRequest, Kind
from market.errors import FeedError

__all__ = ["BOTH_KINDS", "FEED_NAMES", "Feed", "FeedRequest", "Kind", "get_feed"]


def _csv() -> Feed:
    from ingest.feeds.csv.client import CsvFeed

    return CsvFeed()


def _lean() -> Feed:
    from ingest.feeds.lean.client import LeanFeed

    return LeanFeed()


def _sample() -> Feed:
    from ingest.feeds.sample.client import SampleFeed

    return SampleFeed()


def _simulated() -> Feed:
    from ingest.feeds.simulated.client import SimulatedFeed

    return SimulatedFeed()


_FEEDS: Final[dict[str, Callable[[], Feed]]] = {"csv": _csv, "lean": _lean, "sample": _sample, "simulated": _simulated}

FEED_NAMES: Final = tuple(_FEEDS)


def get_feed(name: str) -> Feed:
    """Return the feed of that name.

    Raises
    ------
    FeedError
        If there is none; the message lists those that exist.
    """
    if name not in _FEEDS:
        msg = f"There is no feed {name!r}. The feeds are: {', '.join(FEED_NAMES)}."
        raise FeedError(msg)
    return _FEEDS[name]()
