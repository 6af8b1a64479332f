"""Asking a source for corporate actions, and publishing what the lake lacks."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from ingest.actions.missing import Missing, missing_of
from ingest.actions.source import ActionSource, Key, Listed, Listing, Range
from ingest.history.fetch import asked
from ingest.history.source import Problem, SourceBusyError
from ingest.publisher import Publisher
from ingest.topics import end_offsets, ensure_topics
from market.errors import PublishError
from market.records import CorporateAction
from market.settings import Settings
from market.topics import ACTIONS
from warehouse.progress import wait_for_offsets

SETTLE_SECONDS = 60.0
"""How long the broker, and then the stream, may take."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a source answered, beside what the lake has.

    Attributes
    ----------
    missing
        What the lake lacks.
    problems
        What was wrong, by symbol: of the answer, or that there was none.
    unknown
        The symbols that the source does not know.
    """

    missing: Missing
    problems: Sequence[Problem]
    unknown: frozenset[str]


def collect(
    source: ActionSource,
    symbols: Sequence[str],
    within: Range,
    stored: dict[Key, CorporateAction],
    *,
    today: date,
    pace: Callable[[], None],
    stop: threading.Event,
) -> Collected:
    """Ask for some symbols, as many at once as the source takes; a source that is busy is asked again.

    Raises
    ------
    SourceError
        If the source refuses every request.
    StoppedError
        If somebody asked to stop.
    """
    listed: list[Listed] = []
    problems: list[Problem] = []
    unknown: set[str] = set()
    answered: set[str] = set()
    size = source.symbols_per_ask
    for at in range(0, len(symbols), size):
        group = symbols[at : at + size]
        answer = _ask(source, group, within, pace, stop)
        listed += answer.actions
        problems += answer.problems
        unknown |= answer.unknown
        answered |= set(group) - answer.unknown - {problem.symbol for problem in answer.problems}
    missing = missing_of(listed, stored, asked=answered, within=within, today=today)
    return Collected(missing, (*problems, *missing.problems), frozenset(unknown))


def publish(settings: Settings, actions: Sequence[CorporateAction]) -> None:
    """Publish actions, and wait until they are in the lake and in PostgreSQL.

    Raises
    ------
    PublishError
        If the broker does not take them.
    ServiceError
        If the stream does not within a minute.
    """
    if not actions:
        return
    servers = settings.require_kafka()
    ensure_topics(servers)
    with Publisher(servers) as publisher:
        publisher.publish_all(actions)
        left = publisher.flush(SETTLE_SECONDS)
        if left or publisher.has_losses:
            msg = f"Kafka has not acknowledged {left:,} actions within {SETTLE_SECONDS:g} s. See ./run status, and run it again."
            raise PublishError(msg)
    wait_for_offsets(settings, end_offsets(servers, topics=(ACTIONS,)), timeout_seconds=SETTLE_SECONDS)


def _ask(
    source: ActionSource, symbols: Sequence[str], within: Range, pace: Callable[[], None], stop: threading.Event
) -> Listing:
    what = f"{','.join(symbols)} actions {within.first} to {within.last}"
    try:
        return asked(source.name, what, lambda: source.fetch(symbols, within, pace), stop)
    except SourceBusyError as error:
        return Listing((), [Problem(symbol, "no_answer", str(error)) for symbol in symbols])
