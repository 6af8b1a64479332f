"""A replay: a feed's records, checked as a whole, published at a pace or as fast as possible."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

import structlog

from ingest.feeds import Feed, FeedRequest
from ingest.pacing import SystemClock, paced
from ingest.publisher import Publisher, PublishSummary
from ingest.topics import ensure_topics
from market.errors import PublishError, UsageError
from market.records import Record

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is: records handed to the producer, of how many, after how long."""

    published: int
    total: int
    seconds: float


def replay(
    bootstrap_servers: str,
    feed: Feed,
    request: FeedRequest,
    *,
    speed: float | None = None,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    stop_event: Event | None = None,
    deadline_seconds: float = 30.0,
) -> PublishSummary:
    """Publish what the request means, and wait until every record is acknowledged.

    Parameters
    ----------
    bootstrap_servers
        The broker; its topics are created if they do not exist.
    feed, request
        What to publish. Everything is checked before the first record is published.
    speed
        Times the pace of the market; ``None`` is as fast as possible.
    on_progress
        Called now and then, and at the end.
    stop_event
        Ends the replay early when set: what was handed in is still waited for, at most ``deadline_seconds``.

    Returns
    -------
    PublishSummary
        What became of the records, losses included: ask :meth:`PublishSummary.require_complete`.

    Raises
    ------
    UsageError
        If the request or the speed cannot be met: nothing was published.
    ServiceError
        If the broker does not answer: nothing was published.
    """
    if speed is not None and not 0 < speed < float("inf"):
        msg = f"The speed {speed:g} is not above zero. Give a number such as 10, or max."
        raise UsageError(msg)
    stop = stop_event or Event()
    total = feed.check(request)
    records = feed.read(request)
    ensure_topics(bootstrap_servers)
    started_at = time.monotonic()
    done = 0

    def report(count: int, _total: int | None) -> None:
        if on_progress is not None:
            on_progress(ReplayProgress(done + count, total, time.monotonic() - started_at))

    publisher = Publisher(bootstrap_servers, stop_event=stop).open()
    try:
        for batch in _batches(records, speed, stop):
            done += publisher.publish_all(batch, progress=report)
    except PublishError as error:
        _log.error("replay_broken_off", published=done, cause=str(error))
    finally:
        summary = publisher.close(deadline_seconds)
    return summary


def _batches(records: Iterator[Record], speed: float | None, stop: Event) -> Iterator[Iterator[Record]]:
    if speed is None:
        yield records
        return
    for batch in paced(records, speed, SystemClock(stop), stop):
        yield iter(batch)
