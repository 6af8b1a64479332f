"""The one door for bars of the past: Kafka, and what the lake and PostgreSQL have of it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from types import TracebackType
from typing import Final, Self

from ingest.history.backfill import Offsets
from ingest.history.source import Ask
from ingest.publisher import Publisher
from ingest.topics import end_offsets, ensure_topics
from market.errors import PublishError
from market.records import Bar
from market.settings import Settings
from market.topics import BARS
from warehouse.collected_history import Collected, remember
from warehouse.history import KnownCloses, first_sessions, known_closes
from warehouse.progress import next_offsets

SETTLE_SECONDS: Final = 60.0
"""How long the broker may take to acknowledge what was handed in."""


class BarsDoor:
    """Publishes bars of one source and length, and remembers what the lake has of them.

    Parameters
    ----------
    settings
        Says where the broker and the database are.
    source, interval
        Of whose bars.
    remembers
        Whether it is noted what the source was asked for; not of files, which are read anew each time.
    """

    def __init__(self, settings: Settings, source: str, interval: str, *, remembers: bool = True) -> None:
        self._remembers = remembers
        self._settings = settings
        self._source = source
        self._interval = interval
        self._servers = settings.require_kafka()
        self._publisher: Publisher | None = None

    def __enter__(self) -> Self:
        ensure_topics(self._servers)
        self._publisher = Publisher(self._servers).open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        summary = self._opened().close()
        if kind is None:
            summary.require_complete()

    def known_closes(self, ask: Ask) -> Mapping[str, KnownCloses]:
        """Return by symbol the closes near the sessions of an ask that the lake has."""
        return known_closes(self._settings, self._interval, ask.symbols, ask.sessions[0], ask.sessions[-1])

    def first_sessions(self, symbols: Collection[str]) -> Mapping[str, date]:
        """Return by symbol the first session of which the lake has a bar of the source and length."""
        return first_sessions(self._settings, self._source, self._interval, symbols)

    def publish(self, bars: Sequence[Bar]) -> None:
        """Hand bars to the broker.

        Raises
        ------
        PublishError
            If it does not take them.
        """
        self._opened().publish_all(bars)

    def settle(self) -> Offsets:
        """Wait until the broker has acknowledged everything, and return the ends of the topic.

        Raises
        ------
        PublishError
            If it does not, within a minute.
        """
        left = self._opened().flush(SETTLE_SECONDS)
        if left or self._opened().has_losses:
            msg = f"Kafka has not acknowledged {left:,} bars within {SETTLE_SECONDS:g} s. See ./run status, and run it again."
            raise PublishError(msg)
        return end_offsets(self._servers, topics=(BARS,))

    def arrived(self) -> Offsets:
        """Return how far the lake and PostgreSQL are."""
        return next_offsets(self._settings)

    def remember(self, collected: Collection[Collected]) -> Collection[str]:
        """Note what the lake has now, and return the symbols that the source did not know before and knows now."""
        return remember(self._settings, self._source, self._interval, collected) if self._remembers else ()

    def _opened(self) -> Publisher:
        if self._publisher is None:
            msg = "The door is not open: use it in a with statement."
            raise AssertionError(msg)
        return self._publisher


class Glance:
    """A door that nothing goes through: it knows what the lake has, and lets a backfill come out as it would.

    Parameters
    ----------
    settings
        Says where the database is.
    interval
        Of the bars.
    """

    def __init__(self, settings: Settings, interval: str) -> None:
        self._settings = settings
        self._interval = interval

    def known_closes(self, ask: Ask) -> Mapping[str, KnownCloses]:
        """Return by symbol the closes near the sessions of an ask that the lake has."""
        return known_closes(self._settings, self._interval, ask.symbols, ask.sessions[0], ask.sessions[-1])

    def first_sessions(self, symbols: Collection[str]) -> Mapping[str, date]:
        """Return nothing: what a file lacks is seen in the file."""
        del symbols
        return {}

    def publish(self, bars: Sequence[Bar]) -> None:
        """Publish nothing."""

    def settle(self) -> Offsets:
        """Return no ends: nothing is on its way."""
        return {}

    def arrived(self) -> Offsets:
        """Return no offsets: nothing is awaited."""
        return {}

    def remember(self, collected: Collection[Collected]) -> Collection[str]:
        """Remember nothing."""
        del collected
        return ()
