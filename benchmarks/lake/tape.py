"""What the benchmarks of the lake publish: the simulated market of 500 symbols, disturbed as a real tape is."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

from ingest.feeds import Feed, FeedRequest, Kind, get_feed
from ingest.replay import replay
from ingest.topics import ensure_topics
from market.records import Record, Trade
from market.sessions import Session
from market.settings import Settings
from warehouse.schema import migrate

SYMBOLS: Final = tuple(f"S{a}{b}{c}" for a in "ABCDE" for b in "ABCDEFGHIJ" for c in "QRSTUVWXYZ")
LATE_SHARE: Final = 0.02
REPEATED_SHARE: Final = 0.01
LATE_BY: Final = 400_000
"""A late or repeated record comes up to this many records after its turn."""


def request(settings: Settings, day: date, trades_per_symbol: int) -> FeedRequest:
    """Return the request for the trades of all symbols on a day; the symbols have about 0.75 of ``trades_per_symbol`` each."""
    return FeedRequest(
        symbols=SYMBOLS,
        start=day,
        end=day,
        kinds=frozenset({Kind.TRADES}),
        seed=settings.seed,
        trades_per_day=trades_per_symbol,
    )


def disturbed(records: Iterator[Record], seed: int, late_by: int = LATE_BY) -> Iterator[Record]:
    """Yield the records, now and then one that comes late or a second time."""
    chance = random.Random(seed)
    held: dict[int, list[Record]] = {}
    for number, record in enumerate(records):
        kind = chance.random()
        if kind < LATE_SHARE + REPEATED_SHARE:
            held.setdefault(number + chance.randrange(1, late_by), []).append(record)
        if kind >= LATE_SHARE:
            yield record
        yield from held.pop(number, ())
    for due in sorted(held):
        yield from held[due]


@dataclass(frozen=True, slots=True)
class DisturbedFeed:
    """A feed whose records come late or more than once, now and then.

    Attributes
    ----------
    feed
        What it disturbs.
    seed
        Of the disturbances.
    """

    feed: Feed
    seed: int

    @property
    def name(self) -> str:
        """The name of the feed that is disturbed."""
        return self.feed.name

    def check(self, request: FeedRequest) -> int:
        """Return how many records the undisturbed feed gives."""
        return self.feed.check(request)

    def read(self, request: FeedRequest) -> Iterator[Record]:
        """Yield the trades, some of them out of turn; peers know of no heartbeats."""
        return disturbed((record for record in self.feed.read(request) if isinstance(record, Trade)), self.seed)


def publish_backlog(engines: Settings, settings: Settings, day: date, trades_per_symbol: int) -> None:
    """Bring new engines to the declared state and fill the topic of trades with a day of the disturbed market."""
    migrate(engines)
    servers = engines.require_kafka()
    ensure_topics(servers)
    feed = DisturbedFeed(get_feed("simulated"), settings.seed)
    replay(servers, feed, request(settings, day, trades_per_symbol)).require_complete()


def retimed(records: Iterator[Record], start: int, rate: float, prefix: str) -> Iterator[Record]:
    """Yield the records as if so many happened a second from ``start`` (epoch microseconds) on, with identities of their own."""
    for number, record in enumerate(records):
        ts = start + int(number * 1_000_000 / rate)
        yield msgspec.structs.replace(record, ts=ts, trade_id=f"{prefix}:{number}", sequence=number)


def live_tape(settings: Settings, session: Session, counts: tuple[tuple[int, float], ...], name: str) -> list[Record]:
    """Return so many records at such rates, one after the other, from the open of a session on, disturbed.

    Parameters
    ----------
    counts
        Pairs of a number of records and of how many of them happen a second.
    name
        What their identities begin with.
    """
    total = sum(count for count, _ in counts)
    market = get_feed("simulated").read(request(settings, session.session_date, 2 * total // len(SYMBOLS)))
    source = (record for record in market if isinstance(record, Trade))
    start = int(session.open_at.timestamp()) * 1_000_000
    tape: list[Record] = []
    for part, (count, rate) in enumerate(counts):
        some = (record for record, _ in zip(source, range(count), strict=False))
        tape += retimed(some, start, rate, f"{name}{part}")
        start += int(count * 1_000_000 / rate)
    return list(disturbed(iter(tape), settings.seed))
