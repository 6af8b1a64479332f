"""The watch at work: reads trades, and records what fires, until it is told to stop.

What belongs here: the order of steps, threads, and what happens while Kafka or PostgreSQL is away. What does not: what fires
(:mod:`alerts.at_once.watcher`), and SQL.
"""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from alerts.at_once.levels import Book
from alerts.at_once.loading import load_beginning, load_preference, load_rules, mark_of_rules
from alerts.at_once.minutes import Minutes, micros
from alerts.at_once.recording import record_fired
from alerts.at_once.watcher import Fired, Preference, Watcher
from market.errors import RefusedStatementError, ServiceError
from market.records import Received
from market.settings import Settings
from warehouse.connection import connect, lost_connections
from warehouse.dbt import dbt_variables

APPLICATION: Final = "tapehouse price alerts"
READ_SECONDS: Final = 0.02
"""So long trades are gathered, at most, before they are looked at."""
RULES_SECONDS: Final = 1.0
"""How often it is asked whether rules have changed."""
PREFERENCE_SECONDS: Final = 60.0
"""How often it is asked which source counts of a symbol: whether one has stopped, and whether it is made up no more."""
AGAIN_SECONDS: Final = 1.0
TELL_SECONDS: Final = 60.0

_log: Final = structlog.get_logger(__name__)


class Trades(Protocol):
    """Where trades come from: :class:`ingest.tail.Tail`, open."""

    def read(self, timeout_seconds: float) -> list[Received]:
        """Return what came, after that time at the latest."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


OpenTrades = Callable[[Mapping[int, int]], Trades]
"""Reads on from offsets by partition, and from the end of partitions without one."""


class PriceWatch:
    """Records what fires at once.

    It begins with the bars that the stream has published and the messages that are not in them yet, so that the minute under way
    is whole. What it misses while it is away, the evaluation of the marts records.

    Parameters
    ----------
    settings
        Say where the database is.
    open_trades
        Opens the topic of trades.
    clock
        The time by the wall clock.
    """

    def __init__(self, settings: Settings, open_trades: OpenTrades, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._open_trades = open_trades
        self._clock = clock
        self._rules = _Rules(settings, clock)
        self._tally = _Tally()
        self._unrecorded: list[Fired] = []

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop`` is set, whatever becomes of Kafka and the database meanwhile.

        Raises
        ------
        RefusedStatementError
            If the database refuses a statement: it would refuse it for ever.
        """
        reader = threading.Thread(target=self._rules.follow, args=(stop,), name="rules", daemon=True)
        reader.start()
        while not stop.is_set():
            try:
                self._watch(stop)
            except RefusedStatementError:
                raise
            except ServiceError as error:
                _log.warning("price_alerts_wait", cause=str(error))
                stop.wait(AGAIN_SECONDS)
        reader.join(AGAIN_SECONDS)

    def _watch(self, stop: threading.Event) -> None:
        segments = list(dbt_variables()["indicator_segments"])
        with connect(self._settings, application_name=APPLICATION) as connection, lost_connections():
            beginning = load_beginning(connection, segments)
            book = self._rules.wait_for_first(connection)
        self._rules.preference = beginning.preference
        watcher = Watcher(Minutes(segments, beginning.minutes), beginning.preference, book)
        trades = self._open_trades(beginning.offsets)
        try:
            _log.info("price_alerts_watch", bars=len(beginning.minutes), offsets=dict(beginning.offsets))
            while not stop.is_set():
                try:
                    self._record_all(watcher, trades, book, stop)
                except ServiceError as error:
                    if not self._unrecorded or isinstance(error, RefusedStatementError):
                        raise
                    _log.warning("price_alerts_without_database", waiting=len(self._unrecorded), cause=str(error))
                    stop.wait(AGAIN_SECONDS)
        finally:
            trades.close()

    def _record_all(self, watcher: Watcher, trades: Trades, book: Book, stop: threading.Event) -> None:
        """Read and record over one connection; what it was lost over stays, to be recorded over the next."""
        preference: Preference | None = None  # the watcher has one, but perhaps an older one
        with connect(self._settings, application_name=APPLICATION) as connection, lost_connections():
            while not stop.is_set():
                if self._rules.failure is not None:
                    raise self._rules.failure
                if self._rules.newest is not book:
                    book = self._rules.newest
                    watcher.watch(book)
                if self._rules.preference is not preference:
                    preference = self._rules.preference
                    watcher.prefer(preference)
                if not self._unrecorded:
                    messages = trades.read(READ_SECONDS)
                    self._tally.messages += len(messages)
                    self._unrecorded = watcher.take(messages, micros(self._clock()))
                if self._unrecorded:
                    new = record_fired(connection, self._unrecorded, self._clock())
                    _log.debug("price_alerts_recorded", fired=len(self._unrecorded), new=new)
                    self._tally.alerts += new
                    self._unrecorded = []
                self._tally.tell()


class _Tally:
    """What was done since it was told last; it is told once a minute."""

    def __init__(self) -> None:
        self.messages = self.alerts = 0
        self._told_at = time.monotonic()

    def tell(self) -> None:
        """Log it, if it is time."""
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            _log.info("price_alerts_minute", messages=self.messages, alerts=self.alerts)
            self.messages = self.alerts = 0
            self._told_at = time.monotonic()


class _Rules:
    """The rules that fire at once, read anew when they have changed; by a thread of its own, for many take a while.

    And which source counts of each symbol, now and then.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._mark: tuple[Any, ...] | None = None
        self._asked_at = time.monotonic()
        self.newest = Book({})
        self.preference = Preference(dbt_variables()["source_priority"])
        self.failure: RefusedStatementError | None = None
        """Why the rules are not followed any more."""

    def follow(self, stop: threading.Event) -> None:
        """Keep :attr:`newest` up to date until ``stop`` is set, or there is a :attr:`failure`."""
        while not stop.is_set():
            try:
                with connect(self._settings, application_name=APPLICATION) as connection, lost_connections():
                    connection.autocommit = True
                    while not stop.wait(RULES_SECONDS):
                        self._look(connection)
            except RefusedStatementError as error:
                self.failure = error
                return
            except ServiceError as error:
                _log.warning("price_alerts_rules_not_read", cause=str(error))
                stop.wait(AGAIN_SECONDS)

    def wait_for_first(self, connection: Any) -> Book:  # noqa: ANN401 - psycopg is known to warehouse only
        """Return the rules as they are now."""
        self._look(connection)
        connection.commit()
        return self.newest

    def _look(self, connection: Any) -> None:  # noqa: ANN401
        if time.monotonic() - self._asked_at >= PREFERENCE_SECONDS:
            self.preference = load_preference(connection, list(dbt_variables()["indicator_segments"]))
            self._asked_at = time.monotonic()
        mark = mark_of_rules(connection)
        if mark != self._mark:
            self.newest, count = load_rules(connection, self._clock())
            self._mark = mark
            _log.info("price_alerts_rules", rules=count)
